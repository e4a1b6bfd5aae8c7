//! What holds of listings: what they are made of, and the order among those of a tag.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::bounded::Bounded;
use crate::catalogue::{CARD_TYPE, Card, Claimed, Computed, TOMBSTONE_TYPE, Tombstone};
use crate::envelope::PublicKey;
use crate::key::{KeyDocument, publisher_id};
use crate::tag::{ManifestPointer, TAG_RECORD_TYPE};

fn keys() -> (SigningKey, KeyHistory) {
    let key = SigningKey::from_bytes(&[1; 32]);
    let document = KeyDocument::first(PublicKey::of(&key));
    let id = publisher_id(&document.to_payload());
    let history = KeyHistory::verify(id, &[document.sign(&key).to_json()]).unwrap();
    (key, history)
}

fn record(publisher: PublisherId) -> TagRecord {
    TagRecord {
        publisher,
        model: "Tiny".parse().unwrap(),
        tag: Tag::latest(),
        seq: 3,
        prev: None,
        manifest: ManifestPointer { digest: Digest::of(b"m"), size: 1 },
        key_document: 1,
        issued: 1_700_000_000,
        fresh_until: None,
        expires: None,
        settles: Bounded::empty(),
        min_usable: None,
    }
}

fn card(publisher: PublisherId) -> Card {
    let content = Digest::of(b"content");
    Card {
        publisher,
        model: "tiny".parse().unwrap(),
        manifest: Digest::of(b"m"),
        claimed: Claimed::default(),
        computed: Computed {
            formats: Bounded::empty(),
            parameters: None,
            quantisations: Bounded::empty(),
            bytes: 1,
            context: None,
            base_manifest: None,
            content,
        },
        key_document: 1,
        issued: 1_700_000_000,
    }
}

fn listing(record: &TagRecord, card: Option<&Card>, key: &SigningKey) -> Listing {
    Listing::Record {
        record: Envelope::sign(TAG_RECORD_TYPE, record.to_payload(), &[key]).to_json(),
        card: card.map(|card| Envelope::sign(CARD_TYPE, card.to_payload(), &[key]).to_json()),
    }
}

#[test]
fn a_listing_is_a_record_with_the_card_of_its_manifest() {
    let (key, keys) = keys();
    let (record, card) = (record(keys.publisher()), card(keys.publisher()));
    let whole = listing(&record, Some(&card), &key);
    let signed = SignedListing::verify(&whole, &keys).unwrap();
    assert_eq!(signed.to_listing(), whole);
    assert_eq!(signed.facts(), &whole.read().unwrap());
    assert!(signed.card().is_some() && signed.tombstone().is_none());
    let bare = SignedListing::verify(&whole.clone().without_card(), &keys).unwrap();
    assert_eq!(bare.facts().key, signed.facts().key);
    assert_ne!(bare.facts().value, signed.facts().value);
    let refused =
        |card: Card| SignedListing::verify(&listing(&record, Some(&card), &key), &keys).unwrap_err();
    let of_other = Card { manifest: Digest::of(b"n"), ..card.clone() };
    assert!(matches!(refused(of_other), ListingError::OtherManifest { .. }));
    let of_other = Card { model: "tinier".parse().unwrap(), ..card.clone() };
    assert!(matches!(refused(of_other), ListingError::OtherModel { .. }));
    let of_other = Card { publisher: PublisherId::from_bytes([2; 32]), ..card.clone() };
    assert!(matches!(refused(of_other), ListingError::Card(CardError::OtherPublisher { .. })));
    let forged = listing(&record, Some(&card), &SigningKey::from_bytes(&[2; 32]));
    assert!(matches!(SignedListing::verify(&forged, &keys), Err(ListingError::Record(_))));
    assert!(matches!(forged.read(), Ok(facts) if facts == *signed.facts()), "reading verifies nothing");
}

