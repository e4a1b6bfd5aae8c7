//! Fuzzes the parsing of collections and of what their entries name.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::catalogue::{Collected, Collection};

fuzz_target!(|bytes: &[u8]| {
    let _ = Collection::from_bytes(bytes);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(collected) = text.parse::<Collected>()
    {
        assert_eq!(collected.to_string().parse(), Ok(collected));
    }
});
