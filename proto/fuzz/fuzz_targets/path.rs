//! Fuzzes the parsing of paths.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::path::SafePath;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let parsed = text.parse::<SafePath>();
        if let Ok(path) = SafePath::in_any_form(text) {
            assert!(parsed.is_err() || parsed.as_ref() == Ok(&path));
            let _ = path.portable();
        }
    }
});
