//! Hostile bytes for: safetensors.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::content::safetensors;

fuzz_target!(|bytes: &[u8]| {
    let _ = safetensors::parse(bytes, bytes.len() as u64 + 8);
});
