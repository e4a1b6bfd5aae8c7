//! The numbers that this node promises to its own publishers: begins, finishes and abandons the next record of a tag.
//!
//! Every step writes the tag's document, fsynced, before it returns. So a payload that leaves the machine is never
//! contradicted by a later one, whatever crashes.

use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::naming::{Contradiction, FinishError, Next, NextError, Pending, RecordFacts, Signing};
use reg_proto::tag::{SignedTag, TagRecord};

use super::book::Book;
use super::documents::{key_of, tag_key};
use super::error::TagsError;
use super::tags::{frozen, refused};
use crate::store::Store;

/// The publication that is begun.
#[derive(Debug)]
pub struct ToBegin<'a> {
    pub model: &'a ModelName,
    pub tag: &'a Tag,
    /// The newest record of the tag at any peer.
    pub newest: Option<&'a SignedTag>,
    /// Whether to settle the contradictions that freeze the tag.
    pub settle: bool,
    /// Whether it holds the tag until it is finished or abandoned.
    pub held: bool,
}

/// A payload that waited for its signature and was abandoned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandoned {
    pub record: TagRecord,
    /// Since when it waited, in seconds since 1970.
    pub since: u64,
}

/// Begins the next record of a tag, which `make` builds from its number and from the time of an earlier one of the same
/// content. Remembers it before it returns.
///
/// A payload that no signer holds, as after a crash, is abandoned first. One that is held is returned if it is the same.
pub fn begin(
    store: &Store,
    keys: &KeyHistory,
    it: &ToBegin<'_>,
    make: &dyn Fn(Next, Option<u64>) -> TagRecord,
) -> Result<TagRecord, TagsError> {
    let key = tag_key(&keys.publisher(), it.model, it.tag);
    let _lock = store.lock_document(&key);
    let mut book = Book::judged(store, keys, key)?;
    if let Some(waiting) = book.waiting() {
        if waiting.held {
            let record = TagRecord::from_payload(waiting.payload.as_bytes())
                .map_err(|source| TagsError::Json { publisher: keys.publisher(), source })?;
            let same = it.held && make(next_of(&record), Some(record.issued)) == record;
            return if same { Ok(record) } else { Err(held(it.model, it.tag, &record, waiting.since)) };
        }
        tracing::info!(model = %it.model, tag = %it.tag, "a publication that was interrupted is given up");
        book.rules.abandon();
    }
    let newest = it.newest.filter(|tag| SignedTag::verify(tag.envelope(), keys).is_ok());
    if let Some(newest) = newest {
        book.hear(newest);
    }
    let floor = keys.documents().filter_map(|it| it.floor).next_back().unwrap_or(1);
    let signing = Signing { key_document: keys.version(), floor };
    let facts = newest.map(SignedTag::facts);
    let next = match book.rules.next(signing, facts.as_ref(), it.settle) {
        Ok(next) => next,
        Err(NextError::UsedUp) => {
            return Err(TagsError::UsedUp { model: it.model.clone(), tag: it.tag.clone() });
        }
        Err(NextError::Frozen(proof)) => return Err(freeze(book, keys, it, &proof)),
        Err(NextError::Pending(pending)) => return Err(waits(it.model, it.tag, &pending)),
    };
    let record = make(next, None);
    let payload = record.to_payload();
    let facts = RecordFacts::of(&record, Digest::of(&payload));
    book.rules.begin(facts, it.held).map_err(|pending| waits(it.model, it.tag, &pending))?;
    book.wait_for(String::from_utf8_lossy(&payload).into_owned(), it.held);
    book.save()?;
    Ok(record)
}

/// Makes a signed record the head of its tag in one write. The store holds its model.
pub fn finish(store: &Store, keys: &KeyHistory, tag: &SignedTag) -> Result<(), TagsError> {
    let record = tag.record();
    let (model, name) = (&record.model, &record.tag);
    let key = key_of(record);
    let _lock = store.lock_document(&key);
    let mut book = Book::judged(store, keys, key)?;
    let facts = tag.facts();
    let is_other = |it: &Pending| it.record.payload != facts.payload && !it.held;
    if book.rules.pending.as_ref().is_some_and(is_other) {
        book.rules.abandon();
    }
    book.remember(tag);
    match book.rules.finish(&facts) {
        Ok(()) => {
            book.hold(tag);
            book.save()
        }
        Err(FinishError::Pending(pending)) => Err(waits(model, name, &pending)),
        Err(FinishError::Abandoned) => {
            Err(TagsError::Abandoned { model: model.clone(), tag: name.clone(), seq: record.seq })
        }
        Err(FinishError::Refused(heard)) => {
            let refused = refused(&book, keys, tag, heard);
            book.save()?;
            let other = TagsError::Abandoned { model: model.clone(), tag: name.clone(), seq: record.seq };
            Err(refused.unwrap_or(other))
        }
    }
}

/// Abandons the payload of a tag that waits for its signature. Its number is never used again.
///
/// # Errors
/// No payload waits.
pub fn abandon(
    store: &Store,
    publisher: PublisherId,
    model: &ModelName,
    tag: &Tag,
) -> Result<Abandoned, TagsError> {
    let key = tag_key(&publisher, model, tag);
    let _lock = store.lock_document(&key);
    let mut book = Book::read(store, publisher, key)?;
    let Some(waiting) = book.waiting().cloned() else {
        return Err(TagsError::NothingWaits { model: model.clone(), tag: tag.clone() });
    };
    let record = TagRecord::from_payload(waiting.payload.as_bytes())
        .map_err(|source| TagsError::Json { publisher, source })?;
    book.rules.abandon();
    book.save()?;
    Ok(Abandoned { record, since: waiting.since })
}

/// Returns what the number of an earlier record of the same content said.
fn next_of(record: &TagRecord) -> Next {
    Next {
        seq: record.seq,
        prev: record.prev,
        settles: record.settles.to_vec(),
        min_usable: record.min_usable,
    }
}

/// Keeps what was heard, and returns the error for a frozen tag.
fn freeze(book: Book<'_>, keys: &KeyHistory, it: &ToBegin<'_>, proof: &Contradiction) -> TagsError {
    let error = frozen(&book, keys, proof, it.model, it.tag);
    book.save().err().unwrap_or(error)
}

fn held(model: &ModelName, tag: &Tag, record: &TagRecord, since: u64) -> TagsError {
    TagsError::Held {
        publisher: record.publisher,
        model: model.clone(),
        tag: tag.clone(),
        seq: record.seq,
        manifest: record.manifest.digest,
        since,
    }
}

fn waits(model: &ModelName, tag: &Tag, pending: &Pending) -> TagsError {
    TagsError::Waits { model: model.clone(), tag: tag.clone(), seq: pending.record.seq }
}
