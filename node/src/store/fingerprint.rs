//! [`Fingerprint`]: the metadata of a file, which shows whether it may have changed since it was verified.

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

/// How two fingerprints of a file compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    Same,
    /// Only the number of hard links has changed, and with it the time of change; no byte has.
    Linked,
    /// The content may have changed.
    Changed,
}

impl Fingerprint {
    /// Returns the fingerprint of a file.
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

    /// Returns the fingerprint of a file on systems that tell only size and time of modification.
    #[cfg(not(unix))]
    pub(super) fn of(metadata: &Metadata) -> Self {
        let modified =
            metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |since| i128::try_from(since.as_nanos()).unwrap_or(i128::MAX));
        Self { device: 0, inode: 0, size: metadata.len(), modified, changed: modified, links: 1 }
    }

    /// Compares with a later fingerprint of the same file.
    pub(super) fn compare(&self, later: &Self) -> Compared {
        if self == later {
            return Compared::Same;
        }
        let linked = Self { changed: self.changed, links: self.links, ..*later };
        if *self == linked && self.links != later.links { Compared::Linked } else { Compared::Changed }
    }
}
