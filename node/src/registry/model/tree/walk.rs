//! [`Walk`]: goes through a directory, follows links inside it, and says of each entry whether it is taken.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use reg_api::ingest::{Ingest, LeftOutReason};
use reg_api::selection::{IGNORE_FILE_BYTES_MAX, IgnoreError, IgnoreFile, Pattern};
use reg_proto::limits::FILES_MAX;
use reg_proto::path::SafePath;

use super::left_out::{is_hidden, is_left_out};
use super::secret::is_secret_name;
use super::{Authors, IGNORE_FILE, Listing, TreeError, source_file};
use crate::store::Cancel;

/// Levels of directories that the walk enters. It is deeper than a path may be, so that the check of the path reports
/// the error.
pub(super) const DEPTH_MAX: usize = 40;

/// Directories that the walk enters. Links to one directory count again, so that links in linked directories end.
pub(super) const DIRECTORIES_MAX: usize = 2 * FILES_MAX;

/// A walk through one directory.
pub(super) struct Walk<'a> {
    root: &'a Path,
    ingest: &'a Ingest,
    authors: Authors,
    cancel: &'a Cancel,
    listing: Listing,
    /// The directories from the root to the present one, without links.
    open: Vec<PathBuf>,
    /// Their `.regignore` files, each with the name of its directory and a slash, or nothing for the root.
    ignoring: Vec<(String, IgnoreFile)>,
    directories: usize,
    /// Which patterns of `include` have matched a file.
    is_used: Vec<bool>,
}

/// What an entry is, once links are followed.
enum Entry {
    File(PathBuf),
    Directory(PathBuf),
}

impl<'a> Walk<'a> {
    pub(super) fn new(root: &'a Path, ingest: &'a Ingest, authors: Authors, cancel: &'a Cancel) -> Self {
        let is_used = vec![false; ingest.include.len()];
        let (open, ignoring, listing) = (Vec::new(), Vec::new(), Listing::default());
        Self { root, ingest, authors, cancel, listing, open, ignoring, directories: 0, is_used }
    }

    pub(super) fn run(mut self) -> Result<Listing, TreeError> {
        self.enter(self.root, self.root.to_owned(), "")?;
        match self.is_used.iter().zip(&self.ingest.include).find(|(is_used, _)| !**is_used) {
            Some((_, pattern)) => {
                let (path, pattern) = (self.root.to_owned(), pattern.clone());
                Err(TreeError::NoMatch { path, pattern, names: self.names() })
            }
            None => Ok(self.listing),
        }
    }

    /// Returns the names of the files that are taken, and of those that are not included.
    fn names(self) -> Vec<String> {
        let entries = self.listing.left_out.entries.into_iter();
        let others = entries.filter(|it| it.reason == LeftOutReason::NotIncluded).map(|it| it.path);
        let mut names: Vec<String> = self.listing.files.iter().map(|it| it.path.to_string()).collect();
        names.extend(others);
        names.sort();
        names
    }

    /// Goes through a directory. `dir` is where the user sees it, `real` where it is, `name` its path in the model.
    fn enter(&mut self, dir: &Path, real: PathBuf, name: &str) -> Result<(), TreeError> {
        let owned = || dir.to_owned();
        self.directories += 1;
        if self.directories > DIRECTORIES_MAX {
            return Err(TreeError::TooManyDirectories { path: self.root.to_owned() });
        }
        if self.open.len() > DEPTH_MAX {
            return Err(TreeError::TooDeep { path: owned() });
        }
        let read = |source| TreeError::Read { path: dir.to_owned(), source };
        let ignoring = self.ignoring.len();
        self.read_ignore_file(dir, name)?;
        self.open.push(real);
        for entry in fs::read_dir(dir).map_err(read)? {
            self.look(&entry.map_err(read)?, name)?;
        }
        self.open.pop();
        self.ignoring.truncate(ignoring);
        Ok(())
    }

    fn look(&mut self, entry: &DirEntry, dir: &str) -> Result<(), TreeError> {
        let path = entry.path();
        if self.cancel.is_cancelled() {
            return Err(TreeError::Cancelled { path });
        }
        let Some(own) = entry.file_name().to_str().map(str::to_owned) else {
            return Err(TreeError::NotUtf8 { path });
        };
        let own = SafePath::normal_form(&own);
        let name = if dir.is_empty() { own.clone() } else { format!("{dir}/{own}") };
        // What a link leads to is looked at only if the link is taken.
        let is_directory = fs::metadata(&path).is_ok_and(|it| it.is_dir());
        let shown = if is_directory { format!("{name}/") } else { name.clone() };
        if let Some(reason) = self.judge(&own, &name, is_directory) {
            self.listing.left_out.push(shown, reason, None);
            return Ok(());
        }
        let found = self.follow(entry)?;
        if let Some(reason) = self.judge_target(entry, &name, &found) {
            self.listing.left_out.push(shown, reason, None);
            return Ok(());
        }
        match found {
            Entry::Directory(real) if self.open.contains(&real) => {
                self.listing.left_out.push(shown, LeftOutReason::Loop, None);
                Ok(())
            }
            Entry::Directory(real) => self.enter(&path, real, &name),
            Entry::File(source) => self.take(&path, source, &name),
        }
    }

