//! Lists the files of a directory that form a model, in the order of their names, and what was left out of it and why.
//!
//! Everything that can be known without reading a file whole is judged here, before anything is hashed: names, sizes,
//! links, and names that fall together. `tree/left_out.rs` and `tree/secret.rs` hold the lists of what is left out. They
//! decide which files a manifest names, so a change of them changes digests.

mod error;
mod left_out;
mod secret;
mod walk;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use reg_api::ingest::{Ingest, IngestFile, IngestPlan, LeftOutList, LeftOutReason};
use reg_proto::limits::BLOB_BYTES_MAX;
use reg_proto::path::{CollisionError, SafePath, check_collisions};

use self::walk::Walk;
use crate::store::Cancel;

pub use self::error::TreeError;
pub use self::left_out::{is_hidden, is_left_out};
pub use self::secret::{Searched, is_secret_name, search};

/// Name of the file that lists patterns of what is left out of its directory, as a `.gitignore` does.
const IGNORE_FILE: &str = ".regignore";

/// A file to publish: its name in the model, and the path of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    pub path: SafePath,
    /// Where the user sees it: the link, where it is one.
    pub shown: PathBuf,
    pub source: PathBuf,
    pub size: u64,
}

/// The files of a directory that form a model, and the others.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    pub files: Vec<SourceFile>,
    pub left_out: LeftOutList,
}

/// The authors of the files, which decides whether a `.regignore` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authors {
    /// The directory is the user's: its `.regignore` counts.
    User,
    /// The files are of another author, as those of a cache.
    Others,
}

impl SourceFile {
    /// Returns the file at `source`, where it is not larger than a blob may be.
    ///
    /// # Errors
    /// It is, or it cannot be read.
    pub fn new(path: SafePath, source: PathBuf) -> Result<Self, TreeError> {
        match fs::metadata(&source) {
            Err(error) => Err(TreeError::Read { path: source, source: error }),
            Ok(it) if it.len() > BLOB_BYTES_MAX => Err(TreeError::TooLarge { path: source, size: it.len() }),
            Ok(it) => Ok(Self { path, shown: source.clone(), source, size: it.len() }),
        }
    }
}

impl Listing {
    /// Returns the size of all files in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|it| it.size).sum()
    }

    /// Returns what would be published.
    pub fn plan(self) -> IngestPlan {
        let (bytes, left_out) = (self.bytes(), self.left_out);
        let files = self.files.into_iter().map(|it| IngestFile { path: it.path, size: it.size }).collect();
        IngestPlan { files, bytes, left_out }
    }
}

/// Lists the files of the model at `root`, a directory or a single file, in the order of their names.
///
/// A symbolic link may lead to a file or directory inside `root`, or, in a snapshot of a Hugging Face cache, to a blob of the
/// same repository. Any other link is an error. A single file may be a link to any file.
///
/// # Errors
/// A file is over a bound, or cannot be part of a model, or the caller has gone: see [`TreeError`].
pub fn list(root: &Path, ingest: &Ingest, authors: Authors, cancel: &Cancel) -> Result<Listing, TreeError> {
    let read = |source| TreeError::Read { path: root.to_owned(), source };
    let real = root.canonicalize().map_err(read)?;
    let authors = if ingest.no_ignore_files { Authors::Others } else { authors };
    let mut listing = if real.is_file() {
        single(root, &real, ingest, cancel)?
    } else {
        // What is over a bound is refused before a text is searched.
        let mut listing = Walk::new(&real, ingest, authors, cancel).run()?;
        leave_out_secrets(&mut listing, ingest, cancel)?;
        listing
    };
    if listing.files.is_empty() {
        let (path, left_out) = (root.to_owned(), listing.left_out);
        return Err(match left_out.count() {
            0 => TreeError::Empty { path },
            _ => TreeError::AllLeftOut { path, left_out },
        });
    }
    listing.files.sort_by(|one, two| one.path.cmp(&two.path));
    refuse_collisions(&listing.files)?;
    Ok(listing)
}

/// Searches the texts of a listing for secrets, and leaves out those that have one.
fn leave_out_secrets(listing: &mut Listing, ingest: &Ingest, cancel: &Cancel) -> Result<(), TreeError> {
    for file in std::mem::take(&mut listing.files) {
        if is_taken(&file, ingest, &mut listing.left_out, cancel)? {
            listing.files.push(file);
        }
    }
    Ok(())
}

