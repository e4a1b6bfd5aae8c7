//! Fuzzes the parsing of denylists.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::denylist::Denylist;

fuzz_target!(|bytes: &[u8]| {
    let _ = Denylist::from_bytes(bytes);
});
