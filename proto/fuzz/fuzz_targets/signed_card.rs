//! Fuzzes the parsing of cards of the catalogue, and what fits them into their bound.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::catalogue::{Card, ShortName};
use reg_proto::limits::CARD_BYTES_MAX;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<ShortName>();
    }
    if let Ok(card) = Card::from_payload(bytes) {
        assert!(card.fitted().to_payload().len() <= CARD_BYTES_MAX);
    }
});
