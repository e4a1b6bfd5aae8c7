//! Migrates a store of the version before: its documents of a tag become one.
//!
//! Each new document is written before the old ones are removed, and a second run does nothing. So a crash at any point
//! loses nothing. Signatures are not verified again: what is in the store was verified, and is verified when it is read.

use std::collections::BTreeSet;

use reg_proto::equivocation::EquivocationClaim;
use reg_proto::json;
use reg_proto::limits::TAG_ENVELOPE_BYTES_MAX;
use reg_proto::name::PublisherId;
use reg_proto::naming::{Contradiction, Promise, RecordFacts};
use serde::Deserialize;
use thiserror::Error;

use super::book::{Book, Entry};
use super::error::TagsError;
use crate::store::{DocumentKind, ReadError, Store, WriteError};

/// Why a store is not migrated. The same command tries again.
#[derive(Debug, Error)]
pub enum MigrateError {
    #[error("store of the version before cannot be read")]
    Read(#[from] ReadError),
    #[error("migrated store cannot be written")]
    Write(#[from] WriteError),
    #[error("documents of a tag cannot be migrated")]
    Tag(#[from] TagsError),
}

/// The documents of a tag in a store of the version before.
#[derive(Debug, Default)]
struct Old {
    /// The bare envelope of the record that is kept for the tag.
    held: Option<String>,
    /// The records that were seen.
    history: Vec<Entry>,
    proofs: Vec<EquivocationClaim>,
    /// The highest number that was given out for signing.
    reserved: Option<u64>,
}

#[derive(Deserialize)]
struct Reserved {
    seq: u64,
}

/// Migrates the documents of all tags, if the store is of the version before.
///
/// # Errors
/// See [`MigrateError`].
pub fn migrate(store: &Store) -> Result<(), MigrateError> {
    if !store.is_of_before()? {
        return Ok(());
    }
    let mut tags = BTreeSet::new();
    for kind in [DocumentKind::Tag, DocumentKind::Seen, DocumentKind::Reserved] {
        tags.extend(store.document_keys(kind, "")?);
    }
    for kind in [DocumentKind::History, DocumentKind::Proof] {
        let keys = store.document_keys(kind, "")?;
        tags.extend(keys.iter().filter_map(|key| key.split_once('#')).map(|(tag, _)| tag.to_owned()));
    }
    for tag in &tags {
        migrate_tag(store, tag)?;
    }
    store.end_migration()?;
    tracing::info!(tags = tags.len(), "the documents of the store's tags have been migrated");
    Ok(())
}

fn migrate_tag(store: &Store, tag: &str) -> Result<(), MigrateError> {
    let bare = store.get_document(DocumentKind::Tag, tag)?.filter(|bytes| is_bare(bytes));
    let is_new = bare.is_none() && store.get_document(DocumentKind::Tag, tag)?.is_some();
    let publisher = tag.split_once('/').and_then(|(publisher, _)| publisher.parse().ok());
    if let Some(publisher) = publisher.filter(|_| !is_new) {
        let old = read_old(store, tag, bare)?;
        convert(store, publisher, tag, &old)?;
    }
    for kind in [DocumentKind::Seen, DocumentKind::Reserved] {
        store.remove_document(kind, tag)?;
    }
    for kind in [DocumentKind::History, DocumentKind::Proof] {
        for (key, bytes) in store.list_documents(kind, &format!("{tag}#"))? {
            if is_understood(kind, &bytes) {
                store.remove_document(kind, &key)?;
            } else {
                tracing::warn!(key, "a record of the version before is not understood, and is kept as it is");
            }
        }
    }
    Ok(())
}

/// Returns whether a record of the history, or a proof, has become part of the new document.
fn is_understood(kind: DocumentKind, bytes: &[u8]) -> bool {
    match kind {
        DocumentKind::History => json::from_slice::<Entry>(bytes, 2 * TAG_ENVELOPE_BYTES_MAX).is_ok(),
        _ => json::from_slice::<EquivocationClaim>(bytes, 3 * TAG_ENVELOPE_BYTES_MAX).is_ok(),
    }
}

/// Returns whether a tag's document is that of the version before: an envelope, which has a payload.
fn is_bare(bytes: &[u8]) -> bool {
    super::book::facts_of(&String::from_utf8_lossy(bytes)).is_some()
}

fn read_old(store: &Store, tag: &str, bare: Option<Vec<u8>>) -> Result<Old, MigrateError> {
    let (mut old, prefix) = (Old::default(), format!("{tag}#"));
    old.held = bare.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    for (_, bytes) in store.list_documents(DocumentKind::History, &prefix)? {
        old.history.extend(json::from_slice::<Entry>(&bytes, 2 * TAG_ENVELOPE_BYTES_MAX).ok());
    }
    for (_, bytes) in store.list_documents(DocumentKind::Proof, &prefix)? {
        old.proofs.extend(json::from_slice::<EquivocationClaim>(&bytes, 3 * TAG_ENVELOPE_BYTES_MAX).ok());
    }
    let reserved = store.get_document(DocumentKind::Reserved, tag)?;
    old.reserved =
        reserved.and_then(|bytes| json::from_slice::<Reserved>(&bytes, 1024).ok()).map(|it| it.seq);
    Ok(old)
}

/// Writes the document of a tag from the old ones.
fn convert(store: &Store, publisher: PublisherId, tag: &str, old: &Old) -> Result<(), MigrateError> {
    let mut book = Book::new(store, publisher, tag.to_owned());
    let mut known: Vec<RecordFacts> = Vec::new();
    if let Some(held) = &old.held {
        let seen = old.history.iter().find(|it| it.envelope == *held).map_or(0, |it| it.seen);
        let entry = Entry { seen, envelope: held.clone() };
        if let Some(facts) = book.take(&entry) {
            book.held = Some(facts.payload);
            known.push(facts);
        }
    }
    known.extend(old.history.iter().filter_map(|entry| book.take(entry)));
    known.sort_by_key(|it| std::cmp::Reverse((it.order(), it.payload)));
    known.dedup();
    for claim in &old.proofs {
        let [one, two] = [&claim.one, &claim.two].map(|text| book.take_text(text));
        let Some(proof) = one.zip(two).and_then(|(one, two)| Contradiction::of(&one, &two)) else { continue };
        let settled = known.iter().find(|it| proof.is_settled_by(it)).cloned();
        book.rules.proofs.push(Contradiction { settled, ..proof });
    }
    let highest = known.first().map_or(0, |it| it.seq);
    if let Some(seq) = old.reserved.filter(|seq| *seq > highest) {
        // A payload of this number may have been signed. It is not known, so the next number leaves a gap.
        let key_document = known.first().map_or(1, |it| it.key_document);
        book.rules.abandoned.push(Promise { key_document, seq, payload: None });
    }
    let mut known = known.into_iter();
    book.rules.head = known.next();
    book.rules.ancestors = known.collect();
    let held = book.rules.known().find(|it| Some(it.payload) == book.held).cloned();
    held.into_iter().for_each(|it| book.keep_beside(it));
    book.rules.rejudge(&|_| true);
    Ok(book.save()?)
}

#[cfg(test)]
mod tests;
