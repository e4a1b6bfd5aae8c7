//! Imports files: reads each once, hashes it on the way, and stores it under its digest.
//!
//! A file without known piece states is one chain of SHA-256, which cores cannot share. So each core hashes two files,
//! their rounds in turn, and other threads wait for the disk. `reg publish` of one large file is bound by one chain on
//! one core.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use reg_proto::digest::Digest;
use reg_proto::piece::PIECE_LEN;
use reg_proto::states::{Hashed, PieceStates, StateHasher};

use super::blobs::Seen;
use super::cancel::Cancel;
use super::disk;
use super::error::{ImportError, ReadError, WriteError};
use super::fingerprint::Fingerprint;
use super::front::Store;
use super::rehash::threads;

/// Bytes that are read at once: as fast as more, and few enough for a core's own cache.
pub(super) const READ_AT_ONCE: usize = 256 << 10;

/// Files that are synced and renamed at once: a file system puts several into one commit.
const FINISHED_AT_ONCE: usize = 16;

/// A file that was imported.
#[derive(Debug, Clone)]
pub struct Imported {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    pub states: PieceStates,
    /// Whether the store has a copy of the bytes, and shares none with the file.
    pub is_copy: bool,
}

/// A file to import.
#[derive(Debug, Clone)]
pub struct ToImport {
    pub path: PathBuf,
    pub taking: Taking,
    /// The digest that its name states. A file with another one is refused before the store changes anything of it.
    pub expected: Option<Digest>,
}

/// How the store takes a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taking {
    /// Copies it. The copy takes no disk space where the file system shares extents.
    Copy,
    /// Hard-links it, and takes the right to write to it away; else takes it as [`Taking::Copy`] does.
    Link,
    /// Only hashes it: the store keeps nothing of it.
    Nothing,
}

impl Store {
    /// Imports a file: reads it once and hashes it on the way. Calls `on_bytes` with the number of bytes of every read.
    ///
    /// # Errors
    /// Fails where the file cannot be read, changes meanwhile, is larger than a blob may be, or cannot be stored.
    pub fn import_file(&self, path: &Path, on_bytes: &dyn Fn(u64)) -> Result<Imported, ImportError> {
        let mut import = Import::begin(self, path, Taking::Copy, None)?;
        let mut buffer = vec![0; READ_AT_ONCE];
        loop {
            match import.read(&mut buffer)? {
                0 => break import.hashed()?.keep(self),
                length => {
                    import.hasher.update(&buffer[..length]);
                    on_bytes(length as u64);
                }
            }
        }
    }

    /// Tells whether the store can take a file without a second copy of its bytes. Tries it, and keeps nothing.
    pub fn can_share(&self, path: &Path, taking: Taking) -> bool {
        let temporary = Temporary(self.paths().temporary());
        path.canonicalize().is_ok_and(|real| share(&real, &temporary.0, taking))
    }

    /// Returns the whole blobs of these sizes in bytes, each with its size.
    ///
    /// # Errors
    /// Fails where the index cannot be read.
    pub fn blobs_of_sizes(&self, sizes: &BTreeSet<u64>) -> Result<BTreeMap<Digest, u64>, ReadError> {
        let blobs = self.index().blobs()?.into_iter().map(|(digest, record)| (digest, record.size));
        Ok(blobs.filter(|(_, size)| sizes.contains(size)).collect())
    }

