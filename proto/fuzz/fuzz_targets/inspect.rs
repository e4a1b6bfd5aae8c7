//! Fuzzes the parsing of whole model files.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::content::inspect::inspect;

fuzz_target!(|bytes: &[u8]| {
    for name in ["README.md", "config.json", "tokenizer_config.json", "m.safetensors", "m.gguf", "a.index.json", "x.bin"] {
        let path = name.parse().expect("a path");
        let _ = inspect(&path, &mut std::io::Cursor::new(bytes), bytes.len() as u64);
    }
});
