//! Freezes the formats of attestations, mirrors and denylists, with one line for each.

use ed25519_dalek::SigningKey;
use reg_proto::attestation::{Attestation, AttestationKind, AttestationResult, Mirror};
use reg_proto::bounded::Bounded;
use reg_proto::denylist::{Denied, Denylist, DenylistEntry};
use reg_proto::digest::Digest;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{KeyDocument, publisher_id};
use reg_proto::provenance::STATEMENT_PAYLOAD_TYPE;

fn samples() -> String {
    let key = SigningKey::from_bytes(&[7; 32]);
    let publisher = publisher_id(&KeyDocument::first(PublicKey::of(&key)).to_payload());
    let manifest = Digest::of(b"manifest");
    let attestation = Attestation {
        publisher,
        key_document: 1,
        issued: 1_700_000_000,
        kind: AttestationKind::Scan,
        result: AttestationResult::Pass,
        tool: Some("picklescan 0.0.32".parse().expect("a label")),
        note: None,
    };
    let mirror = Mirror {
        publisher,
        key_document: 1,
        issued: 1_700_000_000,
        endpoint: "https://hub.example".to_owned(),
        repository: "org/name".to_owned(),
        commit: "a".repeat(40),
    };
    let deny = |deny, reason: &str| DenylistEntry { deny, reason: reason.parse().expect("a label") };
    let list = Denylist {
        version: 1,
        expires: 1_800_000_000,
        entries: Bounded::first_of([
            deny(Denied::Digest(manifest), "its template leaves the sandbox"),
            deny(Denied::Publisher(publisher), "its key was stolen"),
        ]),
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let sign = |payload| Envelope::sign(STATEMENT_PAYLOAD_TYPE, payload, &[&key]).to_json();
    let lines = [
        text(attestation.to_payload(&manifest)),
        sign(attestation.to_payload(&manifest)),
        text(mirror.to_payload(&manifest)),
        sign(mirror.to_payload(&manifest)),
        text(list.to_bytes()),
    ];
    lines.join("\n") + "\n"
}

#[test]
fn what_is_said_of_models_is_golden() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/trust.txt");
    let samples = samples();
    if std::env::var_os("REG_BLESS").is_some() {
        // For a new format only: a changed line breaks existing nodes and files.
        std::fs::write(path, &samples).expect("written");
    }
    assert_eq!(samples, std::fs::read_to_string(path).unwrap_or_default());
}
