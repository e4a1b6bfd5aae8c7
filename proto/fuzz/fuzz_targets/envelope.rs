//! Fuzzes the parsing of envelopes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::envelope::Envelope;

fuzz_target!(|bytes: &[u8]| {
    let _ = Envelope::from_bytes(bytes, 1 << 20);
});