/// Searches a text for secrets, unless the user wants it anyway. Notes in `left_out` that it has one, or that it was not searched
/// to its end. Returns whether it is taken.
///
/// # Errors
/// The caller has gone.
pub fn is_taken(
    file: &SourceFile,
    ingest: &Ingest,
    left_out: &mut LeftOutList,
    cancel: &Cancel,
) -> Result<bool, TreeError> {
    let name = file.path.as_str();
    if ingest.secrets.iter().any(|it| it.matches(name)) {
        return Ok(true);
    }
    let Searched { found, is_cut } = secret::find(file, cancel);
    if cancel.is_cancelled() {
        return Err(TreeError::Cancelled { path: file.shown.clone() });
    }
    let is_taken = found.is_none();
    if let Some(found) = found {
        left_out.push(name.to_owned(), LeftOutReason::Secret, Some(found));
    } else if is_cut {
        left_out.push_unsearched(name);
    }
    Ok(is_taken)
}

/// Lists the one file of a model. The user has named it, so it may be hidden.
fn single(root: &Path, real: &Path, ingest: &Ingest, cancel: &Cancel) -> Result<Listing, TreeError> {
    let name = root.file_name().unwrap_or(real.as_os_str());
    let name = name.to_str().ok_or_else(|| TreeError::NotUtf8 { path: root.to_owned() })?;
    let (file, mut listing) = (source_file(name, root, real.to_owned())?, Listing::default());
    let name = file.path.to_string();
    if let Some(pattern) = ingest.include.iter().find(|it| !it.matches(&name)) {
        let (path, pattern) = (root.to_owned(), pattern.clone());
        return Err(TreeError::NoMatch { path, pattern, names: vec![name] });
    }
    if ingest.exclude.iter().any(|it| it.matches(&name)) {
        listing.left_out.push(name, LeftOutReason::Excluded, None);
        return Ok(listing);
    }
    listing.files.push(file);
    leave_out_secrets(&mut listing, ingest, cancel)?;
    match listing.left_out.entries.pop() {
        Some(it) => Err(TreeError::Secret { path: root.to_owned(), found: it.found.unwrap_or_default() }),
        None => Ok(listing),
    }
}

/// Returns the file at `source` under its name in the model, where it is not larger than a blob may be.
fn source_file(name: &str, shown: &Path, source: PathBuf) -> Result<SourceFile, TreeError> {
    let refused = |source| TreeError::Name { path: shown.to_owned(), source };
    let path = SafePath::in_any_form(name).map_err(refused)?;
    Ok(SourceFile { shown: shown.to_owned(), ..SourceFile::new(path, source)? })
}

fn refuse_collisions(files: &[SourceFile]) -> Result<(), TreeError> {
    let Err(error) = check_collisions(files.iter().map(|file| &file.path)) else { return Ok(()) };
    let (CollisionError::SameFile { first, second }
    | CollisionError::FileIsDirectory { file: first, inside: second }) = error;
    let mut shown: BTreeMap<&SafePath, Vec<&Path>> = BTreeMap::new();
    for file in files.iter().filter(|it| it.path == first || it.path == second) {
        shown.entry(&file.path).or_default().push(&file.shown);
    }
    let mut names = shown.into_values().flatten().map(Path::to_owned);
    let (first, second) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
    Err(TreeError::Collision { first, second })
}

/// Tells whether a file of an upload is left out, as a publication of the same directory leaves it out. A secret is refused.
pub fn is_left_out_of_uploads(path: &SafePath) -> bool {
    matches!(judge_path(path, &Ingest::default()), Some(LeftOutReason::Never | LeftOutReason::Hidden))
}

/// Tells whether a file of a repository elsewhere becomes part of a model, by its path alone.
pub fn judge_path(path: &SafePath, ingest: &Ingest) -> Option<LeftOutReason> {
    let text = path.as_str();
    let matches = |patterns: &[reg_api::selection::Pattern]| patterns.iter().any(|it| it.matches(text));
    if path.segments().any(is_left_out) {
        Some(LeftOutReason::Never)
    } else if matches(&ingest.exclude) {
        Some(LeftOutReason::Excluded)
    } else if !ingest.include.is_empty() && !matches(&ingest.include) {
        Some(LeftOutReason::NotIncluded)
    } else if matches(&ingest.secrets) {
        None
    } else if path.segments().any(is_secret_name) {
        Some(LeftOutReason::Secret)
    } else if !ingest.hidden && path.segments().any(is_hidden) {
        Some(LeftOutReason::Hidden)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
