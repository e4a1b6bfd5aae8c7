//! [`Outcome`]: what came of a plan.

use std::time::Duration;

use reg_proto::piece::PieceIndex;

use super::plan::Plan;

/// A hash of all that happened (FNV-1a, a word at a time): equal for equal plans, on however many processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace(u64);

impl Default for Trace {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Trace {
    /// Notes what happens at a moment: which node has caused it, and its number among the events of this node.
    pub(super) const fn note(&mut self, at: u64, from: u32, order: u32) {
        self.word(at);
        self.word((from as u64) << 32 | order as u64);
    }

    const fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3);
    }
}

impl FromIterator<Self> for Trace {
    fn from_iter<T: IntoIterator<Item = Self>>(traces: T) -> Self {
        let mut all = Self::default();
        traces.into_iter().for_each(|trace| all.word(trace.0));
        all
    }
}

/// What has come of a part of the nodes in a window.
#[derive(Debug)]
pub(super) struct Tally {
    /// When nodes had everything.
    pub(super) completed: Vec<u64>,
    /// Pieces that only the seed had when the window began.
    pub(super) first: Vec<PieceIndex>,
    pub(super) wasted: u64,
    pub(super) wrong: u64,
    pub(super) refused: u64,
    /// The seed has sent all that it was to send.
    pub(super) seed_has_died: bool,
    stored: u64,
    crossings: Vec<u64>,
}

impl Tally {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            completed: Vec::new(),
            first: Vec::new(),
            wasted: 0,
            wrong: 0,
            refused: 0,
            seed_has_died: false,
            stored: 0,
            crossings: vec![0; plan.zones as usize],
        }
    }

    /// Notes that a piece has come from one zone to another.
    pub(super) fn stored(&mut self, from: u32, to: u32) {
        self.stored += 1;
        if from != to
            && let Some(crossings) = self.crossings.get_mut(to as usize)
        {
            *crossings += 1;
        }
    }
}

/// What came of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// When each node had everything, in order.
    pub completions: Vec<Duration>,
    pub bound: Duration,
    /// Pieces that came and were verified.
    pub stored: u64,
    /// Pieces that came and had come before.
    pub wasted: u64,
    /// Wrong pieces that came; never more than one from one node to another.
    pub wrong: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Pieces that the seed had sent when the others had every piece among them, and when that was, to within a delay.
    first_copy: Option<(u32, Duration)>,
    /// Pieces that came into each zone from others.
    crossings: Vec<u64>,
    pieces: u32,
    pub trace: Trace,
}

impl Outcome {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            completions: Vec::new(),
            bound: plan.bound(),
            stored: 0,
            wasted: 0,
            wrong: 0,
            refused: 0,
            first_copy: None,
            crossings: vec![0; plan.zones as usize],
            pieces: plan.pieces,
            trace: Trace::default(),
        }
    }

    pub(super) fn count(&mut self, tally: Tally) {
        self.completions.extend(tally.completed.into_iter().map(Duration::from_micros));
        self.stored += tally.stored;
        self.wasted += tally.wasted;
        self.wrong += tally.wrong;
        self.refused += tally.refused;
        self.crossings.iter_mut().zip(tally.crossings).for_each(|(all, more)| *all += more);
    }

    pub(super) fn first_copy(&mut self, sent: u32, at: Duration) {
        self.first_copy = Some((sent, at));
    }

    /// Returns when the last node had everything, in terms of the bound.
    pub fn last(&self) -> f64 {
        self.completions.last().map_or(0.0, |last| last.as_secs_f64() / self.bound.as_secs_f64())
    }

    /// Returns when a node had everything on average, in terms of the bound.
    pub fn mean(&self) -> f64 {
        let all: f64 = self.completions.iter().map(Duration::as_secs_f64).sum();
        all / self.completions.len().max(1) as f64 / self.bound.as_secs_f64()
    }

    /// Returns how many copies the seed had sent when the others had one among them.
    pub fn copies_for_the_first(&self) -> f64 {
        self.first_copy.map_or(0.0, |(sent, _)| f64::from(sent) / f64::from(self.pieces))
    }

    /// Returns when the others had a copy among them, in terms of the bound.
    pub fn first_copy_at(&self) -> f64 {
        self.first_copy.map_or(0.0, |(_, at)| at.as_secs_f64() / self.bound.as_secs_f64())
    }

    /// Returns how many copies of the blob came into the zone that most came into.
    pub fn copies_into_a_zone(&self) -> f64 {
        self.crossings.iter().max().map_or(0.0, |most| *most as f64 / f64::from(self.pieces))
    }

    /// Returns how many pieces of a hundred came twice.
    pub fn wasted_percent(&self) -> f64 {
        100.0 * self.wasted as f64 / self.stored.max(1) as f64
    }
}
