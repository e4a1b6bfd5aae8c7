//! Tests what is taken into the catalogue, and what a search shows of it.

use std::path::Path;
use std::thread;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use reg_api::search::{FoundModel, SearchRequest};
use reg_catalogue::{EntryName, PublisherTexts};
use reg_proto::bounded::Bounded;
use reg_proto::catalogue::{CARD_TYPE, Card, Claimed, Computed, Listing, SignedListing};
use reg_proto::digest::Digest;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{Inheritance, KeyDocument, KeyHistory, Next, NextKeys, publisher_id};
use reg_proto::tag::{ManifestPointer, TAG_RECORD_TYPE, TagRecord};

use super::*;
use crate::registry::trust::{Sharing, SharingRules, TrustFile};
use crate::store::CacheLimits;

/// A publisher with a first key and the one that may replace it.
struct Publisher {
    first: SigningKey,
    second: SigningKey,
    document: KeyDocument,
    keys: KeyHistory,
}

impl Publisher {
    fn new(seed: u8) -> Self {
        let [first, second] = [[seed; 32], [seed | 0x80; 32]].map(|it| SigningKey::from_bytes(&it));
        let document = KeyDocument {
            next: Next::Keys(NextKeys::of(&[PublicKey::of(&second)], 1)),
            ..KeyDocument::first(PublicKey::of(&first))
        };
        let id = publisher_id(&document.to_payload());
        let keys = KeyHistory::verify(id, &[document.sign(&first).to_json()]).unwrap();
        Self { first, second, document, keys }
    }

    /// Returns the keys after the second one has replaced the first, and has taken over another statement alone.
    fn rotated(&self) -> KeyHistory {
        let list = Inheritance::of([Digest::of(b"another statement")]).unwrap();
        let third = PublicKey::of(&SigningKey::from_bytes(&[0x7f; 32]));
        let second = KeyDocument {
            version: 2,
            keys: vec![PublicKey::of(&self.second)],
            previous: Some(Digest::of(&self.document.to_payload())),
            next: Next::Keys(NextKeys::of(&[third], 1)),
            inherits: Some(list.digest()),
            ..self.document.clone()
        };
        let [first, second] = [self.document.sign(&self.first), second.sign(&self.second)];
        let texts = [first.to_json(), second.to_json(), list.to_text()];
        KeyHistory::verify(self.keys.publisher(), &texts).unwrap()
    }

    /// Returns the listing of a tag that means `manifest`, with a card of this title that claims this content.
    fn listing(&self, name: &str, manifest: &[u8], title: &str, content: &[u8]) -> SignedListing {
        let (model, tag) = name.split_once(':').unwrap_or((name, "latest"));
        let (publisher, manifest) = (self.keys.publisher(), Digest::of(manifest));
        let record = TagRecord {
            publisher,
            model: model.parse().unwrap(),
            tag: tag.parse().unwrap(),
            seq: 1,
            prev: None,
            manifest: ManifestPointer { digest: manifest, size: 1 },
            key_document: 1,
            issued: 1_700_000_000,
            fresh_until: None,
            expires: None,
            settles: Bounded::empty(),
            min_usable: None,
        };
        let card = Card {
            publisher,
            model: model.parse().unwrap(),
            manifest,
            claimed: Claimed { title: Some(title.parse().unwrap()), ..Claimed::default() },
            computed: Computed {
                formats: Bounded::empty(),
                parameters: None,
                quantisations: Bounded::empty(),
                bytes: 1,
                context: None,
                base_manifest: None,
                content: Digest::of(content),
            },
            key_document: 1,
            issued: 1_700_000_000,
        };
        let sign = |of, payload| Envelope::sign(of, payload, &[&self.first]).to_json();
        let record = sign(TAG_RECORD_TYPE, record.to_payload());
        let card = Some(sign(CARD_TYPE, card.to_payload()));
        SignedListing::verify(&Listing::Record { record, card }, &self.keys).unwrap()
    }

    fn list(&self, catalogue: &Cataloguing, name: &str, manifest: &[u8], title: &str, content: &[u8]) {
        let listing = self.listing(name, manifest, title, content);
        assert_eq!(catalogue.take(&listing, &self.keys), Taken::New, "{name}");
    }
}

fn node(dir: &Path, known: &[&Publisher], rules: &SharingRules) -> Cataloguing {
    let store = Store::open(&dir.join("store"), CacheLimits::default()).unwrap();
    let file = TrustFile::open(dir.join("trust.toml"));
    for (number, it) in known.iter().enumerate() {
        file.add(&format!("known-{number}").parse().unwrap(), it.keys.publisher()).unwrap();
    }
    let sharing = Sharing::new(rules, &file).unwrap();
    let trust = Arc::new(Trust::new(store.clone(), file, sharing));
    Cataloguing::new(store, trust, Some(dir.join("catalogue")))
}

fn search(catalogue: &Cataloguing, words: &str) -> Vec<FoundModel> {
    let request = SearchRequest { words: words.to_owned(), ..SearchRequest::default() };
    catalogue.search(&request, &|_| None).unwrap().results
}

