//! [`Index`]: small records that can be rebuilt from the files of the store, so it never has to fail.
//!
//! After a failed write or sync, what it has on the disk is unknown. It is made anew then, from what it still knows and
//! from the files, and the operation is repeated. Where the disk takes no new one, as a full disk does, it stays in
//! memory, and moves to the disk at a later commit. It is lost at the end of the process, which costs rehashing.

mod records;
mod rows;
mod trees;

use std::fs;
use std::io::{self, ErrorKind};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use reg_proto::digest::Digest;
use reg_proto::piece::{PieceIndex, PieceSet};
use thiserror::Error;

pub(super) use self::records::{BlobRecord, DocumentCopy, RECORD_BYTES_MAX, Records};
pub(super) use self::rows::Changed;
use self::trees::{Table, Trees};
use super::documents::DocumentKind;
use super::paths::Paths;

/// Time between two attempts to move an index from memory to the disk.
const NEXT_TRY: Duration = Duration::from_secs(10);

/// The kinds of documents that rows are derived from.
const WATCHED: [&str; 4] = [
    DocumentKind::Publisher.name(),
    DocumentKind::Tag.name(),
    DocumentKind::Model.name(),
    DocumentKind::Revocation.name(),
];

/// Why the index cannot be read or written.
#[derive(Debug, Error)]
pub enum IndexError {
    #[error("index failed")]
    Sled(#[from] sled::Error),
    #[error("index files cannot be synced")]
    Sync(#[from] io::Error),
    #[error("index panicked while it was opened")]
    Panicked,
    #[error("index holds a malformed record")]
    Record(#[from] serde_json::Error),
    #[error("index failed, and the files that it is made from cannot be read")]
    Files(#[source] io::Error),
}

impl IndexError {
    /// Tells whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Sled(sled::Error::Io(error)) | Self::Sync(error) | Self::Files(error) => {
                super::error::is_full(error)
            }
            _ => false,
        }
    }

    /// Tells whether the disk failed, which says nothing of the content of the index.
    const fn is_of_disk(&self) -> bool {
        matches!(self, Self::Sled(sled::Error::Io(_)) | Self::Sync(_) | Self::Files(_))
    }
}

/// The index.
#[derive(Debug)]
pub(super) struct Index {
    paths: Paths,
    state: RwLock<State>,
    /// When an index in memory is moved to the disk, and why it is in memory.
    in_memory: Mutex<Option<InMemory>>,
}

#[derive(Debug)]
struct State {
    records: Records,
    /// Counts how often the index was made anew, so that of several threads that fail at once one makes it anew.
    generation: u64,
    /// Whether the records may lack what the files hold, because these could not be read.
    is_incomplete: bool,
}

#[derive(Debug)]
struct InMemory {
    why: String,
    next_try: Instant,
    /// Whether the index on the disk was not read, and may be sound.
    is_unread: bool,
}

impl Index {
    /// Opens the index of the store at these paths, and makes it agree with the files. Renames a damaged one to
    /// `index.bad-N`, and begins a new one. Stays in memory where the disk fails or is full.
    pub(super) fn open(paths: Paths) -> Result<Self, IndexError> {
        let path = paths.index();
        // A disk may fail once.
        let opened = Records::open(&path).or_else(|_| Records::open(&path));
        let opened = opened.or_else(|error| match error {
            error if error.is_of_disk() => Err(error),
            error => {
                let aside = trees::set_aside(&path)?;
                tracing::warn!(error = chain(&error), aside = %aside.display(), "the index was damaged and is rebuilt from the files");
                Records::open(&path)
            }
        });
        let (records, in_memory) = match opened {
            Ok(records) => (records, None),
            Err(error) => {
                tracing::warn!(%error, "the index stays in memory");
                let why = chain(&error);
                let in_memory = InMemory { why, next_try: Instant::now() + NEXT_TRY, is_unread: true };
                (Records::new(Trees::in_memory()), Some(in_memory))
            }
        };
        let state = State { records, generation: 0, is_incomplete: false };
        let index = Self { paths, state: RwLock::new(state), in_memory: Mutex::new(in_memory) };
        let agree = || index.run(|records| super::reconcile::with_files(records, &index.paths));
        agree().or_else(|_| agree())?;
        Ok(index)
    }

