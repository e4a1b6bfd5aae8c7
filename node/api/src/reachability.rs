//! [`Reachability`]: whether other nodes can connect to this one.

use serde::{Deserialize, Serialize};

/// Tells how other nodes can connect to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reachability {
    /// No peer has dialled back yet.
    Unknown,
    /// Other nodes can connect to an address of this node.
    Public,
    /// Other nodes connect through a relay, and then directly where the NATs allow it.
    Relayed,
}
