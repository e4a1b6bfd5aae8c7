//! Freezes the documents and messages of the catalogue, with one line for each form.

use ed25519_dalek::SigningKey;
use reg_proto::bounded::Bounded;
use reg_proto::catalogue::{
    CARD_TYPE, Card, Claimed, Collection, CollectionEntry, Computed, ListingKey, ListingValue,
    Reconciliation, SampleQuestion, SyncBounds, TOMBSTONE_TYPE, Tombstone, Trie, answer_sample,
};
use reg_proto::descriptor::Descriptor;
use reg_proto::digest::Digest;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{KeyDocument, publisher_id};
use reg_proto::manifest::MANIFEST_TYPE;
use reg_proto::name::Tag;
use reg_proto::wire::{Message, Request, Response};

use crate::syncs::{Kind, Node, listing, publisher};

/// Documents of the publisher of the other golden files.
fn documents() -> Vec<String> {
    let key = SigningKey::from_bytes(&[7; 32]);
    let publisher = publisher_id(&KeyDocument::first(PublicKey::of(&key)).to_payload());
    let manifest = Digest::of(b"manifest");
    let names = |names: &[&str]| names.iter().map(|it| it.parse().expect("a short name")).collect::<Vec<_>>();
    let label = |text: &str| Some(text.parse().expect("a label"));
    let card = Card {
        publisher,
        model: "Tiny-1".parse().expect("a name"),
        manifest,
        claimed: Claimed {
            title: label("Tiny 1"),
            task: label("text-generation"),
            summary: label("Büchner in 500 million parameters"),
            licence: label("apache-2.0"),
            languages: Bounded::first_of(names(&["de", "pt-BR"])),
            base: label("Qwen/Qwen2.5-0.5B"),
        },
        computed: Computed {
            formats: Bounded::first_of(names(&["gguf", "safetensors"])),
            parameters: Some(494_032_768),
            quantisations: Bounded::first_of(names(&["Q4_K_M"])),
            bytes: 988_097_824,
            context: Some(32_768),
            base_manifest: Some(Digest::of(b"base")),
            content: Digest::of(b"content"),
        },
        key_document: 1,
        issued: 1_700_000_000,
    };
    let short = Card {
        claimed: Claimed::default(),
        computed: Computed {
            formats: Bounded::empty(),
            parameters: None,
            quantisations: Bounded::empty(),
            context: None,
            base_manifest: None,
            ..card.computed.clone()
        },
        ..card.clone()
    };
    let tombstone = Tombstone {
        publisher,
        model: "Tiny-1".parse().expect("a name"),
        tag: Tag::latest(),
        seq: 2,
        key_document: 1,
        issued: 1_700_000_000,
    };
    let entry = |text: String, words: Option<&str>| CollectionEntry {
        collect: text.parse().expect("an entry"),
        words: words.and_then(label),
    };
    let collection = Collection {
        version: 1,
        name: "small-models".parse().expect("a name"),
        title: "Small models".parse().expect("a label"),
        words: label("Models for one board"),
        entries: Bounded::first_of([
            entry(publisher.to_string(), Some("careful people")),
            entry(format!("{publisher}/Tiny-1"), None),
            entry(format!("{publisher}/Tiny-1:latest"), None),
            entry(format!("{publisher}/Tiny-1@{manifest}"), None),
        ]),
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let signed = Envelope::sign(CARD_TYPE, card.to_payload(), &[&key]).to_json();
    let referrer = Card::referrer(Descriptor::new(MANIFEST_TYPE, manifest, 8), &signed);
    vec![
        text(card.to_payload()),
        text(short.to_payload()),
        text(tombstone.to_payload()),
        text(collection.to_bytes()),
        signed,
        Envelope::sign(TOMBSTONE_TYPE, tombstone.to_payload(), &[&key]).to_json(),
        text(referrer.to_bytes()),
    ]
}

/// Returns the requests and answers of a sync, and of a sample.
fn messages() -> Vec<Vec<u8>> {
    let (mut asker, mut peer) = (Node::default(), Node::default());
    for tag in 0..40 {
        asker.merge(listing(0, tag, 1, Kind::Card));
        peer.merge(listing(0, tag, 1, Kind::Card));
    }
    peer.merge(listing(0, 3, 2, Kind::Tombstone));
    peer.merge(listing(1, 0, 1, Kind::Card));
    peer.merge(listing(1, 1, 1, Kind::Plain));
    let kept = [(publisher(0), false), (publisher(1), true), (publisher(2), true)];
    let mut sync = Reconciliation::new(kept, SyncBounds::default());
    let mut messages = Vec::new();
    while let Some(request) = sync.next_request(&asker.tries) {
        let answer = peer.answer(&request);
        messages.extend([request.to_bytes(), answer.to_bytes()]);
        let brought = sync.take(&answer).expect("an honest peer");
        brought.listings.into_iter().for_each(|(_, listing)| asker.merge(listing));
    }
    let question = SampleQuestion { count: 2, seed: 9 };
    let key = listing(1, 0, 1, Kind::Card).read().expect("a listing").key;
    let sample = answer_sample(&peer, question, [(publisher(1), key)]);
    messages.extend([Request::GetSample(question).to_bytes(), Response::Listings(sample).to_bytes()]);
    messages
}

fn samples() -> String {
    let mut lines = documents();
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    lines.extend(messages().iter().map(|message| hex(message)));
    let record = listing(0, 0, 1, Kind::Card).read().expect("a listing");
    let tombstone = listing(0, 0, 1, Kind::Tombstone).read().expect("a listing");
    lines.extend([hex(record.key.as_bytes()), hex(record.value.as_bytes()), hex(tombstone.value.as_bytes())]);
    let item =
        |it: u8| (ListingKey::from_bytes([it.wrapping_mul(37); 32]), ListingValue::from_bytes([it; 32]));
    for count in [0, 3, 17, 100] {
        lines.push(hex(&(0..count).map(item).collect::<Trie>().root()));
    }
    lines.join("\n") + "\n"
}

#[test]
fn documents_and_messages_of_the_catalogue_are_golden() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/catalogue.txt");
    let samples = samples();
    if std::env::var_os("REG_BLESS").is_some() {
        std::fs::write(path, &samples).expect("the golden file is written");
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    for (number, (found, expected)) in samples.lines().zip(golden.lines()).enumerate() {
        assert_eq!(found, expected, "line {}", number + 1);
    }
    assert_eq!(samples.lines().count(), golden.lines().count());
}
