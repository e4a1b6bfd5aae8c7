//! [`Store`]: the handle of the store, and its state. One process opens a store at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reg_api::size::Size;
use reg_proto::digest::Digest;

use super::cache::{CacheLimits, Leases};
use super::disk;
use super::documents::{DocumentKind, DocumentWrites};
use super::doubt::Doubts;
use super::error::{OpenError, ReadError, WriteError};
use super::index::Index;
use super::partial::{Partial, Partials};
use super::paths::Paths;
use super::rehashing::{Rehashing, Turn};

/// Version of the layout on the disk. Version 2 has one document for each tag.
pub(super) const VERSION: u32 = 2;
/// The version that [`Store::open`] opens too. The caller migrates its documents.
pub(super) const VERSION_BEFORE: u32 = 1;

/// A store. Cheap to clone. Its calls block, so async code makes them on a blocking thread.
#[derive(Debug, Clone)]
pub struct Store(Arc<StoreState>);

#[derive(Debug)]
struct StoreState {
    paths: Paths,
    index: Index,
    limits: Mutex<Limits>,
    partials: Partials,
    /// Held while partial blobs are opened and deleted, so that each has one open file.
    opening: Mutex<()>,
    doubts: Doubts,
    leases: Arc<Leases>,
    /// Bytes of whole blobs.
    used: AtomicU64,
    /// The time of use that was given out last, so that no two are equal.
    last_use: AtomicU64,
    /// Held during eviction.
    cache: Mutex<()>,
    rehashing: Rehashing,
    /// Held while a blob is renamed or linked, recorded and counted, so that its record is that of its file.
    records: Mutex<()>,
    writes: DocumentWrites,
    /// Locked for as long as this process uses the store.
    _lock: File,
}

/// The limits of the cache, and what they mean on this disk.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) cache: CacheLimits,
    /// The most bytes of whole blobs, once it was asked for: `None` for as many as the disk holds.
    pub(super) size: Option<Option<u64>>,
}

/// How much a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub blobs: usize,
    /// Bytes of whole blobs.
    pub bytes: u64,
    /// Verified bytes of partial blobs.
    pub partial_bytes: u64,
}

impl Store {
    /// Opens the store at `root`, creating it where there is none. Rebuilds a damaged index.
    ///
    /// # Errors
    /// Fails where another process uses the store, it has another version, or its files cannot be read or written.
    pub fn open(root: &Path, limits: CacheLimits) -> Result<Self, OpenError> {
        let paths = Paths::new(root.to_owned());
        make_dirs(&paths)?;
        let lock = take_lock(&paths)?;
        check_version(&paths)?;
        let index = Index::open(Paths::new(root.to_owned()))?;
        let store = Self(Arc::new(StoreState {
            paths,
            index,
            limits: Mutex::new(Limits { cache: limits, size: None }),
            partials: Mutex::new(BTreeMap::new()),
            opening: Mutex::new(()),
            doubts: Mutex::new(BTreeMap::new()),
            leases: Arc::default(),
            used: AtomicU64::new(0),
            last_use: AtomicU64::new(0),
            cache: Mutex::new(()),
            rehashing: Rehashing::default(),
            records: Mutex::new(()),
            writes: DocumentWrites::default(),
            _lock: lock,
        }));
        store.begin()?;
        match store.max_size() {
            Some(bytes) => {
                tracing::info!(size = %Size(bytes), limits = ?limits.max_size, "the cache has a size")
            }
            None => tracing::info!("the cache may fill the disk"),
        }
        store.index().commit()?;
        Ok(store)
    }

    /// Returns the directory of the store.
    pub fn root(&self) -> &Path {
        self.paths().root()
    }

    /// Returns the limits of its cache.
    pub fn limits(&self) -> CacheLimits {
        self.held_limits().cache
    }

    /// Replaces the limits of its cache. What is beyond them is evicted when room is needed, or by a collection.
    pub fn set_limits(&self, limits: CacheLimits) {
        let mut held = self.held_limits();
        if held.cache != limits {
            *held = Limits { cache: limits, size: None };
        }
    }

    pub(super) fn held_limits(&self) -> MutexGuard<'_, Limits> {
        self.0.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how much the store holds.
    ///
    /// # Errors
    /// Fails where the index cannot be read.
    pub fn usage(&self) -> Result<Usage, ReadError> {
        let partial_bytes = self.all_partials().iter().map(Partial::verified_bytes).sum();
        Ok(Usage { blobs: self.index().blobs()?.len(), bytes: self.used(), partial_bytes })
    }

    /// Returns why the index of the store is kept in memory, where the disk takes none.
    pub fn index_trouble(&self) -> Option<String> {
        self.index().trouble()
    }

    /// Syncs the index to disk. Files and documents are on disk without this.
    pub fn commit(&self) {
        if let Err(error) = self.index().commit() {
            tracing::warn!(%error, "the index cannot be synced");
        }
    }

    /// Returns whether the store was made by an earlier version, so that its documents must be migrated.
    ///
    /// # Errors
    /// Fails where the version cannot be read.
    pub fn is_of_before(&self) -> Result<bool, ReadError> {
        let path = self.paths().version();
        let found = fs::read_to_string(&path).map_err(|source| ReadError::Io { path, source })?;
        Ok(found.trim() == VERSION_BEFORE.to_string())
    }

