//! The tag records in the store: the newest one of each tag, those before it, and the one that is kept for the tag.
//!
//! All of it is one fsynced document for each tag, written before the node acts on a record. So an old record that an
//! attacker replays is refused after a crash too.

use reg_proto::digest::Digest;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::KeyHistory;
use reg_proto::limits::TAG_ENVELOPE_BYTES_MAX;
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::naming::{Contradiction, Heard, RecordFacts};
use reg_proto::tag::{SignedTag, TagError};

use super::book::{Book, TagDocument};
use super::documents::{key_of, tag_key};
use super::error::TagsError;
use super::keys::keys;
use super::known_tags;
use crate::store::{DocumentKind, Store};

/// The highest record that was seen of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub seq: u64,
    /// The digest of the record's payload.
    pub payload: Digest,
    /// The version of the key document that signed it.
    pub key_document: u64,
}

/// Returns the tag records of a publisher, or of one model, that this store keeps, without those that revoked keys signed.
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
    let mut records = Vec::new();
    for (_, bytes) in documents {
        records.extend(held(&TagDocument::read(publisher, &bytes)?, &keys)?);
    }
    Ok(records)
}

/// Returns the record that this store keeps for one tag.
pub fn record(
    store: &Store,
    publisher: PublisherId,
    model: &ModelName,
    tag: &Tag,
) -> Result<Option<SignedTag>, TagsError> {
    let Some(keys) = keys(store, publisher)? else { return Ok(None) };
    let read = store.get_document(DocumentKind::Tag, &tag_key(&publisher, model, tag));
    let Some(bytes) = read.map_err(|source| TagsError::Read { publisher, source })? else { return Ok(None) };
    held(&TagDocument::read(publisher, &bytes)?, &keys)
}

/// Returns those records of a publisher's tags that this store keeps and that are the heads of their tags, without those of
/// tags with a contradiction. Verifies no signature: the caller knows that the documents and the keys are as they were when
/// [`records`] verified them. Leaves out a document that cannot be read.
pub fn kept_heads(store: &Store, publisher: PublisherId) -> Result<Vec<SignedTag>, TagsError> {
    let documents = store
        .list_documents(DocumentKind::Tag, &format!("{publisher}/"))
        .map_err(|source| TagsError::Read { publisher, source })?;
    let mut heads = Vec::new();
    for (key, bytes) in documents {
        match kept_head(publisher, &bytes) {
            Ok(head) => heads.extend(head),
            Err(error) => tracing::warn!(key, %error, "a tag is left out: its record cannot be read"),
        }
    }
    Ok(heads)
}

fn kept_head(publisher: PublisherId, document: &[u8]) -> Result<Option<SignedTag>, TagsError> {
    let document = TagDocument::read(publisher, document)?;
    let head = document.head.as_ref().filter(|_| document.proofs().next().is_none());
    let head = head.map(|it| SignedTag::of_verified(&it.envelope)).transpose();
    let head = head.map_err(|source| TagsError::Tag { publisher, source })?;
    Ok(head.filter(|it| document.held == Some(it.payload_digest())))
}

fn held(document: &TagDocument, keys: &KeyHistory) -> Result<Option<SignedTag>, TagsError> {
    match document.held().map(|it| known_tags::verify(&it.envelope, keys)) {
        None | Some(Err(TagError::Signature { .. } | TagError::Seq { .. })) => Ok(None),
        Some(Ok(tag)) => Ok(Some(tag)),
        Some(Err(source)) => Err(TagsError::Tag { publisher: keys.publisher(), source }),
    }
}

/// Returns the highest record that was seen of a tag. A record that the publisher's keys have voided since does not
/// count.
pub fn seen(
    store: &Store,
    keys: &KeyHistory,
    model: &ModelName,
    tag: &Tag,
) -> Result<Option<Seen>, TagsError> {
    let book = Book::judged(store, keys, tag_key(&keys.publisher(), model, tag))?;
    let seen = |it: RecordFacts| Seen { seq: it.seq, payload: it.payload, key_document: it.key_document };
    Ok(book.rules.head.map(seen))
}