    /// Returns how many bytes of files the store can take without a second copy, as far as they are larger than a piece. Tries
    /// one file for each disk and owner.
    pub fn shareable<'a>(&self, files: impl Iterator<Item = (&'a Path, u64, Taking)>) -> u64 {
        let mut tried: BTreeMap<(u64, u32), bool> = BTreeMap::new();
        files
            .filter(|(_, size, _)| *size > PIECE_LEN)
            .filter(|(path, _, taking)| {
                *tried.entry(disk::disk_and_owner(path)).or_insert_with(|| self.can_share(path, *taking))
            })
            .map(|(_, size, _)| size)
            .sum()
    }

    /// Imports files on all cores, and returns their digests and sizes in the same order. Calls `on_bytes` with the
    /// number of bytes of every read, and looks at `cancel` before it.
    ///
    /// # Errors
    /// As for [`Self::import_file`], for the first file that fails; others may have been stored.
    pub fn import_files(
        &self,
        sources: &[ToImport],
        cancel: &Cancel,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Imported>, (PathBuf, ImportError)> {
        let hashers = threads(sources.len());
        let waiting = Mutex::new((hashers..sources.len()).collect());
        let queue = Queue { waiting, stop: AtomicBool::new(false), cancel };
        let (queue, results) = (&queue, Mutex::new(vec![None; sources.len()]));
        let (to_keep, hashed) = sync_channel::<(usize, HashedFile)>(FINISHED_AT_ONCE);
        let hashed = Mutex::new(hashed);
        let outcomes: Vec<Outcome> = thread::scope(|scope| {
            let keepers: Vec<_> = (0..FINISHED_AT_ONCE.min(sources.len()))
                .map(|_| scope.spawn(|| self.keep_all(&hashed, &results, queue)))
                .collect();
            let running: Vec<_> = (0..hashers)
                .map(|first| {
                    let to_keep = to_keep.clone();
                    scope.spawn(move || self.hash_two_and_two(sources, first, queue, &to_keep, on_bytes))
                })
                .collect();
            drop(to_keep);
            running.into_iter().chain(keepers).map(|it| it.join().unwrap_or_else(|_| interrupted())).collect()
        });
        if let Some((index, error)) = outcomes.into_iter().find_map(Result::err) {
            return Err((sources.get(index).map_or_else(PathBuf::new, |it| it.path.clone()), error));
        }
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(results.into_iter().flatten().collect())
    }

    /// Hashes files from `first` on and then from the queue, two at a time with their rounds in turn, until there are
    /// no more.
    fn hash_two_and_two(
        &self,
        sources: &[ToImport],
        first: usize,
        queue: &Queue<'_>,
        to_keep: &SyncSender<(usize, HashedFile)>,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Outcome {
        let begin = |index: usize| match sources.get(index) {
            Some(source) => match Import::begin(self, &source.path, source.taking, source.expected) {
                Ok(import) => Ok(Some((index, import))),
                Err(error) => Err(queue.stopped(index, error)),
            },
            None => Ok(None),
        };
        let next = || queue.next().map_or(Ok(None), begin);
        let mut two = [begin(first)?, next()?];
        let mut buffers = [(); 2].map(|()| vec![0; READ_AT_ONCE]);
        while two.iter().any(Option::is_some) && !queue.stop.load(Ordering::Relaxed) {
            if queue.cancel.is_cancelled() {
                return Err(queue.stopped(first, ImportError::Cancelled));
            }
            let mut lengths = [0; 2];
            for ((slot, buffer), length) in two.iter_mut().zip(&mut buffers).zip(&mut lengths) {
                let Some((index, import)) = slot else { continue };
                *length = import.read(buffer).map_err(|error| queue.stopped(*index, error))?;
                if *length == 0 {
                    let (index, import) = slot.take().expect("it was filled a line ago");
                    let hashed = import.hashed().map_err(|error| queue.stopped(index, error))?;
                    if to_keep.send((index, hashed)).is_err() {
                        return Ok(());
                    }
                    *slot = next()?;
                }
            }
            match (&mut two, lengths) {
                ([Some((_, one)), Some((_, other))], [here, there]) if here > 0 && there > 0 => {
                    StateHasher::update_two(
                        &mut one.hasher,
                        &buffers[0][..here],
                        &mut other.hasher,
                        &buffers[1][..there],
                    )
                }
                ([one, other], _) => {
                    for ((slot, buffer), length) in [one, other].into_iter().zip(&buffers).zip(lengths) {
                        if let (Some((_, import)), 1..) = (slot, length) {
                            import.hasher.update(&buffer[..length]);
                        }
                    }
                }
            }
            on_bytes(lengths.iter().sum::<usize>() as u64);
        }
        Ok(())
    }

    /// Stores hashed files until the channel closes.
    fn keep_all(
        &self,
        hashed: &Mutex<Receiver<(usize, HashedFile)>>,
        results: &Mutex<Vec<Option<Imported>>>,
        queue: &Queue<'_>,
    ) -> Outcome {
        loop {
            let next = hashed.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((index, file)) = next else { return Ok(()) };
            if queue.stop.load(Ordering::Relaxed) {
                continue;
            }
            let imported = file.keep(self).map_err(|error| queue.stopped(index, error));
            match imported {
                Ok(imported) => {
                    results.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(imported);
                }
                // The threads that still hash must not wait for room in the channel.
                Err(failed) => {
                    while hashed.lock().unwrap_or_else(PoisonError::into_inner).recv().is_ok() {}
                    return Err(failed);
                }
            }
        }
    }
}

/// The result of a thread: nothing, or the index of a file and why it could not be imported.
type Outcome = Result<(), (usize, ImportError)>;

/// The files that no thread has taken yet, and whether all threads have to end.
struct Queue<'a> {
    waiting: Mutex<VecDeque<usize>>,
    stop: AtomicBool,
    cancel: &'a Cancel,
}

