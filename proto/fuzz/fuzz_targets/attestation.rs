//! Fuzzes the parsing of attestations and mirrors, bare and in envelopes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::attestation::{Attestation, Mirror, Said};
use reg_proto::digest::Digest;

fuzz_target!(|bytes: &[u8]| {
    let manifest = Digest::of(b"manifest");
    let _ = Attestation::from_payload(bytes, &manifest);
    let _ = Mirror::from_payload(bytes, &manifest);
    let _ = Said::read(&String::from_utf8_lossy(bytes), &manifest);
});
