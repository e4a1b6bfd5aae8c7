//! [`Node`]: one simulated node: a scheduler, its neighbours, its links, and what is to happen to it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use reg_proto::piece::PieceSet;
use reg_transfer::{Chance, Scheduler};

use super::event::{Event, What};
use super::outcome::Trace;
use super::plan::Manner;
use super::uplink::Uplink;

/// A neighbour: which node it is, and which place this node has among its neighbours.
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
    pub(super) id: u32,
    pub(super) scheduler: Scheduler<u32>,
    pub(super) edges: Vec<Edge>,
    pub(super) has: PieceSet,
    pub(super) uplink: Uplink,
    /// What is to happen to it, the earliest first.
    pub(super) events: BinaryHeap<Reverse<Event>>,
    /// Microseconds that a piece takes through its links.
    pub(super) piece_time: u64,
    /// Until when its way in is in use.
    pub(super) down_free: u64,
    pub(super) manner: Manner,
    pub(super) is_up: bool,
    pub(super) is_done: bool,
    /// All that has happened to it.
    pub(super) trace: Trace,
    /// How much it has caused.
    caused: u32,
}

impl Node {
    pub(super) fn new(id: u32, manner: Manner, has: PieceSet, piece_time: u64, chance: &mut Chance) -> Self {
        Self {
            id,
            scheduler: Scheduler::new(chance.next()),
            edges: Vec::new(),
            uplink: Uplink::new(),
            events: BinaryHeap::new(),
            is_done: has.is_full(),
            has,
            piece_time,
            down_free: 0,
            manner,
            is_up: true,
            trace: Trace::default(),
            caused: 0,
        }
    }

    /// Tells whether it wants anything.
    pub(super) fn fetches(&self) -> bool {
        self.is_up && self.manner == Manner::Honest && !self.is_done
    }

    /// Returns an event that it causes.
    pub(super) const fn causes(&mut self, at: u64, what: What) -> Event {
        self.caused += 1;
        Event { at, from: self.id, order: self.caused, what }
    }

    /// Takes out what happens next, where that is before a moment.
    pub(super) fn next_before(&mut self, until: u64) -> Option<Event> {
        self.events.peek().filter(|Reverse(event)| event.at < until)?;
        let Reverse(next) = self.events.pop()?;
        self.trace.note(next.at, next.from, next.order);
        Some(next)
    }
}
