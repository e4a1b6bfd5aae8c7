//! How many bytes of pieces have gone to and come from each peer since the start.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use reg_proto::peer::PeerId;

/// Peers counted one by one; beyond it only the sums go on.
const PEERS_MAX: usize = 4096;

/// The counters. Payload bytes of pieces, nothing else.
#[derive(Debug, Default)]
pub struct Traffic {
    served: AtomicU64,
    /// How much of it was sent for the first time.
    served_first: AtomicU64,
    fetched: AtomicU64,
    peers: Mutex<BTreeMap<PeerId, Bytes>>,
}

/// Bytes exchanged with one peer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bytes {
    pub served: u64,
    pub fetched: u64,
    /// How many of both went over lanes.
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
    pub fn count_served(&self, peer: PeerId, bytes: u64, is_first: bool, way: Way) {
        self.served.fetch_add(bytes, Ordering::Relaxed);
        if is_first {
            self.served_first.fetch_add(bytes, Ordering::Relaxed);
        }
        self.with(peer, |it| it.count(bytes, way, |it| &mut it.served));
    }

    pub fn count_fetched(&self, peer: PeerId, bytes: u64, way: Way) {
        self.fetched.fetch_add(bytes, Ordering::Relaxed);
        self.with(peer, |it| it.count(bytes, way, |it| &mut it.fetched));
    }

    pub fn count_web(&self, bytes: u64) {
        self.fetched.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    pub fn served_first(&self) -> u64 {
        self.served_first.load(Ordering::Relaxed)
    }

    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// Returns what was exchanged with one peer.
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
