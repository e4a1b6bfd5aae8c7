//! [`StoreLook`]: what can be told of a store without opening it. Nothing is written, so a store that cannot be opened is told of
//! too.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::front::{VERSION, VERSION_BEFORE};
use super::paths::Paths;

/// What is seen of a store from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreLook {
    /// Whether there is a store.
    pub is_there: bool,
    /// The version that it says it has, where this program does not know that one.
    pub unknown_version: Option<String>,
    /// Whether that version is a later one than this program writes.
    pub is_newer: bool,
    /// Whether a process has it open.
    pub is_in_use: bool,
    /// Damaged indexes that were set aside, and rebuilt since.
    pub aside: Vec<PathBuf>,
}

impl StoreLook {
    /// Looks at the store in the folder `root`. The lock of a store that no process has open is held for a moment.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub fn at(root: &Path) -> io::Result<Self> {
        let paths = Paths::new(root.to_owned());
        let version = match fs::read(paths.version()) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).trim().chars().take(40).collect::<String>()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let is_known =
            |it: &String| it.is_empty() || *it == VERSION.to_string() || *it == VERSION_BEFORE.to_string();
        let unknown_version = version.clone().filter(|it| !is_known(it));
        let is_newer =
            unknown_version.as_ref().and_then(|it| it.parse::<u32>().ok()).is_some_and(|it| it > VERSION);
        let is_in_use = match File::open(paths.lock()) {
            Ok(file) => matches!(file.try_lock(), Err(TryLockError::WouldBlock)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        Ok(Self { is_there: version.is_some(), unknown_version, is_newer, is_in_use, aside: set_aside(root) })
    }
}

/// Returns the damaged indexes that were set aside in the folder of a store.
fn set_aside(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten().map(|it| it.path());
    let is_aside =
        |path: &PathBuf| path.extension().is_some_and(|it| it.to_string_lossy().starts_with("bad-"));
    let mut found: Vec<PathBuf> = entries.filter(is_aside).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{CacheLimits, Store};

    #[test]
    fn a_store_is_told_of_without_being_opened() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        let nothing = StoreLook::at(&root).unwrap();
        assert!(!nothing.is_there && !nothing.is_in_use && !root.exists(), "{nothing:?}");
        let store = Store::open(&root, CacheLimits::default()).unwrap();
        let open = StoreLook::at(&root).unwrap();
        assert!(open.is_there && open.is_in_use && open.unknown_version.is_none(), "{open:?}");
        drop(store);
        fs::write(root.join("VERSION"), "99\n").unwrap();
        fs::create_dir(root.join("index.bad-1")).unwrap();
        let newer = StoreLook::at(&root).unwrap();
        assert!(newer.is_newer && !newer.is_in_use, "{newer:?}");
        assert_eq!((newer.unknown_version.as_deref(), newer.aside.len()), (Some("99"), 1));
        fs::write(root.join("VERSION"), "junk").unwrap();
        let junk = StoreLook::at(&root).unwrap();
        assert!(!junk.is_newer && junk.unknown_version.as_deref() == Some("junk"), "{junk:?}");
    }
}
