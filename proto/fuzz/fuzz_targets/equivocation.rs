//! Fuzzes the parsing of claims of equivocation.

#![no_main]

use std::sync::LazyLock;

use ed25519_dalek::SigningKey;
use libfuzzer_sys::fuzz_target;
use reg_proto::envelope::PublicKey;
use reg_proto::equivocation::{Equivocation, EquivocationClaim};
use reg_proto::json;
use reg_proto::key::{KeyDocument, KeyHistory, publisher_id};

/// The keys that may have signed the input.
static SIGNER: LazyLock<(SigningKey, KeyHistory)> = LazyLock::new(|| {
    let key = SigningKey::from_bytes(&[7; 32]);
    let document = KeyDocument::first(PublicKey::of(&key));
    let keys = KeyHistory::verify(publisher_id(&document.to_payload()), &[document.sign(&key).to_json()]);
    (key, keys.expect("keys"))
});

fuzz_target!(|bytes: &[u8]| {
    let (_, keys) = &*SIGNER;
    if let Ok(claim) = json::from_slice::<EquivocationClaim>(bytes, 1 << 20) {
        let mut keys = keys.clone();
        keys.take_revocations([claim.one.as_str()]);
        let _ = Equivocation::verify(&claim, &keys);
    }
});
