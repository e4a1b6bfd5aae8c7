//! [`Traffic`]: counts the bytes of pieces that this node sent to and received from each peer since it started.

use std::collections::BTreeMap;
use std::sync::Mutex;

use reg_proto::peer::PeerId;

use crate::metrics::{Metrics, Place, Source};

/// How many peers are counted one by one. The sums count all peers.
const PEERS_MAX: usize = 4096;

/// The counters, in payload bytes of pieces. The sums are those of [`Metrics`].
#[derive(Debug)]
pub struct Traffic {
    metrics: Metrics,
    peers: Mutex<BTreeMap<PeerId, Bytes>>,
}

/// Bytes exchanged with one peer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bytes {
    pub served: u64,
    pub fetched: u64,
    /// How many of `served` and `fetched` went over lanes.
    pub by_lane: u64,
}

/// What carried a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Lane,
    Stream,
}

impl Bytes {
    fn count(&mut self, bytes: u64, way: Way, of: fn(&mut Self) -> &mut u64) {
        *of(self) += bytes;
        if way == Way::Lane {
            self.by_lane += bytes;
        }
    }
}

impl Traffic {
    /// Returns the counters of a node that has exchanged nothing yet.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, peers: Mutex::default() }
    }

    /// Counts bytes that were sent to a peer; `is_first` says whether this node sends that piece for the first time.
    pub fn count_served(&self, peer: PeerId, bytes: u64, is_first: bool, way: Way, place: Place) {
        self.metrics.sent(place, bytes, is_first);
        self.with(peer, |it| it.count(bytes, way, |it| &mut it.served));
    }

    /// Counts a piece that was fetched from a peer and verified.
    pub fn count_fetched(&self, peer: PeerId, bytes: u64, way: Way, is_near: bool) {
        self.metrics.piece_verified(Source::of_peer(is_near), bytes);
        self.with(peer, |it| it.count(bytes, way, |it| &mut it.fetched));
    }

    /// Counts a piece that was fetched from a web seed and verified.
    pub fn count_web(&self, bytes: u64) {
        self.metrics.piece_verified(Source::WebSeed, bytes);
    }

    /// Returns the bytes that were sent to all peers.
    pub fn served(&self) -> u64 {
        self.metrics.all_sent()
    }

    /// Returns the bytes of pieces that were sent for the first time.
    pub fn served_first(&self) -> u64 {
        self.metrics.all_sent_first()
    }

    /// Returns the bytes that were fetched from all peers and web seeds.
    pub fn fetched(&self) -> u64 {
        self.metrics.received(&Source::SWARM)
    }

    /// Returns the bytes that were exchanged with one peer.
    pub fn with_peer(&self, peer: &PeerId) -> Bytes {
        self.peers.lock().expect("no holder of this lock panics").get(peer).copied().unwrap_or_default()
    }

    fn with(&self, peer: PeerId, count: impl FnOnce(&mut Bytes)) {
        let mut peers = self.peers.lock().expect("no holder of this lock panics");
        if peers.len() < PEERS_MAX || peers.contains_key(&peer) {
            count(peers.entry(peer).or_default());
        }
    }
}
