//! Fuzzes the parsing of references, names and tickets.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::name::{ModelName, Publisher, Reference, Tag};
use reg_proto::ticket::Ticket;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = (text.parse::<Reference>(), text.parse::<Publisher>(), text.parse::<ModelName>(), text.parse::<Tag>());
        let _ = text.parse::<Ticket>();
    }
});
