//! Documents: records that cannot be rebuilt. Each is an fsynced file of its own, and the index holds a copy.

use std::fs;
use std::io::ErrorKind;

use super::error::{ReadError, WriteError};
use super::front::Store;
use super::index::DocumentCopy;
use super::paths;

/// What a document is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// A publisher's key documents.
    Publisher,
    /// The tag record that this node goes by.
    Tag,
    /// The highest number that this node has seen of a tag.
    Seen,
    /// A model: JSON with a list `blobs`, the only field that the store reads. The key is the manifest's digest, a
    /// space, and the publisher: two publishers may have the same manifest.
    Model,
    /// A model that is never evicted, by the key of its document.
    Pin,
    /// A directory with a checkout of a model.
    Checkout,
    /// Two tag records that contradict each other: an equivocation.
    Proof,
    /// A tag record that this node has seen, and when.
    History,
    /// A number of a tag that this node has given out for signing.
    Reserved,
    /// A revocation of a publisher.
    Revocation,
    /// A delegation of a publisher.
    Delegation,
    /// Key documents of a publisher that this node does not follow, and keeps because of what they revoke.
    Witness,
    /// Key documents of a publisher that part from those that this node follows, or from each other: evidence.
    Fork,
    /// The digest of the key document that the user has accepted for a publisher.
    Accepted,
}

impl DocumentKind {
    /// Every kind.
    pub(super) const ALL: [Self; 14] = [
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
        Self::Witness,
        Self::Fork,
        Self::Accepted,
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
            Self::Witness => "witness",
            Self::Fork => "fork",
            Self::Accepted => "accepted",
        }
    }
}

impl Store {
    /// Writes a document, replacing one of the same key. Once this returns, the document survives a power cut.
    ///
    /// # Errors
    /// Fails where the document cannot be written; then the old one remains.
    pub fn put_document(&self, kind: DocumentKind, key: &str, bytes: &[u8]) -> Result<(), WriteError> {
        let path = self.paths().document(kind.name(), key);
        // The file begins with the key, so that the index can be rebuilt from the files.
        self.paths().write_file(&path, &[key.as_bytes(), b"\n", bytes].concat())?;
        Ok(self.index().put_document(kind.name(), key, bytes)?)
    }

    /// Returns a document; `None` where there is none.
    ///
    /// # Errors
    /// Fails where the document or the index cannot be read.
    pub fn get_document(&self, kind: DocumentKind, key: &str) -> Result<Option<Vec<u8>>, ReadError> {
        match self.index().document(kind.name(), key)? {
            Some(DocumentCopy::Inline(bytes)) => Ok(Some(bytes)),
            Some(DocumentCopy::InFile) => self.document_file(kind, key),
            None => Ok(None),
        }
    }

    /// Returns the keys and documents of a kind with keys that begin with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// Fails where a document or the index cannot be read.
    pub fn list_documents(
        &self,
        kind: DocumentKind,
        prefix: &str,
    ) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
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

    /// Removes a document; does nothing where there is none.
    ///
    /// # Errors
    /// Fails where the file cannot be removed or the index cannot be written.
    pub fn remove_document(&self, kind: DocumentKind, key: &str) -> Result<(), WriteError> {
        paths::remove(&self.paths().document(kind.name(), key))?;
        Ok(self.index().remove_document(kind.name(), key)?)
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
