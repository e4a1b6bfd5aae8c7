//! [`Rarity`]: keeps the units of a blob sorted by rarity, at a constant cost for each change.
//!
//! Open units come first, in buckets by how many peers hold them, and in random order within a bucket; closed units
//! follow.

use super::chance::Chance;

/// How many peers hold each unit, and the open units, the rarest first.
#[derive(Debug)]
pub(super) struct Rarity {
    /// Peers that hold a unit whole.
    counts: Box<[u16]>,
    order: Box<[u32]>,
    /// Where each unit stands in the order.
    places: Box<[u32]>,
    /// The end of the bucket of each count; closed units begin at the last one.
    ends: Vec<u32>,
}

impl Rarity {
    /// Returns the order of `units` open units that no peer holds.
    pub(super) fn new(units: u32, chance: &mut Chance) -> Self {
        let mut rarity = Self {
            counts: vec![0; units as usize].into(),
            order: (0..units).collect(),
            places: (0..units).collect(),
            ends: vec![units],
        };
        for place in (1..units).rev() {
            rarity.swap(place, chance.below(place + 1));
        }
        rarity
    }

    /// Returns how many peers hold a unit whole.
    pub(super) fn count(&self, unit: u32) -> u16 {
        self.counts.get(unit as usize).copied().unwrap_or(0)
    }

    /// Returns the place of an open unit in the order: the lower, the rarer.
    pub(super) fn place(&self, unit: u32) -> u32 {
        self.places[unit as usize]
    }

    /// Returns how many units are open.
    pub(super) fn open_len(&self) -> u32 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Returns the open units, the rarest first.
    pub(super) fn open(&self) -> &[u32] {
        &self.order[..self.open_len() as usize]
    }

    /// Counts one more peer that holds a unit.
    pub(super) fn held_by_one_more(&mut self, unit: u32, chance: &mut Chance) {
        let count = usize::from(self.counts[unit as usize]);
        self.counts[unit as usize] += 1;
        if self.is_open(unit) {
            if self.ends.len() <= count + 1 {
                self.ends.resize(count + 2, self.open_len());
            }
            self.ends[count] -= 1;
            self.swap(self.place(unit), self.ends[count]);
            self.shuffle(unit, count + 1, chance);
        }
    }

    /// Counts one peer less that holds a unit.
    pub(super) fn held_by_one_less(&mut self, unit: u32, chance: &mut Chance) {
        let count = usize::from(self.counts[unit as usize]);
        if count == 0 {
            return;
        }
        self.counts[unit as usize] -= 1;
        if self.is_open(unit) {
            self.swap(self.place(unit), self.ends[count - 1]);
            self.ends[count - 1] += 1;
            self.shuffle(unit, count - 1, chance);
        }
    }

    /// Closes a unit, so that it is not chosen.
    pub(super) fn close(&mut self, unit: u32) {
        if !self.is_open(unit) {
            return;
        }
        for bucket in usize::from(self.counts[unit as usize])..self.ends.len() {
            self.ends[bucket] -= 1;
            self.swap(self.place(unit), self.ends[bucket]);
        }
    }

    /// Opens a unit, so that it may be chosen again.
    pub(super) fn reopen(&mut self, unit: u32, chance: &mut Chance) {
        if self.is_open(unit) {
            return;
        }
        let count = usize::from(self.counts[unit as usize]);
        if self.ends.len() <= count {
            self.ends.resize(count + 1, self.open_len());
        }
        for bucket in (count..self.ends.len()).rev() {
            self.swap(self.place(unit), self.ends[bucket]);
            self.ends[bucket] += 1;
        }
        self.shuffle(unit, count, chance);
    }

    fn is_open(&self, unit: u32) -> bool {
        self.place(unit) < self.open_len()
    }

    /// Moves a unit to a random place within its bucket. Otherwise all pullers that hear of it at once would choose it
    /// at once.
    fn shuffle(&mut self, unit: u32, bucket: usize, chance: &mut Chance) {
        let start = bucket.checked_sub(1).map_or(0, |before| self.ends[before]);
        let other = start + chance.below(self.ends[bucket] - start);
        self.swap(self.place(unit), other);
    }

    fn swap(&mut self, one: u32, two: u32) {
        self.order.swap(one as usize, two as usize);
        self.places[self.order[one as usize] as usize] = one;
        self.places[self.order[two as usize] as usize] = two;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_order_is_that_of_the_counts(units in 1u32..40, changes in prop::collection::vec((0u8..4, 0u32..40), 0..300)) {
            let mut chance = Chance::new(7);
            let mut rarity = Rarity::new(units, &mut chance);
            let (mut counts, mut open) = (vec![0u16; units as usize], vec![true; units as usize]);
            for (kind, unit) in changes {
                let unit = unit % units;
                let at = unit as usize;
                match kind {
                    0 => { rarity.held_by_one_more(unit, &mut chance); counts[at] += 1; }
                    1 => { rarity.held_by_one_less(unit, &mut chance); counts[at] = counts[at].saturating_sub(1); }
                    2 => { rarity.close(unit); open[at] = false; }
                    _ => { rarity.reopen(unit, &mut chance); open[at] = true; }
                }
                let listed: Vec<u16> = rarity.open().iter().map(|unit| counts[*unit as usize]).collect();
                prop_assert!(listed.is_sorted(), "{listed:?}");
                let mut units_open: Vec<u32> = rarity.open().to_vec();
                units_open.sort_unstable();
                let expected: Vec<u32> = (0..units).filter(|unit| open[*unit as usize]).collect();
                prop_assert_eq!(units_open, expected);
                for unit in 0..units {
                    prop_assert_eq!(rarity.count(unit), counts[unit as usize]);
                    prop_assert_eq!(rarity.order[rarity.place(unit) as usize], unit);
                }
            }
        }
    }
}
