//! The tag records in the store, and the highest number that was seen of each tag.
//!
//! All of it is in fsynced documents. The highest number is written before the node acts on a record. So an old record
//! that an attacker replays is refused after a crash too.

use reg_proto::digest::Digest;
use reg_proto::equivocation::Equivocation;
use reg_proto::json;
use reg_proto::key::KeyHistory;
use reg_proto::limits::{SEQ_JUMP_MAX, SEQ_MAX};
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::tag::{SignedTag, TagError};
use serde::{Deserialize, Serialize};

use super::documents::{key_of, tag_key};
use super::error::TagsError;
use super::keys::keys;
use super::{history, proofs};
use crate::store::{DocumentKind, Store};

/// The highest record that was seen of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    pub seq: u64,
    /// The digest of the record's payload.
    pub payload: Digest,
    /// The version of the key document that signed it.
    #[serde(default = "first")]
    pub key_document: u64,
}

const fn first() -> u64 {
    1
}

/// Returns the stored tag records of a publisher, or of one model, without those that revoked keys signed.
pub fn records(
    store: &Store,
    publisher: PublisherId,
    model: Option<&ModelName>,
) -> Result<Vec<SignedTag>, TagsError> {
    let Some(keys) = keys(store, publisher)? else { return Ok(Vec::new()) };
    let prefix = match model {
        Some(model) => format!("{publisher}/{}:", model.folded()),
        None => format!("{publisher}/"),
    };
    let documents = store
        .list_documents(DocumentKind::Tag, &prefix)
        .map_err(|source| TagsError::Read { publisher, source })?;
    let tags =
        documents.into_iter().map(|(_, bytes)| SignedTag::verify(&String::from_utf8_lossy(&bytes), &keys));
    tags.filter_map(|tag| match tag {
        Err(TagError::Signature { .. } | TagError::Seq { .. }) => None,
        tag => Some(tag.map_err(|source| TagsError::Tag { publisher, source })),
    })
    .collect()
}

/// Returns the stored record of one tag.
pub fn record(
    store: &Store,
    publisher: PublisherId,
    model: &ModelName,
    tag: &Tag,
) -> Result<Option<SignedTag>, TagsError> {
    Ok(records(store, publisher, Some(model))?.into_iter().find(|it| it.record().tag == *tag))
}

/// Returns the highest record that was seen of a tag. A record that the publisher's keys have voided since does not
/// count.
pub fn seen(
    store: &Store,
    keys: &KeyHistory,
    model: &ModelName,
    tag: &Tag,
) -> Result<Option<Seen>, TagsError> {
    let publisher = keys.publisher();
    let read = store.get_document(DocumentKind::Seen, &tag_key(&publisher, model, tag));
    let Some(bytes) = read.map_err(|source| TagsError::Read { publisher, source })? else { return Ok(None) };
    let seen: Seen =
        json::from_slice(&bytes, 1024).map_err(|source| TagsError::Json { publisher, source })?;
    Ok(Some(seen).filter(|it| keys.check_seq(it.key_document, it.seq).is_ok()))
}

/// Remembers that this node saw `tag`. The caller calls it before it acts on the record.
///
/// # Errors
/// The record is older than one that was seen, the tag is frozen, or the record contradicts one that was seen. In the
/// last case both are kept as a proof.
pub fn see(store: &Store, keys: &KeyHistory, tag: &SignedTag) -> Result<(), TagsError> {
    let record = tag.record();
    let (publisher, model, name) = (record.publisher, record.model.clone(), record.tag.clone());
    let known = history::records(store, keys, &model, &name)?;
    for proof in known.iter().filter_map(|known| Equivocation::of(known, tag)) {
        proofs::keep(store, &proof)?;
    }
    if let Some(proof) = proofs::freezing(store, keys, &model, &name, &[record])? {
        return Err(frozen(&proof));
    }
    if let Some(seen) = seen(store, keys, &model, &name)? {
        let last = (seen.key_document, seen.seq);
        if record.order() < last || (record.order() == last && tag.payload_digest() != seen.payload) {
            return Err(TagsError::Rollback { model, tag: name, offered: record.seq, seen: seen.seq });
        }
        let is_far = record.seq.saturating_sub(seen.seq) > SEQ_JUMP_MAX;
        if is_far && record.key_document == seen.key_document {
            return Err(TagsError::Jump { model, tag: name, offered: record.seq, seen: seen.seq });
        }
        if record.order() == last {
            return Ok(());
        }
    }
    history::add(store, tag)?;
    let seen = Seen { seq: record.seq, payload: tag.payload_digest(), key_document: record.key_document };
    store
        .put_document(DocumentKind::Seen, &key_of(record), &json::to_vec(&seen))
        .map_err(|source| TagsError::Write { publisher, source })
}

