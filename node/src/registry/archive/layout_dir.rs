//! Writes an archive as a directory. A later export of the same models keeps what is there and verifies, and goes on.
//!
//! The index is written last, so a directory without one is no archive yet.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use reg_proto::digest::Digest;
use reg_proto::layout::{BLOBS_DIR, CarriedModel, INDEX_FILE, LAYOUT_FILE, marker};
use reg_proto::name::Reference;
use reg_proto::states::StateHasher;

use super::contents::{Contents, reference_of};
use super::error::{ArchiveError, ExportError};
use super::export::{CopyError, Writing, check_room};
use super::member::Member;
use super::new_file::{NewFile, lock_begun, open_begun, sync_parent, temporary_of};
use super::opened::Opened;
use crate::registry::limits::COPIED_AT_ONCE;

impl Writing<'_> {
    /// Writes the directory. Returns how many bytes an earlier export had written.
    pub(super) fn directory(&mut self, contents: &Contents, dir: &Path) -> Result<u64, ExportError> {
        check_before(dir, &contents.carried)?;
        let path = dir.join(BLOBS_DIR);
        fs::create_dir_all(dir).map_err(|source| ExportError::Write { path: dir.to_owned(), source })?;
        write(&dir.join(LAYOUT_FILE), &marker())?;
        fs::create_dir_all(&path).map_err(|source| ExportError::Write { path, source })?;
        let (mut kept, mut missing, mut needed) = (0, Vec::new(), 0);
        for (digest, size) in &contents.blobs {
            let path = dir.join(Member::Blob(*digest).name());
            if self.is_there(&path, digest, *size)? {
                kept += size;
                self.count(*size);
            } else {
                needed += size - fs::metadata(temporary_of(&path)).map_or(0, |it| it.len().min(*size));
                missing.push((*size, *digest, path));
            }
        }
        check_room(dir, needed)?;
        for (digest, bytes) in &contents.own {
            write(&dir.join(Member::Blob(*digest).name()), bytes)?;
            self.count(bytes.len() as u64);
        }
        missing.sort_unstable();
        for (size, digest, path) in missing {
            kept += self.blob(digest, size, &path)?;
        }
        write(&dir.join(INDEX_FILE), &contents.index.to_bytes())?;
        Ok(kept)
    }

    /// Tells whether a file has the bytes of a blob.
    fn is_there(&self, path: &Path, digest: &Digest, size: u64) -> Result<bool, ExportError> {
        if !fs::symlink_metadata(path).is_ok_and(|it| it.is_file() && it.len() == size) {
            return Ok(false);
        }
        let file = File::open(path).map_err(|source| ExportError::Write { path: path.to_owned(), source })?;
        let hasher = self.hashed(file, StateHasher::new())?;
        Ok(hasher.and_then(|it| it.finish().ok()).is_some_and(|it| it.digest == *digest))
    }

    /// Hashes a file to its end; `None` where it cannot be read.
    fn hashed(
        &self,
        mut file: impl Read,
        mut hasher: StateHasher,
    ) -> Result<Option<StateHasher>, ExportError> {
        let mut buffer = vec![0; COPIED_AT_ONCE];
        loop {
            if self.cancel.is_cancelled() {
                return Err(ExportError::Cancelled);
            }
            match file.read(&mut buffer) {
                Ok(0) => return Ok(Some(hasher)),
                Ok(length) => hasher.update(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(None),
            }
        }
    }

    /// Writes a blob, or goes on where an export before has stopped. A part of before that is wrong shows in the digest, and
    /// the blob is written anew. Returns how many bytes were kept.
    fn blob(&mut self, digest: Digest, size: u64, path: &Path) -> Result<u64, ExportError> {
        let temporary = temporary_of(path);
        let failed = |source| ExportError::Write { path: temporary.clone(), source };
        let mut options = File::options();
        let mut file =
            open_begun(options.read(true).append(true).create(true), &temporary).map_err(failed)?;
        lock_begun(&file, &temporary, path)?;
        let before = file.metadata().map_err(failed)?.len();
        let resumed = match before {
            1.. if before <= size => self.hashed(&file, StateHasher::new())?,
            _ => None,
        };
        let done = self.done;
        if let Some(hasher) = resumed {
            self.count(before);
            match self.copy(digest, size, hasher, before, &mut file) {
                Ok(()) => return finish(&file, &temporary, path).map(|()| before),
                Err(CopyError::Store(error)) if matches!(*error, ExportError::Damaged { .. }) => {
                    self.done = done
                }
                Err(error) => return Err(error.at(path)),
            }
        }
        file.set_len(0).map_err(failed)?;
        let copied = self.copy(digest, size, StateHasher::new(), 0, &mut file);
        if let Err(CopyError::Store(error)) = &copied
            && matches!(**error, ExportError::Damaged { .. })
        {
            drop(fs::remove_file(&temporary));
        }
        copied.map_err(|error| error.at(path))?;
        finish(&file, &temporary, path).map(|()| 0)
    }
}

/// Syncs a file that is whole, and gives it its name.
fn finish(file: &File, temporary: &Path, path: &Path) -> Result<(), ExportError> {
    let named = file.sync_all().and_then(|()| fs::rename(temporary, path)).and_then(|()| sync_parent(path));
    named.map_err(|source| ExportError::Write { path: path.to_owned(), source })
}

/// Writes a small file whole, unless it is there.
fn write(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    if fs::read(path).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    let failed = |source| ExportError::Write { path: path.to_owned(), source };
    let file = NewFile::create(path)?;
    let mut out: &File = file.file();
    out.write_all(bytes).map_err(failed)?;
    file.finish().map_err(failed)
}

/// Checks that a directory is empty, or has an export that this one continues or replaces.
fn check_before(dir: &Path, new: &[CarriedModel]) -> Result<(), ExportError> {
    let mut names = match fs::read_dir(dir) {
        Ok(entries) => entries.flatten().map(|entry| entry.file_name()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(ExportError::Write { path: dir.to_owned(), source }),
    };
    let path = || PathBuf::from(dir);
    if !dir.join(LAYOUT_FILE).exists() {
        // Of an export that was killed at its first file.
        let begun = temporary_of(&dir.join(LAYOUT_FILE));
        return if names.all(|name| Some(name.as_os_str()) == begun.file_name()) {
            Ok(())
        } else {
            Err(ExportError::NotEmpty { path: path() })
        };
    }
    if !dir.join(INDEX_FILE).exists() {
        return Ok(());
    }
    let before = |source: ArchiveError| ExportError::Before { path: path(), source: Box::new(source) };
    let opened = Opened::open(dir).map_err(before)?;
    let index = opened.index().map_err(before)?;
    let mut known = BTreeSet::new();
    for descriptor in index.carried() {
        let carried = opened.carried(descriptor.digest).map_err(before)?;
        let named = |it: &CarriedModel| Reference { digest: None, ..reference_of(it) };
        let reference = named(&carried);
        if new.iter().all(|it| named(it) != reference) {
            return Err(ExportError::OtherModels { path: path(), first: reference.to_string() });
        }
        known.extend([descriptor.digest, carried.manifest]);
        known.extend(carried.referrers.iter());
    }
    match index.manifests.iter().find(|it| !known.contains(&it.digest)) {
        Some(other) => Err(ExportError::OtherModels { path: path(), first: other.digest.to_string() }),
        None => Ok(()),
    }
}
