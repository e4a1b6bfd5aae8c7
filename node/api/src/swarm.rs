//! Copies in a private swarm: which members there are, how many copies each model has, and how a node is drained.

use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::peer::PeerId;
use serde::{Deserialize, Serialize};

/// What a node knows of the copies in its swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmReport {
    /// Copies that each model is to have.
    pub replicas: u32,
    /// Seconds that a member may be away until its copies are made anew.
    pub repair_after: u64,
    /// Seconds that a model has too many copies until one is given up.
    pub shrink_after: u64,
    /// Where this node is, as `name:rack-1` or the kind and the bytes of a network.
    pub zone: String,
    /// Whether this node has asked the members long enough to act on what it knows.
    pub settled: bool,
    /// How far this node is with handing over; `None` while it is not drained.
    pub drain: Option<DrainReport>,
    pub members: Vec<MemberReport>,
    pub models: Vec<SpreadModel>,
}

/// Another node of the swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberReport {
    pub peer: PeerId,
    pub zone: String,
    /// Whether it keeps copies: its user has set `replicas`, and it is no version of before.
    pub takes_part: bool,
    /// How many copies its user asks for.
    pub replicas: u32,
    /// Since when it is away, in seconds since 1970; `None` while it is here.
    pub away_since: Option<u64>,
    pub draining: bool,
    /// Bytes that it can take.
    pub room: u64,
    /// Copies that it says it keeps.
    pub copies: usize,
}

/// A model of the swarm. It has 15 fields, because programs read the answer as flat JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpreadModel {
    pub publisher: PublisherId,
    pub model: ModelName,
    pub tag: Option<Tag>,
    pub manifest: Digest,
    pub bytes: u64,
    /// Copies that count: at nodes that are not drained, and not away for too long.
    pub copies: u32,
    /// Zones with such a copy.
    pub zones: u32,
    /// Copies that it is to have: fewer than asked for where there are fewer nodes.
    pub wanted: u32,
    /// Whether this node has it whole.
    pub here: bool,
    /// The nodes that keep a copy, this one included.
    pub holders: Vec<PeerId>,
    /// Those of the other holders that have sent this node a piece lately.
    pub proven: Vec<PeerId>,
    /// Members that say they hold it, and have not sent a piece of it.
    pub refuted: Vec<PeerId>,
    /// Nodes that fetch it.
    pub fetching: Vec<PeerId>,
    /// What this node does with it, and why.
    pub verdict: String,
    /// Why this node has not taken it, if it has tried.
    pub refused: Option<String>,
}

impl SpreadModel {
    /// Tells whether it has fewer copies than it is to have.
    pub const fn is_short(&self) -> bool {
        self.copies < self.wanted
    }
}

/// The swarm in a few figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmSummary {
    pub replicas: u32,
    /// Other nodes that are here and take part.
    pub members: usize,
    /// Other nodes that are away.
    pub away: usize,
    pub models: usize,
    /// Models that have fewer copies than they are to have.
    pub short: usize,
    pub draining: bool,
}

/// Asks to drain this node, or to end that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainRequest {
    #[serde(default)]
    pub cancel: bool,
}

/// How far a node is with handing over its models.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainReport {
    /// Whether the node is drained, or being drained.
    pub draining: bool,
    /// Since when, in seconds since 1970.
    pub since: Option<u64>,
    /// Whether each of its models has enough proven copies elsewhere, so that it may be switched off.
    pub done: bool,
    /// Models of this node that are handed over.
    pub handed_over: usize,
    /// Models of this node that others do not hold yet.
    pub waiting: Vec<Waiting>,
}

/// A model that a drained node has not handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub publisher: PublisherId,
    pub model: ModelName,
    pub manifest: Digest,
    pub bytes: u64,
    /// Proven copies at other nodes.
    pub others: u32,
    pub wanted: u32,
    /// Members that have tried to take it and do not.
    pub refused_by: usize,
}
