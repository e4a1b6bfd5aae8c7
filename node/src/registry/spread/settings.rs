//! [`SpreadSettings`]: how many copies the user asks for, and where this node is.

use std::path::PathBuf;
use std::time::Duration;

use reg_commons::ZoneName;
use reg_commons::swarm::Policy;

use crate::registry::health::Zones;
use crate::registry::limits::{SPREAD_ASK, SPREAD_ASK_MIN};

/// What the user says of copies in a private swarm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpreadSettings {
    /// `None` where no copies are spread.
    pub policy: Option<Policy>,
    /// The user's name for the zone of this node.
    pub zone: Option<ZoneName>,
    /// The zones that the user has named, for members that have no name of their own.
    pub zones: Zones,
    /// Whether this node acts, and answers members: a daemon with a network does.
    pub acts: bool,
    /// Where the node remembers what it knows of the members; `None` remembers nothing.
    pub file: Option<PathBuf>,
}

impl SpreadSettings {
    /// Returns the policy of a node that acts.
    pub(super) fn acting(&self) -> Option<Policy> {
        self.policy.filter(|_| self.acts)
    }
}

/// Returns how often members are asked: a few times while one may be away.
pub(super) fn every(policy: &Policy) -> Duration {
    (policy.repair_after / 4).clamp(SPREAD_ASK_MIN, SPREAD_ASK)
}
