//! [`Spread`]: what a server answers first, so that what it alone holds spreads the fastest (super-seeding).
//!
//! A piece that a sole holder sends a second time before all have been sent once is time lost for the whole swarm: who has
//! the first copy could pass it on meanwhile. So what was sent the least goes first, and a repeat is put off once.

use std::collections::BTreeSet;

/// Requests that are remembered to have been put off; beyond it nothing more is put off: the bound of what a crowd of
/// askers can make us remember.
const PUT_OFF_MAX: usize = 4096;

/// How often each piece of a blob has been sent, and who has been put off. `A` names an asker.
#[derive(Debug, Clone)]
pub struct Spread<A> {
    times: Vec<u16>,
    /// Pieces that have been sent at all.
    distinct: u32,
    put_off: BTreeSet<(A, u32)>,
}

impl<A: Copy + Ord> Spread<A> {
    /// Returns the spread of a blob of so many pieces of which nothing has been sent.
    pub fn new(pieces: u32) -> Self {
        Self { times: vec![0; pieces as usize], distinct: 0, put_off: BTreeSet::new() }
    }

    /// Notes that a piece has been sent, to anybody.
    pub fn sent(&mut self, piece: u32) {
        if let Some(times) = self.times.get_mut(piece as usize) {
            self.distinct += u32::from(*times == 0);
            *times = times.saturating_add(1);
        }
    }

    /// Returns how often a piece has been sent.
    pub fn times(&self, piece: u32) -> u16 {
        self.times.get(piece as usize).copied().unwrap_or(0)
    }

    /// Tells whether a request for a piece should be put off by a sole holder: it has been sent to somebody, others have
    /// not been sent to anybody, and this asker has not been put off before.
    pub fn puts_off(&mut self, asker: A, piece: u32) -> bool {
        let is_first_round = (self.distinct as usize) < self.times.len();
        if !is_first_round {
            self.put_off.clear();
        }
        is_first_round
            && self.times(piece) > 0
            && self.put_off.len() < PUT_OFF_MAX
            && self.put_off.insert((asker, piece))
    }

    /// Returns the place of the request to answer first among those that wait, told by their first pieces: what has been
    /// sent the least, and of those the first.
    pub fn first(&self, waiting: impl Iterator<Item = u32>) -> Option<usize> {
        waiting.enumerate().min_by_key(|(place, piece)| (self.times(*piece), *place)).map(|(place, _)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_the_least_goes_first() {
        let mut spread: Spread<u8> = Spread::new(10);
        for piece in [4, 4, 7, 99] {
            spread.sent(piece);
        }
        assert_eq!(spread.first([4, 7, 9, 2].into_iter()), Some(2));
        assert_eq!(spread.first([4, 7].into_iter()), Some(1));
        assert_eq!(spread.first(std::iter::empty()), None);
    }

    #[test]
    fn a_repeat_is_put_off_once_and_only_in_the_first_round() {
        let mut spread: Spread<u8> = Spread::new(2);
        assert!(!spread.puts_off(1, 0), "never sent");
        spread.sent(0);
        assert!(spread.puts_off(1, 0) && spread.puts_off(2, 0));
        assert!(!spread.puts_off(1, 0), "once");
        spread.sent(1);
        assert!(!spread.puts_off(3, 0), "all have been sent");
    }
}
