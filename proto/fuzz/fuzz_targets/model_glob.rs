//! Fuzzes the parsing of patterns of model names.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::glob::ModelGlob;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(glob) = text.parse::<ModelGlob>() {
        let _ = glob.covers(&"a-model.b".parse().expect("a name"));
    }
});
