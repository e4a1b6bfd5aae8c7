//! Hostile bytes for: tag record.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::tag::TagRecord;

fuzz_target!(|bytes: &[u8]| {
    let _ = TagRecord::from_payload(bytes);
});
