//! What is remembered of publishers and their tags: key histories, tag records, and the highest number ever seen.
//!
//! All of it is in fsynced documents. The highest number is remembered before anything is done with a record, so that an
//! old record, played again, is refused after a crash too.

use reg_proto::digest::Digest;
use reg_proto::json::{self, JsonError};
use reg_proto::key::{KeyError, KeyHistory};
use reg_proto::limits::{KEY_DOCUMENTS_MAX, KEY_ENVELOPE_BYTES_MAX};
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::tag::{SignedTag, TagError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::key_pin::{self, KeyPinError, KeyPinStep};
use crate::store::{DocumentKind, ReadError, Store, WriteError};

/// The highest record that was seen of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seen {
    pub(super) seq: u64,
    /// Digest of the record's payload.
    pub(super) payload: Digest,
}

/// Why a tag record, or a publisher's keys, are not followed.
#[derive(Debug, Error)]
pub enum TagsError {
    #[error(
        "tag {tag} of {model} goes back: record {offered} is older than {seen}, which this node has seen"
    )]
    Rollback { model: ModelName, tag: Tag, offered: u64, seen: u64 },
    #[error(
        "tag {tag} of {model} has two records numbered {seq}: the publisher, or a thief of the key, says two things"
    )]
    Equivocation { model: ModelName, tag: Tag, seq: u64 },
    #[error("publisher's keys are not followed")]
    KeyPin(#[from] KeyPinError),
    #[error("what is remembered of {publisher} cannot be read")]
    Read { publisher: PublisherId, source: ReadError },
    #[error("what is to be remembered of {publisher} cannot be written")]
    Write { publisher: PublisherId, source: WriteError },
    #[error("what is remembered of {publisher} is not understood")]
    Json { publisher: PublisherId, source: JsonError },
    #[error("key documents that are remembered of {publisher} do not verify")]
    Keys { publisher: PublisherId, source: KeyError },
    #[error("tag record that is remembered of {publisher} does not verify")]
    Tag { publisher: PublisherId, source: TagError },
}

fn tag_key(publisher: &PublisherId, model: &ModelName, tag: &Tag) -> String {
    format!("{publisher}/{}:{tag}", model.folded())
}

/// Returns the key history of a publisher, if any was seen.
pub(super) fn keys(store: &Store, publisher: PublisherId) -> Result<Option<KeyHistory>, TagsError> {
    let read = store.get_document(DocumentKind::Publisher, &publisher.to_string());
    let Some(bytes) = read.map_err(|source| TagsError::Read { publisher, source })? else { return Ok(None) };
    let max = KEY_DOCUMENTS_MAX * 2 * KEY_ENVELOPE_BYTES_MAX;
    let envelopes: Vec<String> =
        json::from_slice(&bytes, max).map_err(|source| TagsError::Json { publisher, source })?;
    KeyHistory::verify(publisher, &envelopes)
        .map(Some)
        .map_err(|source| TagsError::Keys { publisher, source })
}

/// Pins a publisher's keys: the first that are seen, then only what continues them.
pub(super) fn pin_keys(store: &Store, offered: &KeyHistory) -> Result<(), TagsError> {
    let publisher = offered.publisher();
    let pinned = keys(store, publisher)?;
    if key_pin::follow(pinned.as_ref(), offered)? == KeyPinStep::Same {
        return Ok(());
    }
    store
        .put_document(DocumentKind::Publisher, &publisher.to_string(), &json::to_vec(&offered.envelopes()))
        .map_err(|source| TagsError::Write { publisher, source })
}

/// Returns the publishers whose keys are remembered.
pub(super) fn publishers(store: &Store) -> Result<Vec<PublisherId>, ReadError> {
    let documents = store.list_documents(DocumentKind::Publisher, "")?;
    Ok(documents.into_iter().filter_map(|(key, _)| key.parse().ok()).collect())
}

/// Returns the tag records that are here of a publisher, of one model, or the record of one tag; the keys must be here.
pub(super) fn records(
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
    let tags = documents.into_iter().map(|(_, bytes)| {
        SignedTag::verify(&String::from_utf8_lossy(&bytes), &keys)
            .map_err(|source| TagsError::Tag { publisher, source })
    });
    tags.collect()
}

/// Returns the record that is here of one tag.
pub(super) fn record(
    store: &Store,
    publisher: PublisherId,
    model: &ModelName,
    tag: &Tag,
) -> Result<Option<SignedTag>, TagsError> {
    Ok(records(store, publisher, Some(model))?.into_iter().find(|it| it.record().tag == *tag))
}

/// Returns the highest record that was seen of a tag.
pub(super) fn seen(
    store: &Store,
    publisher: PublisherId,
    model: &ModelName,
    tag: &Tag,
) -> Result<Option<Seen>, TagsError> {
    let read = store.get_document(DocumentKind::Seen, &tag_key(&publisher, model, tag));
    let bytes = read.map_err(|source| TagsError::Read { publisher, source })?;
    bytes
        .map(|bytes| json::from_slice(&bytes, 1024).map_err(|source| TagsError::Json { publisher, source }))
        .transpose()
}

