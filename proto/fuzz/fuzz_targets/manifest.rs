//! Fuzzes the parsing of manifests.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::manifest::{Manifest, ModelConfig};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::from_bytes(bytes) {
        assert_eq!(Manifest::from_bytes(&manifest.to_bytes()).ok(), Some(manifest));
    }
    let _ = ModelConfig::from_bytes(bytes);
});
