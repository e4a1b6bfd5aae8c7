//! Rows that the caller of the store derives from documents, and which documents have changed since.
//!
//! A digest of each watched document is kept from the time when rows were last derived from it. So a change is found at the
//! next start too, whatever binary made it, and however that process ended. Rows are written before these digests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use reg_proto::digest::Digest;

use super::records::{Records, document_key};
use super::trees::Table;
use super::{IndexError, WATCHED};

/// Bytes that are kept of the digest of a document. A change that they miss leaves a row old, and nothing else.
const STAMP_BYTES: usize = 16;
/// The key of the number of lost blobs. No document's kind is empty.
const LOST: &[u8] = b"\0lost";
/// The key of the number of lost blobs that the rows know of.
const LOST_KNOWN: &[u8] = b"\0lost-known";

/// Numbers the changes, so that one that comes while rows are derived is not taken for an earlier one.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The watched documents that have changed, by the key of their copy.
#[derive(Debug, Default)]
pub(super) struct Changes(Mutex<BTreeMap<Vec<u8>, Change>>);

#[derive(Debug, Clone, Copy)]
struct Change {
    number: u64,
    /// The stamp of the document; `None` where it is gone.
    stamp: Option<[u8; STAMP_BYTES]>,
}

/// A document that has changed since rows were derived from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Changed {
    pub(in crate::store) id: Vec<u8>,
    number: u64,
}

impl Changed {
    /// Returns the kind and the key of the document.
    pub(in crate::store) fn document(&self) -> Option<(&str, &str)> {
        std::str::from_utf8(&self.id).ok()?.split_once('\0')
    }
}

impl Changes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Change>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over the changes of records that these replace.
    pub(super) fn take_over(&self, other: &Self) {
        let of_other = other.lock().clone();
        self.lock().extend(of_other);
    }
}

impl Records {
    /// Notes that a watched document was written or removed.
    pub(in crate::store) fn note(&self, kind: &str, key: &str, document: Option<&[u8]>) {
        if WATCHED.contains(&kind) {
            let change =
                Change { number: NEXT.fetch_add(1, Ordering::Relaxed), stamp: document.map(stamp_of) };
            self.changes.lock().insert(document_key(kind, key), change);
        }
    }

    /// Notes a watched document unless rows were derived from it as it is now, which `stamp` tells.
    pub(in crate::store) fn note_if_new(&self, kind: &str, key: &str, document: &[u8], stamp: Option<&[u8]>) {
        if WATCHED.contains(&kind) && stamp != Some(&stamp_of(document)) {
            self.note(kind, key, Some(document));
        }
    }

    /// Returns the stamps of the documents of a kind that rows were derived from, by their keys.
    pub(in crate::store) fn derived_from(&self, kind: &str) -> Result<BTreeMap<String, Vec<u8>>, IndexError> {
        let stamps = self.trees.scan(Table::DerivedFrom, &document_key(kind, ""))?.into_iter();
        let key = |id: &[u8]| String::from_utf8_lossy(&id[kind.len() + 1..]).into_owned();
        Ok(stamps.map(|(id, stamp)| (key(&id), stamp)).collect())
    }

    /// Returns the documents that have changed since rows were derived from them.
    pub(in crate::store) fn changed(&self) -> Vec<Changed> {
        let changes = self.changes.lock();
        changes.iter().map(|(id, change)| Changed { id: id.clone(), number: change.number }).collect()
    }

    /// Records that rows were derived from these documents. Those that have changed again stay changed.
    pub(in crate::store) fn settle(&self, derived_from: &[Changed]) -> Result<(), IndexError> {
        for Changed { id, number } in derived_from {
            let mut changes = self.changes.lock();
            let Some(change) = changes.get(id).copied().filter(|it| it.number == *number) else { continue };
            match change.stamp {
                Some(stamp) => self.trees.insert(Table::DerivedFrom, id, &stamp)?,
                None => self.trees.remove(Table::DerivedFrom, id)?,
            }
            changes.remove(id);
        }
        Ok(())
    }

    /// Counts a blob that was lost although a model may need it.
    pub(super) fn count_lost(&self) -> Result<(), IndexError> {
        let lost = self.number(LOST)? + 1;
        self.trees.insert(Table::DerivedFrom, LOST, &lost.to_be_bytes())
    }

    /// Returns the number of lost blobs, if the rows do not know of all of them.
    pub(in crate::store) fn lost(&self) -> Result<Option<u64>, IndexError> {
        let lost = self.number(LOST)?;
        Ok((lost != self.number(LOST_KNOWN)?).then_some(lost))
    }

    /// Records that the rows know of so many lost blobs.
    pub(in crate::store) fn settle_lost(&self, lost: u64) -> Result<(), IndexError> {
        self.trees.insert(Table::DerivedFrom, LOST_KNOWN, &lost.to_be_bytes())
    }

    fn number(&self, key: &[u8]) -> Result<u64, IndexError> {
        let bytes = self.trees.get(Table::DerivedFrom, key)?;
        Ok(bytes.and_then(|it| it.try_into().ok()).map_or(0, u64::from_be_bytes))
    }

    /// Writes a row, or removes it.
    pub(in crate::store) fn put_row(&self, key: &str, row: Option<&[u8]>) -> Result<(), IndexError> {
        match row {
            Some(row) => self.trees.insert(Table::Rows, key.as_bytes(), row),
            None => self.trees.remove(Table::Rows, key.as_bytes()),
        }
    }

    /// Returns at most `limit` rows with keys that begin with `prefix` and come after `after`, in the order of their keys.
    pub(in crate::store) fn rows(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, IndexError> {
        let pairs =
            self.trees.page(Table::Rows, prefix.as_bytes(), after.map(str::as_bytes), limit)?.into_iter();
        Ok(pairs.map(|(key, row)| (String::from_utf8_lossy(&key).into_owned(), row)).collect())
    }
}

fn stamp_of(document: &[u8]) -> [u8; STAMP_BYTES] {
    let digest = Digest::of(document);
    std::array::from_fn(|at| digest.as_bytes()[at])
}