    /// Returns why the index is in memory, where it is.
    pub(super) fn trouble(&self) -> Option<String> {
        self.in_memory().as_ref().map(|it| it.why.clone())
    }

    /// Syncs everything written so far, so that it survives a power cut. Tries to move an index in memory to the disk.
    pub(super) fn commit(&self) -> Result<(), IndexError> {
        let is_due = self.in_memory().as_ref().is_some_and(|it| it.next_try <= Instant::now());
        if is_due {
            self.move_to_disk();
        }
        self.run(|records| records.trees.commit())
    }

    /// Notes that the disk has more room than before: the next commit tries to move an index in memory to it.
    pub(super) fn note_room(&self) {
        if let Some(in_memory) = self.in_memory().as_mut() {
            in_memory.next_try = Instant::now();
        }
    }

    /// Runs an operation. Where the index fails in it, makes the index anew and repeats the operation.
    fn run<T>(&self, operation: impl Fn(&Records) -> Result<T, IndexError>) -> Result<T, IndexError> {
        let generation = {
            let state = self.read();
            if !state.is_incomplete {
                match operation(&state.records) {
                    Err(error) if !matches!(error, IndexError::Record(_) | IndexError::Files(_)) => {
                        tracing::warn!(error = chain(&error), "the index has failed and is made anew");
                    }
                    outcome => return outcome,
                }
            }
            state.generation
        };
        self.make_anew(generation)?;
        operation(&self.read().records)
    }

    /// Replaces an index that has failed, unless another thread has done so.
    fn make_anew(&self, failed: u64) -> Result<(), IndexError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.generation != failed {
            return Ok(());
        }
        let salvaged = Records::new(state.records.trees.salvage());
        state.is_incomplete = true;
        // This closes the files of the one that failed.
        state.records = salvaged;
        super::reconcile::with_files(&state.records, &self.paths)?;
        state.generation += 1;
        state.is_incomplete = false;
        match self.on_disk(&state.records, false) {
            Ok(records) => {
                state.records = records;
                *self.in_memory() = None;
            }
            Err(error) => self.stays(&error, false),
        }
        Ok(())
    }

    fn move_to_disk(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let Some(is_unread) = self.in_memory().as_ref().map(|it| it.is_unread) else { return };
        match self.on_disk(&state.records, is_unread) {
            Ok(records) => {
                tracing::info!("the index is on the disk again");
                state.records = records;
                *self.in_memory() = None;
            }
            Err(error) => self.stays(&error, is_unread),
        }
    }

    /// Writes records into an index on the disk: a new one, or the one that was not read before, with what it knows.
    fn on_disk(&self, records: &Records, is_unread: bool) -> Result<Records, IndexError> {
        let path = self.paths.index();
        let target = match is_unread.then(|| Records::open(&path)) {
            Some(Ok(sound)) => sound,
            // It may be sound, and it holds what no file does: when models were last used.
            Some(Err(error)) if error.is_of_disk() => return Err(error),
            _ => {
                match fs::remove_dir_all(&path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                    _ => {}
                }
                Records::open(&path)?
            }
        };
        target.take_over(records)?;
        target.trees.commit()?;
        Ok(target)
    }

