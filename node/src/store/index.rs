//! [`Index`]: small records that can be rebuilt from the files of the store. The only file that names sled.
//!
//! The records are: the whole blobs with their verified fingerprints, the verified pieces of partial blobs, copies of
//! documents, and when models were last used. sled 0.34 loses flushed data at a power cut unless its files are fsynced
//! too, and may panic on damaged files. So [`Index::commit`] syncs them, and [`Index::open`] catches a panic.

use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use reg_proto::digest::Digest;
use reg_proto::piece::{PieceIndex, PieceSet};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::disk;
use super::fingerprint::Fingerprint;

/// Most bytes of a record: as many as sled keeps inline, without a file of its own.
pub(super) const RECORD_BYTES_MAX: usize = 4096;
/// Bytes of a page of a bitmap: it covers 16,384 pieces, which are 16 GiB of a blob.
const PAGE_BYTES: usize = 2048;
/// Bytes that sled may keep in memory.
const MEMORY: u64 = 16 << 20;

/// Why the index cannot be read or written.
#[derive(Debug, Error)]
pub enum IndexError {
    #[error("index failed")]
    Sled(#[from] sled::Error),
    #[error("index files cannot be synced")]
    Sync(#[from] std::io::Error),
    #[error("index panicked while it was opened")]
    Panicked,
    #[error("index holds a malformed record")]
    Record(#[from] serde_json::Error),
}

impl IndexError {
    /// Tells whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Sled(sled::Error::Io(error)) | Self::Sync(error) => crate::store::error::is_full(error),
            _ => false,
        }
    }

    /// Tells whether the index takes nothing more until it is opened again: sled goes on after no failed write.
    fn is_lasting(&self) -> bool {
        matches!(self, Self::Sled(sled::Error::Io(_)))
    }
}

/// Tells whether a cause of an error is an index that takes nothing more until the node is started again.
pub fn needs_restart(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<IndexError>().is_some_and(IndexError::is_lasting)
}

/// A whole blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BlobRecord {
    pub(super) size: u64,
    /// The fingerprint of the file when it was verified; `None` where that is unknown, as after the index was lost.
    pub(super) verified: Option<Fingerprint>,
}

/// A copy of a document, or a note that there is one too long for a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DocumentCopy {
    Inline(Vec<u8>),
    InFile,
}

/// The index. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Index {
    path: PathBuf,
    db: sled::Db,
    blobs: sled::Tree,
    documents: sled::Tree,
    pieces: sled::Tree,
    used: sled::Tree,
}

impl Index {
    /// Opens the index and reads all of it. Renames a damaged one to `index.bad-N`, and begins a new one.
    pub(super) fn open(path: &Path) -> Result<Self, IndexError> {
        match Self::try_open(path) {
            Ok(index) => Ok(index),
            Err(error) if error.is_disk_full() => Err(error),
            Err(error) => {
                let aside = set_aside(path)?;
                tracing::warn!(%error, aside = %aside.display(), "the index was damaged and is rebuilt from the files");
                Self::try_open(path)
            }
        }
    }

    fn try_open(path: &Path) -> Result<Self, IndexError> {
        let open = || {
            let config = sled::Config::new().path(path).cache_capacity(MEMORY).flush_every_ms(None);
            let db = config.open()?;
            let index = Self {
                path: path.to_owned(),
                blobs: db.open_tree("blobs")?,
                documents: db.open_tree("documents")?,
                pieces: db.open_tree("pieces")?,
                used: db.open_tree("used")?,
                db,
            };
            index.read_all()?;
            Ok(index)
        };
        catch_unwind(AssertUnwindSafe(open)).unwrap_or(Err(IndexError::Panicked))
    }

    /// Reads every record: sled does not find all damage when it opens a database.
    fn read_all(&self) -> Result<(), IndexError> {
        for record in &self.blobs {
            serde_json::from_slice::<BlobRecord>(&record?.1)?;
        }
        for tree in [&self.documents, &self.pieces, &self.used] {
            for record in tree {
                record?;
            }
        }
        Ok(())
    }

    /// Syncs everything written so far, so that it survives a power cut.
    pub(super) fn commit(&self) -> Result<(), IndexError> {
        self.db.flush()?;
        sync_files(&self.path)?;
        Ok(())
    }

