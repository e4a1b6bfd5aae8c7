//! [`Dialling`]: the queue of peers that a download dials for a stream of pieces, each peer once.

use std::collections::{BTreeSet, VecDeque};

use reg_proto::peer::PeerId;

use crate::registry::limits::SOURCES_WAITING_MAX;

/// The peers that wait to be dialled, and those that are being dialled.
#[derive(Debug, Default)]
pub(super) struct Dialling {
    waiting: VecDeque<PeerId>,
    dialled: BTreeSet<PeerId>,
}

impl Dialling {
    /// Adds a peer, unless it waits or is being dialled, or [`SOURCES_WAITING_MAX`] peers wait. A second stream to the same
    /// peer would replace the first one and lose its requests.
    pub(super) fn add(&mut self, peer: PeerId) {
        if !self.knows(&peer) && self.waiting.len() < SOURCES_WAITING_MAX {
            self.waiting.push_back(peer);
        }
    }

    /// Adds a peer that was connected before, ahead of all peers that wait.
    pub(super) fn dial_again(&mut self, peer: PeerId) {
        if !self.knows(&peer) {
            self.waiting.push_front(peer);
        }
    }

    /// Returns the next peer to dial; `None` while `max` peers are being dialled or no peer waits.
    pub(super) fn next(&mut self, max: usize) -> Option<PeerId> {
        if self.dialled.len() >= max {
            return None;
        }
        let peer = self.waiting.pop_front()?;
        self.dialled.insert(peer);
        Some(peer)
    }

    /// Notes that dialling a peer has ended, with or without a stream.
    pub(super) fn ended(&mut self, peer: &PeerId) {
        self.dialled.remove(peer);
    }

    fn knows(&self, peer: &PeerId) -> bool {
        self.waiting.contains(peer) || self.dialled.contains(peer)
    }

    /// Tells whether any peer waits to be dialled.
    pub(super) fn are_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Tells whether no peer waits and none is being dialled.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.dialled.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(byte: u8) -> PeerId {
        PeerId::from_public_key([byte; 32])
    }

    #[test]
    fn a_peer_that_is_being_dialled_is_not_dialled_again() {
        let mut dialling = Dialling::default();
        dialling.add(peer(1));
        dialling.add(peer(1));
        assert_eq!((dialling.next(8), dialling.next(8)), (Some(peer(1)), None));
        dialling.add(peer(1));
        dialling.dial_again(peer(1));
        assert_eq!(dialling.next(8), None);
        assert!(!dialling.is_empty() && !dialling.are_waiting());
        dialling.ended(&peer(1));
        assert!(dialling.is_empty());
        dialling.add(peer(1));
        assert_eq!(dialling.next(8), Some(peer(1)));
    }

    #[test]
    fn dialled_and_waiting_peers_are_bounded() {
        let mut dialling = Dialling::default();
        (0..100).for_each(|n| dialling.add(peer(n)));
        dialling.dial_again(peer(200));
        let dialled: Vec<PeerId> = std::iter::from_fn(|| dialling.next(3)).collect();
        assert_eq!(dialled, [peer(200), peer(0), peer(1)]);
        let rest = std::iter::from_fn(|| dialling.next(usize::MAX)).count();
        assert_eq!(rest, SOURCES_WAITING_MAX - 2);
    }
}
