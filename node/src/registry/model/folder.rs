//! [`Folder`]: a directory that a pull has filled, compared with the version that was put there.
//!
//! The metadata of a file decide first. A file with the metadata that it had when it was put there has the bytes that it had then.
//! So has a link to a verified blob of the store. All other files are hashed. Only [`Folder::mend`] writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use reg_proto::digest::Digest;
use reg_proto::path::SafePath;

use reg_api::fault::{Fault, FaultKind};
use thiserror::Error;

use super::checked_out::CheckedOut;
use super::checkout::{self, CheckoutError};
use super::{file_path, tree};
use crate::store::{Fingerprint, PlaceMode, ReadError, Store};

/// How many files of the user are listed. A wrong directory may hold millions.
const OWN_MAX: usize = 1000;

/// Why it is not known what a directory holds.
#[derive(Debug, Error)]
pub enum FolderError {
    #[error("{path} cannot be read")]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("{path} was not pulled by this node, so it is not known what it should hold")]
    NotPulled { path: PathBuf },
    #[error("what {path} was filled with cannot be read")]
    Recall { path: PathBuf, source: ReadError },
}

impl Fault for FolderError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Directory { .. } | Self::NotPulled { .. } => FaultKind::NotFound,
            Self::Recall { .. } => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotPulled { .. } => {
                Some("pull into it: `reg pull REF DIR` takes files that are right as they are".into())
            }
            Self::Directory { .. } => Some("name a directory that `reg pull` has filled".into()),
            Self::Recall { .. } => None,
        }
    }
}

/// What a file of a directory is, beside the version that was put there.
#[derive(Debug)]
pub enum FileState {
    Same,
    Missing,
    /// It has other bytes, and was written by another program since it was put there.
    Edited,
    /// It has other bytes, and no program has replaced it: a bad disk, or a write through a link to the store.
    Damaged,
    /// A link or a directory is in its place.
    Blocked(CheckoutError),
}

/// When a file is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Where its metadata do not show what it is.
    ByMetadata,
    Hash,
}

/// A directory that a pull has filled.
#[derive(Debug)]
pub struct Folder {
    pub dir: PathBuf,
    pub held: CheckedOut,
}

impl Folder {
    /// Opens a directory that a pull of this node has filled. Blocks.
    ///
    /// # Errors
    /// See [`FolderError`].
    pub fn open(store: &Store, path: &Path) -> Result<Self, FolderError> {
        let dir =
            path.canonicalize().map_err(|source| FolderError::Directory { path: path.to_owned(), source })?;
        let recalled = CheckedOut::load(store, &dir);
        let held = recalled.map_err(|source| FolderError::Recall { path: dir.clone(), source })?;
        match held {
            Some(held) => Ok(Self { dir, held }),
            None => Err(FolderError::NotPulled { path: dir }),
        }
    }

    /// Returns the size of a file of the version in bytes; 0 where that is not known.
    pub fn size_of(&self, store: &Store, path: &SafePath, digest: &Digest) -> u64 {
        let stamped = self.held.stamps.get(path).map(|it| it.fingerprint.size());
        stamped.or_else(|| store.blob_size(digest)).unwrap_or(0)
    }

