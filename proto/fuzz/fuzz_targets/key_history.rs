//! Hostile bytes for: key history.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::key::{KeyHistory, publisher_id};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let _ = KeyHistory::verify(publisher_id(b""), &[text]);
});
