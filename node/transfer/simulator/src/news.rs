//! [`News`]: what nodes know of each other beside what they send. Kept beside them, for it is looked at more than all else
//! together, and by all processors at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::plan::Plan;

/// Which nodes live, which listen, and what each holds.
///
/// A node that has a piece already, or listens no more, need not be told of it. Whether that is seen at once or a moment later
/// depends on the processors, and makes no difference: a node that is told looks at it again.
#[derive(Debug)]
pub(super) struct News {
    words: usize,
    /// A bit for each piece of each node.
    held: Vec<AtomicU64>,
    listens: Vec<AtomicBool>,
    /// How often each node has gone; what was on its way to an earlier life is lost.
    lives: Vec<u32>,
}

impl News {
    pub(super) fn new(plan: &Plan) -> Self {
        let (nodes, words) = (plan.nodes as usize, plan.pieces.div_ceil(64) as usize);
        let held = std::iter::repeat_with(AtomicU64::default).take(nodes * words);
        let listens = std::iter::repeat_with(AtomicBool::default).take(nodes);
        Self { words, held: held.collect(), listens: listens.collect(), lives: vec![0; nodes] }
    }

    /// Notes whether a node listens.
    pub(super) fn listens(&self, node: u32, listens: bool) {
        self.listens[node as usize].store(listens, Relaxed);
    }

    /// Returns in which life a node is.
    pub(super) fn life(&self, node: u32) -> u32 {
        self.lives[node as usize]
    }

    /// Notes that a node has gone: its next life begins.
    pub(super) fn has_gone(&mut self, node: u32) {
        self.lives[node as usize] += 1;
        self.listens(node, false);
    }

    /// Notes that a node has a piece.
    pub(super) fn has(&self, node: u32, piece: u32) {
        self.word(node, piece).fetch_or(1 << (piece % 64), Relaxed);
    }

    /// Tells whether a node has a piece: news of it would make no difference.
    pub(super) fn knows(&self, node: u32, piece: u32) -> bool {
        self.word(node, piece).load(Relaxed) >> (piece % 64) & 1 == 1
    }

    /// Tells whether a node should be told of a piece.
    pub(super) fn is_for(&self, node: u32, piece: u32) -> bool {
        self.listens[node as usize].load(Relaxed) && !self.knows(node, piece)
    }

    fn word(&self, node: u32, piece: u32) -> &AtomicU64 {
        &self.held[node as usize * self.words + (piece / 64) as usize]
    }
}
