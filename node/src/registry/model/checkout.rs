//! Checks out a model into a user's directory by reflink, else hard link, else copy. It writes nothing outside the
//! directory and leaves no half file.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use reg_api::fault::{Fault, FaultKind};
use reg_api::selection::Part;
use reg_proto::digest::Digest;
use reg_proto::manifest::{Manifest, ModelFile};
use reg_proto::path::SafePath;
use thiserror::Error;

use super::file_path;
use crate::store::{DocumentKind, PlaceError, PlaceMode, ReadError, Store, WriteError, clear_leftovers};

/// Why a model was not checked out. The files that were placed before stay, and each is whole.
#[derive(Debug, Error)]
pub enum CheckoutError {
    #[error("{path} cannot be created")]
    Make { path: PathBuf, source: io::Error },
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is a link: nothing is written through links")]
    Link { path: PathBuf },
    #[error("{path} is there and is something else")]
    Occupied { path: PathBuf },
    #[error("{path} cannot be placed")]
    Place { path: PathBuf, source: PlaceError },
    #[error("{path} cannot be recorded as a checkout of the model")]
    Remember { path: PathBuf, source: WriteError },
}

impl Fault for CheckoutError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Make { source, .. } | Self::Read { source, .. } => FaultKind::of_path(source),
            Self::Place { source, .. } if source.is_disk_full() => FaultKind::DiskFull,
            Self::Remember { source, .. } if source.is_disk_full() => FaultKind::DiskFull,
            Self::Place { .. } | Self::Remember { .. } => FaultKind::Internal,
            _ => FaultKind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Occupied { .. } => {
                Some("choose an empty directory, or replace the files with --overwrite".into())
            }
            Self::Link { .. } => Some("choose another directory, or remove the link".into()),
            _ => None,
        }
    }
}

/// Places the files of a part of a model into `dest`, and records the checkout. All files of the part must be in the
/// store.
pub fn check_out(
    store: &Store,
    manifest_digest: &Digest,
    manifest: &Manifest,
    part: &Part,
    dest: &Path,
    copy: bool,
    overwrite: bool,
) -> Result<(), CheckoutError> {
    fs::create_dir_all(dest).map_err(|source| CheckoutError::Make { path: dest.to_owned(), source })?;
    let dest = dest.canonicalize().map_err(|source| CheckoutError::Read { path: dest.to_owned(), source })?;
    let mode = if copy { PlaceMode::Copy } else { PlaceMode::Auto };
    let mut paths = Vec::new();
    for file in part.files(manifest) {
        paths.extend(to_place(store, &dest, file, overwrite)?.map(|path| (file.digest, path)));
    }
    paths.iter().try_for_each(|(_, path)| make_parents(path))?;
    let dirs: BTreeSet<&Path> = paths.iter().filter_map(|(_, path)| path.parent()).collect();
    dirs.into_iter().for_each(clear_leftovers);
    store.place_all(&paths, mode).map_err(|(path, source)| CheckoutError::Place { path, source })?;
    let part = match checked_out(store, &dest) {
        Ok(Some((digest, Part::Whole))) if digest == *manifest_digest => Part::Whole,
        Ok(Some((digest, Part::Files(before)))) if digest == *manifest_digest => part.with(&before, manifest),
        _ => part.clone(),
    };
    let paths = part.paths().into_iter().flatten().map(|path| format!("\n{path}"));
    let document: String = std::iter::once(manifest_digest.to_string()).chain(paths).collect();
    store
        .put_document(DocumentKind::Checkout, &dest.to_string_lossy(), document.as_bytes())
        .map_err(|source| CheckoutError::Remember { path: dest, source })
}

/// Returns the manifest that a directory was checked out from, and the part of its files. The record has a line for the
/// digest, and one for each file where they are not all.
pub fn checked_out(store: &Store, dir: &Path) -> Result<Option<(Digest, Part)>, ReadError> {
    let document = store.get_document(DocumentKind::Checkout, &dir.to_string_lossy())?;
    let text = String::from_utf8_lossy(&document.unwrap_or_default()).into_owned();
    let mut lines = text.lines();
    let Some(digest) = lines.next().and_then(|line| line.parse().ok()) else { return Ok(None) };
    let files: BTreeSet<SafePath> = lines.filter_map(|line| line.parse().ok()).collect();
    Ok(Some((digest, if files.is_empty() { Part::Whole } else { Part::Files(files) })))
}

