//! [`Trees`]: sorted maps of bytes, in sled or in memory. The only file that names sled.
//!
//! sled 0.34 loses flushed data at a power cut unless its files are fsynced too, and may panic on damaged files. So
//! [`Trees::commit`] syncs them, and [`Trees::open`] catches a panic. After one failed write it takes nothing more.
//! Where it cannot read a part of its log, it takes the log for shorter, and cuts it. So [`Trees::open`] reads the files
//! first, and leaves them to sled only if the disk gives all of them. It panics where the sync at its end fails, so
//! [`OnDisk`] catches that.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::IndexError;
use crate::store::disk;

/// Bytes that sled may keep in memory.
const MEMORY: u64 = 16 << 20;

/// The number of maps.
const TABLES: usize = 6;

/// One of the maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Blobs,
    Documents,
    Pieces,
    Used,
    Rows,
    DerivedFrom,
}

impl Table {
    pub(super) const ALL: [Self; TABLES] =
        [Self::Blobs, Self::Documents, Self::Pieces, Self::Used, Self::Rows, Self::DerivedFrom];

    const fn name(self) -> &'static str {
        match self {
            Self::Blobs => "blobs",
            Self::Documents => "documents",
            Self::Pieces => "pieces",
            Self::Used => "used",
            Self::Rows => "rows",
            Self::DerivedFrom => "derived-from",
        }
    }
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The maps.
#[derive(Debug)]
pub(super) enum Trees {
    Disk(OnDisk),
    Memory([Mutex<BTreeMap<Vec<u8>, Vec<u8>>>; TABLES]),
}

/// The maps in sled.
#[derive(Debug)]
pub(super) struct OnDisk {
    path: PathBuf,
    /// `None` only while it is dropped.
    open: Option<(sled::Db, [sled::Tree; TABLES])>,
}

impl OnDisk {
    fn open(&self) -> &(sled::Db, [sled::Tree; TABLES]) {
        self.open.as_ref().expect("it is open until it is dropped")
    }

    fn tree(&self, table: Table) -> &sled::Tree {
        &self.open().1[table as usize]
    }

    /// Syncs everything written so far.
    fn commit(&self) -> Result<(), IndexError> {
        self.open().0.flush()?;
        Ok(sync_files(&self.path)?)
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        // What fails once fails here, and not in sled.
        let synced = catch_unwind(AssertUnwindSafe(|| self.commit()));
        let open = self.open.take();
        let closed = catch_unwind(AssertUnwindSafe(|| drop(open)));
        if !matches!(synced, Ok(Ok(()))) || closed.is_err() {
            tracing::warn!(path = %self.path.display(), "the index cannot be synced at its end, and may be rebuilt");
        }
    }
}

impl Trees {
    /// Opens the maps in a folder, and reads all of them: sled does not find all damage when it opens a database.
    pub(super) fn open(path: &Path) -> Result<Self, IndexError> {
        read_files(path)?;
        let open = || {
            let config = sled::Config::new().path(path).cache_capacity(MEMORY).flush_every_ms(None);
            let db = config.open()?;
            let [blobs, documents, pieces, used, rows, derived_from] =
                Table::ALL.map(|table| db.open_tree(table.name()));
            let trees = [blobs?, documents?, pieces?, used?, rows?, derived_from?];
            for tree in &trees {
                for pair in tree {
                    pair?;
                }
            }
            Ok(Self::Disk(OnDisk { path: path.to_owned(), open: Some((db, trees)) }))
        };
        catch_unwind(AssertUnwindSafe(open)).unwrap_or(Err(IndexError::Panicked))
    }

    /// Returns empty maps in memory.
    pub(super) fn in_memory() -> Self {
        Self::Memory(Default::default())
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        match self {
            Self::Disk(disk) => Ok(disk.tree(table).get(key)?.map(|it| it.to_vec())),
            Self::Memory(maps) => Ok(lock(&maps[table as usize]).get(key).cloned()),
        }
    }

    pub(super) fn insert(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), IndexError> {
        match self {
            Self::Disk(disk) => {
                disk.tree(table).insert(key, value)?;
            }
            Self::Memory(maps) => {
                lock(&maps[table as usize]).insert(key.to_vec(), value.to_vec());
            }
        }
        Ok(())
    }

    pub(super) fn remove(&self, table: Table, key: &[u8]) -> Result<(), IndexError> {
        match self {
            Self::Disk(disk) => {
                disk.tree(table).remove(key)?;
            }
            Self::Memory(maps) => {
                lock(&maps[table as usize]).remove(key);
            }
        }
        Ok(())
    }

    /// Returns the pairs with keys that begin with `prefix`, in the order of their keys.
    pub(super) fn scan(&self, table: Table, prefix: &[u8]) -> Result<Pairs, IndexError> {
        match self {
            Self::Disk(disk) => {
                let pairs = disk.tree(table).scan_prefix(prefix);
                let pairs = pairs.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())));
                Ok(pairs.collect::<Result<_, _>>()?)
            }
            Self::Memory(maps) => {
                let map = lock(&maps[table as usize]);
                let pairs = map.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
                Ok(pairs.map(|(key, value)| (key.clone(), value.clone())).collect())
            }
        }
    }

    /// Returns at most `limit` pairs with keys that begin with `prefix` and come after `after`, in the order of their keys.
    pub(super) fn page(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Pairs, IndexError> {
        // The first key after another one is that one with a zero byte at its end.
        let begin = after.map_or(prefix.to_vec(), |after| [after, &[0]].concat()).max(prefix.to_vec());
        match self {
            Self::Disk(disk) => {
                let pairs = disk.tree(table).range(begin..).take(limit);
                let pairs = pairs.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())));
                let pairs =
                    pairs.take_while(|pair| pair.as_ref().map_or(true, |it| it.0.starts_with(prefix)));
                Ok(pairs.collect::<Result<_, _>>()?)
            }
            Self::Memory(maps) => {
                let map = lock(&maps[table as usize]);
                let pairs = map.range(begin..).take_while(|(key, _)| key.starts_with(prefix)).take(limit);
                Ok(pairs.map(|(key, value)| (key.clone(), value.clone())).collect())
            }
        }
    }

    /// Copies into memory what can be read.
    pub(super) fn salvage(&self) -> Self {
        let copy = Self::in_memory();
        for table in Table::ALL {
            match self.scan(table, &[]) {
                Ok(pairs) => copy.put_all(table, pairs),
                Err(error) => tracing::debug!(%error, ?table, "a map of the index cannot be read any more"),
            }
        }
        copy
    }

    fn put_all(&self, table: Table, pairs: Pairs) {
        if let Self::Memory(maps) = self {
            lock(&maps[table as usize]).extend(pairs);
        }
    }

    /// Syncs everything written so far, so that it survives a power cut. Does nothing in memory.
    pub(super) fn commit(&self) -> Result<(), IndexError> {
        match self {
            Self::Disk(disk) => disk.commit(),
            Self::Memory(_) => Ok(()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads sled's files, so that the page cache has them when sled reads them.
fn read_files(dir: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(dir) {
        // The index begins.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_file() => {
                std::io::copy(&mut File::open(entry.path())?, &mut std::io::sink())?;
            }
            kind if kind.is_dir() => read_files(&entry.path())?,
            _ => {}
        }
    }
    Ok(())
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
pub(super) fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
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