/// Returns the record that a tag points to: the newest one that counts. An error if the tag is frozen.
pub fn head(
    store: &Store,
    keys: &KeyHistory,
    model: &ModelName,
    tag: &Tag,
) -> Result<Option<SignedTag>, TagsError> {
    let book = Book::judged(store, keys, tag_key(&keys.publisher(), model, tag))?;
    let head = book.rules.head.as_ref().and_then(|it| book.signed(keys, &it.payload));
    match book.rules.freezing() {
        Some(proof) => Err(frozen(&book, keys, proof, model, tag)),
        None => Ok(head),
    }
}

/// Remembers that this node saw `tag`. The caller calls it before it acts on the record.
///
/// # Errors
/// The record is older than one that was seen, the tag is frozen, or the record contradicts one that was seen. In the
/// last case both are kept as a proof.
pub fn see(store: &Store, keys: &KeyHistory, tag: &SignedTag) -> Result<(), TagsError> {
    let record = tag.record();
    let key = key_of(record);
    let _lock = store.lock_document(&key);
    let mut book = Book::judged(store, keys, key)?;
    let heard = book.hear(tag);
    let refused = refused(&book, keys, tag, heard);
    book.save()?;
    refused.map_or(Ok(()), Err)
}

/// Returns why a record is not followed.
pub(super) fn refused(
    book: &Book<'_>,
    keys: &KeyHistory,
    tag: &SignedTag,
    heard: Heard,
) -> Option<TagsError> {
    let record = tag.record();
    let (model, name, offered) = (record.model.clone(), record.tag.clone(), record.seq);
    let last = book.rules.head.as_ref().map_or(0, |it| it.seq);
    if let Some(proof) = book.rules.freezing().filter(|_| !matches!(heard, Heard::Jump { .. })) {
        return Some(frozen(book, keys, proof, &model, &name));
    }
    match heard {
        Heard::New | Heard::Known | Heard::Frozen => None,
        Heard::Ancestor => Some(TagsError::Rollback { model, tag: name, offered, seen: last }),
        Heard::Rollback { seen } => Some(TagsError::Rollback { model, tag: name, offered, seen }),
        Heard::Jump { seen } => Some(TagsError::Jump { model, tag: name, offered, seen }),
    }
}

/// Returns the error for a tag that a proof freezes, with the keys that signed both records.
pub(super) fn frozen(
    book: &Book<'_>,
    keys: &KeyHistory,
    proof: &Contradiction,
    model: &ModelName,
    tag: &Tag,
) -> TagsError {
    let signers = |payload: &Digest| -> Vec<PublicKey> {
        let read =
            |it: SignedTag| Envelope::from_bytes(it.envelope().as_bytes(), TAG_ENVELOPE_BYTES_MAX).ok();
        let envelope = book.signed(keys, payload).and_then(read);
        envelope.map(|it| it.signers(&keys.signers(proof.two.key_document))).unwrap_or_default()
    };
    let [one, two] = proof.heads().map(|payload| signers(&payload));
    TagsError::Frozen {
        publisher: keys.publisher(),
        model: model.clone(),
        tag: tag.clone(),
        seq: proof.two.seq,
        heads: proof.heads(),
        signers: one.into_iter().filter(|key| two.contains(key)).collect(),
    }
}

/// Notes that this store holds the model of a record under its tag.
pub fn keep(store: &Store, tag: &SignedTag) -> Result<(), TagsError> {
    let record = tag.record();
    let key = key_of(record);
    let _lock = store.lock_document(&key);
    let mut book = Book::read(store, record.publisher, key)?;
    book.hold(tag);
    book.save()
}

