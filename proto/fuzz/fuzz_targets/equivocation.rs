//! Hostile bytes for: equivocation.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::envelope::PublicKey;
use reg_proto::equivocation::{Equivocation, EquivocationClaim};
use reg_proto::json;
use reg_proto::key::{KeyDocument, KeyHistory, publisher_id};

fuzz_target!(|bytes: &[u8]| {
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let document = KeyDocument::first(PublicKey::of(&key));
    let keys = KeyHistory::verify(publisher_id(&document.to_payload()), &[document.sign(&key).to_json()]);
    if let (Ok(mut keys), Ok(claim)) = (keys, json::from_slice::<EquivocationClaim>(bytes, 1 << 20)) {
        keys.take_revocations([claim.one.as_str()]);
        let _ = Equivocation::verify(&claim, &keys);
    }
});
