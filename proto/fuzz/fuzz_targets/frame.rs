//! Fuzzes the parsing of frames.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::wire::{Frame, Message};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = Frame::from_bytes(bytes) {
        assert_eq!(Frame::from_bytes(&frame.to_bytes()).ok(), Some(frame));
    }
});
