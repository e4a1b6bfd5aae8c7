//! How many replicas of a model are proven at other nodes, and what proving them costs.

use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Petname, PublisherId, Tag};
use reg_proto::peer::PeerId;
use serde::{Deserialize, Serialize};

use crate::swarm::SwarmSummary;

/// What a node knows of the replicas of its models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    pub models: Vec<ModelHealth>,
    /// Whether the node audits: only a daemon with a network does, and the user may turn it off.
    pub auditing: bool,
    /// Proven replicas at other nodes that each model is to have.
    pub target: u32,
    /// Bytes that audits may fetch in an hour.
    pub budget_per_hour: u64,
    /// How many times as fast as usual replicas are proven, and as fast their proofs lapse.
    pub pace: u32,
    /// Pieces that a holder must have given before its copy counts.
    pub passes_needed: u32,
    pub audited: Audited,
    /// The copies in a private swarm; `None` where this node keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm: Option<SwarmSummary>,
}

/// Bytes that audits have fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    pub last_hour: u64,
    pub since_start: u64,
}

/// The replicas of one model. Times are in seconds since 1970. It has 15 fields, because programs read the answer as flat JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelHealth {
    pub publisher: PublisherId,
    pub petname: Option<Petname>,
    pub model: ModelName,
    pub tags: Vec<Tag>,
    pub manifest: Digest,
    /// Whether the node audits it now: it is whole in the store and shared.
    pub audited: bool,
    /// Replicas at other nodes that are proven: copies in one zone count as one.
    pub replicas: u32,
    /// Copies at other nodes that are proven.
    pub copies: u32,
    /// Peers that are said to hold it, proven or not.
    pub claimed: u32,
    /// The zones with a proven copy.
    pub zones: Vec<String>,
    /// When the oldest and the newest of the pieces were given that prove the copies.
    pub oldest_proof: Option<u64>,
    pub newest_proof: Option<u64>,
    /// Whether it has been below its target for hours. It stays so until it has been at its target for a day.
    pub endangered: bool,
    /// Bytes of it that audits have fetched in the last hour.
    pub asked_last_hour: u64,
    pub holders: Vec<HolderHealth>,
}

/// What is known of one peer's copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderHealth {
    pub peer: PeerId,
    /// Where it was reached: `v4:` or `v6:` and the network in hex digits, `name:` and the user's own name, or `unplaced`.
    pub zone: String,
    /// Whether its copy counts.
    pub proven: bool,
    /// Pieces that it has given of those that it was asked for lately.
    pub passes: u32,
    pub newest_pass: Option<u64>,
    /// Why the last piece was not given; `None` if it was.
    pub failed: Option<HolderFailure>,
}

/// Why a holder has not given a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HolderFailure {
    /// It said that it holds the model, and did not give the piece.
    NotGiven,
    /// It sent other bytes.
    Wrong,
}

/// What a webhook is sent: a model that the user keeps has too few proven replicas, or enough again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthEvent {
    pub event: HealthEventKind,
    pub manifest: Digest,
    /// The name under which it is in the store; `None` if it was removed meanwhile.
    pub publisher: Option<PublisherId>,
    pub model: Option<ModelName>,
    pub tags: Vec<Tag>,
    /// Replicas that are proven at other nodes.
    pub replicas: u32,
    pub target: u32,
    /// When the node noticed it, in seconds since 1970.
    pub at: u64,
    /// The peer id of the node that counts.
    pub node: PeerId,
}

/// What is new about a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthEventKind {
    Endangered,
    Recovered,
}

impl HealthEvent {
    /// Returns the model's name, or its manifest where it has none.
    pub fn name(&self) -> String {
        match (&self.publisher, &self.model) {
            (Some(publisher), Some(model)) => format!("{publisher}/{model}"),
            _ => self.manifest.to_string(),
        }
    }
}
