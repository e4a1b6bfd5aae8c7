//! Documents: records that cannot be rebuilt. Each is an fsynced file of its own, and the index holds a copy.
//!
//! The file is the truth. A write that fails before the rename leaves the old file. After a rename, or a sync of the
//! directory, that failed, the disk may hold either document. A failed sync is never repeated into success. So the document
//! is in doubt, and is not read until the old one was written anew: new temporary file, fsync, rename, fsync of the directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use reg_proto::digest::Digest;

use super::error::{ReadError, WriteError};
use super::front::Store;
use super::index::DocumentCopy;
use super::paths::{self, Failed};

/// What a document is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// A publisher's key documents.
    Publisher,
    /// Everything that this node remembers of a tag.
    Tag,
    /// The highest number that this node has seen of a tag. Only the migration of an older store reads it.
    Seen,
    /// A model: JSON with a list `blobs`, the only field that the store reads. The key is the manifest's digest, a
    /// space, and the publisher: two publishers may have the same manifest.
    Model,
    /// A model that is never evicted, by the key of its document.
    Pin,
    /// A directory with a checkout of a model.
    Checkout,
    /// Two tag records that contradict each other. Only the migration of an older store reads it.
    Proof,
    /// A tag record that this node has seen, and when. Only the migration of an older store reads it.
    History,
    /// A number of a tag that was given out for signing. Only the migration of an older store reads it.
    Reserved,
    /// A revocation of a publisher.
    Revocation,
    /// A delegation of a publisher.
    Delegation,
    /// What a publisher says of itself.
    Profile,
    /// Key documents of a publisher that this node does not follow, and keeps because of what they revoke.
    Witness,
    /// Key documents of a publisher that part from those that this node follows, or from each other: evidence.
    Fork,
    /// The digest of the key document that the user has accepted for a publisher.
    Accepted,
    /// Models of a publisher that the user follows, with the versions that were heard of.
    Follow,
    /// A publisher's statement that a tag is no longer listed in catalogues, by the key of the tag.
    Tombstone,
    /// A model that is kept for others, by the key of its document: how many replicas it has elsewhere. Other keys, without a space,
    /// say what the user donates.
    Donation,
    /// The user's wish to take this node out of a private swarm.
    Drain,
}

impl DocumentKind {
    /// Every kind.
    pub(super) const ALL: [Self; 19] = [
        Self::Publisher,
        Self::Tag,
        Self::Seen,
        Self::Model,
        Self::Pin,
        Self::Checkout,
        Self::Proof,
        Self::History,
        Self::Reserved,
        Self::Revocation,
        Self::Delegation,
        Self::Profile,
        Self::Witness,
        Self::Fork,
        Self::Accepted,
        Self::Follow,
        Self::Tombstone,
        Self::Donation,
        Self::Drain,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::Tag => "tag",
            Self::Seen => "seen",
            Self::Model => "model",
            Self::Pin => "pin",
            Self::Checkout => "checkout",
            Self::Proof => "proof",
            Self::History => "history",
            Self::Reserved => "reserved",
            Self::Revocation => "revocation",
            Self::Delegation => "delegation",
            Self::Profile => "profile",
            Self::Witness => "witness",
            Self::Fork => "fork",
            Self::Accepted => "accepted",
            Self::Follow => "follow",
            Self::Tombstone => "tombstone",
            Self::Donation => "donation",
            Self::Drain => "drain",
        }
    }
}

/// Locks of documents: as many writes of different documents as may be under way at once.
const STRIPES: usize = 16;

/// Serialises the writes of each document, and remembers which documents are in doubt.
#[derive(Debug, Default)]
pub(super) struct DocumentWrites {
    stripes: [Mutex<Doubts>; STRIPES],
    /// The documents in doubt, in all stripes.
    doubtful: AtomicUsize,
    /// Held by callers that read a document, change it and write it back.
    changes: [Mutex<()>; STRIPES],
}

