//! [`DonateConfig`]: how often a donor decides, and among how many others.

use std::time::Duration;

/// The usual time between two decisions.
const EVERY: Duration = Duration::from_secs(300);

/// What the user has configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DonateConfig {
    /// The time between two decisions.
    pub every: Duration,
    /// Donors with a like scope, this one included; `None`: guessed by the peers that are known.
    pub donors: Option<u32>,
}

impl Default for DonateConfig {
    fn default() -> Self {
        Self { every: EVERY, donors: None }
    }
}

/// Of so many known peers, one is taken for a donor, as in the simulated year.
const PEERS_FOR_ONE_DONOR: usize = 10;
/// The most donors that are guessed: with more, each would wait for months although the others may not exist.
const DONORS_MAX: usize = 16;

/// Guesses how many donors there are, this one included. Too high a guess makes each act later, too low a one makes more act than are
/// needed: both are put right by later decisions.
pub(super) fn guess_donors(known_peers: usize) -> u32 {
    let others = known_peers.div_ceil(PEERS_FOR_ONE_DONOR);
    u32::try_from(others.clamp(1, DONORS_MAX)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_ten_peers_counts_as_a_donor() {
        for (peers, donors) in [(0, 1), (1, 1), (10, 1), (11, 2), (95, 10), (5000, 16)] {
            assert_eq!(guess_donors(peers), donors, "{peers}");
        }
    }
}
