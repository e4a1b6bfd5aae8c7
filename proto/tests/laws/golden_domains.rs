//! Freezes what a domain says and how a publisher's profile names it back, with one line for each form.

use ed25519_dalek::SigningKey;
use reg_proto::bounded::Bounded;
use reg_proto::domain_record::DomainRecord;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{KeyDocument, publisher_id};
use reg_proto::profile::{PROFILE_TYPE, Profile};
use reg_proto::wire::{Message, ProfileText, Records, Response};

fn samples() -> String {
    let key = SigningKey::from_bytes(&[7; 32]);
    let publisher = publisher_id(&KeyDocument::first(PublicKey::of(&key)).to_payload());
    let profile = Profile {
        publisher,
        seq: 1,
        prev: None,
        domain: Some("bücher.example".parse().expect("a domain")),
        title: Some("Bücher Research".parse().expect("a label")),
        url: Some("https://xn--bcher-kva.example/models".parse().expect("an address")),
        key_document: 1,
        issued: 1_700_000_000,
    };
    let signed = Envelope::sign(PROFILE_TYPE, profile.to_payload(), &[&key]).to_json();
    let peer = "/ip4/198.51.100.7/tcp/4600/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    let record = DomainRecord { publisher, peers: Bounded::first_of([peer.parse().expect("an address")]) };
    let response =
        Response::Records(Records { profile: ProfileText::new(signed.clone()), ..Records::default() });
    let lines = [
        String::from_utf8(profile.to_payload()).expect("JSON"),
        signed,
        record.to_file(),
        record.to_txt(),
        data_encoding::HEXLOWER.encode(&response.to_bytes()),
    ];
    lines.join("\n") + "\n"
}

#[test]
fn profiles_and_records_of_domains_are_golden() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/domains.txt");
    let samples = samples();
    if std::env::var_os("REG_BLESS").is_some() {
        std::fs::write(path, &samples).expect("the golden file is written");
    }
    assert_eq!(samples, std::fs::read_to_string(path).unwrap_or_default());
}
