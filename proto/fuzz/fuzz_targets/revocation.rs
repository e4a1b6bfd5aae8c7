//! Hostile bytes for: revocations, bare, in an envelope, and signed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{KeyDocument, KeyHistory, publisher_id};
use reg_proto::revocation::{REVOCATION_TYPE, Revocation};

fuzz_target!(|bytes: &[u8]| {
    let _ = Revocation::from_payload(bytes);
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let document = KeyDocument::first(PublicKey::of(&key));
    let keys = KeyHistory::verify(publisher_id(&document.to_payload()), &[document.sign(&key).to_json()]);
    let mut keys = keys.expect("keys");
    let signed = Envelope::sign(REVOCATION_TYPE, bytes.to_vec(), &[&key]).to_json();
    keys.take_revocations([String::from_utf8_lossy(bytes).as_ref(), &signed]);
});
