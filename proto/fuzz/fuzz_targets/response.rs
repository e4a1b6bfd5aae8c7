//! Fuzzes the parsing of responses.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::wire::{Message, Response};

fuzz_target!(|bytes: &[u8]| {
    let _ = Response::from_bytes(bytes);
});
