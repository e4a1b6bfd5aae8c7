//! What a directory of the user holds, and how it differs from the version that a pull has put there.

use std::path::PathBuf;

use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Petname, PublisherId, Reference, Tag};
use reg_proto::path::SafePath;
use serde::{Deserialize, Serialize};

/// Asks what a directory holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderRequest {
    /// The directory, absolute as the node sees it.
    pub dir: PathBuf,
    /// Hash every file, instead of only those with other metadata than before.
    #[serde(default)]
    pub hash: bool,
}

/// What a directory holds. It has 18 fields, because programs read the answer as flat JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderReport {
    pub dir: PathBuf,
    /// The version, by its digest.
    pub reference: Reference,
    pub publisher: PublisherId,
    pub petname: Option<Petname>,
    pub model: ModelName,
    /// The tag that was pulled; `None` where the version was asked for by its digest, or that is not known.
    pub tag: Option<Tag>,
    /// The number of that tag's record.
    pub seq: Option<u64>,
    pub manifest: Digest,
    /// Whether the store has the version.
    pub in_store: bool,
    /// A newer version of the tag that is known.
    pub newer: Option<NewerVersion>,
    /// Why the publisher has withdrawn the version; `None` where it has not.
    pub withdrawn: Option<String>,
    /// Files of the version that were put there.
    pub files: usize,
    /// Files that were hashed, because their metadata did not show what they are.
    pub hashed: usize,
    /// Files that are there and are not as they were signed.
    pub changed: Vec<SafePath>,
    pub missing: Vec<SafePath>,
    /// Files of an earlier version that this one has not, and that were left there.
    pub left: Vec<SafePath>,
    /// Files that no version has put there.
    pub own: Vec<String>,
    /// Whether there are more of them than are listed.
    pub own_more: bool,
}

impl FolderReport {
    /// Tells whether every file that was put there is as it was signed.
    pub const fn is_as_signed(&self) -> bool {
        self.changed.is_empty() && self.missing.is_empty()
    }
}

/// A newer version of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewerVersion {
    /// The number of its record.
    pub seq: u64,
    pub manifest: Digest,
    /// Whether the store has it whole.
    pub in_store: bool,
}