impl Queue<'_> {
    fn next(&self) -> Option<usize> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Tells the other threads to end.
    fn stopped(&self, index: usize, error: ImportError) -> (usize, ImportError) {
        self.stop.store(true, Ordering::Relaxed);
        (index, error)
    }
}

fn interrupted() -> Outcome {
    let source = io::Error::from(ErrorKind::Interrupted);
    Err((0, ImportError::Source { path: PathBuf::new(), source }))
}

/// A file that is being read.
struct Import {
    /// The path as the user gave it.
    path: PathBuf,
    from: File,
    before: Fingerprint,
    /// The file that a copy is written to; `None` where the temporary file shares the bytes already.
    to: Option<File>,
    temporary: Temporary,
    hasher: StateHasher,
    expected: Option<Digest>,
    /// Whether the store is to keep it.
    is_kept: bool,
}

/// A file that was hashed to its end and is not stored yet.
struct HashedFile {
    path: PathBuf,
    file: File,
    temporary: Temporary,
    hashed: Hashed,
    seen: Seen,
    is_kept: bool,
}

/// A temporary file. Dropping this removes it, unless it was renamed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// Makes a file at `to` that shares the bytes of `from`. Returns whether the file system could.
fn share(from: &Path, to: &Path, taking: Taking) -> bool {
    let is_linked = taking == Taking::Link && disk::is_own(from) && fs::hard_link(from, to).is_ok();
    if is_linked || reflink_copy::reflink(from, to).is_ok() {
        return true;
    }
    drop(fs::remove_file(to));
    false
}

impl Import {
    fn begin(
        store: &Store,
        path: &Path,
        taking: Taking,
        expected: Option<Digest>,
    ) -> Result<Self, ImportError> {
        let source = |source| ImportError::Source { path: path.to_owned(), source };
        let real = path.canonicalize().map_err(source)?;
        let temporary = Temporary(store.paths().temporary());
        let is_kept = taking != Taking::Nothing;
        let is_shared = is_kept && share(&real, &temporary.0, taking);
        let from = File::open(if is_shared { &temporary.0 } else { &real }).map_err(source)?;
        let before = Fingerprint::of(&from.metadata().map_err(source)?);
        let to = if is_shared || !is_kept {
            None
        } else {
            let made = File::create_new(&temporary.0);
            Some(made.map_err(|source| WriteError::Io { path: temporary.0.clone(), source })?)
        };
        let (path, hasher) = (path.to_owned(), StateHasher::new());
        Ok(Self { path, from, before, to, temporary, hasher, expected, is_kept })
    }

