//! Fuzzes the parsing of revocations, bare, in an envelope, and signed.

#![no_main]

use std::sync::LazyLock;

use ed25519_dalek::SigningKey;
use libfuzzer_sys::fuzz_target;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{KeyDocument, KeyHistory, publisher_id};
use reg_proto::revocation::{REVOCATION_TYPE, Revocation};

/// The keys that may have signed the input.
static SIGNER: LazyLock<(SigningKey, KeyHistory)> = LazyLock::new(|| {
    let key = SigningKey::from_bytes(&[7; 32]);
    let document = KeyDocument::first(PublicKey::of(&key));
    let keys = KeyHistory::verify(publisher_id(&document.to_payload()), &[document.sign(&key).to_json()]);
    (key, keys.expect("keys"))
});

fuzz_target!(|bytes: &[u8]| {
    let (key, keys) = &*SIGNER;
    keys.clone().take_revocations([String::from_utf8_lossy(bytes).as_ref()]);
    let _ = Revocation::read_subject(&String::from_utf8_lossy(bytes));
    // Signing takes a hundred times as long, so only parsed input is signed.
    if Revocation::from_payload(bytes).is_ok() {
        let signed = Envelope::sign(REVOCATION_TYPE, bytes.to_vec(), &[key]).to_json();
        keys.clone().take_revocations([signed.as_str()]);
    }
});
