//! Fuzzes the parsing of key documents, bare, in an envelope, and signed as a publisher's first, and of inheritance
//! lists.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::envelope::Envelope;
use reg_proto::key::{
    Inheritance, KEY_DOCUMENT_TYPE, KEY_DOCUMENT_V2_TYPE, KeyDocument, KeyHistory, publisher_id,
};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let _ = KeyHistory::verify(publisher_id(b""), &[text]);
    let _ = KeyHistory::from_json(publisher_id(b""), bytes);
    let _ = KeyHistory::read_json(bytes);
    let _ = Inheritance::from_bytes(bytes);
    let _ = Inheritance::from_text(&String::from_utf8_lossy(bytes));
    // Signing takes a hundred times as long, so only parsed input is signed.
    for payload_type in [KEY_DOCUMENT_TYPE, KEY_DOCUMENT_V2_TYPE] {
        if KeyDocument::from_payload(payload_type, bytes).is_ok() {
            let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
            let signed = Envelope::sign(payload_type, bytes.to_vec(), &[&key]).to_json();
            let _ = KeyHistory::verify(publisher_id(bytes), &[signed]);
        }
    }
});