#[test]
fn a_listing_of_retired_keys_is_not_taken_while_newer_ones_come() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::new(1);
    let node = node(dir.path(), &[&publisher], &SharingRules::default());
    publisher.list(&node, "one", b"one", "One", b"one");
    let late = publisher.listing("two", b"two", "Two", b"two");
    thread::scope(|scope| {
        // As if the newer keys were just being taken.
        let taking = node.taking.lock().unwrap();
        let taken = scope.spawn(|| node.take(&late, &publisher.keys));
        // Until the other thread waits. If it does not yet, what is tested holds all the same.
        thread::sleep(Duration::from_millis(300));
        let opened = node.opened().unwrap();
        let texts = PublisherTexts {
            publisher: publisher.keys.publisher(),
            key_documents: publisher.rotated().texts(),
            revocations: Vec::new(),
        };
        opened.catalogue.put_publisher(texts).unwrap();
        opened.forget_texts(&publisher.keys.publisher());
        drop(taking);
        assert_eq!(taken.join().unwrap(), Taken::Refused);
    });
    node.revoke(&publisher.rotated());
    assert_eq!(node.keys(publisher.keys.publisher()).unwrap().version(), 2);
    assert!(node.opened().unwrap().catalogue.names(&publisher.keys.publisher()).is_empty());
}

#[test]
fn a_denial_ends_with_its_list() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::new(1);
    let node = node(dir.path(), &[], &SharingRules::default());
    let listing = publisher.listing("one", b"one", "One", b"one");
    node.trust.deny_for_test([Digest::of(b"one")]);
    assert_eq!(node.take(&listing, &publisher.keys), Taken::Refused);
    assert!(node.is_denied(&listing.to_listing()), "it is not verified again");
    node.commit();
    node.trust.deny_for_test([]);
    assert!(!node.is_denied(&listing.to_listing()));
    assert_eq!(node.take(&listing, &publisher.keys), Taken::New);
}

#[test]
fn what_is_denied_after_it_was_listed_is_shown_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::new(1);
    let node = node(dir.path(), &[], &SharingRules::default());
    publisher.list(&node, "one", b"one", "One", b"one");
    publisher.list(&node, "two", b"two", "Two", b"two");
    node.trust.deny_for_test([Digest::of(b"one")]);
    let found: Vec<String> = search(&node, "").iter().map(|it| it.model.to_string()).collect();
    assert_eq!(found, ["two"]);
    node.trust.deny_for_test([]);
    assert_eq!(search(&node, "").len(), 2, "the list has changed its mind");
}

#[test]
fn a_result_has_the_facts_of_its_own_publisher_and_claims_of_content_join_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let [known, copier, claimer] = [1, 2, 3].map(Publisher::new);
    let node = node(dir.path(), &[&known], &SharingRules::default());
    known.list(&node, "real", b"m", "Real", b"content");
    // One signs the same manifest, and the other claims that its own has the same content.
    copier.list(&node, "copy", b"m", "Cheap casino", b"content");
    claimer.list(&node, "claim", b"other", "Cheap pills", b"content");
    let found = search(&node, "casino");
    assert_eq!((found[0].publisher, found[0].title.as_deref()), (known.keys.publisher(), Some("Real")));
    assert_eq!(found[0].also.len(), 1);
    let found = search(&node, "pills");
    assert_eq!(found[0].publisher, claimer.keys.publisher());
    assert_eq!(found[0].title.as_deref(), Some("Cheap pills"));
    assert!(found[0].also.is_empty(), "{found:?}");
    assert_eq!(search(&node, "").len(), 2);
}

#[test]
fn a_hidden_publisher_is_no_name_of_a_result() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = [1, 2].map(Publisher::new);
    let before = node(dir.path(), &[&two], &SharingRules::default());
    one.list(&before, "one", b"m", "One", b"content");
    two.list(&before, "two", b"m", "Two", b"content");
    let found = search(&before, "one");
    assert_eq!((found[0].publisher, found[0].also.len()), (two.keys.publisher(), 1));
    drop(before);
    // From now on the node takes models of the first publisher alone.
    let publishers = vec![one.keys.publisher().to_string().parse().unwrap()];
    let rules = SharingRules { publishers: Some(publishers), ..SharingRules::default() };
    let after = node(dir.path(), &[], &rules);
    let found = search(&after, "one");
    assert_eq!((found[0].publisher, found[0].also.len()), (one.keys.publisher(), 0));
}

#[test]
fn the_heads_of_a_publisher_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::new(1);
    let id = publisher.keys.publisher();
    let before = node(dir.path(), &[&publisher], &SharingRules::default());
    assert!(before.heads(id, 10, &|_| true).is_none());
    for name in ["one", "two:v1", "two:v2"] {
        publisher.list(&before, name, name.as_bytes(), "Title", name.as_bytes());
    }
    let root = before.root_of(&id);
    before.commit();
    drop(before);
    let after = node(dir.path(), &[], &SharingRules::default());
    assert!(root.is_some() && after.root_of(&id) == root, "it changes with what is listed alone");
    let heads = |max: usize, model: Option<&str>| {
        let is_wanted = |it: &EntryName| model.is_none_or(|model| it.model.as_str() == model);
        after.heads(id, max, &is_wanted).map_or(0, |(heads, _)| heads.len())
    };
    assert_eq!((heads(10, None), heads(10, Some("two")), heads(2, None)), (3, 2, 2));
}
