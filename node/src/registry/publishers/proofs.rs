//! The proofs of equivocation in the documents of tags. Each freezes its tag until a newer record settles it.

use std::collections::BTreeSet;

use reg_proto::equivocation::{Equivocation, EquivocationClaim};
use reg_proto::key::KeyHistory;
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::tag::TagRecord;

use super::book::{Book, TagDocument};
use super::documents::{key_of, tag_key};
use super::error::TagsError;
use crate::registry::limits::PROOFS_OF_STRANGERS_MAX;
use crate::store::{DocumentKind, ReadError, Store};

/// Keeps a proof, and returns whether it is new to the store.
pub fn keep(store: &Store, proof: &Equivocation) -> Result<bool, TagsError> {
    let record = proof.records()[1].record();
    let (publisher, key) = (record.publisher, key_of(record));
    let _lock = store.lock_document(&key);
    let mut book = Book::read(store, publisher, key)?;
    let failed = |source| TagsError::Read { publisher, source };
    let is_strange = !is_followed(store, publisher).map_err(failed)?;
    // The first proof freezes the tag. Of a stranger's tag, more would only take room.
    if is_strange && (!book.rules.proofs.is_empty() || is_full(store).map_err(failed)?) {
        return Ok(false);
    }
    if !book.rules.convict(proof.contradiction()) {
        return Ok(false);
    }
    proof.records().into_iter().for_each(|tag| book.remember(tag));
    book.save()?;
    tracing::warn!(%publisher, model = %record.model, tag = %record.tag, seq = record.seq, "a tag has two records that contradict each other: it is frozen");
    Ok(true)
}

/// Returns the proof that freezes a tag; `None` where there is none, or one of `newest` settles it.
pub fn freezing(
    store: &Store,
    keys: &KeyHistory,
    model: &ModelName,
    tag: &Tag,
    newest: &[&TagRecord],
) -> Result<Option<Equivocation>, TagsError> {
    let book = Book::judged(store, keys, tag_key(&keys.publisher(), model, tag))?;
    let proofs = book.rules.proofs.iter().filter(|it| it.settled.is_none()).filter_map(|proof| {
        let [one, two] = proof.heads().map(|payload| book.signed(keys, &payload));
        Equivocation::of(&one?, &two?)
    });
    let mut open = proofs.filter(|proof| !newest.iter().any(|record| proof.is_settled_by(record)));
    Ok(open.next())
}

fn is_followed(store: &Store, publisher: PublisherId) -> Result<bool, ReadError> {
    Ok(store.get_document(DocumentKind::Publisher, &publisher.to_string())?.is_some())
}

/// Returns whether the store has no room for a proof about a stranger's tag. Anyone can make publishers that equivocate,
/// and so could fill a disk. So the tags of strangers in the store are bounded.
fn is_full(store: &Store) -> Result<bool, ReadError> {
    let followed: BTreeSet<String> = store.document_keys(DocumentKind::Publisher, "")?.into_iter().collect();
    let tags = store.document_keys(DocumentKind::Tag, "")?;
    let strange = tags.iter().filter(|key| key.split_once('/').is_none_or(|(id, _)| !followed.contains(id)));
    Ok(strange.count() >= PROOFS_OF_STRANGERS_MAX)
}

/// Returns the proofs about a publisher's tags, about one model's, or about one tag, for which its keys still stand.
pub fn all(
    store: &Store,
    keys: &KeyHistory,
    model: Option<&ModelName>,
    tag: Option<&Tag>,
) -> Result<Vec<Equivocation>, TagsError> {
    let publisher = keys.publisher();
    let read = |source| TagsError::Read { publisher, source };
    let documents = match (model, tag) {
        (Some(model), Some(tag)) => {
            let key = tag_key(&publisher, model, tag);
            let bytes = store.get_document(DocumentKind::Tag, &key).map_err(read)?;
            bytes.map(|bytes| (key, bytes)).into_iter().collect()
        }
        (model, _) => {
            let prefix = match model {
                Some(model) => format!("{publisher}/{}:", model.folded()),
                None => format!("{publisher}/"),
            };
            store.list_documents(DocumentKind::Tag, &prefix).map_err(read)?
        }
    };
    let mut proofs = Vec::new();
    for (_, bytes) in documents {
        let document = TagDocument::read(publisher, &bytes)?;
        let claims =
            document.proofs().map(|it| EquivocationClaim { one: it.one.clone(), two: it.two.clone() });
        proofs.extend(claims.filter_map(|claim| Equivocation::verify(&claim, keys).ok()));
    }
    Ok(proofs)
}
