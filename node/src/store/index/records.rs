//! [`Records`]: what the index holds, over maps of bytes.
//!
//! The records are: the whole blobs with their verified fingerprints, the verified pieces of partial blobs, copies of
//! documents, when models were last used, and the rows of [`super::rows`].

use reg_proto::digest::Digest;
use reg_proto::piece::{PieceIndex, PieceSet};
use serde::{Deserialize, Serialize};

use super::IndexError;
use super::rows::Changes;
use super::trees::{Table, Trees};
use crate::store::fingerprint::Fingerprint;

/// Most bytes of a record: as many as sled keeps inline, without a file of its own.
pub(in crate::store) const RECORD_BYTES_MAX: usize = 4096;
/// Bytes of a page of a bitmap: it covers 16,384 pieces, which are 16 GiB of a blob.
const PAGE_BYTES: usize = 2048;

/// A whole blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct BlobRecord {
    pub(in crate::store) size: u64,
    /// The fingerprint of the file when it was verified; `None` where that is unknown, as after the index was lost.
    pub(in crate::store) verified: Option<Fingerprint>,
}

/// A copy of a document, or a note that there is one too long for a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum DocumentCopy {
    Inline(Vec<u8>),
    InFile,
}

/// The records.
#[derive(Debug)]
pub(in crate::store) struct Records {
    pub(super) trees: Trees,
    pub(super) changes: Changes,
}

impl Records {
    pub(super) fn new(trees: Trees) -> Self {
        Self { trees, changes: Changes::default() }
    }