/// Returns where a file must still be placed; `None` where an equal one is there, which stays as it is.
fn to_place(
    store: &Store,
    dest: &Path,
    file: &ModelFile,
    overwrite: bool,
) -> Result<Option<PathBuf>, CheckoutError> {
    let (path, there) = place_of(dest, file)?;
    let Some(metadata) = there else { return Ok(Some(path)) };
    if !metadata.is_file() {
        return Err(CheckoutError::Occupied { path });
    }
    let same = metadata.len() == file.layout.size() && is_there(store, &path, file, &|_| {})?;
    if !same && !overwrite {
        return Err(CheckoutError::Occupied { path });
    }
    Ok((!same).then_some(path))
}

/// Returns where a file is to be written, and what is there. No link leads to it.
pub fn place_of(dest: &Path, file: &ModelFile) -> Result<(PathBuf, Option<Metadata>), CheckoutError> {
    if let Some((path, metadata)) = walk(dest, file)? {
        return Ok((path, Some(metadata)));
    }
    let below = file_path::to_write(dest, &file.path);
    let there = walk_along(dest, &below)?;
    Ok((dest.join(below), there.map(|(_, metadata)| metadata)))
}

/// Walks from `dest` to the file without following links. Returns `None` where a directory on the way is missing.
pub fn walk(dest: &Path, file: &ModelFile) -> Result<Option<(PathBuf, Metadata)>, CheckoutError> {
    walk_along(dest, &file_path::of(dest, &file.path))
}

fn walk_along(dest: &Path, below: &Path) -> Result<Option<(PathBuf, Metadata)>, CheckoutError> {
    let mut path = dest.to_owned();
    let mut found = None;
    let mut segments = below.iter().peekable();
    while let Some(segment) = segments.next() {
        path.push(segment);
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CheckoutError::Read { path, source }),
        };
        if metadata.is_symlink() {
            return Err(CheckoutError::Link { path });
        }
        if segments.peek().is_some() && !metadata.is_dir() {
            return Err(CheckoutError::Occupied { path });
        }
        found = Some(metadata);
    }
    Ok(found.map(|metadata| (path, metadata)))
}

/// Creates the directories of a path that [`place_of`] has returned.
pub fn make_parents(path: &Path) -> Result<(), CheckoutError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(|source| CheckoutError::Make { path: parent.to_owned(), source })
}

/// Tells whether the file at `path` has the bytes of this file of the model.
pub fn is_there(
    store: &Store,
    path: &Path,
    file: &ModelFile,
    on_bytes: &(dyn Fn(u64) + Sync),
) -> Result<bool, CheckoutError> {
    store.is_file_of(path, &file.digest, file.layout.size(), on_bytes).map_err(|error| match error {
        ReadError::Io { path, source } => CheckoutError::Read { path, source },
        error => CheckoutError::Read { path: path.to_owned(), source: io::Error::other(error) },
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::symlink;

    use reg_proto::manifest::RAW_LAYER_TYPES;
    use reg_proto::piece::BlobLayout;

    use super::*;

    /// A directory with a path so long that the name by which strange ones are tried is refused, and `a%3F/b` is not.
    fn refusing(dir: &Path) -> PathBuf {
        const LENGTH: usize = 4084;
        let mut path = dir.to_owned();
        while path.as_os_str().len() < LENGTH {
            let left = LENGTH - path.as_os_str().len() - 1;
            path.push("d".repeat(if left > 200 { 100 } else { left }));
        }
        fs::create_dir_all(&path).expect("made");
        path
    }

    #[test]
    fn no_file_is_written_through_a_link_under_its_portable_name_either() {
        let home = tempfile::tempdir().expect("a folder");
        let (dest, elsewhere) = (refusing(home.path()), home.path().join("elsewhere"));
        let file = ModelFile {
            path: "a?/b".parse().expect("a path"),
            digest: Digest::of(b"b"),
            layout: BlobLayout::new(1).expect("small"),
            media_type: RAW_LAYER_TYPES[0].to_owned(),
        };
        let (path, there) = place_of(&dest, &file).expect("found");
        assert_eq!((path, there.is_none()), (dest.join("a%3F/b"), true));
        fs::create_dir(&elsewhere).expect("made");
        symlink(&elsewhere, dest.join("a%3F")).expect("linked");
        assert!(matches!(place_of(&dest, &file), Err(CheckoutError::Link { .. })));
    }
}
