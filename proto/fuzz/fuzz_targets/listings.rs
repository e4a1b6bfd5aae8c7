//! Fuzzes the parsing of pages of listings, alone and as a sample.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::catalogue::{ListingsPage, SampleQuestion, take_sample};

fuzz_target!(|bytes: &[u8]| {
    let page = ListingsPage { more: false, bytes: bytes.to_vec() };
    let _ = page.blocks();
    let _ = take_sample(&page, SampleQuestion { count: 64, seed: 0 });
});