    fn stays(&self, error: &IndexError, is_unread: bool) {
        let why = chain(error);
        tracing::warn!(why, "the index stays in memory");
        *self.in_memory() = Some(InMemory { why, next_try: Instant::now() + NEXT_TRY, is_unread });
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_memory(&self) -> MutexGuard<'_, Option<InMemory>> {
        self.in_memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn blob(&self, digest: &Digest) -> Result<Option<BlobRecord>, IndexError> {
        self.run(|records| records.blob(digest))
    }

    pub(super) fn put_blob(&self, digest: &Digest, record: &BlobRecord) -> Result<(), IndexError> {
        self.run(|records| records.put_blob(digest, record))
    }

    pub(super) fn remove_blob(&self, digest: &Digest) -> Result<(), IndexError> {
        self.run(|records| records.remove_blob(digest))
    }

    pub(super) fn remove_unused_blob(&self, digest: &Digest) -> Result<(), IndexError> {
        self.run(|records| records.remove_unused_blob(digest))
    }

    pub(super) fn blobs(&self) -> Result<Vec<(Digest, BlobRecord)>, IndexError> {
        self.run(Records::blobs)
    }

    pub(super) fn document(&self, kind: &str, key: &str) -> Result<Option<DocumentCopy>, IndexError> {
        self.run(|records| records.document(kind, key))
    }

    pub(super) fn put_document(&self, kind: &str, key: &str, bytes: &[u8]) -> Result<(), IndexError> {
        self.run(|records| records.put_document(kind, key, bytes))
    }

    pub(super) fn remove_document(&self, kind: &str, key: &str) -> Result<(), IndexError> {
        self.run(|records| records.remove_document(kind, key))
    }

    /// Returns the copies of a kind's documents with keys that begin with `prefix`, in the order of their keys.
    pub(super) fn documents(
        &self,
        kind: &str,
        prefix: &str,
    ) -> Result<Vec<(String, DocumentCopy)>, IndexError> {
        self.run(|records| records.documents(kind, prefix))
    }

    /// Returns the verified pieces of a partial blob of `len` pieces.
    pub(super) fn pieces(&self, blob: &Digest, states: &Digest, len: u32) -> Result<PieceSet, IndexError> {
        self.run(|records| records.pieces(blob, states, len))
    }

    /// Writes the pages of a bitmap that contain the `changed` pieces.
    pub(super) fn put_pieces(
        &self,
        blob: &Digest,
        states: &Digest,
        pieces: &PieceSet,
        changed: &[PieceIndex],
    ) -> Result<(), IndexError> {
        self.run(|records| records.put_pieces(blob, states, pieces, changed))
    }

    pub(super) fn remove_pieces(&self, blob: &Digest, states: &Digest) -> Result<(), IndexError> {
        self.run(|records| records.remove_pieces(blob, states))
    }

    /// Records when a model was last used, in seconds since 1970.
    pub(super) fn touch(&self, manifest: &Digest, now: u64) -> Result<(), IndexError> {
        self.run(|records| records.touch(manifest, now))
    }

    pub(super) fn last_used(&self, manifest: &Digest) -> Option<u64> {
        self.read().records.last_used(manifest)
    }

    pub(super) fn changed(&self) -> Vec<Changed> {
        self.read().records.changed()
    }

    /// Writes rows, and then records what they were derived from.
    pub(super) fn put_rows(
        &self,
        rows: &[(String, Option<Vec<u8>>)],
        derived_from: &[Changed],
        lost: Option<u64>,
    ) -> Result<(), IndexError> {
        self.run(|records| {
            rows.iter().try_for_each(|(key, row)| records.put_row(key, row.as_deref()))?;
            records.settle(derived_from)?;
            lost.map_or(Ok(()), |lost| records.settle_lost(lost))
        })
    }

    pub(super) fn rows(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, IndexError> {
        self.run(|records| records.rows(prefix, after, limit))
    }

    pub(super) fn lost(&self) -> Result<Option<u64>, IndexError> {
        self.run(Records::lost)
    }

    pub(super) fn forget_used(&self, manifest: &Digest) -> Result<(), IndexError> {
        self.run(|records| records.forget_used(manifest))
    }
}

impl Records {
    /// Opens records on the disk, and reads them all.
    fn open(path: &std::path::Path) -> Result<Self, IndexError> {
        let records = Self::new(Trees::open(path)?);
        records.blobs()?;
        Ok(records)
    }

    /// Takes all records of another, and drops what the other lacks; keeps what only this one knows of the same file: that
    /// it was verified, and when a model was used.
    fn take_over(&self, other: &Self) -> Result<(), IndexError> {
        for table in Table::ALL {
            let of_other = other.trees.scan(table, &[])?;
            for (key, _) in self.trees.scan(table, &[])? {
                let is_kept = table == Table::Used
                    || of_other.binary_search_by(|(of_other, _)| of_other.cmp(&key)).is_ok();
                if !is_kept {
                    self.trees.remove(table, &key)?;
                }
            }
            if table != Table::Blobs {
                of_other.iter().try_for_each(|(key, value)| self.trees.insert(table, key, value))?;
            }
        }
        for (digest, record) in other.blobs()? {
            let verified = match self.blob(&digest)? {
                Some(known) if known.size == record.size => record.verified.or(known.verified),
                _ => record.verified,
            };
            self.put_blob(&digest, &BlobRecord { verified, ..record })?;
        }
        self.changes.take_over(&other.changes);
        Ok(())
    }
}

/// Returns an error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