    fn take(&mut self, path: &Path, source: PathBuf, name: &str) -> Result<(), TreeError> {
        if !self.ingest.include.is_empty() {
            let mut is_included = false;
            for (pattern, is_used) in self.ingest.include.iter().zip(&mut self.is_used) {
                let matches = pattern.matches(name);
                is_included |= matches;
                *is_used |= matches;
            }
            if !is_included {
                self.listing.left_out.push(name.to_owned(), LeftOutReason::NotIncluded, None);
                return Ok(());
            }
        }
        self.listing.files.push(source_file(name, path, source)?);
        if self.listing.files.len() > FILES_MAX {
            return Err(TreeError::TooMany { path: self.root.to_owned() });
        }
        Ok(())
    }

    /// Says why an entry is left out by its name; `None` where it is taken, or a file that has to be looked at.
    fn judge(&self, own: &str, name: &str, is_directory: bool) -> Option<LeftOutReason> {
        let excluded =
            |it: &Pattern| if is_directory { it.matches_directory(name) } else { it.matches(name) };
        if is_left_out(own) {
            return Some(LeftOutReason::Never);
        }
        if self.ingest.exclude.iter().any(excluded) {
            return Some(LeftOutReason::Excluded);
        }
        if self.is_ignored(name, is_directory) {
            return Some(LeftOutReason::Ignored);
        }
        if matches(&self.ingest.secrets, name) {
            return None;
        }
        if is_secret_name(own) {
            return Some(LeftOutReason::Secret);
        }
        (!self.ingest.hidden && is_hidden(own)).then_some(LeftOutReason::Hidden)
    }

    /// Says why a link is left out because of what it leads to: a link to a secret is one, whatever its own name is.
    fn judge_target(&self, entry: &DirEntry, name: &str, found: &Entry) -> Option<LeftOutReason> {
        let (Entry::File(target) | Entry::Directory(target)) = found;
        if !entry.file_type().is_ok_and(|it| it.is_symlink()) {
            return None;
        }
        let below = target.strip_prefix(self.root).ok()?;
        let is_any = |is_it: fn(&str) -> bool| below.iter().any(|it| is_it(&it.to_string_lossy()));
        if is_any(is_left_out) {
            Some(LeftOutReason::Never)
        } else if matches(&self.ingest.secrets, name) {
            None
        } else if is_any(is_secret_name) {
            Some(LeftOutReason::Secret)
        } else {
            (!self.ingest.hidden && is_any(is_hidden)).then_some(LeftOutReason::Hidden)
        }
    }

    /// Asks the `.regignore` files from the nearest to the root's; the first that has a matching line decides.
    fn is_ignored(&self, name: &str, is_directory: bool) -> bool {
        let decided = self.ignoring.iter().rev().find_map(|(dir, file)| {
            name.strip_prefix(dir.as_str()).and_then(|name| file.decides(name, is_directory))
        });
        decided == Some(true)
    }

    fn read_ignore_file(&mut self, dir: &Path, name: &str) -> Result<(), TreeError> {
        if self.authors == Authors::Others {
            return Ok(());
        }
        let path = dir.join(IGNORE_FILE);
        let read = |source| TreeError::Read { path: path.clone(), source };
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(read(source)),
            Ok(metadata) if !metadata.is_file() => return Err(TreeError::Special { path }),
            Ok(metadata) if metadata.len() > IGNORE_FILE_BYTES_MAX as u64 => {
                return Err(TreeError::Ignore { path, source: IgnoreError::TooLong });
            }
            Ok(_) => {}
        }
        let text = fs::read_to_string(&path).map_err(read)?;
        let file = IgnoreFile::parse(&text).map_err(|source| TreeError::Ignore { path, source })?;
        let prefix = if name.is_empty() { String::new() } else { format!("{name}/") };
        self.ignoring.push((prefix, file));
        Ok(())
    }

    /// Says what an entry is. A link must lead into the root, or to a file in the `blobs` beside the `snapshots` that
    /// contains the root.
    fn follow(&self, entry: &DirEntry) -> Result<Entry, TreeError> {
        let path = entry.path();
        let read = |source| TreeError::Read { path: path.clone(), source };
        let kind = entry.file_type().map_err(read)?;
        let target = match path.canonicalize() {
            Err(error) if kind.is_symlink() && error.kind() == io::ErrorKind::NotFound => {
                return Err(TreeError::LinkToNothing { path });
            }
            target => target.map_err(read)?,
        };
        let is_blob = || hugging_face_blobs(self.root).is_some_and(|blobs| target.starts_with(blobs));
        if !(target.starts_with(self.root) || is_blob() && target.is_file()) {
            return Err(TreeError::LinkOutside { path, target });
        }
        match fs::metadata(&target).map_err(read)?.file_type() {
            kind if kind.is_file() => Ok(Entry::File(target)),
            kind if kind.is_dir() => Ok(Entry::Directory(target)),
            _ => Err(TreeError::Special { path }),
        }
    }
}

fn matches(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|it| it.matches(name))
}

/// Returns the folder of blobs: `models--org--name/snapshots/<commit>` → `models--org--name/blobs`.
fn hugging_face_blobs(root: &Path) -> Option<PathBuf> {
    let snapshots = root.parent().filter(|it| it.file_name().is_some_and(|name| name == "snapshots"))?;
    Some(snapshots.parent()?.join("blobs"))
}
