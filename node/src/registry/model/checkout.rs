//! Checks out a model into a user's directory by reflink, else hard link, else copy. It writes nothing outside the
//! directory and leaves no half file. What the user has changed or put there is not replaced unless the user says so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use reg_api::fault::{Fault, FaultKind};
use reg_api::selection::Part;
use reg_proto::digest::Digest;
use reg_proto::manifest::{Manifest, ModelFile};
use reg_proto::path::SafePath;
use thiserror::Error;

use super::checked_out::{ByTag, CheckedOut, Named, Stamp, files_of};
use super::file_path;
use crate::store::{Fingerprint, PlaceError, PlaceMode, ReadError, Store, WriteError, clear_leftovers};

/// Files that an error names; of more, it says how many they are.
const NAMED_MAX: usize = 5;

/// What a checkout does with files that are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Placing {
    /// Copy, instead of sharing bytes with the store by reflink or hard link.
    pub copy: bool,
    /// Replace files that differ, also what the user has written.
    pub overwrite: bool,
    /// Keep files that differ, also those that no pull has put there.
    pub keep: bool,
    /// Keep files that the version before had and this one has not.
    pub keep_removed: bool,
}

/// What a checkout has found in the directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Files that differ from the model's, and were kept.
    pub kept: Vec<SafePath>,
    /// Files of the version before that this one has not, and that were removed.
    pub removed: Vec<SafePath>,
    /// Files of the version before that this one has not, and that were kept: they were changed, or the user wants them.
    pub left: Vec<SafePath>,
}

/// Why a model was not checked out. The files that were placed before stay, and each is whole.
#[derive(Debug, Error)]
pub enum CheckoutError {
    #[error("{path} cannot be created")]
    Make { path: PathBuf, source: io::Error },
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("what {path} was filled with cannot be read")]
    Recall { path: PathBuf, source: ReadError },
    #[error("{path} is a link: nothing is written through links")]
    Link { path: PathBuf },
    #[error("{} there, with other contents, and {} not put there by reg", are(paths), if paths.len() == 1 { "was" } else { "were" })]
    Occupied { paths: Vec<PathBuf> },
    #[error("{path} holds {holds}, which is another model")]
    OtherModel { path: PathBuf, holds: String },
    #[error("{path} is in the way: a directory, or something else that is no file")]
    NoFile { path: PathBuf },
    #[error("{path} cannot be placed")]
    Place { path: PathBuf, source: PlaceError },
    #[error("{path} cannot be removed")]
    Remove { path: PathBuf, source: io::Error },
    #[error("{path} cannot be recorded as a checkout of the model")]
    Remember { path: PathBuf, source: WriteError },
}

/// Names the first of some files, as the subject of a sentence.
fn are(paths: &[PathBuf]) -> String {
    let named: Vec<String> = paths.iter().take(NAMED_MAX).map(|path| path.display().to_string()).collect();
    let more = paths.len().saturating_sub(NAMED_MAX);
    match (named.as_slice(), more) {
        ([one], 0) => format!("{one} is"),
        (named, 0) => format!("{} are", named.join(", ")),
        (named, more) => format!("{} and {more} more are", named.join(", ")),
    }
}

impl Fault for CheckoutError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Make { source, .. } | Self::Read { source, .. } | Self::Remove { source, .. } => {
                match FaultKind::of_path(source) {
                    // The command is right, and the place is not.
                    FaultKind::Invalid | FaultKind::NotFound => FaultKind::Denied,
                    kind => kind,
                }
            }
            Self::Place { source, .. } if source.is_disk_full() => FaultKind::DiskFull,
            Self::Remember { source, .. } if source.is_disk_full() => FaultKind::DiskFull,
            Self::Place { .. } | Self::Remember { .. } | Self::Recall { .. } => FaultKind::Internal,
            Self::Link { .. } | Self::Occupied { .. } | Self::OtherModel { .. } | Self::NoFile { .. } => {
                FaultKind::Denied
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Occupied { .. } => Some(
                "choose another directory, replace these files with --overwrite, or keep them with --keep"
                    .into(),
            ),
            Self::OtherModel { .. } => {
                Some("choose another directory; --keep or --overwrite put both models into this one".into())
            }
            Self::NoFile { .. } => Some("choose another directory, or move it away".into()),
            Self::Link { .. } => Some("choose another directory, or remove the link".into()),
            Self::Make { .. } => Some("choose a directory that you may write to".into()),
            _ => None,
        }
    }
}

