//! [`Refusals`]: the peers that this node does not talk to for a while, because they have cost it too much.

use std::collections::BTreeMap;
use std::time::Instant;

use libp2p::allow_block_list::{Behaviour, BlockedPeers};
use reg_proto::peer::PeerId;

use super::limits::{REFUSAL, REFUSED_PEERS_MAX};
use super::links::to_libp2p;

/// The refused peers, each with the time at which it was refused.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<PeerId, Instant>);

impl Refusals {
    /// Disconnects a peer, and refuses connections to and from it for [`REFUSAL`]. Where too many are refused, the one
    /// that was refused first is let in again.
    pub(super) fn refuse(&mut self, behaviour: &mut Behaviour<BlockedPeers>, peer: PeerId, now: Instant) {
        if self.0.len() >= REFUSED_PEERS_MAX
            && let Some(oldest) = self.0.iter().min_by_key(|(_, since)| **since).map(|(peer, _)| *peer)
        {
            self.forget(behaviour, &oldest);
        }
        self.0.insert(peer, now);
        behaviour.block_peer(to_libp2p(&peer));
    }

    /// Lets in again the peers that were refused for long enough at `now`.
    pub(super) fn tick(&mut self, behaviour: &mut Behaviour<BlockedPeers>, now: Instant) {
        let over: Vec<PeerId> = self
            .0
            .iter()
            .filter(|(_, since)| now.duration_since(**since) >= REFUSAL)
            .map(|(peer, _)| *peer)
            .collect();
        over.iter().for_each(|peer| self.forget(behaviour, peer));
    }

    fn forget(&mut self, behaviour: &mut Behaviour<BlockedPeers>, peer: &PeerId) {
        self.0.remove(peer);
        behaviour.unblock_peer(to_libp2p(peer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> PeerId {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        PeerId::from_public_key(key)
    }

    #[test]
    fn a_peer_is_refused_for_a_while_and_only_so_many_are() {
        let (mut refusals, mut behaviour) = (Refusals::default(), Behaviour::default());
        let start = Instant::now();
        refusals.refuse(&mut behaviour, peer(0), start);
        refusals.tick(&mut behaviour, start + REFUSAL / 2);
        assert!(behaviour.blocked_peers().contains(&to_libp2p(&peer(0))));
        for number in 1..=REFUSED_PEERS_MAX {
            refusals.refuse(&mut behaviour, peer(number), start + REFUSAL / 2);
        }
        assert_eq!(behaviour.blocked_peers().len(), REFUSED_PEERS_MAX);
        assert!(!behaviour.blocked_peers().contains(&to_libp2p(&peer(0))), "it was refused first");
        refusals.tick(&mut behaviour, start + REFUSAL);
        assert_eq!(behaviour.blocked_peers().len(), REFUSED_PEERS_MAX, "half of their time is over");
        refusals.tick(&mut behaviour, start + 2 * REFUSAL);
        assert!(behaviour.blocked_peers().is_empty());
    }
}
