//! [`Dialling`]: peers that are to be called for a stream of pieces, and those that are being called, each once.

use std::collections::{BTreeSet, VecDeque};

use reg_proto::peer::PeerId;

use crate::registry::limits::SOURCES_WAITING_MAX;

/// Who waits to be called, and who is being called.
#[derive(Debug, Default)]
pub(super) struct Dialling {
    waiting: VecDeque<PeerId>,
    calling: BTreeSet<PeerId>,
}

impl Dialling {
    /// Takes a peer in. Somebody who waits or is being called is not called twice: the second stream would push the first
    /// one aside, with everything that was asked through it.
    pub(super) fn add(&mut self, peer: PeerId) {
        if !self.knows(&peer) && self.waiting.len() < SOURCES_WAITING_MAX {
            self.waiting.push_back(peer);
        }
    }

    /// Takes a peer back in that was there before, ahead of all that wait.
    pub(super) fn call_again(&mut self, peer: PeerId) {
        if !self.knows(&peer) {
            self.waiting.push_front(peer);
        }
    }

    /// Returns who is to be called now, while fewer than `max` are.
    pub(super) fn next(&mut self, max: usize) -> Option<PeerId> {
        if self.calling.len() >= max {
            return None;
        }
        let peer = self.waiting.pop_front()?;
        self.calling.insert(peer);
        Some(peer)
    }

    /// Notes that a call has ended, however it did.
    pub(super) fn ended(&mut self, peer: &PeerId) {
        self.calling.remove(peer);
    }

    fn knows(&self, peer: &PeerId) -> bool {
        self.waiting.contains(peer) || self.calling.contains(peer)
    }

    /// Tells whether somebody waits to be called.
    pub(super) fn are_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Tells whether nobody waits nor is being called.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.calling.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(byte: u8) -> PeerId {
        PeerId::from_public_key([byte; 32])
    }

    #[test]
    fn who_is_being_called_is_not_called_again() {
        let mut dialling = Dialling::default();
        dialling.add(peer(1));
        dialling.add(peer(1));
        assert_eq!((dialling.next(8), dialling.next(8)), (Some(peer(1)), None));
        dialling.add(peer(1));
        dialling.call_again(peer(1));
        assert_eq!(dialling.next(8), None);
        assert!(!dialling.is_empty() && !dialling.are_waiting());
        dialling.ended(&peer(1));
        assert!(dialling.is_empty());
        dialling.add(peer(1));
        assert_eq!(dialling.next(8), Some(peer(1)));
    }

    #[test]
    fn calls_and_those_who_wait_are_bounded() {
        let mut dialling = Dialling::default();
        (0..100).for_each(|n| dialling.add(peer(n)));
        dialling.call_again(peer(200));
        let called: Vec<PeerId> = std::iter::from_fn(|| dialling.next(3)).collect();
        assert_eq!(called, [peer(200), peer(0), peer(1)]);
        let rest = std::iter::from_fn(|| dialling.next(usize::MAX)).count();
        assert_eq!(rest, SOURCES_WAITING_MAX - 2);
    }
}
