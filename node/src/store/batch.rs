//! Stores many small blobs together: writes and syncs all of them, renames all, and then syncs the directories. Places many
//! small files into a user's directory in the same way.
//!
//! A sync waits for the disk. Syncs at the same moment share what the file system writes for them, so many at a time take
//! hardly longer than one. No blob is recorded before every file of the batch is on the disk. After an error none of them
//! is recorded: what a failed sync has written is unknown, so the caller fetches it again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use reg_proto::digest::Digest;
use reg_proto::piece::PIECE_LEN;
use reg_proto::states::{Hashed, StateHasher};

use super::blobs::Seen;
use super::error::{PlaceError, WriteError};
use super::front::Store;
use super::place::PlaceMode;
use super::{disk, paths};

/// Files or directories that are synced at once. On the disk of docs/performance.md, 2,000 small files took 8.0 s one after
/// the other, and 0.5 s at sixteen at a time.
const SYNCS_AT_ONCE: usize = 16;

/// A file in `tmp`. Dropping this removes it, unless it was renamed.
struct Written(PathBuf);

impl Drop for Written {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

impl Store {
    /// Stores blobs that are in memory, and returns their digests in the same order. They are on the disk when it returns.
    ///
    /// # Errors
    /// Fails where one of them cannot be written. Then none of those that are new is recorded.
    pub fn put_blobs<B: AsRef<[u8]> + Sync>(&self, blobs: &[B]) -> Result<Vec<Digest>, WriteError> {
        let written = all_at_once(blobs, |bytes| self.write_blob(bytes.as_ref()))?;
        let digests = written.iter().map(|(digest, _)| *digest).collect();
        let new: BTreeMap<Digest, Written> =
            written.into_iter().filter_map(|(digest, file)| Some((digest, file?))).collect();
        let dirs = self.make_dirs_of(new.keys())?;
        let mut renamed = Vec::new();
        let mut rename = |(digest, Written(file)): (&Digest, &Written)| {
            let path = self.paths().blob(digest);
            self.rename_verified(digest, (file, &path), Seen::Written)?;
            renamed.push((*digest, file.clone(), path));
            Ok(())
        };
        let kept = new.iter().try_for_each(&mut rename);
        if let Err(error) = kept.and_then(|()| all_at_once(&dirs, |dir| sync_dir(dir))) {
            renamed.iter().for_each(|(digest, file, path)| self.unkeep(digest, (file, path)));
            return Err(error);
        }
        self.index().commit()?;
        Ok(digests)
    }

    /// Writes one of the blobs to a temporary file, synced; no file where the store has the blob.
    fn write_blob(&self, bytes: &[u8]) -> Result<(Digest, Option<Written>), WriteError> {
        let mut hasher = StateHasher::new();
        hasher.update(bytes);
        let hashed = hasher.finish()?;
        if self.is_verified(&hashed.digest) {
            return Ok((hashed.digest, None));
        }
        match self.write_anew(&hashed, bytes) {
            Err(error) if error.is_disk_full() && self.is_there_and_synced(&hashed.digest) => {
                Ok((hashed.digest, None))
            }
            written => Ok((hashed.digest, Some(written?))),
        }
    }

    fn write_anew(&self, hashed: &Hashed, bytes: &[u8]) -> Result<Written, WriteError> {
        self.put_states(&hashed.digest, &hashed.states)?;
        let file = Written(self.paths().temporary());
        paths::write_new(&file.0, bytes).map_err(|source| WriteError::Io { path: file.0.clone(), source })?;
        Ok(file)
    }

    /// Tells whether a blob that the index does not know any more, as after a start on a full disk, has its digest, and can be
    /// synced. A disk with room gets it anew.
    fn is_there_and_synced(&self, digest: &Digest) -> bool {
        let path = self.paths().blob(digest);
        let synced = || {
            fs::File::open(&path)?.sync_all()?;
            path.parent().map_or(Ok(()), disk::sync_dir)
        };
        self.open_blob(digest).is_ok() && synced().is_ok()
    }

    /// Makes the directories of blobs, and returns each once.
    fn make_dirs_of<'a>(&self, blobs: impl Iterator<Item = &'a Digest>) -> Result<Vec<PathBuf>, WriteError> {
        let parent = |digest: &Digest| self.paths().blob(digest).parent().map(Path::to_owned);
        let dirs: BTreeSet<PathBuf> = blobs.filter_map(parent).collect();
        let lacking: Vec<&PathBuf> = dirs.iter().filter(|dir| !dir.is_dir()).collect();
        for dir in &lacking {
            fs::create_dir_all(dir).map_err(|source| WriteError::Io { path: (*dir).clone(), source })?;
        }
        if !lacking.is_empty() {
            sync_dir(&self.paths().blobs())?;
        }
        Ok(dirs.into_iter().collect())
    }
}

