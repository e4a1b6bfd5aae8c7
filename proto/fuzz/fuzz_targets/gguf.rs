//! Hostile bytes for: gguf.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::content::gguf;

fuzz_target!(|bytes: &[u8]| {
    let _ = gguf::read(&mut { bytes }, bytes.len() as u64);
});