#[test]
fn a_value_is_that_of_the_payloads() {
    let (key, keys) = keys();
    let record = record(keys.publisher());
    let other = SigningKey::from_bytes(&[2; 32]);
    let sign = |keys: &[&SigningKey]| {
        let record = Envelope::sign(TAG_RECORD_TYPE, record.to_payload(), keys).to_json();
        Listing::Record { record, card: None }
    };
    let (one, two) = (sign(&[&key, &other]), sign(&[&other, &key]));
    assert_ne!(one, two);
    assert_eq!(one.read().unwrap(), two.read().unwrap());
    let cased = TagRecord { model: "tINY".parse().unwrap(), ..record.clone() };
    assert_eq!(listing(&cased, None, &key).read().unwrap().key, one.read().unwrap().key);
    let tag = |text: &str| ListingKey::of(&record.model, &text.parse().unwrap());
    assert_ne!(tag("v1"), tag("V1"), "tags keep their case");
}

/// The rule as a table: each listing supersedes all below it.
#[test]
fn newer_then_tombstone_then_card() {
    let (key, keys) = keys();
    let publisher = keys.publisher();
    let tombstone = |seq| {
        let Card { model, key_document, issued, .. } = card(publisher);
        let tombstone = Tombstone { publisher, model, tag: Tag::latest(), seq, key_document, issued };
        let envelope = Envelope::sign(TOMBSTONE_TYPE, tombstone.to_payload(), &[&key]);
        Listing::Tombstone { tombstone: envelope.to_json() }
    };
    let numbered = |seq| TagRecord { seq, ..record(publisher) };
    let carded = |seq, issued| {
        let card = Card { issued, ..card(publisher) };
        listing(&numbered(seq), Some(&card), &key)
    };
    let plain = |seq| listing(&numbered(seq), None, &key);
    let table = [
        plain(5),
        tombstone(4),
        carded(4, 20),
        carded(4, 10),
        plain(4),
        tombstone(3),
        carded(3, 30),
        plain(3),
    ];
    let facts = table.map(|it| *SignedListing::verify(&it, &keys).unwrap().facts());
    for (at, higher) in facts.iter().enumerate() {
        assert!(!higher.supersedes(higher));
        for lower in &facts[at + 1..] {
            assert!(higher.supersedes(lower) && !lower.supersedes(higher), "{higher:?} {lower:?}");
        }
    }
}

fn facts() -> impl Strategy<Value = ListingFacts> {
    let card = prop::option::of((1..3_u64, 1..3_u64));
    (1..3_u64, 1..4_u64, any::<bool>(), card, 0..3_u8).prop_map(
        |(document, seq, is_tombstone, card, value)| {
            let card = if is_tombstone { None } else { card };
            // Equal values mean equal payloads, and so equal facts: the value names them all.
            let named = format!("{document} {seq} {is_tombstone} {card:?} {value}");
            ListingFacts {
                publisher: PublisherId::from_bytes([1; 32]),
                key: ListingKey([1; 32]),
                value: ListingValue(*Digest::of(named.as_bytes()).as_bytes()),
                order: (document, seq),
                is_tombstone,
                card,
            }
        },
    )
}

fn merge(one: ListingFacts, two: ListingFacts) -> ListingFacts {
    if two.supersedes(&one) { two } else { one }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn superseding_is_a_strict_total_order(one in facts(), two in facts(), three in facts()) {
        prop_assert!(!one.supersedes(&one));
        prop_assert_eq!(one.supersedes(&two) || two.supersedes(&one), one != two);
        prop_assert!(!(one.supersedes(&two) && two.supersedes(&one)));
        if one.supersedes(&two) && two.supersedes(&three) {
            prop_assert!(one.supersedes(&three));
        }
        prop_assert_eq!(merge(one, two), merge(two, one));
        prop_assert_eq!(merge(merge(one, two), three), merge(one, merge(two, three)));
        prop_assert_eq!(merge(one, one), one);
    }
}