impl Store {
    /// Puts blobs at paths as [`Store::place`] does, small ones many at a time.
    ///
    /// # Errors
    /// As [`Store::place`], for the first path that fails. Files that were placed stay, and each is whole.
    pub fn place_all(
        &self,
        files: &[(Digest, PathBuf)],
        mode: PlaceMode,
    ) -> Result<(), (PathBuf, PlaceError)> {
        let place = |digest: &Digest, path: &PathBuf| {
            self.place(digest, path, mode).map(drop).map_err(|error| (path.clone(), error))
        };
        let is_small = |digest: &Digest| self.blob_size(digest).is_some_and(|size| size <= PIECE_LEN);
        let (small, large): (Vec<_>, Vec<_>) = files.iter().partition(|(digest, _)| is_small(digest));
        all_at_once(&small, |(digest, path)| place(digest, path))?;
        large.iter().try_for_each(|(digest, path)| place(digest, path))
    }
}

fn sync_dir(dir: &Path) -> Result<(), WriteError> {
    disk::sync_dir(dir).map_err(|source| WriteError::Io { path: dir.to_owned(), source })
}

/// Does the same work on each of `items`, [`SYNCS_AT_ONCE`] at a time, and returns the results in order; or the first error.
fn all_at_once<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let share = items.len().div_ceil(SYNCS_AT_ONCE).max(1);
    let work = &work;
    thread::scope(|scope| {
        let parts: Vec<_> =
            items.chunks(share).map(|part| scope.spawn(move || part.iter().map(work).collect())).collect();
        let mut all = Vec::with_capacity(items.len());
        let mut failed = None;
        for part in parts {
            let done: Result<Vec<R>, E> =
                part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match done {
                Ok(part) => all.extend(part),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(all), Err)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{CacheLimits, CacheSize};

    #[test]
    fn many_blobs_at_once_are_what_each_is_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Store::open(dir.path(), CacheLimits { max_size: CacheSize::Unlimited, min_free: 0 }).unwrap();
        let mut blobs: Vec<Vec<u8>> = (0..300_u32).map(|it| it.to_be_bytes().repeat(10)).collect();
        blobs.push(vec![7; 3 << 20]);
        blobs.push(blobs[0].clone());
        blobs.push(Vec::new());
        let known = store.put_blob(&blobs[5]).unwrap();
        let digests = store.put_blobs(&blobs).unwrap();
        assert_eq!(digests, blobs.iter().map(|it| Digest::of(it)).collect::<Vec<_>>());
        assert_eq!(digests[5], known);
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
        let bytes: usize = blobs.iter().map(Vec::len).sum::<usize>() - blobs[0].len();
        drop(store);
        let store =
            Store::open(dir.path(), CacheLimits { max_size: CacheSize::Unlimited, min_free: 0 }).unwrap();
        for (digest, bytes) in digests.iter().zip(&blobs) {
            assert!(store.is_verified(digest));
            assert_eq!(store.read_blob(digest, 4 << 20).unwrap(), *bytes);
        }
        assert_eq!(store.usage().unwrap().bytes, bytes as u64);
        assert_eq!(store.put_blobs::<Vec<u8>>(&[]).unwrap(), []);
    }

    #[test]
    fn after_an_error_no_blob_of_the_batch_is_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Store::open(dir.path(), CacheLimits { max_size: CacheSize::Unlimited, min_free: 0 }).unwrap();
        let blobs: Vec<Vec<u8>> = (0..40_u8).map(|it| vec![it; 100]).collect();
        // A file is in the way of the directory of the last one.
        let last = store.paths().blob(&Digest::of(&blobs[39]));
        fs::write(last.parent().unwrap(), b"in the way").unwrap();
        store.put_blobs(&blobs).unwrap_err();
        assert!(blobs.iter().all(|it| !store.contains(&Digest::of(it))));
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
        fs::remove_file(last.parent().unwrap()).unwrap();
        store.put_blobs(&blobs).unwrap();
        assert!(blobs.iter().all(|it| store.is_verified(&Digest::of(it))));
    }

    #[test]
    fn an_error_in_the_middle_takes_back_what_was_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Store::open(dir.path(), CacheLimits { max_size: CacheSize::Unlimited, min_free: 0 }).unwrap();
        let blobs: Vec<Vec<u8>> = (0..40_u8).map(|it| vec![it; 100]).collect();
        let last = blobs.iter().map(|it| Digest::of(it)).max().unwrap();
        // A directory has the name of the blob that is renamed last.
        let path = store.paths().blob(&last);
        fs::create_dir_all(&path).unwrap();
        store.put_blobs(&blobs).unwrap_err();
        assert!(blobs.iter().all(|it| !store.contains(&Digest::of(it))));
        assert_eq!(store.usage().unwrap().bytes, 0);
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
        fs::remove_dir(&path).unwrap();
        store.put_blobs(&blobs).unwrap();
        assert!(blobs.iter().all(|it| store.is_verified(&Digest::of(it))));
    }
}
