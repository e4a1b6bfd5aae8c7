//! Fuzzes the parsing of a model's `config.json`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::content::model_config;

fuzz_target!(|bytes: &[u8]| {
    let _ = model_config::parse(bytes);
});
