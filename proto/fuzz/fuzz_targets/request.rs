//! Fuzzes the parsing of requests.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::wire::{Message, Request};

fuzz_target!(|bytes: &[u8]| {
    let _ = Request::from_bytes(bytes);
});