/// Tells whether a checkout into `dest` would be refused, as far as that is seen without reading files. Nothing is written.
/// Blocks.
///
/// # Errors
/// See [`CheckoutError`].
pub fn foresee(
    store: &Store,
    named: &Named,
    manifest: &Manifest,
    part: &Part,
    dest: &Path,
    placing: Placing,
) -> Result<(), CheckoutError> {
    let made = |source| CheckoutError::Make { path: dest.to_owned(), source };
    let there = dest.ancestors().find(|it| it.symlink_metadata().is_ok());
    let Some(there) = there.filter(|it| *it == dest) else {
        // A file without a name leaves nothing behind.
        let parent = there.filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return tempfile::tempfile_in(parent).map(drop).map_err(made);
    };
    let dest =
        there.canonicalize().map_err(|source| CheckoutError::Read { path: dest.to_owned(), source })?;
    let before = recall(store, named, &dest, placing)?;
    let (mut strange, mut is_written) = (Vec::new(), false);
    for file in part.files(manifest) {
        let (path, there) = place_of(&dest, file)?;
        let Some(metadata) = there else {
            is_written = true;
            continue;
        };
        if !metadata.is_file() {
            return Err(CheckoutError::NoFile { path });
        }
        let is_other = metadata.len() != file.layout.size();
        is_written |= is_other;
        if is_other && !before.files.contains_key(&file.path) {
            strange.push(path);
        }
    }
    refuse_strange(strange, placing)?;
    // A directory that has every file may be on a disk that is mounted read-only.
    if is_written {
        tempfile::tempfile_in(&dest).map(drop).map_err(made)?;
    }
    Ok(())
}

fn refuse_strange(strange: Vec<PathBuf>, placing: Placing) -> Result<(), CheckoutError> {
    match strange.is_empty() || placing.overwrite || placing.keep {
        true => Ok(()),
        false => Err(CheckoutError::Occupied { paths: strange }),
    }
}

/// What a version of the model has put into a directory before.
#[derive(Default)]
struct Before {
    files: BTreeMap<SafePath, Digest>,
    stamps: BTreeMap<SafePath, Stamp>,
    left: BTreeSet<SafePath>,
}

/// Returns the files that a version of the model has put into a directory. Where it was another model, nothing that is there
/// counts as put there by this one.
fn recall(store: &Store, named: &Named, dest: &Path, placing: Placing) -> Result<Before, CheckoutError> {
    let recalled = CheckedOut::load(store, dest);
    let recalled = recalled.map_err(|source| CheckoutError::Recall { path: dest.to_owned(), source })?;
    let Some(before) = recalled else { return Ok(Before::default()) };
    // The user may have emptied the directory, or made another one of that name.
    let is_there = |path: &SafePath| dest.join(file_path::of(dest, path)).symlink_metadata().is_ok();
    if !before.files.keys().any(is_there) {
        return Ok(Before::default());
    }
    match before.named.first() {
        Some(Named { publisher, model }) if !before.named.contains(named) => {
            if placing.overwrite || placing.keep {
                return Ok(Before::default());
            }
            Err(CheckoutError::OtherModel { path: dest.to_owned(), holds: format!("{publisher}/{model}") })
        }
        _ => Ok(Before { files: before.files, stamps: before.stamps, left: before.left }),
    }
}

/// Places the files of a part of a model into `dest`, and records the checkout. All files of the part must be in the
/// store. What the version before has put there is replaced, and removed where this version has no such file, unless it
/// was changed since. Blocks.
///
/// # Errors
/// See [`CheckoutError`].
pub fn check_out(
    store: &Store,
    (named, by_tag): (&Named, Option<ByTag>),
    (manifest_digest, manifest): (&Digest, &Manifest),
    part: &Part,
    dest: &Path,
    placing: Placing,
) -> Result<Found, CheckoutError> {
    fs::create_dir_all(dest).map_err(|source| CheckoutError::Make { path: dest.to_owned(), source })?;
    let dest = dest.canonicalize().map_err(|source| CheckoutError::Read { path: dest.to_owned(), source })?;
    let before = recall(store, named, &dest, placing)?;
    let (mut paths, mut strange, mut found) = (Vec::new(), Vec::new(), Found::default());
    let mut right = Vec::new();
    for file in part.files(manifest) {
        let (path, state) = state_of(store, &dest, file, before.files.get(&file.path))?;
        if !matches!(state, State::Changed | State::Strange) || placing.overwrite {
            right.push((file.path.clone(), file.digest, path.clone()));
        }
        match (path, state) {
            (path, State::Absent | State::Untouched) => paths.push((file.digest, path)),
            (_, State::Equal) => {}
            (path, State::Changed | State::Strange) if placing.overwrite => paths.push((file.digest, path)),
            (_, State::Changed) => found.kept.push(file.path.clone()),
            (path, State::Strange) => {
                strange.push(path);
                found.kept.push(file.path.clone());
            }
        }
    }
    refuse_strange(strange, placing)?;
    paths.iter().try_for_each(|(_, path)| make_parents(path))?;
    let dirs: BTreeSet<&Path> = paths.iter().filter_map(|(_, path)| path.parent()).collect();
    dirs.into_iter().for_each(clear_leftovers);
    let mode = if placing.copy { PlaceMode::Copy } else { PlaceMode::Auto };
    store.place_all(&paths, mode).map_err(|(path, source)| CheckoutError::Place { path, source })?;
    let now: BTreeSet<&SafePath> = manifest.files().iter().map(|file| &file.path).collect();
    let (mut files, gone): (BTreeMap<SafePath, Digest>, BTreeMap<SafePath, Digest>) =
        before.files.into_iter().partition(|(path, _)| now.contains(path));
    for (path, digest) in gone {
        match remove(store, &dest, &path, &digest, placing)? {
            Some(true) => found.removed.push(path),
            Some(false) => found.left.push(path),
            None => {}
        }
    }
    files.extend(files_of(part, manifest));
    let mut stamps = before.stamps;
    stamps.retain(|path, _| files.contains_key(path));
    for (path, digest, at) in right {
        stamps.extend(stamp(store, &digest, &at).map(|it| (path, it)));
    }
    let mut left = before.left;
    left.extend(found.left.iter().cloned());
    left.retain(|path| !now.contains(path) && dest.join(file_path::of(&dest, path)).exists());
    let (named, manifest) = (vec![named.clone()], *manifest_digest);
    let checked_out = CheckedOut { named, manifest, files, by_tag, stamps, left };
    checked_out.save(store, &dest).map_err(|source| CheckoutError::Remember { path: dest, source })?;
    Ok(found)
}

