//! [`Node`]: one simulated node: a scheduler, its neighbours, its links.

use reg_node::transfer::{Chance, Instant, Scheduler};
use reg_proto::piece::PieceSet;

use super::plan::Manner;
use super::uplink::Uplink;

/// A neighbour: who it is, and which place this node has among its neighbours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub(super) node: u32,
    pub(super) back: u32,
    pub(super) is_near: bool,
    /// It has sent this node a wrong piece.
    pub(super) is_out: bool,
}

/// One node of the swarm. Its scheduler names its neighbours by their places among its edges.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) scheduler: Scheduler<u32>,
    pub(super) edges: Vec<Edge>,
    pub(super) has: PieceSet,
    pub(super) uplink: Uplink,
    /// Microseconds that a piece takes through its links.
    pub(super) piece_time: u64,
    /// Until when its way in is in use.
    pub(super) down_free: u64,
    pub(super) manner: Manner,
    pub(super) is_up: bool,
    /// How often it has been started; what was on its way to an earlier life is lost.
    pub(super) life: u32,
    pub(super) done_at: Option<Instant>,
}

impl Node {
    pub(super) fn new(manner: Manner, has: PieceSet, piece_time: u64, chance: &mut Chance) -> Self {
        Self {
            scheduler: Scheduler::new(chance.next()),
            edges: Vec::new(),
            uplink: Uplink::new(),
            has,
            piece_time,
            down_free: 0,
            manner,
            is_up: true,
            life: 0,
            done_at: None,
        }
    }

    /// Tells whether it wants anything.
    pub(super) fn fetches(&self) -> bool {
        self.is_up && self.manner == Manner::Honest && self.done_at.is_none()
    }
}