    /// Reads the next bytes for the caller to hash, and writes them to the copy if there is one. Returns their number,
    /// 0 at the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ImportError> {
        let length = loop {
            match self.from.read(buffer) {
                Ok(length) => break length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(ImportError::Source { path: self.path.clone(), source }),
            }
        };
        if let Some(to) = &mut self.to {
            let path = &self.temporary.0;
            to.write_all(&buffer[..length])
                .map_err(|source| WriteError::Io { path: path.clone(), source })?;
        }
        Ok(length)
    }

    /// Finishes the hash once the whole file is read.
    fn hashed(self) -> Result<HashedFile, ImportError> {
        let Self { path, from, before, to, temporary, hasher, expected, is_kept } = self;
        let metadata =
            from.metadata().map_err(|source| ImportError::Source { path: path.clone(), source })?;
        let after = Fingerprint::of(&metadata);
        if !before.differs_in_change_only(&after) {
            return Err(ImportError::Changed { path });
        }
        let hashed =
            hasher.finish().map_err(|source| ImportError::TooLarge { path: path.clone(), source })?;
        if let Some(found) = Some(hashed.digest).filter(|found| expected.is_some_and(|it| it != *found)) {
            return Err(ImportError::Digest { path, found });
        }
        let seen = if to.is_some() { Seen::Written } else { Seen::Read { before, after } };
        Ok(HashedFile { path, file: to.unwrap_or(from), temporary, hashed, seen, is_kept })
    }
}

