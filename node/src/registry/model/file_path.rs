//! Says where a file of a model lies in a directory: under its own name, or under its portable one where the file system
//! cannot hold the other, as FAT, exFAT and those of Windows cannot hold `what?.md`.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use reg_proto::path::SafePath;

/// Counts files that were made to try a name.
static TRIED: AtomicU64 = AtomicU64::new(0);

/// A name with the characters that some file systems refuse.
const STRANGE: &str = "?:*\"<>|";

/// Returns the path of a file from `dir`, for reading: its own, unless only the portable one is there.
pub fn of(dir: &Path, path: &SafePath) -> PathBuf {
    let (own, portable) = (PathBuf::from(path.as_str()), PathBuf::from(path.portable()));
    let is_there = |path: &Path| fs::symlink_metadata(dir.join(path)).is_ok();
    if cfg!(windows) || (own != portable && !is_there(&own) && is_there(&portable)) { portable } else { own }
}

/// Returns the path of a file from `dir`, for writing: its own, unless the file system refuses such names.
pub fn to_write(dir: &Path, path: &SafePath) -> PathBuf {
    let (own, portable) = (PathBuf::from(path.as_str()), PathBuf::from(path.portable()));
    if cfg!(windows) || (own != portable && !holds_strange_names(dir)) { portable } else { own }
}

/// Tries whether a file can have such a name in a directory. One that cannot be written to is asked nothing.
fn holds_strange_names(dir: &Path) -> bool {
    let number = TRIED.fetch_add(1, Ordering::Relaxed);
    let tried = dir.join(format!(".reg-{}-{number}-{STRANGE}", std::process::id()));
    match File::create_new(&tried) {
        Ok(_) => {
            drop(fs::remove_file(&tried));
            true
        }
        Err(error) => !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidFilename),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_holds_the_name_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let path: SafePath = "a?/b.md".parse().unwrap();
        let own = if holds_strange_names(dir.path()) { "a?/b.md" } else { "a%3F/b.md" };
        assert_eq!(to_write(dir.path(), &path), Path::new(own));
        assert_eq!(of(dir.path(), &"a/b.md".parse().unwrap()), Path::new("a/b.md"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
