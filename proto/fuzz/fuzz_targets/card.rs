//! Fuzzes the parsing of model cards.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::content::card;

fuzz_target!(|bytes: &[u8]| {
    let _ = card::parse(bytes);
});
