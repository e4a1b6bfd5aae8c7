//! [`Outcome`] of one year, and [`Summary`] of several.

use super::plan::Plan;

/// How the network stands at the beginning of a day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Share of the models with a whole copy at a node that has not left for good.
    pub alive: f64,
    /// Share of the models with a whole copy at a node that is online.
    pub online: f64,
    /// Share of the models with one to three copies.
    pub scarce: f64,
}

/// What came of a year.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// One for each day, and the last one at the end.
    pub samples: Vec<Sample>,
    /// Bytes that donors have fetched.
    pub donated: u64,
    /// Bytes that donors have given back.
    pub given_back: u64,
    /// Bytes of pieces that donors have audited.
    pub audited: u64,
    /// Bytes that users have pulled from other nodes.
    pub pulled: u64,
    pub pulls: u64,
    /// Pulls of models that no node online held.
    pub failed_pulls: u64,
}

impl Outcome {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            samples: Vec::with_capacity(plan.days as usize + 1),
            donated: 0,
            given_back: 0,
            audited: 0,
            pulled: 0,
            pulls: 0,
            failed_pulls: 0,
        }
    }

    /// Returns the share of the models that are alive at the end.
    pub fn alive(&self) -> f64 {
        self.samples.last().map_or(1.0, |it| it.alive)
    }
}

/// The mean of several years, and the worst and best of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub alive_mean: f64,
    pub alive_worst: f64,
    pub alive_best: f64,
    /// Mean share of the models of which a copy was online, over all days.
    pub online: f64,
    /// Mean share of the models with one to three copies at the end.
    pub scarce: f64,
    /// Mean share of pulls that failed.
    pub failed: f64,
    /// Means in bytes.
    pub donated: f64,
    pub given_back: f64,
    pub audited: f64,
    pub pulled: f64,
}

impl Summary {
    /// Returns the summary of years; `None` if there are none.
    pub fn of(outcomes: &[Outcome]) -> Option<Self> {
        let count = outcomes.len() as f64;
        let mean = |of: &dyn Fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / count;
        let last = |it: &Outcome| it.samples.last().copied();
        let first = outcomes.first()?;
        let online = |it: &Outcome| {
            it.samples.iter().map(|sample| sample.online).sum::<f64>() / it.samples.len().max(1) as f64
        };
        Some(Self {
            alive_mean: mean(&Outcome::alive),
            alive_worst: outcomes.iter().map(Outcome::alive).fold(first.alive(), f64::min),
            alive_best: outcomes.iter().map(Outcome::alive).fold(first.alive(), f64::max),
            online: mean(&online),
            scarce: mean(&|it| last(it).map_or(0.0, |it| it.scarce)),
            failed: mean(&|it| it.failed_pulls as f64 / it.pulls.max(1) as f64),
            donated: mean(&|it| it.donated as f64),
            given_back: mean(&|it| it.given_back as f64),
            audited: mean(&|it| it.audited as f64),
            pulled: mean(&|it| it.pulled as f64),
        })
    }
}
