//! Fuzzes the parsing of announcements.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::announcement::Announcement;

fuzz_target!(|bytes: &[u8]| {
    let _ = Announcement::from_bytes(bytes);
});
