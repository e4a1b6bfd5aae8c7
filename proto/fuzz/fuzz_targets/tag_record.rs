//! Fuzzes the parsing of tag records, bare, in an envelope, and signed.

#![no_main]

use std::sync::LazyLock;

use ed25519_dalek::SigningKey;
use libfuzzer_sys::fuzz_target;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{KeyDocument, KeyHistory, publisher_id};
use reg_proto::tag::{SignedTag, TAG_RECORD_TYPE, TagRecord};

/// The keys that may have signed the input.
static SIGNER: LazyLock<(SigningKey, KeyHistory)> = LazyLock::new(|| {
    let key = SigningKey::from_bytes(&[7; 32]);
    let document = KeyDocument::first(PublicKey::of(&key));
    let keys = KeyHistory::verify(publisher_id(&document.to_payload()), &[document.sign(&key).to_json()]);
    (key, keys.expect("keys"))
});

fuzz_target!(|bytes: &[u8]| {
    let (key, keys) = &*SIGNER;
    let _ = SignedTag::verify(&String::from_utf8_lossy(bytes), keys);
    let _ = SignedTag::of_verified(&String::from_utf8_lossy(bytes));
    // Signing takes a hundred times as long, so only parsed input is signed.
    if TagRecord::from_payload(bytes).is_ok() {
        let signed = Envelope::sign(TAG_RECORD_TYPE, bytes.to_vec(), &[key]).to_json();
        let _ = SignedTag::verify(&signed, keys);
    }
});