/// Returns the error for a tag that a proof freezes.
pub fn frozen(proof: &Equivocation) -> TagsError {
    let last = proof.records()[1].record();
    TagsError::Frozen {
        model: last.model.clone(),
        tag: last.tag.clone(),
        seq: last.seq,
        heads: proof.heads(),
    }
}

/// The number of the next record of a tag, and the record that it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    pub seq: u64,
    pub prev: Option<Digest>,
}

/// Reserves the next number of a tag and remembers it. The number is above all that were seen, the number of `newest`,
/// and all that were reserved before. So no two records with one number are ever signed for this store.
pub fn reserve(
    store: &Store,
    keys: &KeyHistory,
    model: &ModelName,
    tag: &Tag,
    newest: Option<&SignedTag>,
) -> Result<Next, TagsError> {
    let publisher = keys.publisher();
    let key = tag_key(&publisher, model, tag);
    let read = store.get_document(DocumentKind::Reserved, &key);
    let read = read.map_err(|source| TagsError::Read { publisher, source })?;
    let given: Option<Reserved> = read
        .map(|bytes| json::from_slice(&bytes, 1024))
        .transpose()
        .map_err(|source| TagsError::Json { publisher, source })?;
    // A number that a floor has voided since is not continued.
    let version = keys.version();
    let counts = |seq: &u64| keys.check_seq(version, *seq).is_ok();
    let seen = seen(store, keys, model, tag)?;
    let newest = newest.map(|it| (it.record().order(), it.payload_digest()));
    let last = seen.map(|it| ((it.key_document, it.seq), it.payload)).into_iter().chain(newest).max();
    let given = given.map(|it| it.seq).filter(counts);
    let floor = keys.documents().filter_map(|it| it.floor).next_back().unwrap_or(1);
    let highest = last.map(|((_, seq), _)| seq).into_iter().chain(given).max().unwrap_or(0);
    let seq = highest.saturating_add(1).max(floor);
    if seq > SEQ_MAX {
        return Err(TagsError::UsedUp { model: model.clone(), tag: tag.clone() });
    }
    store
        .put_document(DocumentKind::Reserved, &key, &json::to_vec(&Reserved { seq }))
        .map_err(|source| TagsError::Write { publisher, source })?;
    Ok(Next { seq, prev: last.map(|(_, payload)| payload) })
}

/// The highest number that was reserved for signing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reserved {
    seq: u64,
}

/// Keeps a record as the current record of its tag in this store.
pub fn keep(store: &Store, tag: &SignedTag) -> Result<(), TagsError> {
    let record = tag.record();
    store
        .put_document(DocumentKind::Tag, &key_of(record), tag.envelope().as_bytes())
        .map_err(|source| TagsError::Write { publisher: record.publisher, source })
}

