//! [`Outcome`]: what came of a plan.

use std::time::Duration;

use super::plan::Plan;

/// What came of a plan.
#[derive(Debug, Clone)]
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
    /// Pieces that the seed had sent when the others had every piece among them, and when that was.
    first_copy: Option<(u32, Duration)>,
    /// Pieces that came into each zone from others.
    crossings: Vec<u64>,
    pieces: u32,
    /// A hash of all that happened: equal for equal plans.
    pub trace: u64,
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
            trace: 0xcbf2_9ce4_8422_2325,
        }
    }

    pub(super) fn completed(&mut self, at: Duration) {
        self.completions.push(at);
    }

    pub(super) fn stored(&mut self, from: u32, to: u32) {
        self.stored += 1;
        if from != to
            && let Some(crossings) = self.crossings.get_mut(to as usize)
        {
            *crossings += 1;
        }
    }

    pub(super) fn first_copy(&mut self, sent: u32, at: Duration) {
        self.first_copy = Some((sent, at));
    }

    pub(super) fn trace(&mut self, at: u64, order: u64) {
        for word in [at, order] {
            self.trace = (self.trace ^ word).wrapping_mul(0x0100_0000_01b3);
        }
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
