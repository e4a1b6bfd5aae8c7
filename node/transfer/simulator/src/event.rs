//! [`Event`]: what happens to a node, and when.

use std::time::Duration;

/// Something that is to happen to a node. The earliest comes first; of one moment, in the order of the nodes that have caused
/// them, and of each of these in the order in which it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Event {
    /// Microseconds from the beginning.
    pub(super) at: u64,
    /// The node that has caused it.
    pub(super) from: u32,
    /// Its number among the events that this node has caused, from 1.
    pub(super) order: u32,
    pub(super) what: What,
}

/// What happens. Neighbours are named by their places; `life` is the asker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// A neighbour asks for pieces.
    Asked { slot: u32, life: u32, request: u32, piece: u32, count: u32 },
    /// A neighbour needs the rest of a request no more.
    Cancelled { slot: u32, request: u32 },
    /// A piece has left; `life` is the node's own.
    Sent { life: u32 },
    /// A piece is before the node's way in.
    Arrives(Sent),
    /// A piece is here.
    Came(Sent),
    /// A neighbour does not serve a request, for so long where it is busy.
    Refused { slot: u32, life: u32, request: u32, busy: Option<Duration> },
}

/// A piece on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sent {
    pub(super) slot: u32,
    pub(super) life: u32,
    pub(super) request: u32,
    pub(super) piece: u32,
    pub(super) good: bool,
}