    pub(in crate::store) fn blob(&self, digest: &Digest) -> Result<Option<BlobRecord>, IndexError> {
        let record = self.trees.get(Table::Blobs, digest.as_bytes())?;
        Ok(record.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    pub(in crate::store) fn put_blob(&self, digest: &Digest, record: &BlobRecord) -> Result<(), IndexError> {
        self.trees.insert(Table::Blobs, digest.as_bytes(), &serde_json::to_vec(record)?)
    }

    /// Removes a blob that no model needs.
    pub(in crate::store) fn remove_unused_blob(&self, digest: &Digest) -> Result<(), IndexError> {
        self.trees.remove(Table::Blobs, digest.as_bytes())
    }

    /// Removes a blob that a model may need.
    pub(in crate::store) fn remove_blob(&self, digest: &Digest) -> Result<(), IndexError> {
        // Before, because this process may end between the two. Afterwards, because rows may be derived between the two.
        // It is removed even where it cannot be counted.
        drop(self.count_lost());
        self.remove_unused_blob(digest)?;
        self.count_lost()
    }

    pub(in crate::store) fn blobs(&self) -> Result<Vec<(Digest, BlobRecord)>, IndexError> {
        let mut records = Vec::new();
        for (key, value) in self.trees.scan(Table::Blobs, &[])? {
            let record = serde_json::from_slice(&value)?;
            if let Ok(digest) = <[u8; 32]>::try_from(key.as_slice()) {
                records.push((Digest::from_bytes(digest), record));
            }
        }
        Ok(records)
    }

    pub(in crate::store) fn document(
        &self,
        kind: &str,
        key: &str,
    ) -> Result<Option<DocumentCopy>, IndexError> {
        Ok(self.trees.get(Table::Documents, &document_key(kind, key))?.map(|bytes| read_copy(&bytes)))
    }

    pub(in crate::store) fn put_document(
        &self,
        kind: &str,
        key: &str,
        bytes: &[u8],
    ) -> Result<(), IndexError> {
        let copy = if bytes.len() < RECORD_BYTES_MAX { [&[1], bytes].concat() } else { vec![0] };
        self.trees.insert(Table::Documents, &document_key(kind, key), &copy)?;
        // Afterwards: rows that are derived from now on are derived from this document.
        self.note(kind, key, Some(bytes));
        Ok(())
    }

    pub(in crate::store) fn remove_document(&self, kind: &str, key: &str) -> Result<(), IndexError> {
        self.trees.remove(Table::Documents, &document_key(kind, key))?;
        self.note(kind, key, None);
        Ok(())
    }

    /// Returns the copies of a kind's documents with keys that begin with `prefix`, in the order of their keys.
    pub(in crate::store) fn documents(
        &self,
        kind: &str,
        prefix: &str,
    ) -> Result<Vec<(String, DocumentCopy)>, IndexError> {
        let found = self.trees.scan(Table::Documents, &document_key(kind, prefix))?.into_iter();
        let found = found.map(|(key, value)| {
            (String::from_utf8_lossy(&key[kind.len() + 1..]).into_owned(), read_copy(&value))
        });
        Ok(found.collect())
    }

    /// Returns the verified pieces of a partial blob of `len` pieces.
    pub(in crate::store) fn pieces(
        &self,
        blob: &Digest,
        states: &Digest,
        len: u32,
    ) -> Result<PieceSet, IndexError> {
        let mut bytes = Vec::new();
        for page in 0..pages(len) {
            match self.trees.get(Table::Pieces, &page_key(blob, states, page))? {
                Some(found) if found.len() == page_len(len, page) => bytes.extend_from_slice(&found),
                _ => bytes.resize(bytes.len() + page_len(len, page), 0),
            }
        }
        Ok(PieceSet::from_bytes(len, &bytes).unwrap_or_else(|_| PieceSet::new(len)))
    }

    /// Writes the pages of a bitmap that contain the `changed` pieces.
    pub(in crate::store) fn put_pieces(
        &self,
        blob: &Digest,
        states: &Digest,
        pieces: &PieceSet,
        changed: &[PieceIndex],
    ) -> Result<(), IndexError> {
        let bytes = pieces.to_bytes();
        let mut written = None;
        for page in changed.iter().map(|piece| piece.get() / (PAGE_BYTES as u32 * 8)) {
            if written != Some(page) {
                let start = page as usize * PAGE_BYTES;
                let end = start + page_len(pieces.len(), page);
                self.trees.insert(Table::Pieces, &page_key(blob, states, page), &bytes[start..end])?;
                written = Some(page);
            }
        }
        Ok(())
    }

    pub(in crate::store) fn remove_pieces(&self, blob: &Digest, states: &Digest) -> Result<(), IndexError> {
        let prefix = [*blob.as_bytes(), *states.as_bytes()].concat();
        for (key, _) in self.trees.scan(Table::Pieces, &prefix)? {
            self.trees.remove(Table::Pieces, &key)?;
        }
        Ok(())
    }

    /// Records when a model was last used, in seconds since 1970.
    pub(in crate::store) fn touch(&self, manifest: &Digest, now: u64) -> Result<(), IndexError> {
        self.trees.insert(Table::Used, manifest.as_bytes(), &now.to_be_bytes())
    }

    pub(in crate::store) fn last_used(&self, manifest: &Digest) -> Option<u64> {
        let bytes = self.trees.get(Table::Used, manifest.as_bytes()).ok()??;
        bytes.as_slice().try_into().ok().map(u64::from_be_bytes)
    }

    pub(in crate::store) fn forget_used(&self, manifest: &Digest) -> Result<(), IndexError> {
        self.trees.remove(Table::Used, manifest.as_bytes())
    }
}

pub(super) fn document_key(kind: &str, key: &str) -> Vec<u8> {
    [kind.as_bytes(), b"\0", key.as_bytes()].concat()
}

fn read_copy(bytes: &[u8]) -> DocumentCopy {
    match bytes.split_first() {
        Some((1, copy)) => DocumentCopy::Inline(copy.to_vec()),
        _ => DocumentCopy::InFile,
    }
}

const fn pages(len: u32) -> u32 {
    len.div_ceil(PAGE_BYTES as u32 * 8)
}

fn page_len(len: u32, page: u32) -> usize {
    (len.div_ceil(8) as usize).saturating_sub(page as usize * PAGE_BYTES).min(PAGE_BYTES)
}

fn page_key(blob: &Digest, states: &Digest, page: u32) -> Vec<u8> {
    [blob.as_bytes().as_slice(), states.as_bytes(), &page.to_be_bytes()].concat()
}
