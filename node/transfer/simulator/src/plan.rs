//! [`Plan`]: what is to be simulated. Everything follows from it.

use std::time::Duration;

/// A swarm that is to fetch one blob from one seed, node 0.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where all chance comes from.
    pub seed: u64,
    /// All nodes, the seed and the bad ones included.
    pub nodes: u32,
    /// Pieces of the blob.
    pub pieces: u32,
    /// Neighbours of each node.
    pub degree: u32,
    /// Zones that the nodes are dealt out to; 1 for none.
    pub zones: u32,
    /// Neighbours, of a hundred, that are in a node's own zone where there are zones.
    pub in_zone_percent: u32,
    /// Time that a piece takes out of a node and into one.
    pub piece_time: Duration,
    /// Nodes, of a hundred, with links that are only a quarter as fast.
    pub slow_percent: u32,
    /// Time between two nodes, one way.
    pub delay: Duration,
    /// Nodes, of a hundred, that leave while others still fetch; every second one comes back with what it had.
    pub churn_percent: u32,
    /// Bad nodes, by their manner: node 1 and those after it.
    pub bad: Vec<Manner>,
    /// The seed leaves once it has sent this many pieces.
    pub seed_dies_after: Option<u32>,
    /// ... and comes back after a tenth of the bound.
    pub seed_returns: bool,
}

/// How a node behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Honest,
    /// Says that it holds everything, and sends wrong bytes.
    Lies,
    /// Says that it holds everything, and sends nothing.
    Stalls,
    /// Says that it holds everything, and sends pieces that end early.
    Truncates,
    /// Says that it holds everything, and holds nothing.
    Boasts,
}

impl Manner {
    /// Every way to be bad.
    pub const BAD: [Self; 4] = [Self::Lies, Self::Stalls, Self::Truncates, Self::Boasts];

    /// Tells whether what it sends fails verification.
    pub const fn sends_wrong(self) -> bool {
        matches!(self, Self::Lies | Self::Truncates)
    }
}

impl Plan {
    /// Returns a plan of equal, honest nodes that stay: links of 100 Mbit/s, 10 ms apart.
    pub fn new(seed: u64, nodes: u32, pieces: u32, degree: u32) -> Self {
        Self {
            seed,
            nodes,
            pieces,
            degree,
            zones: 1,
            in_zone_percent: 62,
            piece_time: Duration::from_micros(83_886),
            slow_percent: 0,
            delay: Duration::from_millis(10),
            churn_percent: 0,
            bad: Vec::new(),
            seed_dies_after: None,
            seed_returns: false,
        }
    }

    /// Makes so many of a hundred nodes liars.
    #[must_use]
    pub fn with_liars(mut self, percent: u32) -> Self {
        self.bad = vec![Manner::Lies; (self.nodes * percent / 100) as usize];
        self
    }

    /// Returns how a node behaves.
    pub fn manner(&self, node: u32) -> Manner {
        let place = node.checked_sub(1).map(|it| it as usize);
        place.and_then(|it| self.bad.get(it)).copied().unwrap_or(Manner::Honest)
    }

    /// Returns the zone of a node.
    pub const fn zone(&self, node: u32) -> u32 {
        node % self.zones
    }

    /// Returns the time below which no plan can have brought the blob to every node, for equal links: the seed needs M
    /// piece times to send M pieces, and the last of them must still be doubled from one node to all.
    pub fn bound(&self) -> Duration {
        let doublings = self.nodes.next_power_of_two().ilog2();
        self.piece_time * (self.pieces - 1 + doublings)
    }
}