    /// Records that the documents of the store have been migrated. Earlier versions refuse the store from then on.
    ///
    /// # Errors
    /// Fails where the version cannot be written.
    pub fn end_migration(&self) -> Result<(), WriteError> {
        self.paths().write_file(&self.paths().version(), format!("{VERSION}\n").as_bytes())
    }

    pub(super) fn writes(&self) -> &DocumentWrites {
        &self.0.writes
    }

    pub(super) fn paths(&self) -> &Paths {
        &self.0.paths
    }

    pub(super) fn index(&self) -> &Index {
        &self.0.index
    }

    pub(super) fn partials(&self) -> &Partials {
        &self.0.partials
    }

    pub(super) fn doubts(&self) -> &Doubts {
        &self.0.doubts
    }

    pub(super) fn leases(&self) -> &Arc<Leases> {
        &self.0.leases
    }

    /// Returns how many bytes the store's disk can still take; `None` where the system does not say. Disk space that is
    /// allocated for partial blobs counts as free, because leases count it already.
    pub fn free_space(&self) -> Option<u64> {
        self.free_beside(&BTreeSet::new())
    }

    /// Returns the free space without what is allocated for these partial blobs.
    pub(super) fn free_beside(&self, partials: &BTreeSet<(Digest, Digest)>) -> Option<u64> {
        // This order does not count space twice that another thread frees meanwhile.
        let free = disk::free_space(self.root())?;
        let others = self.all_partials().into_iter().filter(|it| !partials.contains(&it.key()));
        Some(free.saturating_add(others.map(|it| it.unused_bytes()).sum()))
    }

    pub(super) fn all_partials(&self) -> Vec<Partial> {
        self.0.partials.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn cache_lock(&self) -> MutexGuard<'_, ()> {
        self.0.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn opening_lock(&self) -> MutexGuard<'_, ()> {
        self.0.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until this thread alone may rehash a blob.
    ///
    /// # Errors
    /// Fails where the index cannot be read.
    pub(super) fn rehash_turn(&self, digest: &Digest) -> Result<Turn<'_>, ReadError> {
        let size = self.index().blob(digest)?.map_or(0, |record| record.size);
        Ok(self.0.rehashing.turn(digest, size))
    }

    pub(super) fn records_lock(&self) -> MutexGuard<'_, ()> {
        self.0.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the bytes of whole blobs.
    pub(super) fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Counts bytes that were stored and removed.
    pub(super) fn count(&self, come: u64, gone: u64) {
        let count = |used: u64| Some((used + come).saturating_sub(gone));
        let _before = self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
    }

    /// Returns `now`, or one more than the last time that was given out.
    pub(super) fn next_use(&self, now: u64) -> u64 {
        let next = |last: u64| Some(now.max(last + 1));
        let before = self.0.last_use.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(0);
        now.max(before + 1)
    }
}

fn make_dirs(paths: &Paths) -> Result<(), OpenError> {
    let documents = DocumentKind::ALL.map(|kind| paths.documents(kind.name()));
    let dirs = [paths.blobs(), paths.root().join("states"), paths.partials(), paths.tmp()];
    for dir in dirs.into_iter().chain(documents) {
        fs::create_dir_all(&dir).map_err(|source| OpenError::Io { path: dir, source })?;
    }
    Ok(())
}

fn take_lock(paths: &Paths) -> Result<File, OpenError> {
    let path = paths.lock();
    let io = |source| OpenError::Io { path: path.clone(), source };
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: paths.root().to_owned() }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

fn check_version(paths: &Paths) -> Result<(), OpenError> {
    /// Characters of a version that are shown.
    const SHOWN_MAX: usize = 40;
    let path = paths.version();
    match fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) {
        Ok(found) if [VERSION, VERSION_BEFORE].iter().any(|it| found.trim() == it.to_string()) => Ok(()),
        // A crash at the first start, or a full disk, has left it empty. The migration changes nothing of what is new.
        Ok(found) if found.trim().is_empty() => {
            tracing::warn!(path = %path.display(), "the version of the store is not known, and is read from its files");
            write_version(paths, VERSION_BEFORE)
        }
        Ok(found) => {
            let found = found.trim().chars().take(SHOWN_MAX).collect();
            Err(OpenError::Version { path, found, expected: VERSION })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let is_new = DocumentKind::ALL.iter().all(|kind| is_empty(&paths.documents(kind.name())));
            write_version(paths, if is_new { VERSION } else { VERSION_BEFORE })
        }
        Err(source) => Err(OpenError::Io { path, source }),
    }
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

fn write_version(paths: &Paths, version: u32) -> Result<(), OpenError> {
    let path = paths.version();
    let written = paths.write_file(&path, format!("{version}\n").as_bytes());
    written.map_err(|error| match error {
        WriteError::Io { path, source } => OpenError::Io { path, source },
        error => OpenError::Io { path, source: std::io::Error::other(error) },
    })
}

#[cfg(test)]
mod changes;
#[cfg(test)]
mod tests;
