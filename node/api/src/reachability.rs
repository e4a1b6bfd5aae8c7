//! [`Reachability`]: whether other nodes can connect to this one.

use serde::{Deserialize, Serialize};

/// Whether others reach this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reachability {
    /// No peer has dialled back yet.
    Unknown,
    /// At an address of its own.
    Public,
    /// Through a relay, and then, where the NATs allow it, directly.
    Relayed,
}
