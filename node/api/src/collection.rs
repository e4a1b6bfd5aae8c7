//! Collections: what is asked of a node about them, and what it reports.
//!
//! A collection helps to find models and to keep them listed. It makes no signature valid and waives no rule.

use reg_proto::catalogue::Collected;
use reg_proto::content::label::Label;
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Petname, PublisherId, Reference};
use serde::{Deserialize, Serialize};

use crate::request::TicketRequest;

/// Asks for a collection: to follow it, or to see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionRequest {
    pub reference: Reference,
    /// What the ticket says that was given instead of a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketRequest>,
}

/// A followed collection as it is in the store. It has 12 fields, as a list and a script show them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionReport {
    /// The name by which the user follows it: `acme/small-ocr`.
    pub collection: String,
    pub publisher: PublisherId,
    pub petname: Option<Petname>,
    pub model: ModelName,
    pub state: CollectionState,
    /// The version in use, and the number of its tag record; `None` where none is used.
    pub manifest: Option<Digest>,
    pub seq: Option<u64>,
    pub title: Option<Label>,
    pub words: Option<Label>,
    /// The number of entries.
    pub entries: usize,
    /// The number of publishers that it names or has models of.
    pub publishers: usize,
    /// How many of these are beyond the bound of all collections together, so that they count as not named.
    pub left_out: usize,
}

/// Whether a followed collection is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum CollectionState {
    /// The newest version that this node knows is used.
    Current,
    /// An older version is used: the newest one is not in the store.
    Behind,
    /// Its publisher has withdrawn it. It is not used, and no older version in its place.
    Withdrawn { reason: String },
    /// A denylist of the user names it, so that it is not used.
    Denied,
    /// No version is in the store.
    Absent,
}

/// A collection with its entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionShown {
    pub publisher: PublisherId,
    pub petname: Option<Petname>,
    pub model: ModelName,
    pub manifest: Digest,
    pub title: Label,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<Label>,
    pub entries: Vec<ShownEntry>,
    /// Whether the user follows it.
    pub followed: bool,
}

/// An entry of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownEntry {
    pub collect: Collected,
    /// What the user calls the publisher.
    pub petname: Option<Petname>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<Label>,
}

/// A followed collection that has a model, with what it says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectedIn {
    /// The name by which the user follows the collection.
    pub collection: String,
    /// The entry: the model, one version of it, or all of its publisher.
    pub entry: Collected,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<Label>,
}

impl std::fmt::Display for CollectedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.collection)?;
        if matches!(self.entry, Collected::Publisher(_)) {
            f.write_str(" (its publisher)")?;
        }
        self.words.as_ref().map_or(Ok(()), |words| write!(f, ": {words}"))
    }
}
