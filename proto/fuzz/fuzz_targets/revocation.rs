//! Hostile bytes for: revocation.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::revocation::Revocation;

fuzz_target!(|bytes: &[u8]| {
    let _ = Revocation::from_payload(bytes);
});
