//! [`Looked`]: what a node can prove of a model that it does not have, and what a pull would cost. [`Had`]: a version that can be
//! had by its digest.

use std::fmt;

use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Petname, PublisherId, Tag};
use serde::{Deserialize, Serialize};

use crate::check::Check;
use crate::collection::CollectedIn;
use crate::lineage::Lineage;
use crate::report::{AttestationInfo, Planned};
use crate::tag_age::TagAge;

/// A model that was resolved, and of which no file was fetched.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Looked {
    pub publisher: PublisherId,
    pub petname: Option<Petname>,
    pub model: ModelName,
    pub tag: Option<Tag>,
    /// The number of the tag record; `None` where the model was asked for by its digest.
    pub seq: Option<u64>,
    pub tag_age: Option<TagAge>,
    pub key_document: u64,
    /// What is proven, and what the user's denylists and rules say.
    pub checks: Vec<Check>,
    pub attestations: Vec<AttestationInfo>,
    /// Peers that may have files of it.
    pub peers: usize,
    /// What a pull would fetch, file by file.
    pub planned: Planned,
    /// The digest of the tag record's payload.
    #[serde(default)]
    pub record: Option<Digest>,
    /// The followed collections that have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collected: Vec<CollectedIn>,
    /// From what it is derived and what is derived from it, as claimed.
    #[serde(default)]
    pub lineage: Lineage,
}

/// A version of a model that is available by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Had {
    pub manifest: Digest,
    pub tag: Option<Tag>,
    pub seq: Option<u64>,
    /// Whether the store has every file of it that its user chose.
    pub is_here: bool,
    /// How many peers have announced that they hold it.
    pub peers: usize,
}

impl fmt::Display for Had {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.tag, self.seq) {
            (Some(tag), Some(seq)) => write!(f, "{tag} number {seq}, ")?,
            (Some(tag), None) => write!(f, "{tag}, ")?,
            (None, _) => {}
        }
        write!(f, "{}", self.manifest)?;
        match (self.is_here, self.peers) {
            (true, _) => f.write_str(" (in the store)"),
            (false, 1) => f.write_str(" (at 1 peer)"),
            (false, peers) => write!(f, " (at {peers} peers)"),
        }
    }
}
