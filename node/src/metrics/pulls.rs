//! [`PullCount`]: counts the end of one pull, however it ends.

use std::time::Instant;

use reg_api::fault::FaultKind;

use super::{Metrics, labels};

/// How a pull has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullEnd {
    /// It has brought its model.
    Done,
    Failed(FaultKind),
    /// The owner of the node has ended it.
    Cancelled,
}

/// A pull that runs. Where it is dropped, its caller has gone, and it counts as cancelled.
#[derive(Debug)]
pub struct PullCount {
    metrics: Metrics,
    begun: Instant,
    end: PullEnd,
}

impl PullCount {
    pub(super) fn begin(metrics: Metrics) -> Self {
        metrics.0.events.pull_begins();
        Self { metrics, begun: Instant::now(), end: PullEnd::Cancelled }
    }

    /// Counts how the pull has ended.
    pub fn ends(mut self, end: PullEnd) {
        self.end = end;
    }
}

impl Drop for PullCount {
    fn drop(&mut self) {
        let (outcome, after) = match self.end {
            PullEnd::Done => (labels::DONE, Some(self.begun.elapsed())),
            PullEnd::Failed(kind) => (labels::failed(kind), None),
            PullEnd::Cancelled => (labels::CANCELLED, None),
        };
        self.metrics.0.events.pull_ends(outcome, after);
    }
}
