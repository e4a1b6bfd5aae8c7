//! [`Fingerprint`]: the metadata of a file, which shows whether it may have changed since it was verified.

use std::fs::Metadata;

use serde::{Deserialize, Serialize};

/// Device, inode, size, times and links of a file. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: i128,
    changed: i128,
    links: u64,
}

impl Fingerprint {
    /// Returns the fingerprint of a file.
    #[cfg(unix)]
    pub fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            links: metadata.nlink(),
        }
    }

    /// Returns the fingerprint of a file on systems that tell only size and time of modification.
    #[cfg(not(unix))]
    pub fn of(metadata: &Metadata) -> Self {
        let modified =
            metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |since| i128::try_from(since.as_nanos()).unwrap_or(i128::MAX));
        Self { device: 0, inode: 0, size: metadata.len(), modified, changed: modified, links: 1 }
    }

    /// Returns the size of the file in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Tells whether another fingerprint is that of the same file, under this name or another link to it.
    pub const fn is_same_file(&self, other: &Self) -> bool {
        self.inode != 0 && self.inode == other.inode && self.device == other.device
    }

    /// Tells whether a later fingerprint differs at most in the time of change and the number of links, as after a
    /// rename, a link or a new mode. Only the caller that has just made that change itself may rely on this: another
    /// process can set the time of modification back.
    pub(super) fn differs_in_change_only(&self, later: &Self) -> bool {
        Self { changed: later.changed, links: later.links, ..*self } == *later
    }
}
