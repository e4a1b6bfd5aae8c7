//! Hostile bytes for: delegation.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::delegation::Delegation;

fuzz_target!(|bytes: &[u8]| {
    let _ = Delegation::from_payload(bytes);
});
