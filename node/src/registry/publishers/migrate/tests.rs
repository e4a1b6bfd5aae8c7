//! Migrates stores with the documents of the version before, written by hand.

use ed25519_dalek::SigningKey;
use reg_proto::bounded::Bounded;
use reg_proto::digest::Digest;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::equivocation::Equivocation;
use reg_proto::key::{KeyDocument, KeyHistory, publisher_id};
use reg_proto::name::Tag;
use reg_proto::tag::{ManifestPointer, SignedTag, TAG_RECORD_TYPE, TagRecord};

use super::super::publication::{self, ToBegin};
use super::super::{documents, history, keys, proofs, tags, usable};
use super::*;
use crate::store::CacheLimits;

fn publisher() -> (SigningKey, KeyHistory) {
    let key = SigningKey::from_bytes(&[1; 32]);
    let first = KeyDocument::first(PublicKey::of(&key));
    let keys = KeyHistory::verify(publisher_id(&first.to_payload()), &[first.sign(&key).to_json()]).unwrap();
    (key, keys)
}

fn record(keys: &KeyHistory, seq: u64, prev: Option<&SignedTag>, content: &str) -> TagRecord {
    TagRecord {
        publisher: keys.publisher(),
        model: "tiny".parse().unwrap(),
        tag: Tag::latest(),
        seq,
        prev: prev.map(SignedTag::payload_digest),
        manifest: ManifestPointer { digest: Digest::of(content.as_bytes()), size: 1 },
        key_document: 1,
        issued: 1_700_000_000,
        fresh_until: None,
        expires: None,
        settles: Bounded::empty(),
        min_usable: None,
    }
}

fn sign(key: &SigningKey, keys: &KeyHistory, record: &TagRecord) -> SignedTag {
    let envelope = Envelope::sign(TAG_RECORD_TYPE, record.to_payload(), &[key]).to_json();
    SignedTag::verify(&envelope, keys).unwrap()
}

/// Makes a store as the version before left it: records 1 to 3 were seen, record 2 is held, and number 5 was reserved.
fn old_store(dir: &std::path::Path) -> (SigningKey, KeyHistory, Vec<SignedTag>) {
    let (key, keys) = publisher();
    let mut records: Vec<SignedTag> = Vec::new();
    for seq in 1..=3 {
        records.push(sign(&key, &keys, &record(&keys, seq, records.last(), &format!("m{seq}"))));
    }
    let store = Store::open(dir, CacheLimits::default()).unwrap();
    keys::pin_keys(&store, &keys).unwrap();
    let tag = documents::key_of(records[0].record());
    store.put_document(DocumentKind::Tag, &tag, records[1].envelope().as_bytes()).unwrap();
    for (index, record) in records.iter().enumerate() {
        let entry = Entry { seen: 1000 + index as u64, envelope: record.envelope().to_owned() };
        let key = format!("{tag}#000001.{:016}", record.record().seq);
        store.put_document(DocumentKind::History, &key, &json::to_vec(&entry)).unwrap();
    }
    let payload = records[2].payload_digest();
    let seen = format!("{{\"seq\":3,\"payload\":\"{payload}\",\"key_document\":1}}");
    store.put_document(DocumentKind::Seen, &tag, seen.as_bytes()).unwrap();
    store.put_document(DocumentKind::Reserved, &tag, b"{\"seq\":5}").unwrap();
    drop(store);
    std::fs::write(dir.join("VERSION"), "1\n").unwrap();
    (key, keys, records)
}

#[test]
fn a_tag_of_the_version_before_keeps_its_head_its_records_and_its_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let (_, keys, records) = old_store(dir.path());
    let store = Store::open(dir.path(), CacheLimits::default()).unwrap();
    migrate(&store).unwrap();
    let model = &records[0].record().model;
    let latest = Tag::latest();
    let held = tags::record(&store, keys.publisher(), model, &latest).unwrap();
    assert_eq!(held.as_ref(), Some(&records[1]));
    assert_eq!(tags::seen(&store, &keys, model, &latest).unwrap().unwrap().seq, 3);
    let usable: Vec<SignedTag> = records.iter().rev().cloned().collect();
    assert_eq!(usable::usable(&store, &keys, model, &latest).unwrap(), usable);
    let times: Vec<u64> =
        history::entries(&store, &keys, model, &latest).unwrap().iter().map(|it| it.seen).collect();
    assert_eq!(times, [1000, 1001, 1002]);
    for kind in [DocumentKind::Seen, DocumentKind::History, DocumentKind::Reserved, DocumentKind::Proof] {
        assert!(store.document_keys(kind, "").unwrap().is_empty(), "{kind:?}");
    }
    // Number 5 may have been signed, and its payload is not known: number 6 would contradict it.
    let to_begin = ToBegin { model, tag: &latest, newest: None, settle: false, held: false };
    let begun = publication::begin(&store, &keys, &to_begin, &|next, _| TagRecord {
        prev: next.prev,
        ..record(&keys, next.seq, None, "next")
    });
    let begun = begun.unwrap();
    assert_eq!((begun.seq, begun.prev), (7, Some(records[2].payload_digest())));
    drop(store);
    let store = Store::open(dir.path(), CacheLimits::default()).unwrap();
    assert!(!store.is_of_before().unwrap());
    migrate(&store).unwrap();
    assert_eq!(tags::record(&store, keys.publisher(), model, &latest).unwrap(), held);
}

#[test]
fn a_migration_that_was_cut_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (_, keys, records) = old_store(dir.path());
    let store = Store::open(dir.path(), CacheLimits::default()).unwrap();
    let tag = documents::key_of(records[0].record());
    // The new document was written, and some of the old ones were removed.
    let bare = store.get_document(DocumentKind::Tag, &tag).unwrap();
    let old = read_old(&store, &tag, bare).unwrap();
    convert(&store, keys.publisher(), &tag, &old).unwrap();
    let written = store.get_document(DocumentKind::Tag, &tag).unwrap();
    store.remove_document(DocumentKind::Seen, &tag).unwrap();
    migrate(&store).unwrap();
    assert_eq!(store.get_document(DocumentKind::Tag, &tag).unwrap(), written);
    assert!(store.document_keys(DocumentKind::History, "").unwrap().is_empty());
}

#[test]
fn a_proof_about_a_stranger_is_migrated() {
    let dir = tempfile::tempdir().unwrap();
    let (key, keys) = publisher();
    let [one, two] = ["one", "two"].map(|it| sign(&key, &keys, &record(&keys, 3, None, it)));
    let proof = Equivocation::of(&one, &two).unwrap();
    let store = Store::open(dir.path(), CacheLimits::default()).unwrap();
    let name = format!("{}#000001.{:016}.0123456789abcdef", documents::key_of(one.record()), 3);
    store.put_document(DocumentKind::Proof, &name, &json::to_vec(&proof.to_claim())).unwrap();
    drop(store);
    std::fs::write(dir.path().join("VERSION"), "1\n").unwrap();
    let store = Store::open(dir.path(), CacheLimits::default()).unwrap();
    migrate(&store).unwrap();
    let model = &one.record().model;
    assert_eq!(
        proofs::all(&store, &keys, Some(model), Some(&Tag::latest())).unwrap(),
        std::slice::from_ref(&proof)
    );
    assert!(!proofs::keep(&store, &proof).unwrap());
    assert!(matches!(tags::see(&store, &keys, &one), Err(TagsError::Frozen { seq: 3, .. })));
}
