//! Fuzzes the parsing of paths.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::path::SafePath;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<SafePath>();
    }
});
