//! [`Strange`]: what a user should know of the folder that a node's files lie in: another user's, or on another machine.

use std::path::{Path, PathBuf};

/// Something about a folder that a user has likely not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strange {
    /// Root runs in the folder of another user, as with `sudo`: its files would be root's.
    OfAnotherUser { path: PathBuf, owner: u32 },
    /// The folder is on another machine, by a file system of this kind.
    Remote { path: PathBuf, kind: &'static str },
}

/// Returns what is strange about a folder, or about the nearest one above it that is there.
#[cfg(unix)]
pub fn strange(folder: &Path) -> Vec<Strange> {
    use std::os::unix::fs::MetadataExt;
    let Some((path, metadata)) = folder.ancestors().find_map(|it| Some((it, it.metadata().ok()?))) else {
        return Vec::new();
    };
    let is_foreign = rustix::process::geteuid().is_root() && metadata.uid() != 0;
    let user = is_foreign.then(|| Strange::OfAnotherUser { path: path.to_owned(), owner: metadata.uid() });
    let remote = remote_kind(path).map(|kind| Strange::Remote { path: path.to_owned(), kind });
    user.into_iter().chain(remote).collect()
}

/// Returns what is strange about a folder: nothing that can be told on this system.
#[cfg(not(unix))]
pub const fn strange(_: &Path) -> Vec<Strange> {
    Vec::new()
}

/// Returns the kind of the file system of another machine that a folder is on.
#[cfg(target_os = "linux")]
fn remote_kind(path: &Path) -> Option<&'static str> {
    let found = rustix::fs::statfs(path).ok()?;
    kind_of(u64::try_from(found.f_type).ok()?)
}

#[cfg(not(target_os = "linux"))]
const fn remote_kind(_: &Path) -> Option<&'static str> {
    None
}

/// Returns the name of a file system of other machines by its number, as in statfs(2).
#[cfg(target_os = "linux")]
const fn kind_of(number: u64) -> Option<&'static str> {
    match number {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("SMB"),
        0x0102_1997 => Some("9P"),
        0x5346_414f => Some("AFS"),
        0x00c3_6400 => Some("Ceph"),
        _ => None,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_other_machines_are_known_by_their_numbers() {
        assert_eq!(kind_of(0x6969), Some("NFS"));
        assert_eq!(kind_of(0xff53_4d42), Some("SMB"));
        // ext4, tmpfs
        assert_eq!((kind_of(0xef53), kind_of(0x0102_1994)), (None, None));
        let dir = tempfile::tempdir().expect("a folder");
        let of_here = strange(&dir.path().join("not/there"));
        assert!(!of_here.iter().any(|it| matches!(it, Strange::OfAnotherUser { .. })), "{of_here:?}");
    }
}