/// Remembers that `tag` was seen, before anything is done with it.
///
/// # Errors
/// It is older than one that was seen, or contradicts it; then the two are kept as proof.
pub(super) fn see(store: &Store, tag: &SignedTag) -> Result<(), TagsError> {
    let record = tag.record();
    let (publisher, model, name) = (record.publisher, record.model.clone(), record.tag.clone());
    if let Some(seen) = seen(store, publisher, &model, &name)? {
        if record.seq < seen.seq {
            return Err(TagsError::Rollback { model, tag: name, offered: record.seq, seen: seen.seq });
        }
        if record.seq == seen.seq && tag.payload_digest() != seen.payload {
            keep_proof(store, tag)?;
            return Err(TagsError::Equivocation { model, tag: name, seq: record.seq });
        }
        if record.seq == seen.seq {
            return Ok(());
        }
    }
    let seen = json::to_vec(&Seen { seq: record.seq, payload: tag.payload_digest() });
    store
        .put_document(DocumentKind::Seen, &tag_key(&publisher, &model, &name), &seen)
        .map_err(|source| TagsError::Write { publisher, source })
}

/// Keeps a record as the one that this tag means here.
pub(super) fn keep(store: &Store, tag: &SignedTag) -> Result<(), TagsError> {
    let record = tag.record();
    let key = tag_key(&record.publisher, &record.model, &record.tag);
    store
        .put_document(DocumentKind::Tag, &key, tag.envelope().as_bytes())
        .map_err(|source| TagsError::Write { publisher: record.publisher, source })
}

/// Forgets what a tag means here; what was seen of it stays.
pub(super) fn forget(store: &Store, tag: &SignedTag) -> Result<(), TagsError> {
    let record = tag.record();
    let key = tag_key(&record.publisher, &record.model, &record.tag);
    store
        .remove_document(DocumentKind::Tag, &key)
        .map_err(|source| TagsError::Write { publisher: record.publisher, source })
}

/// Keeps both records of an equivocation: anyone who knows the publisher's id can check them.
fn keep_proof(store: &Store, offered: &SignedTag) -> Result<(), TagsError> {
    let record = offered.record();
    let publisher = record.publisher;
    let known = self::record(store, publisher, &record.model, &record.tag)?;
    let proof: Vec<&str> = known.iter().map(SignedTag::envelope).chain([offered.envelope()]).collect();
    let key = format!("{}#{}", tag_key(&publisher, &record.model, &record.tag), record.seq);
    store
        .put_document(DocumentKind::Proof, &key, &json::to_vec(&proof))
        .map_err(|source| TagsError::Write { publisher, source })
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use reg_proto::envelope::{Envelope, PublicKey};
    use reg_proto::key::{KeyDocument, publisher_id};
    use reg_proto::tag::{ManifestPointer, TAG_RECORD_TYPE, TagRecord};

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

        fn tag(&self, seq: u64, content: &str) -> SignedTag {
            let record = TagRecord {
                publisher: self.keys.publisher(),
                model: "tiny".parse().unwrap(),
                tag: Tag::latest(),
                seq,
                prev: None,
                manifest: ManifestPointer { digest: Digest::of(content.as_bytes()), size: 1 },
                key_document: 1,
                issued: 1_700_000_000,
                fresh_until: None,
                expires: None,
                settles: reg_proto::bounded::Bounded::empty(),
            };
            let envelope = Envelope::sign(TAG_RECORD_TYPE, record.to_payload(), &[&self.key]).to_json();
            SignedTag::verify(&envelope, &self.keys).unwrap()
        }
    }

    #[test]
    fn no_old_record_is_ever_taken_again_not_even_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::open(dir.path(), CacheLimits::default()).unwrap();
        let publisher = Publisher::new();
        let mut store = open();
        for seq in [1, 2, 5] {
            see(&store, &publisher.tag(seq, "x")).unwrap();
            drop(store);
            store = open();
            for old in 0..seq {
                let refused = see(&store, &publisher.tag(old, "x"));
                assert!(
                    matches!(refused, Err(TagsError::Rollback { seen, .. }) if seen == seq),
                    "{old} after {seq}"
                );
            }
            see(&store, &publisher.tag(seq, "x")).unwrap();
        }
    }

    #[test]
    fn two_records_of_one_number_are_refused_and_kept_as_proof() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), CacheLimits::default()).unwrap();
        let publisher = Publisher::new();
        pin_keys(&store, &publisher.keys).unwrap();
        let (one, two) = (publisher.tag(3, "one"), publisher.tag(3, "two"));
        see(&store, &one).unwrap();
        keep(&store, &one).unwrap();
        assert!(matches!(see(&store, &two), Err(TagsError::Equivocation { seq: 3, .. })));
        let proofs = store.list_documents(DocumentKind::Proof, "").unwrap();
        let envelopes: Vec<String> = serde_json::from_slice(&proofs[0].1).unwrap();
        let proof: Vec<SignedTag> =
            envelopes.iter().map(|text| SignedTag::verify(text, &publisher.keys).unwrap()).collect();
        assert!(proof[0].contradicts(&proof[1]), "anyone can check it");
        forget(&store, &one).unwrap();
        assert!(
            see(&store, &publisher.tag(2, "x")).is_err(),
            "what was seen stays when the tag is forgotten"
        );
    }
}
