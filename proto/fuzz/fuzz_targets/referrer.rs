//! Fuzzes the parsing of referrers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::referrer::Referrer;

fuzz_target!(|bytes: &[u8]| {
    let _ = Referrer::from_bytes(bytes);
});
