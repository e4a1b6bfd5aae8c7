//! [`Spent`]: the bytes that audits have fetched in the last hour.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use reg_proto::digest::Digest;

/// Entries for the last hour: one for each model and minute. The default budget makes some 100 of them. With more, the oldest
/// ones are forgotten, and the last hour shows too little.
const ENTRIES_MAX: usize = 16_384;
/// Minutes that count as the last hour.
const MINUTES: u64 = 60;

/// What was fetched of one model within one minute.
#[derive(Debug)]
struct Entry {
    minute: u64,
    model: Digest,
    bytes: u64,
}

/// The bytes that audits have fetched in the last hour; [`Metrics`](crate::metrics::Metrics) has those since the start. Times
/// are in seconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Spent {
    recent: Mutex<VecDeque<Entry>>,
}

impl Spent {
    /// Counts bytes of a model that were fetched now.
    pub(super) fn count(&self, model: Digest, bytes: u64, now: u64) {
        let (minute, mut recent) = (now / 60, self.recent());
        let same = recent.iter_mut().rev().take_while(|it| it.minute == minute).find(|it| it.model == model);
        match same {
            Some(entry) => entry.bytes += bytes,
            None => recent.push_back(Entry { minute, model, bytes }),
        }
        while recent.len() > ENTRIES_MAX || recent.front().is_some_and(|it| is_old(it, now)) {
            recent.pop_front();
        }
    }

    /// Returns what was fetched in the last hour.
    pub(super) fn last_hour(&self, now: u64) -> u64 {
        self.recent().iter().filter(|it| !is_old(it, now)).map(|it| it.bytes).sum()
    }

    /// Returns what was fetched of each model in the last hour.
    pub(super) fn by_model(&self, now: u64) -> BTreeMap<Digest, u64> {
        let mut bytes = BTreeMap::new();
        for entry in self.recent().iter().filter(|it| !is_old(it, now)) {
            *bytes.entry(entry.model).or_default() += entry.bytes;
        }
        bytes
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn is_old(entry: &Entry, now: u64) -> bool {
    entry.minute + MINUTES <= now / 60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hour_forgets() {
        let (spent, one, two) = (Spent::default(), Digest::of(b"1"), Digest::of(b"2"));
        for (model, bytes, minute) in [(one, 5, 0), (two, 7, 0), (one, 1, 0), (one, 2, 30)] {
            spent.count(model, bytes, minute * 60);
        }
        let of = |minute: u64| {
            let models = spent.by_model(minute * 60);
            let bytes = [one, two].map(|it| models.get(&it).copied().unwrap_or(0));
            (spent.last_hour(minute * 60), bytes)
        };
        assert_eq!(of(59), (15, [8, 7]));
        assert_eq!(of(60), (2, [2, 0]));
        assert_eq!(of(90), (0, [0, 0]));
        spent.count(two, 1, 200 * 60);
        assert_eq!(spent.recent().len(), 1);
        (0..ENTRIES_MAX as u32 + 5).for_each(|n| spent.count(Digest::of(&n.to_le_bytes()), 1, 200 * 60));
        assert_eq!(spent.recent().len(), ENTRIES_MAX);
    }
}
