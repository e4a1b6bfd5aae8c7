//! Fuzzes the parsing of provenance statements.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::digest::Digest;
use reg_proto::provenance::Provenance;

fuzz_target!(|bytes: &[u8]| {
    let _ = Provenance::from_payload(bytes, &Digest::of(b"manifest"));
});