    pub(super) fn blob(&self, digest: &Digest) -> Result<Option<BlobRecord>, IndexError> {
        let record = self.blobs.get(digest.as_bytes())?;
        Ok(record.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    pub(super) fn put_blob(&self, digest: &Digest, record: &BlobRecord) -> Result<(), IndexError> {
        self.blobs.insert(digest.as_bytes(), serde_json::to_vec(record)?)?;
        Ok(())
    }

    pub(super) fn remove_blob(&self, digest: &Digest) -> Result<(), IndexError> {
        self.blobs.remove(digest.as_bytes())?;
        Ok(())
    }

    pub(super) fn blobs(&self) -> Result<Vec<(Digest, BlobRecord)>, IndexError> {
        let records = self.blobs.iter().map(|record| {
            let (key, value) = record?;
            let digest = <[u8; 32]>::try_from(key.as_ref()).map(Digest::from_bytes);
            Ok(digest.ok().zip(Some(serde_json::from_slice(&value)?)))
        });
        records.filter_map(Result::transpose).collect()
    }

    pub(super) fn document(&self, kind: &str, key: &str) -> Result<Option<DocumentCopy>, IndexError> {
        Ok(self.documents.get(document_key(kind, key))?.map(|bytes| read_copy(&bytes)))
    }

    pub(super) fn put_document(&self, kind: &str, key: &str, bytes: &[u8]) -> Result<(), IndexError> {
        let copy = if bytes.len() < RECORD_BYTES_MAX { [&[1], bytes].concat() } else { vec![0] };
        self.documents.insert(document_key(kind, key), copy)?;
        Ok(())
    }

    pub(super) fn remove_document(&self, kind: &str, key: &str) -> Result<(), IndexError> {
        self.documents.remove(document_key(kind, key))?;
        Ok(())
    }

    /// Returns the copies of a kind's documents with keys that begin with `prefix`, in the order of their keys.
    pub(super) fn documents(
        &self,
        kind: &str,
        prefix: &str,
    ) -> Result<Vec<(String, DocumentCopy)>, IndexError> {
        let found = self.documents.scan_prefix(document_key(kind, prefix)).map(|record| {
            let (key, value) = record?;
            let key = String::from_utf8_lossy(&key[kind.len() + 1..]).into_owned();
            Ok((key, read_copy(&value)))
        });
        found.collect()
    }

    /// Returns the verified pieces of a partial blob of `len` pieces.
    pub(super) fn pieces(&self, blob: &Digest, states: &Digest, len: u32) -> Result<PieceSet, IndexError> {
        let mut bytes = Vec::new();
        for page in 0..pages(len) {
            match self.pieces.get(page_key(blob, states, page))? {
                Some(found) if found.len() == page_len(len, page) => bytes.extend_from_slice(&found),
                _ => bytes.resize(bytes.len() + page_len(len, page), 0),
            }
        }
        Ok(PieceSet::from_bytes(len, &bytes).unwrap_or_else(|_| PieceSet::new(len)))
    }

    /// Writes the pages of a bitmap that contain the `changed` pieces.
    pub(super) fn put_pieces(
        &self,
        blob: &Digest,
        states: &Digest,
        pieces: &PieceSet,
        changed: impl Iterator<Item = PieceIndex>,
    ) -> Result<(), IndexError> {
        let bytes = pieces.to_bytes();
        let mut written = None;
        for page in changed.map(|piece| piece.get() / (PAGE_BYTES as u32 * 8)) {
            if written != Some(page) {
                let start = page as usize * PAGE_BYTES;
                let end = start + page_len(pieces.len(), page);
                self.pieces.insert(page_key(blob, states, page), &bytes[start..end])?;
                written = Some(page);
            }
        }
        Ok(())
    }

    pub(super) fn remove_pieces(&self, blob: &Digest, states: &Digest) -> Result<(), IndexError> {
        let prefix = [*blob.as_bytes(), *states.as_bytes()].concat();
        for record in self.pieces.scan_prefix(prefix) {
            self.pieces.remove(record?.0)?;
        }
        Ok(())
    }

    /// Records when a model was last used, in seconds since 1970.
    pub(super) fn touch(&self, manifest: &Digest, now: u64) -> Result<(), IndexError> {
        self.used.insert(manifest.as_bytes(), &now.to_be_bytes())?;
        Ok(())
    }

    pub(super) fn last_used(&self, manifest: &Digest) -> Option<u64> {
        let bytes = self.used.get(manifest.as_bytes()).ok()??;
        bytes.as_ref().try_into().ok().map(u64::from_be_bytes)
    }

    pub(super) fn forget_used(&self, manifest: &Digest) -> Result<(), IndexError> {
        self.used.remove(manifest.as_bytes())?;
        Ok(())
    }
}

fn document_key(kind: &str, key: &str) -> Vec<u8> {
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

/// Fsyncs sled's files: its own flush ends in `sync_file_range`, which syncs neither sizes nor extents.
fn sync_files(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_file() => match File::open(entry.path()) {
                Ok(file) => file.sync_all()?,
                // sled replaces its snapshots while it runs.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            },
            kind if kind.is_dir() => sync_files(&entry.path())?,
            _ => {}
        }
    }
    disk::sync_dir(dir)
}

/// Renames a damaged index, so that a user can examine it.
fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    /// Damaged copies that are kept; the last one is replaced.
    const KEPT_MAX: u32 = 3;
    let mut aside = path.with_extension("bad-1");
    for number in 1..=KEPT_MAX {
        aside = path.with_extension(format!("bad-{number}"));
        if !aside.exists() {
            break;
        }
    }
    if aside.is_dir() {
        fs::remove_dir_all(&aside)?;
    } else if aside.exists() {
        fs::remove_file(&aside)?;
    }
    fs::rename(path, &aside)?;
    Ok(aside)
}
