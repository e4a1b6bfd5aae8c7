//! [`Store`]: the front door. One process holds it at a time.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cache::{CacheLimits, Leases};
use super::disk;
use super::documents::DocumentKind;
use super::error::{OpenError, ReadError};
use super::index::Index;
use super::partial::{Partial, Partials};
use super::paths::Paths;

/// Version of the layout on the disk.
const VERSION: u32 = 1;

/// Everything this node keeps. Cheap to clone; every call blocks, so an async caller makes it on a blocking thread.
#[derive(Debug, Clone)]
pub struct Store(Arc<StoreState>);

#[derive(Debug)]
struct StoreState {
    paths: Paths,
    index: Index,
    limits: CacheLimits,
    partials: Partials,
    leases: Arc<Leases>,
    /// Bytes of whole blobs.
    used: AtomicU64,
    /// The last moment of use that was given out, so that no two are equal.
    last_use: AtomicU64,
    /// Held while something is evicted.
    cache: Mutex<()>,
    /// Held while a blob is rehashed: one at a time takes all cores.
    recheck: Mutex<()>,
    /// Held while a blob is recorded and counted, so that one that comes twice at once is counted once.
    records: Mutex<()>,
    /// Locked for as long as this process uses the store.
    _lock: File,
}

/// What a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub blobs: usize,
    /// Bytes of whole blobs.
    pub bytes: u64,
    /// Verified bytes of partial blobs.
    pub partial_bytes: u64,
}

impl Store {
    /// Opens the store at `root`, making it where there is none.
    ///
    /// # Errors
    /// Another process uses it, it is of another version, or the disk does not answer. A damaged index is no error.
    pub fn open(root: &Path, limits: CacheLimits) -> Result<Self, OpenError> {
        let paths = Paths::new(root.to_owned());
        make_dirs(&paths)?;
        let lock = take_lock(&paths)?;
        check_version(&paths)?;
        let index = Index::open(&paths.index())?;
        let store = Self(Arc::new(StoreState {
            paths,
            index,
            limits,
            partials: Mutex::new(BTreeMap::new()),
            leases: Arc::default(),
            used: AtomicU64::new(0),
            last_use: AtomicU64::new(0),
            cache: Mutex::new(()),
            recheck: Mutex::new(()),
            records: Mutex::new(()),
            _lock: lock,
        }));
        store.reconcile()?;
        store.index().commit()?;
        Ok(store)
    }

    /// Returns where it is.
    pub fn root(&self) -> &Path {
        self.paths().root()
    }

    /// Returns the limits it was opened with.
    pub fn limits(&self) -> CacheLimits {
        self.0.limits
    }

    /// Returns what is here.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn usage(&self) -> Result<Usage, ReadError> {
        let partial_bytes = self.all_partials().iter().map(Partial::verified_bytes).sum();
        Ok(Usage { blobs: self.index().blobs()?.len(), bytes: self.used(), partial_bytes })
    }

    /// Makes what the index holds last. What cannot be had again from the files lasts without this.
    pub fn commit(&self) {
        if let Err(error) = self.index().commit() {
            tracing::warn!(%error, "the index could not be made to last");
        }
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

    pub(super) fn leases(&self) -> &Arc<Leases> {
        &self.0.leases
    }

    /// Returns how many bytes may still be written here, what is set aside for partial blobs included, since a lease counts
    /// it already; `None` where that is not known.
    pub fn free_space(&self) -> Option<u64> {
        // In this order, what is given back meanwhile is not counted twice.
        let free = disk::free_space(self.root())?;
        Some(free.saturating_add(self.all_partials().iter().map(Partial::unused_bytes).sum()))
    }

    pub(super) fn all_partials(&self) -> Vec<Partial> {
        self.0.partials.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn cache_lock(&self) -> MutexGuard<'_, ()> {
        self.0.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn recheck_lock(&self) -> MutexGuard<'_, ()> {
        self.0.recheck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn records_lock(&self) -> MutexGuard<'_, ()> {
        self.0.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of whole blobs.
    pub(super) fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Counts bytes that have come and gone.
    pub(super) fn count(&self, come: u64, gone: u64) {
        let count = |used: u64| Some((used + come).saturating_sub(gone));
        let _before = self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
    }

    /// Returns `now`, or one more than the last moment that was given out.
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
    let path = paths.version();
    match fs::read_to_string(&path) {
        Ok(found) if found.trim() == VERSION.to_string() => Ok(()),
        Ok(found) => {
            Err(OpenError::Version { path: root(paths), found: found.trim().to_owned(), expected: VERSION })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => paths
            .write_file(&path, format!("{VERSION}\n").as_bytes())
            .map_err(|error| OpenError::Io { path, source: std::io::Error::other(error) }),
        Err(source) => Err(OpenError::Io { path, source }),
    }
}

fn root(paths: &Paths) -> PathBuf {
    paths.root().to_owned()
}

#[cfg(test)]
mod tests;