/// The documents in doubt, by kind and key.
type Doubts = BTreeMap<(&'static str, String), Doubt>;

#[derive(Debug, Clone)]
enum Doubt {
    /// The file may hold this document, which was written last, or one that should have replaced it.
    File(Option<Vec<u8>>),
    /// The file holds the document, and the copy in the index is older.
    Index,
}

impl DocumentWrites {
    fn lock(&self, key: &str) -> MutexGuard<'_, Doubts> {
        self.stripes[stripe(key)].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doubt(&self, doubts: &mut Doubts, id: (&'static str, String), doubt: Doubt) {
        if doubts.insert(id, doubt).is_none() {
            self.doubtful.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn trust(&self, doubts: &mut Doubts, id: &(&'static str, String)) {
        if doubts.remove(id).is_some() {
            self.doubtful.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn stripe(key: &str) -> usize {
    usize::from(Digest::of(key.as_bytes()).as_bytes()[0]) % STRIPES
}

impl Store {
    /// Locks the documents of a key for a caller that reads, changes and writes one. Other keys may share the lock, so a
    /// caller holds one lock at a time.
    pub fn lock_document(&self, key: &str) -> MutexGuard<'_, ()> {
        self.writes().changes[stripe(key)].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a document, replacing one of the same key. Once this returns, the document survives a power cut.
    ///
    /// # Errors
    /// Fails where the document cannot be written; then the old one remains, or is written anew before it is read again.
    pub fn put_document(&self, kind: DocumentKind, key: &str, bytes: &[u8]) -> Result<(), WriteError> {
        let id = (kind.name(), key.to_owned());
        let mut doubts = self.writes().lock(key);
        let before = match doubts.get(&id) {
            Some(Doubt::File(before)) => before.clone(),
            Some(Doubt::Index) => self.document_file(kind, key)?,
            None => self.read_document(kind, key)?,
        };
        match self.write_document(kind, key, bytes) {
            Ok(()) => self.writes().trust(&mut doubts, &id),
            Err(failed) => {
                if failed.is_in_doubt {
                    self.writes().doubt(&mut doubts, id, Doubt::File(before));
                }
                return Err(failed.error);
            }
        }
        if let Err(error) = self.index().put_document(kind.name(), key, bytes) {
            tracing::warn!(%error, kind = kind.name(), %key, "a document is written, but the index has no copy");
            self.writes().doubt(&mut doubts, id, Doubt::Index);
        }
        Ok(())
    }

    /// Returns a document; `None` where there is none.
    ///
    /// # Errors
    /// Fails where the document or the index cannot be read, or where the document is in doubt and cannot be written anew.
    pub fn get_document(&self, kind: DocumentKind, key: &str) -> Result<Option<Vec<u8>>, ReadError> {
        self.assure(kind, key)?;
        self.read_document(kind, key)
    }

    /// Returns the keys and documents of a kind with keys that begin with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// As [`Store::get_document`], for each of them.
    pub fn list_documents(
        &self,
        kind: DocumentKind,
        prefix: &str,
    ) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
        self.assure_all(kind, prefix)?;
        let mut found = Vec::new();
        for (key, copy) in self.index().documents(kind.name(), prefix)? {
            let bytes = match copy {
                DocumentCopy::Inline(bytes) => Some(bytes),
                DocumentCopy::InFile => self.document_file(kind, &key)?,
            };
            found.extend(bytes.map(|bytes| (key, bytes)));
        }
        Ok(found)
    }

    /// Returns the keys of a kind's documents that begin with `prefix`, in order. Reads no document.
    ///
    /// # Errors
    /// Fails where the index cannot be read.
    pub fn document_keys(&self, kind: DocumentKind, prefix: &str) -> Result<Vec<String>, ReadError> {
        Ok(self.index().documents(kind.name(), prefix)?.into_iter().map(|(key, _)| key).collect())
    }

    /// Removes a document; does nothing where there is none.
    ///
    /// # Errors
    /// Fails where the file cannot be removed or the index cannot be written.
    pub fn remove_document(&self, kind: DocumentKind, key: &str) -> Result<(), WriteError> {
        let id = (kind.name(), key.to_owned());
        let mut doubts = self.writes().lock(key);
        let before = match doubts.get(&id) {
            Some(Doubt::File(before)) => {
                let before = before.clone();
                // The file may be gone already, and a second sync of the directory would not say that it stays gone.
                if let Some(before) = &before {
                    self.write_document(kind, key, before).map_err(|failed| failed.error)?;
                }
                before
            }
            Some(Doubt::Index) => self.document_file(kind, key)?,
            None => self.read_document(kind, key)?,
        };
        if let Err(error) = paths::remove(&self.paths().document(kind.name(), key)) {
            self.writes().doubt(&mut doubts, id, Doubt::File(before));
            return Err(error);
        }
        self.writes().trust(&mut doubts, &id);
        Ok(self.index().remove_document(kind.name(), key)?)
    }

    /// Writes the file of a document. It begins with the key, so that the index can be rebuilt from the files.
    fn write_document(&self, kind: DocumentKind, key: &str, bytes: &[u8]) -> Result<(), Failed> {
        let path = self.paths().document(kind.name(), key);
        self.paths().replace_file(&path, &[key.as_bytes(), b"\n", bytes].concat())
    }

    /// Makes sure that the file and the index hold the document that was written last.
    fn assure(&self, kind: DocumentKind, key: &str) -> Result<(), ReadError> {
        if self.writes().doubtful.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let id = (kind.name(), key.to_owned());
        let mut doubts = self.writes().lock(key);
        let Some(doubt) = doubts.get(&id).cloned() else { return Ok(()) };
        let in_doubt = |source| ReadError::InDoubt { key: key.to_owned(), source: Box::new(source) };
        let document = match doubt {
            Doubt::File(Some(before)) => {
                self.write_document(kind, key, &before).map_err(|it| in_doubt(it.error))?;
                Some(before)
            }
            Doubt::File(None) => {
                paths::remove(&self.paths().document(kind.name(), key)).map_err(in_doubt)?;
                None
            }
            Doubt::Index => self.document_file(kind, key)?,
        };
        match document {
            Some(document) => self.index().put_document(kind.name(), key, &document)?,
            None => self.index().remove_document(kind.name(), key)?,
        }
        self.writes().trust(&mut doubts, &id);
        Ok(())
    }

    fn assure_all(&self, kind: DocumentKind, prefix: &str) -> Result<(), ReadError> {
        if self.writes().doubtful.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let mut keys = Vec::new();
        for stripe in &self.writes().stripes {
            let doubts = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            let meant = doubts.keys().filter(|(name, key)| *name == kind.name() && key.starts_with(prefix));
            keys.extend(meant.map(|(_, key)| key.clone()));
        }
        keys.iter().try_for_each(|key| self.assure(kind, key))
    }

    fn read_document(&self, kind: DocumentKind, key: &str) -> Result<Option<Vec<u8>>, ReadError> {
        match self.index().document(kind.name(), key)? {
            Some(DocumentCopy::Inline(bytes)) => Ok(Some(bytes)),
            Some(DocumentCopy::InFile) => self.document_file(kind, key),
            None => Ok(None),
        }
    }

    fn document_file(&self, kind: DocumentKind, key: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let path = self.paths().document(kind.name(), key);
        match fs::read(&path) {
            Ok(bytes) => Ok(split_key(&bytes).map(|(_, document)| document.to_vec())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ReadError::Io { path, source }),
        }
    }
}

/// Splits a document file into its key and the document.
pub(super) fn split_key(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}