/// Forgets the current record of a tag. What was seen of the tag stays.
pub fn forget(store: &Store, tag: &SignedTag) -> Result<(), TagsError> {
    let record = tag.record();
    store
        .remove_document(DocumentKind::Tag, &key_of(record))
        .map_err(|source| TagsError::Write { publisher: record.publisher, source })
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use reg_proto::bounded::Bounded;
    use reg_proto::envelope::{Envelope, PublicKey};
    use reg_proto::key::{KEY_DOCUMENT_TYPE, KeyDocument, publisher_id};
    use reg_proto::tag::{ManifestPointer, TAG_RECORD_TYPE, TagRecord};

    use super::super::keys::pin_keys;
    use super::*;
    use crate::store::CacheLimits;

    struct Publisher {
        key: SigningKey,
        keys: KeyHistory,
    }

    impl Publisher {
        fn new() -> Self {
            let key = SigningKey::from_bytes(&[1; 32]);
            let first = KeyDocument::first(PublicKey::of(&key));
            let keys =
                KeyHistory::verify(publisher_id(&first.to_payload()), &[first.sign(&key).to_json()]).unwrap();
            Self { key, keys }
        }

        /// Returns the publisher after its key has been rotated.
        fn rotated(&self, floor: Option<u64>) -> Self {
            let key = SigningKey::from_bytes(&[2; 32]);
            let document = KeyDocument {
                version: 2,
                previous: Some(self.keys.head()),
                floor,
                ..KeyDocument::first(PublicKey::of(&key))
            };
            let envelope = Envelope::sign(KEY_DOCUMENT_TYPE, document.to_payload(), &[&self.key, &key]);
            let envelopes = [self.keys.envelopes(), &[envelope.to_json()]].concat();
            Self { key, keys: KeyHistory::verify(self.keys.publisher(), &envelopes).unwrap() }
        }

        /// Returns a record in an unbroken chain from the first on, where that is short enough for a test.
        fn tag(&self, seq: u64, content: &str) -> SignedTag {
            let tag = self.record(seq, content, &[]);
            if seq == 1 || seq > 20 || self.keys.version() > 1 {
                return tag;
            }
            let before = self.tag(seq - 1, content);
            self.sign(&TagRecord { prev: Some(before.payload_digest()), ..tag.record().clone() })
        }

        fn after(&self, before: &SignedTag, seq: u64) -> SignedTag {
            self.sign(&TagRecord { seq, prev: Some(before.payload_digest()), ..before.record().clone() })
        }

        fn record(&self, seq: u64, content: &str, settles: &[Digest]) -> SignedTag {
            self.sign(&TagRecord {
                publisher: self.keys.publisher(),
                model: "tiny".parse().unwrap(),
                tag: Tag::latest(),
                seq,
                prev: None,
                manifest: ManifestPointer { digest: Digest::of(content.as_bytes()), size: 1 },
                key_document: self.keys.version(),
                issued: 1_700_000_000,
                fresh_until: None,
                expires: None,
                settles: Bounded::first_of(settles.iter().copied()),
                min_usable: None,
            })
        }

        fn sign(&self, record: &TagRecord) -> SignedTag {
            let envelope = Envelope::sign(TAG_RECORD_TYPE, record.to_payload(), &[&self.key]).to_json();
            SignedTag::verify(&envelope, &self.keys).unwrap()
        }
    }

    /// Opens the store again, as a restarted node does.
    fn open(dir: &tempfile::TempDir) -> Store {
        Store::open(dir.path(), CacheLimits::default()).unwrap()
    }

    #[test]
    fn no_old_record_is_ever_taken_again_not_even_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let publisher = Publisher::new();
        let keys = &publisher.keys;
        let mut store = open(&dir);
        for seq in [1, 2, 5, 9] {
            see(&store, keys, &publisher.tag(seq, "x")).unwrap();
            drop(store);
            store = open(&dir);
            for old in 1..seq {
                let refused = see(&store, keys, &publisher.tag(old, "x"));
                assert!(
                    matches!(refused, Err(TagsError::Rollback { seen, .. }) if seen == seq),
                    "{old} after {seq}"
                );
            }
            see(&store, keys, &publisher.tag(seq, "x")).unwrap();
        }
    }

    #[test]
    fn two_records_of_one_number_freeze_the_tag_until_one_settles_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir);
        let publisher = Publisher::new();
        let keys = &publisher.keys;
        pin_keys(&store, keys).unwrap();
        let (one, two) = (publisher.tag(3, "one"), publisher.tag(3, "two"));
        see(&store, keys, &one).unwrap();
        keep(&store, &one).unwrap();
        assert!(matches!(see(&store, keys, &two), Err(TagsError::Frozen { seq: 3, .. })));
        drop(store);
        store = open(&dir);
        let model = &one.record().model;
        let proofs = proofs::all(&store, keys, Some(model), Some(&Tag::latest())).unwrap();
        assert_eq!(proofs.len(), 1, "the two heads prove it");
        for frozen in [&one, &two, &publisher.after(&one, 4)] {
            assert!(matches!(see(&store, keys, frozen), Err(TagsError::Frozen { seq: 3, .. })));
        }
        let half = publisher.record(5, "x", &proofs[0].heads()[..1]);
        assert!(matches!(see(&store, keys, &half), Err(TagsError::Frozen { .. })));
        let settled = publisher.record(6, "x", &proofs[0].heads());
        see(&store, keys, &settled).unwrap();
        // The settling record is remembered. So the same proof freezes nothing when it comes again, and later records
        // need not name it.
        assert!(!proofs::keep(&store, &proofs[0]).unwrap());
        see(&store, keys, &publisher.tag(8, "x")).unwrap();
        forget(&store, &one).unwrap();
        let old = see(&store, keys, &publisher.tag(2, "x"));
        assert!(old.is_err(), "what was seen stays when the tag is forgotten");
    }

    #[test]
    fn a_record_that_names_another_one_before_it_is_a_proof_too() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let publisher = Publisher::new();
        let keys = &publisher.keys;
        let one = publisher.tag(3, "one");
        see(&store, keys, &one).unwrap();
        let next = publisher.after(&one, 4);
        see(&store, keys, &next).unwrap();
        assert!(matches!(
            see(&store, keys, &publisher.after(&one, 5)),
            Err(TagsError::Frozen { seq: 5, .. })
        ));
    }

    #[test]
    fn numbers_do_not_jump_and_are_given_out_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir);
        let publisher = Publisher::new();
        let (keys, latest) = (&publisher.keys, Tag::latest());
        let first = publisher.tag(1, "x");
        see(&store, keys, &first).unwrap();
        let far = publisher.tag(2 + SEQ_JUMP_MAX, "x");
        assert!(matches!(see(&store, keys, &far), Err(TagsError::Jump { seen: 1, .. })));
        see(&store, keys, &publisher.tag(SEQ_JUMP_MAX, "x")).unwrap();
        let model = &first.record().model;
        for given in 1..4 {
            let next = reserve(&store, keys, model, &latest, None).unwrap();
            assert_eq!(next.seq, SEQ_JUMP_MAX + given, "a number that was given out is not given out again");
            drop(store);
            store = open(&dir);
        }
        let other = "other".parse().unwrap();
        let next = reserve(&store, keys, &other, &latest, None).unwrap();
        assert_eq!(next, Next { seq: 1, prev: None });
        let newest = publisher.tag(SEQ_MAX, "x");
        let used_up = reserve(&store, keys, model, &latest, Some(&newest));
        assert!(matches!(used_up, Err(TagsError::UsedUp { .. })));
    }

    /// A thief has signed the highest possible number. The publisher rotates the key, states a floor, and goes on.
    #[test]
    fn a_floor_is_the_way_out_of_used_up_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let publisher = Publisher::new();
        pin_keys(&store, &publisher.keys).unwrap();
        see(&store, &publisher.keys, &publisher.tag(SEQ_MAX, "thief")).unwrap();
        let rotated = publisher.rotated(Some(8));
        pin_keys(&store, &rotated.keys).unwrap();
        let keys = &rotated.keys;
        let next = reserve(&store, keys, &"tiny".parse().unwrap(), &Tag::latest(), None).unwrap();
        assert_eq!(next, Next { seq: 8, prev: None });
        let thief = publisher.tag(SEQ_MAX, "thief");
        assert!(SignedTag::verify(thief.envelope(), keys).is_err());
        see(&store, keys, &rotated.tag(8, "x")).unwrap();
        assert!(matches!(
            see(&store, keys, &publisher.tag(7, "old")),
            Err(TagsError::Rollback { seen: 8, .. })
        ));
        assert!(matches!(pin_keys(&store, &publisher.keys), Err(TagsError::KeyPin(_))));
    }
}
