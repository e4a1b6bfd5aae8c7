//! Hostile bytes for: tag records, bare, in an envelope, and signed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{KeyDocument, KeyHistory, publisher_id};
use reg_proto::tag::{SignedTag, TAG_RECORD_TYPE, TagRecord};

fuzz_target!(|bytes: &[u8]| {
    let _ = TagRecord::from_payload(bytes);
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let document = KeyDocument::first(PublicKey::of(&key));
    let keys = KeyHistory::verify(publisher_id(&document.to_payload()), &[document.sign(&key).to_json()]);
    let keys = keys.expect("keys");
    let _ = SignedTag::verify(&String::from_utf8_lossy(bytes), &keys);
    let _ = SignedTag::verify(&Envelope::sign(TAG_RECORD_TYPE, bytes.to_vec(), &[&key]).to_json(), &keys);
});
