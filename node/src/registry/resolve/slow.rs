//! [`SlowPeers`]: peers that have let this node wait for an answer. They are asked like all others, and not waited for.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use reg_proto::peer::PeerId;

use crate::registry::limits::SLOW_PEERS_MAX;

/// The peers that did not answer in time the last time they were asked.
#[derive(Debug, Default)]
pub(super) struct SlowPeers(Mutex<BTreeSet<PeerId>>);

impl SlowPeers {
    /// Remembers a peer that did not answer in time, while there is room.
    pub(super) fn note(&self, peer: PeerId) {
        let mut peers = self.peers();
        if peers.len() < SLOW_PEERS_MAX {
            peers.insert(peer);
        }
    }

    /// Forgets a peer, because it has answered in time.
    pub(super) fn forget(&self, peer: &PeerId) {
        self.peers().remove(peer);
    }

    /// Tells whether a peer did not answer in time the last time it was asked.
    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.peers().contains(peer)
    }

    fn peers(&self) -> MutexGuard<'_, BTreeSet<PeerId>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}
