//! Laws of pre-rotation and inheritance: which keys can write the next document, and what then counts that older keys
//! have signed. The signatures are real.

use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;
use proptest::collection::{btree_set, vec};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use reg_proto::digest::Digest;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{Inheritance, KeyDocument, KeyHistory, Next, NextKeys, publisher_id};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn publics(seeds: &BTreeSet<u8>) -> Vec<PublicKey> {
    seeds.iter().map(|seed| PublicKey::of(&key(*seed))).collect()
}

fn signed(document: &KeyDocument, by: &BTreeSet<u8>) -> String {
    let keys: Vec<SigningKey> = by.iter().map(|seed| key(*seed)).collect();
    let keys: Vec<&SigningKey> = keys.iter().collect();
    Envelope::sign(document.payload_type(), document.to_payload(), &keys).to_json()
}

fn document(
    before: Option<&KeyDocument>,
    keys: &BTreeSet<u8>,
    threshold: usize,
    next: NextKeys,
) -> KeyDocument {
    let first = KeyDocument::first(PublicKey::of(&key(0)));
    KeyDocument {
        version: before.map_or(1, |it| it.version + 1),
        keys: publics(keys),
        threshold,
        previous: before.map(|it| Digest::of(&it.to_payload())),
        next: Next::Keys(next),
        inherits: before.map(|_| Inheritance::default().digest()),
        ..first
    }
}

proptest! {
    /// Keys 1 to 4 sign today, keys 5 to 9 are committed to. `held` are the keys of the writer of document 2: the
    /// publisher's or a thief's.
    #[test]
    fn the_next_document_needs_the_committed_keys_and_no_other(
        next in btree_set(5_u8..10, 1..5),
        next_threshold in 1_usize..5,
        keys in btree_set(1_u8..12, 1..6),
        threshold in 1_usize..6,
        held in btree_set(1_u8..12, 1..8),
    ) {
        let next_threshold = next_threshold.min(next.len());
        let threshold = threshold.min(keys.len());
        let today = BTreeSet::from([1, 2, 3, 4]);
        let first = document(None, &today, 2, NextKeys::of(&publics(&next), next_threshold));
        let second = document(Some(&first), &keys, threshold, NextKeys::of(&publics(&today), 1));
        let texts = [signed(&first, &today), signed(&second, &held)];
        let verified = KeyHistory::verify(publisher_id(&first.to_payload()), &texts);
        let own = held.intersection(&keys).count() >= threshold;
        let revealed = next.iter().filter(|it| keys.contains(it) && held.contains(it)).count() >= next_threshold;
        prop_assert_eq!(verified.is_ok(), own && revealed, "{:?}", verified.err());
    }

    /// Of what older documents have signed, exactly the listed statements count, whatever was revoked.
    #[test]
    fn a_statement_of_an_older_document_counts_if_it_is_listed(
        listed in vec(any::<bool>(), 6),
        documents in 2_u64..5,
    ) {
        let statements: Vec<Envelope> = (0..6_u8)
            .map(|number| Envelope::sign("t", vec![number], &[&key(1)]))
            .collect();
        let list = statements.iter().zip(&listed).filter(|(_, listed)| **listed);
        let list = Inheritance::of(list.map(|(it, _)| Digest::of(&it.payload))).expect("a short list");
        let seeds = |version: u64| BTreeSet::from([u8::try_from(version).expect("small")]);
        let next = |version: u64| NextKeys::of(&publics(&seeds(version + 1)), 1);
        let mut before = document(None, &seeds(1), 1, next(1));
        let publisher = publisher_id(&before.to_payload());
        let mut texts = vec![signed(&before, &seeds(1))];
        for version in 2..=documents {
            let mut it = document(Some(&before), &seeds(version), 1, next(version));
            if version == documents {
                it.inherits = Some(list.digest());
            }
            texts.push(signed(&it, &seeds(version)));
            before = it;
        }
        texts.push(list.to_text());
        let history = KeyHistory::verify(publisher, &texts).expect("a history");
        for (statement, listed) in statements.iter().zip(&listed) {
            prop_assert_eq!(history.check(statement, "t", 1).is_ok(), *listed);
        }
        let newest = Envelope::sign("t", b"new".to_vec(), &[&key(u8::try_from(documents).expect("small"))]);
        prop_assert!(history.check(&newest, "t", documents).is_ok());
        let read = KeyHistory::read_json(history.to_json().as_bytes());
        prop_assert_eq!(read.expect("its own form"), history);
    }
}
