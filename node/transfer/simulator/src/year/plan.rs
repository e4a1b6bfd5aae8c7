//! [`Plan`]: the world that is to be simulated. Everything follows from it.

use reg_commons::{BUDGET_PER_HOUR, Chance, TARGET};
use reg_proto::piece::PIECE_LEN;

const GB: u64 = 1_000_000_000;

/// What donors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// There are none.
    None,
    /// They take models by chance, and keep them.
    Random,
    /// They take what is pulled most, and keep it.
    PopularFirst,
    /// They do what `reg-commons` decides.
    ScarcestFirst,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::Random, Self::PopularFirst, Self::ScarcestFirst];

    /// Returns its name in tables and pictures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Random => "random",
            Self::PopularFirst => "popular first",
            Self::ScarcestFirst => "scarcest first",
        }
    }
}

/// A network of nodes with caches. On day 0 the hub from which they have pulled is gone, and donors begin.
///
/// 20 fields, because each is one assumption about the world.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where all chance comes from.
    pub seed: u64,
    pub policy: Policy,
    pub nodes: u16,
    pub models: u16,
    pub days: u32,
    /// Days before day 0, in which the hub has every model and caches fill.
    pub warm_up_days: u32,
    /// Days from day 0 for which the node that has uploaded a model keeps it, beside its cache.
    pub uploaded_days: u32,
    /// The k-th model is pulled as often as the first divided by k to this power.
    pub zipf: f64,
    /// Models that the user of a node pulls in a week, hits in its own cache included.
    pub pulls_per_week: f64,
    /// Size of a model, log-normal.
    pub size_median: u64,
    pub size_sigma: f64,
    /// Size of a node's cache, log-normal.
    pub cache_median: u64,
    pub cache_sigma: f64,
    /// Time in hours for which a node is online, and for which it is not. Both log-normal with a sigma of 1.
    pub session_median: f64,
    pub absence_median: f64,
    /// Nodes, of a hundred, that leave for good within 365 days.
    pub leave_percent: u32,
    /// Nodes, of a hundred, that are donors too, and the bytes of each.
    pub donors_percent: u32,
    pub donation: u64,
    /// Publishers, of a hundred, within the scope of a donor.
    pub scope_percent: u32,
    /// Pieces that a donor audits in an hour.
    pub audits_per_hour: u32,
}

/// Replicas that donors aim at.
pub(super) const WANTED: u32 = TARGET;
/// Models of one publisher.
pub(super) const MODELS_PER_PUBLISHER: u16 = 10;
/// Bytes that a donor fetches in an hour: 20 Mbit/s.
pub(super) const FETCHED_PER_HOUR: u64 = 9 * GB;
/// Hours between two rounds of audits of a donor, each with the budget of as many hours: what an auditor leaves between
/// two pieces of a first proof.
pub(super) const AUDITS_EVERY: u32 = 3;
/// Hours between two decisions of a donor that is online.
pub(super) const DECIDES_EVERY: u32 = 6;

impl Plan {
    /// Returns the year of docs/reliability.md.
    pub const fn new(seed: u64, policy: Policy) -> Self {
        Self {
            seed,
            policy,
            nodes: 1000,
            models: 2000,
            days: 365,
            warm_up_days: 120,
            uploaded_days: 60,
            zipf: 1.0,
            pulls_per_week: 2.0,
            size_median: 3 * GB / 2,
            size_sigma: 1.3,
            cache_median: 15 * GB,
            cache_sigma: 0.8,
            session_median: 6.0,
            absence_median: 6.0,
            leave_percent: 30,
            donors_percent: 10,
            donation: 200 * GB,
            scope_percent: 25,
            audits_per_hour: (BUDGET_PER_HOUR / PIECE_LEN) as u32,
        }
    }

    /// Returns the share of the time for which a node is online.
    pub(super) fn online_share(&self) -> f64 {
        self.session_median / (self.session_median + self.absence_median)
    }

    pub(super) const fn hours(&self) -> u32 {
        (self.warm_up_days + self.days) * 24
    }
}

/// Draws from a log-normal distribution.
pub(super) fn log_normal(chance: &mut Chance, median: f64, sigma: f64) -> f64 {
    // Box and Muller. The share is below 1, so the logarithm has an argument above 0.
    let radius = (-2.0 * (1.0 - chance.share()).ln()).sqrt();
    median * (sigma * radius * (std::f64::consts::TAU * chance.share()).cos()).exp()
}