    /// Returns what a file is, and whether it was hashed. Blocks.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn look(
        &self,
        store: &Store,
        path: &SafePath,
        digest: &Digest,
        look: Look,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<(FileState, bool), CheckoutError> {
        let (at, metadata) = match checkout::walk(&self.dir, path) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok((FileState::Missing, false)),
            Err(error @ (CheckoutError::Link { .. } | CheckoutError::NoFile { .. })) => {
                return Ok((FileState::Blocked(error), false));
            }
            Err(error) => return Err(error),
        };
        if !metadata.is_file() {
            return Ok((FileState::Blocked(CheckoutError::NoFile { path: at }), false));
        }
        if look == Look::ByMetadata && self.is_as_placed(store, path, digest, &metadata) {
            return Ok((FileState::Same, false));
        }
        if checkout::has_digest(store, &at, digest, metadata.len(), on_bytes)? {
            return Ok((FileState::Same, true));
        }
        let is_edited = self.is_edited(store, path, digest, &metadata);
        Ok((if is_edited { FileState::Edited } else { FileState::Damaged }, true))
    }

    fn is_as_placed(&self, store: &Store, path: &SafePath, digest: &Digest, metadata: &Metadata) -> bool {
        let now = Fingerprint::of(metadata);
        let is_blob = || store.file_of(digest).is_some_and(|it| it == now) && store.is_verified(digest);
        self.held.stamps.get(path).is_some_and(|it| it.fingerprint == now) || is_blob()
    }

    /// Tells whether a file with other bytes is the work of the user: it is neither the file that was put there as a link to the
    /// store, nor one that no program has written to since.
    fn is_edited(&self, store: &Store, path: &SafePath, digest: &Digest, metadata: &Metadata) -> bool {
        let now = Fingerprint::of(metadata);
        let is_blob = store.file_of(digest).is_some_and(|it| it.is_same_file(&now));
        let is_placed = self
            .held
            .stamps
            .get(path)
            .is_some_and(|it| it.fingerprint == now || (it.is_link && it.fingerprint.is_same_file(&now)));
        !is_blob && !is_placed
    }

    /// Returns the files that are links to the files of these blobs in the store, each with its blob. Reads no file.
    pub fn links_to(&self, store: &Store, blobs: &BTreeSet<Digest>) -> Vec<(SafePath, Digest)> {
        let is_link = |(path, blob): &(&SafePath, &Digest)| {
            let there = checkout::walk(&self.dir, path).ok().flatten();
            let file = store.file_of(blob);
            file.zip(there).is_some_and(|(file, (_, it))| file.is_same_file(&Fingerprint::of(&it)))
        };
        let of_blobs = self.held.files.iter().filter(|(_, digest)| blobs.contains(digest));
        of_blobs.filter(is_link).map(|(path, blob)| (path.clone(), *blob)).collect()
    }

    /// Puts files of the version back, from the store, whatever file is in their place. Returns those that were put back: where a
    /// link or a directory is in the way, a file is not. Blocks.
    ///
    /// # Errors
    /// The store lacks a blob, or a file cannot be written.
    pub fn mend(
        &mut self,
        store: &Store,
        files: &[(SafePath, Digest)],
    ) -> Result<Vec<SafePath>, CheckoutError> {
        let mut mended = Vec::new();
        for (path, digest) in files {
            let at = match checkout::place_at(&self.dir, path) {
                Ok((_, Some(there))) if !there.is_file() => continue,
                Ok((at, _)) => at,
                Err(CheckoutError::Link { .. } | CheckoutError::NoFile { .. }) => continue,
                Err(error) => return Err(error),
            };
            checkout::make_parents(&at)?;
            let placed = store.place(digest, &at, PlaceMode::Auto);
            placed.map_err(|source| CheckoutError::Place { path: at.clone(), source })?;
            self.held.stamps.extend(checkout::stamp(store, digest, &at).map(|it| (path.clone(), it)));
            mended.push(path.clone());
        }
        let saved = self.held.save(store, &self.dir);
        saved.map_err(|source| CheckoutError::Remember { path: self.dir.clone(), source })?;
        Ok(mended)
    }

    /// Returns where a file of the version lies.
    pub fn path_of(&self, path: &SafePath) -> PathBuf {
        self.dir.join(file_path::of(&self.dir, path))
    }

    /// Returns the files that no version has put there, without those that are never part of a model, and whether there are more.
    pub fn own(&self) -> (Vec<String>, bool) {
        let put = self.held.files.keys().chain(&self.held.left);
        let mut own = strange(&self.dir, put);
        let more = own.len() > OWN_MAX;
        own.truncate(OWN_MAX);
        (own, more)
    }

    /// Returns the files of earlier versions that are still there.
    pub fn left(&self) -> Vec<SafePath> {
        let is_there = |path: &&SafePath| fs::symlink_metadata(self.path_of(path)).is_ok();
        self.held.left.iter().filter(is_there).cloned().collect()
    }

    /// Returns the files of the version, with their digests.
    pub const fn files(&self) -> &BTreeMap<SafePath, Digest> {
        &self.held.files
    }
}

/// Returns the files of a directory that are none of `known`, in order: at most one more than are listed.
pub fn strange<'a>(dir: &Path, known: impl Iterator<Item = &'a SafePath>) -> Vec<String> {
    let known: BTreeSet<PathBuf> = known.map(|path| file_path::of(dir, path)).collect();
    let (mut found, mut dirs) = (Vec::new(), vec![(dir.to_owned(), String::new())]);
    while let Some((dir, prefix)) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if tree::is_left_out(&name) {
                continue;
            }
            let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push((entry.path(), path));
            } else if !known.contains(Path::new(&path)) && found.len() <= OWN_MAX {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
