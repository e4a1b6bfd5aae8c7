//! Fuzzes the parsing of a file's kind, from its head and tail.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::content::kind::sniff;

fuzz_target!(|bytes: &[u8]| {
    let half = bytes.len() / 2;
    for name in ["model.safetensors", "model.gguf", "config.json", "README.md", "pytorch_model.bin", "a.onnx", "x"] {
        for size in [bytes.len() as u64, u64::MAX] {
            let _ = sniff(name, bytes, bytes, size);
            let _ = sniff(name, &bytes[..half], &bytes[half..], size);
        }
    }
});
