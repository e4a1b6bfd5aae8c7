//! [`Members`]: the only peers that a node talks to, where its user has listed them.

use std::collections::BTreeSet;
use std::sync::Arc;

use libp2p::allow_block_list::{AllowedPeers, Behaviour};
use reg_proto::peer::PeerId;

use super::links::to_libp2p;

/// The list of the swarm's members; `None` admits every peer. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Members(Option<Arc<BTreeSet<PeerId>>>);

impl Members {
    pub(super) fn new(peers: Option<BTreeSet<PeerId>>) -> Self {
        Self(peers.map(Arc::new))
    }

    /// Tells whether this node answers a peer.
    pub(super) fn admit(&self, peer: &PeerId) -> bool {
        self.0.as_ref().is_none_or(|peers| peers.contains(peer))
    }

    /// Returns the behaviour that refuses connections to and from all other peers; `None` where every peer is admitted.
    pub(super) fn behaviour(&self) -> Option<Behaviour<AllowedPeers>> {
        let peers = self.0.as_ref()?;
        let mut behaviour = Behaviour::default();
        for peer in peers.iter() {
            behaviour.allow_peer(to_libp2p(peer));
        }
        Some(behaviour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_peers_are_admitted() {
        let [friend, stranger] = [1, 2].map(|byte| PeerId::from_public_key([byte; 32]));
        let members = Members::new(Some([friend].into()));
        assert!(members.admit(&friend) && !members.admit(&stranger) && members.behaviour().is_some());
        let open = Members::new(None);
        assert!(open.admit(&stranger) && open.behaviour().is_none());
        assert!(!Members::new(Some(BTreeSet::new())).admit(&friend), "an empty list admits no peer");
    }
}
