//! Fuzzes the parsing of tombstones, and of listings with records and cards.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::catalogue::{Listing, Tombstone};

fuzz_target!(|bytes: &[u8]| {
    let _ = Tombstone::from_payload(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Listing::Tombstone { tombstone: text.to_owned() }.read();
    let (record, card) = text.split_once('\n').unwrap_or((text, ""));
    let _ = Listing::Record { record: record.to_owned(), card: None }.read();
    let _ = Listing::Record { record: record.to_owned(), card: Some(card.to_owned()) }.read();
});
