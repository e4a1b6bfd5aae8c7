//! Fuzzes the parsing of questions for listings.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::catalogue::Questions;

fuzz_target!(|bytes: &[u8]| {
    let _ = Questions { bytes: bytes.to_vec() }.questions();
});
