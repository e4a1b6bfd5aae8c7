//! [`Node`]: when a node is online, and what its cache keeps.

use std::collections::VecDeque;

use reg_commons::Chance;

use super::plan::{Plan, log_normal};

/// Sigma of the lengths of sessions and absences: the longest of a hundred sessions is ten times the median.
const SESSION_SIGMA: f64 = 1.0;

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    pub is_online: bool,
    /// The hour in which the session or the absence ends.
    until: u32,
    /// The hour in which it leaves for good, if it does.
    pub leaves: Option<u32>,
    pub has_left: bool,
    /// Models in the cache, the least recently used first.
    cache: VecDeque<u16>,
    cache_used: u64,
    cache_size: u64,
}

impl Node {
    pub(super) fn new(plan: &Plan, chance: &mut Chance) -> Self {
        let year = u64::from(365 * 24u32);
        let leaves = (chance.below(100) < u64::from(plan.leave_percent))
            .then(|| plan.warm_up_days * 24 + chance.below(year) as u32);
        let is_online = chance.is_true_with(plan.online_share());
        let mut node = Self {
            is_online,
            until: 0,
            leaves,
            has_left: false,
            cache: VecDeque::new(),
            cache_used: 0,
            cache_size: log_normal(chance, plan.cache_median as f64, plan.cache_sigma) as u64,
        };
        // It is in the middle of a session or of an absence.
        node.until = (f64::from(node.lasts(plan, chance)) * chance.share()) as u32 + 1;
        node
    }

    fn lasts(&self, plan: &Plan, chance: &mut Chance) -> u32 {
        let median = if self.is_online { plan.session_median } else { plan.absence_median };
        (log_normal(chance, median, SESSION_SIGMA).round() as u32).max(1)
    }

    /// Lets an hour begin. Returns true if the node leaves for good in it.
    pub(super) fn hour(&mut self, plan: &Plan, hour: u32, chance: &mut Chance) -> bool {
        if self.has_left {
            return false;
        }
        if self.leaves == Some(hour) {
            (self.has_left, self.is_online) = (true, false);
            return true;
        }
        if hour >= self.until {
            self.is_online = !self.is_online;
            self.until = hour + self.lasts(plan, chance);
        }
        false
    }

    /// Makes a model the most recently used, if it is in the cache.
    pub(super) fn touch(&mut self, model: u16) {
        if let Some(place) = self.cache.iter().position(|it| *it == model) {
            self.cache.remove(place);
            self.cache.push_back(model);
        }
    }

    /// Puts a model into the cache, unless it is larger than that. Returns what is evicted, and whether it is in.
    pub(super) fn keep(&mut self, model: u16, sizes: &[u64]) -> (Vec<u16>, bool) {
        let size = sizes[usize::from(model)];
        if size > self.cache_size {
            return (Vec::new(), false);
        }
        let mut evicted = Vec::new();
        while self.cache_used + size > self.cache_size {
            let Some(oldest) = self.cache.pop_front() else { break };
            self.cache_used -= sizes[usize::from(oldest)];
            evicted.push(oldest);
        }
        self.cache.push_back(model);
        self.cache_used += size;
        (evicted, true)
    }
}
