//! [`Fingerprint`]: what a file looks like from outside, to see whether it may have changed since it was verified.

use std::fs::Metadata;

use serde::{Deserialize, Serialize};

/// Device, inode, size, times and links of a file. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: i128,
    changed: i128,
    links: u64,
}

/// How two looks at a file compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    Same,
    /// Only a hard link has come or gone: that moves the time of change, and no byte.
    Linked,
    /// It may have been written to.
    Changed,
}

impl Fingerprint {
    /// Looks at a file.
    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Self {
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

    /// Looks at a file, where only size and time of modification are to be had.
    #[cfg(not(unix))]
    pub(super) fn of(metadata: &Metadata) -> Self {
        let modified =
            metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |since| i128::try_from(since.as_nanos()).unwrap_or(i128::MAX));
        Self { device: 0, inode: 0, size: metadata.len(), modified, changed: modified, links: 1 }
    }

    /// Compares with a later look.
    pub(super) fn compare(&self, later: &Self) -> Compared {
        if self == later {
            return Compared::Same;
        }
        let linked = Self { changed: self.changed, links: self.links, ..*later };
        if *self == linked && self.links != later.links { Compared::Linked } else { Compared::Changed }
    }
}
