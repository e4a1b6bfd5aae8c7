//! Fuzzes the parsing of pages of roots, and of the bits that answer them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::catalogue::{Differing, RootsPage};

fuzz_target!(|bytes: &[u8]| {
    let page = RootsPage { bytes: bytes.to_vec() };
    if let Ok(roots) = page.roots() {
        assert_eq!(roots.len() * 32, bytes.len());
    }
    let _ = Differing { bytes: bytes.to_vec() }.bits(bytes.len() * 8);
});
