//! Fuzzes what recognises the formats of other frameworks, and reads what their files name.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use reg_proto::content::inspect;
use reg_proto::content::parts::Parts;
use reg_proto::content::{onnx, safetensors, shards};
use reg_proto::path::SafePath;

const NAMES: [&str; 14] = [
    "x.npz",
    "x.h5",
    "x.keras",
    "x.task",
    "x.onnx",
    "x.xml",
    "x.ubj",
    "x.msgpack",
    "model.json",
    "tensor-cache.json",
    "saved_model.pb",
    "variables.index",
    "x.gguf.part1of2",
    "x-00001-of-00002.gguf",
];

fuzz_target!(|bytes: &[u8]| {
    let size = bytes.len() as u64;
    let mut parts = Parts::default();
    for name in NAMES {
        let path: SafePath = name.parse().expect("a path");
        let looked = inspect::look(&path, &mut Cursor::new(bytes), size).map(|it| it.format);
        if let Ok(inspected) = inspect::inspect(&path, &mut Cursor::new(bytes), size) {
            assert_eq!(looked.ok(), Some(inspected.format));
            parts.file(&path, &inspected);
        }
    }
    for name in NAMES {
        let _ = parts.format(&name.parse().expect("a path"));
    }
    let _ = parts.gaps();
    let _ = onnx::read(&mut Cursor::new(bytes), size);
    let _ = safetensors::read(&mut { bytes }, size, 8 + size);
    let _ = (shards::tfjs(bytes), shards::mlc(bytes));
});