impl HashedFile {
    fn keep(self, store: &Store) -> Result<Imported, ImportError> {
        let Self { path, file, temporary, hashed, seen, is_kept } = self;
        if !is_kept {
            let (digest, size) = (hashed.digest, hashed.states.layout().size());
            return Ok(Imported { digest, size, states: hashed.states, is_copy: false });
        }
        file.sync_all().map_err(|source| match seen {
            Seen::Written => WriteError::Io { path: temporary.0.clone(), source }.into(),
            Seen::Read { .. } => ImportError::Source { path, source },
        })?;
        store.keep_seen(&hashed, &temporary.0, seen)?;
        let (digest, size, is_copy) =
            (hashed.digest, hashed.states.layout().size(), matches!(seen, Seen::Written));
        Ok(Imported { digest, size, states: hashed.states, is_copy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::CacheLimits;

    fn store(dir: &Path) -> Store {
        Store::open(dir, CacheLimits::default()).unwrap()
    }

    fn temporaries(dir: &Path) -> usize {
        fs::read_dir(dir.join("tmp")).unwrap().count()
    }

    #[test]
    fn many_files_at_once_are_what_each_is_alone() {
        let dir = tempfile::tempdir().unwrap();
        let sizes = [0, 1, 64, 1 << 20, (1 << 20) + 1, 3 << 20, 70_000, 5_000_001, 12, 12];
        let sources: Vec<ToImport> = (0..30)
            .map(|index| {
                let path = dir.path().join(format!("file-{index}"));
                let size = sizes[index % sizes.len()];
                // The last ten are the first ten again, so that two threads import the same blob at once.
                let bytes: Vec<u8> =
                    (0..size).map(|at| (at as u8) ^ (at >> 9) as u8 ^ (index % 20) as u8).collect();
                fs::write(&path, bytes).unwrap();
                ToImport {
                    path,
                    taking: if index % 2 == 0 { Taking::Copy } else { Taking::Link },
                    expected: None,
                }
            })
            .collect();
        let store = store(&dir.path().join("store"));
        let told = std::sync::atomic::AtomicU64::new(0);
        let tell = |bytes| {
            told.fetch_add(bytes, Ordering::Relaxed);
        };
        let imported = store.import_files(&sources, &Cancel::default(), &tell).unwrap();
        assert_eq!(imported.len(), sources.len());
        let mut total = 0;
        let mut blobs = BTreeMap::new();
        for (source, imported) in sources.iter().zip(&imported) {
            let bytes = fs::read(&source.path).unwrap();
            assert_eq!((imported.digest, imported.size), (Digest::of(&bytes), bytes.len() as u64));
            assert_eq!(store.states(&imported.digest).unwrap(), imported.states);
            assert_eq!(store.read_blob(&imported.digest, u64::MAX).unwrap(), bytes);
            total += imported.size;
            blobs.insert(imported.digest, imported.size);
        }
        assert_eq!(told.into_inner(), total);
        assert_eq!(store.usage().unwrap().bytes, blobs.values().sum::<u64>());
        assert_eq!(temporaries(&dir.path().join("store")), 0);
    }

    #[test]
    fn nothing_is_read_for_a_caller_that_has_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge");
        // It would take minutes to hash.
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let store = store(&dir.path().join("store"));
        let caller = crate::store::CancelOnDrop::default();
        let (cancel, read) = (caller.cancel(), std::sync::atomic::AtomicU64::new(0));
        let waiting = Mutex::new(Some(caller));
        let tell = |bytes| {
            read.fetch_add(bytes, Ordering::Relaxed);
            drop(waiting.lock().unwrap().take());
        };
        let sources = [ToImport { path, taking: Taking::Link, expected: None }];
        let (_, error) = store.import_files(&sources, &cancel, &tell).unwrap_err();
        assert!(matches!(error, ImportError::Cancelled), "{error}");
        assert_eq!(read.into_inner(), READ_AT_ONCE as u64);
        assert_eq!(temporaries(&dir.path().join("store")), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_linked_file_keeps_its_readers_and_loses_its_writers() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("private");
        fs::write(&path, vec![7; 2 << 20]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let store = store(&dir.path().join("store"));
        assert!(store.can_share(&path, Taking::Link));
        let mut sources =
            [ToImport { path: path.clone(), taking: Taking::Link, expected: Some(Digest::of(b"x")) }];
        let (_, error) = store.import_files(&sources, &Cancel::default(), &|_| {}).unwrap_err();
        assert!(matches!(error, ImportError::Digest { .. }), "{error}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640, "it is not touched");
        sources[0].expected = None;
        let imported = store.import_files(&sources, &Cancel::default(), &|_| {}).unwrap();
        assert!(!imported[0].is_copy);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o440);
        assert!(store.is_verified(&imported[0].digest));
        assert_eq!(temporaries(&dir.path().join("store")), 0);
    }

    #[test]
    fn a_file_that_is_only_hashed_leaves_nothing_in_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, vec![7; 3 << 20]).unwrap();
        let store = store(&dir.path().join("store"));
        let of = |taking| vec![ToImport { path: path.clone(), taking, expected: None }];
        let hashed = store.import_files(&of(Taking::Nothing), &Cancel::default(), &|_| {}).unwrap();
        assert_eq!(hashed[0].digest, Digest::of(&vec![7; 3 << 20]));
        assert!(store.blobs().unwrap().is_empty());
        assert_eq!(temporaries(&dir.path().join("store")), 0);
        let imported = store.import_files(&of(Taking::Copy), &Cancel::default(), &|_| {}).unwrap();
        assert_eq!((imported[0].digest, &imported[0].states), (hashed[0].digest, &hashed[0].states));
        let sizes = [[3 << 20].into(), [1].into()].map(|sizes| store.blobs_of_sizes(&sizes).unwrap());
        assert_eq!(sizes, [[(hashed[0].digest, 3 << 20)].into(), BTreeMap::new()]);
    }

    #[test]
    fn one_file_that_cannot_be_read_ends_all_and_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut sources: Vec<ToImport> = (0..20)
            .map(|index| {
                let path = dir.path().join(format!("file-{index}"));
                fs::write(&path, vec![index as u8; 2 << 20]).unwrap();
                ToImport { path, taking: Taking::Copy, expected: None }
            })
            .collect();
        fs::remove_file(&sources[13].path).unwrap();
        let store = store(&dir.path().join("store"));
        let (path, error) = store.import_files(&sources, &Cancel::default(), &|_| {}).unwrap_err();
        assert_eq!(path, sources[13].path);
        assert!(matches!(error, ImportError::Source { .. }), "{error}");
        assert_eq!(temporaries(&dir.path().join("store")), 0);
        sources.clear();
        assert!(store.import_files(&sources, &Cancel::default(), &|_| {}).unwrap().is_empty());
    }
}
