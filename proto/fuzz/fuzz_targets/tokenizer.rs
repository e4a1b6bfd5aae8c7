//! Fuzzes the parsing of a tokenizer's configuration, its chat templates, and the index of sharded weights.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::content::{tokenizer_config, weight_index};

fuzz_target!(|bytes: &[u8]| {
    let _ = tokenizer_config::parse(bytes);
    let _ = tokenizer_config::template_text(bytes);
    let _ = weight_index::parse(bytes);
});