/// Notes that this store holds the model of a tag no longer. What was seen of the tag stays.
pub fn forget(store: &Store, tag: &SignedTag) -> Result<(), TagsError> {
    let record = tag.record();
    let key = key_of(record);
    let _lock = store.lock_document(&key);
    let mut book = Book::read(store, record.publisher, key)?;
    book.held = None;
    book.save()
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use reg_proto::bounded::Bounded;
    use reg_proto::envelope::{Envelope, PublicKey};
    use reg_proto::key::{KEY_DOCUMENT_TYPE, KeyDocument, publisher_id};
    use reg_proto::limits::{SEQ_JUMP_MAX, SEQ_MAX};
    use reg_proto::tag::{ManifestPointer, TAG_RECORD_TYPE, TagRecord};
    use reg_proto::verification::Budget;

    use super::super::keys::pin_keys;
    use super::super::publication::{self, ToBegin};
    use super::super::usable::usable;
    use super::super::{history, proofs};
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

    /// Begins a publication; returns its number and the record before it.
    fn begin(
        store: &Store,
        keys: &KeyHistory,
        model: &ModelName,
        newest: Option<&SignedTag>,
    ) -> Result<(u64, Option<Digest>), TagsError> {
        let tag = Tag::latest();
        let to_begin = ToBegin { model, tag: &tag, newest, settle: false, held: false };
        let record = publication::begin(store, keys, &to_begin, &|next, _| TagRecord {
            publisher: keys.publisher(),
            model: model.clone(),
            tag: Tag::latest(),
            seq: next.seq,
            prev: next.prev,
            manifest: ManifestPointer { digest: Digest::of(b"m"), size: 1 },
            key_document: keys.version(),
            issued: 1_700_000_000,
            fresh_until: None,
            expires: None,
            settles: Bounded::first_of(next.settles),
            min_usable: next.min_usable,
        })?;
        Ok((record.seq, record.prev))
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

    /// A start of a node reads the heads that it tells, and verifies none of them again.
    #[test]
    fn kept_heads_are_read_without_a_verification() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let publisher = Publisher::new();
        let keys = &publisher.keys;
        pin_keys(&store, keys).unwrap();
        let read = || {
            let mut budget = Budget::new(0);
            let heads = budget.run(|| kept_heads(&store, keys.publisher()).unwrap()).unwrap();
            assert_eq!((budget.worth(), budget.is_over()), (0, false));
            heads
        };
        let first = publisher.tag(1, "x");
        see(&store, keys, &first).unwrap();
        assert_eq!(read(), [], "a head that was only seen");
        keep(&store, &first).unwrap();
        assert_eq!(read(), std::slice::from_ref(&first));
        let mut budget = Budget::new(8);
        budget.run(|| SignedTag::verify(first.envelope(), keys).unwrap()).unwrap();
        assert_eq!(budget.worth(), 1, "the budget counts what is verified");
        let second = publisher.tag(2, "x");
        see(&store, keys, &second).unwrap();
        assert_eq!(read(), [], "the one that is kept is not the head");
        keep(&store, &second).unwrap();
        assert_eq!(read(), std::slice::from_ref(&second));
        let damaged = tag_key(&keys.publisher(), &"tiny".parse().unwrap(), &"damaged".parse().unwrap());
        store.put_document(DocumentKind::Tag, &damaged, b"{").unwrap();
        assert_eq!(read(), std::slice::from_ref(&second), "a damaged one hides no other");
        drop(see(&store, keys, &publisher.tag(2, "other")));
        assert_eq!(read(), [], "another record contradicts it");
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
        let keys = &publisher.keys;
        let first = publisher.tag(1, "x");
        see(&store, keys, &first).unwrap();
        let far = publisher.tag(2 + SEQ_JUMP_MAX, "x");
        assert!(matches!(see(&store, keys, &far), Err(TagsError::Jump { seen: 1, .. })));
        see(&store, keys, &publisher.tag(SEQ_JUMP_MAX, "x")).unwrap();
        let model = &first.record().model;
        for given in 1..4 {
            let next = begin(&store, keys, model, None).unwrap();
            assert_eq!(next.0, SEQ_JUMP_MAX + given, "a number that was given out is not given out again");
            drop(store);
            store = open(&dir);
        }
        let other = "other".parse().unwrap();
        assert_eq!(begin(&store, keys, &other, None).unwrap(), (1, None));
        let newest = publisher.tag(SEQ_MAX, "x");
        let used_up = begin(&store, keys, model, Some(&newest));
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
        let next = begin(&store, keys, &"tiny".parse().unwrap(), None).unwrap();
        assert_eq!(next, (8, None));
        let thief = publisher.tag(SEQ_MAX, "thief");
        assert!(SignedTag::verify(thief.envelope(), keys).is_err());
        see(&store, keys, &rotated.tag(8, "x")).unwrap();
        assert!(matches!(
            see(&store, keys, &publisher.tag(7, "old")),
            Err(TagsError::Rollback { seen: 8, .. })
        ));
        assert!(matches!(pin_keys(&store, &publisher.keys), Err(TagsError::KeyPin(_))));
    }

    /// A thief has signed record 4. The rotated keys void it, and the record before it is the head again.
    #[test]
    fn a_void_head_gives_way_and_stays_in_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let publisher = Publisher::new();
        pin_keys(&store, &publisher.keys).unwrap();
        let records: Vec<SignedTag> = (1..=4).map(|seq| publisher.tag(seq, "x")).collect();
        records.iter().for_each(|it| see(&store, &publisher.keys, it).unwrap());
        let rotated = publisher.rotated(Some(4));
        let keys = &rotated.keys;
        let (model, latest) = (&records[0].record().model, Tag::latest());
        assert_eq!(seen(&store, keys, model, &latest).unwrap().unwrap().seq, 3);
        let numbers = |found: &[SignedTag]| found.iter().map(|it| it.record().seq).collect::<Vec<_>>();
        assert_eq!(numbers(&usable(&store, keys, model, &latest).unwrap()), [3, 2, 1]);
        let next = rotated.record(4, "y", &[]);
        see(&store, keys, &next).unwrap();
        assert_eq!(numbers(&usable(&store, keys, model, &latest).unwrap()), [4, 3, 2, 1]);
        assert_eq!(
            history::entries(&store, keys, model, &latest).unwrap().len(),
            5,
            "the log has the void one"
        );
    }

    /// A model that is kept for a tag is found by name, however many newer records the node sees and cannot get.
    #[test]
    fn the_kept_record_of_a_tag_stays_in_its_document() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir);
        let publisher = Publisher::new();
        let keys = &publisher.keys;
        pin_keys(&store, keys).unwrap();
        let first = publisher.tag(1, "x");
        see(&store, keys, &first).unwrap();
        keep(&store, &first).unwrap();
        for seq in 2..=20 {
            see(&store, keys, &publisher.tag(seq, "x")).unwrap();
            drop(store);
            store = open(&dir);
            let kept = record(&store, keys.publisher(), &first.record().model, &Tag::latest()).unwrap();
            assert_eq!(kept.map(|it| it.record().seq), Some(1), "after {seq}");
        }
    }

    /// Readers of an envelope ignore fields that they do not know, so a publisher can make it large.
    #[test]
    fn the_document_of_a_tag_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let publisher = Publisher::new();
        let keys = &publisher.keys;
        pin_keys(&store, keys).unwrap();
        let filler = "x".repeat(15 << 10);
        for seq in 1..=40 {
            let tag = publisher.tag(seq.min(20), "x");
            let tag = if seq > 20 { publisher.record(seq * 2, "x", &[]) } else { tag };
            let large = tag.envelope().replacen('{', &format!("{{\"filler\":\"{filler}\","), 1);
            see(&store, keys, &SignedTag::verify(&large, keys).unwrap()).unwrap();
        }
        let key = key_of(publisher.tag(1, "x").record());
        let bytes = store.get_document(DocumentKind::Tag, &key).unwrap().unwrap();
        assert!(bytes.len() <= crate::registry::limits::TAG_DOCUMENT_BYTES_MAX, "{}", bytes.len());
        let model = "tiny".parse().unwrap();
        let found = usable(&store, keys, &model, &Tag::latest()).unwrap();
        assert!(found.len() > 10 && found[0].record().seq == 80, "{}", found.len());
    }
}