/// Returns the stamp of a file that has the bytes of a blob now; `None` where it cannot be read.
pub fn stamp(store: &Store, digest: &Digest, path: &Path) -> Option<Stamp> {
    let fingerprint = Fingerprint::of(&fs::symlink_metadata(path).ok()?);
    let is_link = store.file_of(digest).is_some_and(|blob| blob.is_same_file(&fingerprint));
    Some(Stamp { fingerprint, is_link })
}

/// What is where a file is to be placed.
enum State {
    Absent,
    /// It has the bytes already.
    Equal,
    /// It is as the version before has put it there.
    Untouched,
    /// It was put there, and was changed since.
    Changed,
    /// It was never put there.
    Strange,
}

fn state_of(
    store: &Store,
    dest: &Path,
    file: &ModelFile,
    before: Option<&Digest>,
) -> Result<(PathBuf, State), CheckoutError> {
    let (path, there) = place_of(dest, file)?;
    let Some(metadata) = there else { return Ok((path, State::Absent)) };
    if !metadata.is_file() {
        return Err(CheckoutError::NoFile { path });
    }
    if metadata.len() == file.layout.size() && is_there(store, &path, file, &|_| {})? {
        return Ok((path, State::Equal));
    }
    let state = match before {
        None => State::Strange,
        Some(before) if has_digest(store, &path, before, metadata.len(), &|_| {})? => State::Untouched,
        Some(_) => State::Changed,
    };
    Ok((path, state))
}

/// Removes a file that the version before has put into the directory. Tells whether it was removed; `None` where it is not there.
fn remove(
    store: &Store,
    dest: &Path,
    path: &SafePath,
    digest: &Digest,
    placing: Placing,
) -> Result<Option<bool>, CheckoutError> {
    let below = file_path::of(dest, path);
    let Some((at, metadata)) = walk_along(dest, &below)? else { return Ok(None) };
    let is_untouched = metadata.is_file() && has_digest(store, &at, digest, metadata.len(), &|_| {})?;
    if placing.keep_removed || !is_untouched {
        return Ok(Some(false));
    }
    fs::remove_file(&at).map_err(|source| CheckoutError::Remove { path: at.clone(), source })?;
    // Directories that are empty now go too; the first that is not ends it.
    let parents = at.ancestors().skip(1).take_while(|it| *it != dest);
    for parent in parents {
        if fs::remove_dir(parent).is_err() {
            break;
        }
    }
    Ok(Some(true))
}

/// Returns where a file is to be written, and what is there. No link leads to it.
pub fn place_of(dest: &Path, file: &ModelFile) -> Result<(PathBuf, Option<Metadata>), CheckoutError> {
    place_at(dest, &file.path)
}

/// Returns where a file of this path is to be written, as [`place_of`] does.
pub(super) fn place_at(dest: &Path, file: &SafePath) -> Result<(PathBuf, Option<Metadata>), CheckoutError> {
    if let Some((path, metadata)) = walk(dest, file)? {
        return Ok((path, Some(metadata)));
    }
    let below = file_path::to_write(dest, file);
    let there = walk_along(dest, &below)?;
    Ok((dest.join(below), there.map(|(_, metadata)| metadata)))
}

/// Walks from `dest` to the file without following links. Returns `None` where a directory on the way is missing.
pub fn walk(dest: &Path, file: &SafePath) -> Result<Option<(PathBuf, Metadata)>, CheckoutError> {
    walk_along(dest, &file_path::of(dest, file))
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
            return Err(CheckoutError::NoFile { path });
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
    store.is_file_of(path, &file.digest, file.layout.size(), on_bytes).map_err(|error| unread(path, error))
}

pub(super) fn has_digest(
    store: &Store,
    path: &Path,
    digest: &Digest,
    size: u64,
    on_bytes: &(dyn Fn(u64) + Sync),
) -> Result<bool, CheckoutError> {
    store.is_file_of(path, digest, size, on_bytes).map_err(|error| unread(path, error))
}

fn unread(path: &Path, error: ReadError) -> CheckoutError {
    match error {
        ReadError::Io { path, source } => CheckoutError::Read { path, source },
        error => CheckoutError::Read { path: path.to_owned(), source: io::Error::other(error) },
    }
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
