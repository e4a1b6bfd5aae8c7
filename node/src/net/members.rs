//! [`Members`]: the peers that a node talks to at all, where its user has named them.

use std::collections::BTreeSet;
use std::sync::Arc;

use libp2p::allow_block_list::{AllowedPeers, Behaviour};
use reg_proto::peer::PeerId;

use super::links::to_libp2p;

/// Who belongs to the swarm; everybody, where nobody was named. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Members(Option<Arc<BTreeSet<PeerId>>>);

impl Members {
    pub(super) fn new(peers: Option<BTreeSet<PeerId>>) -> Self {
        Self(peers.map(Arc::new))
    }

    /// Tells whether what a peer asks is looked at.
    pub(super) fn admit(&self, peer: &PeerId) -> bool {
        self.0.as_ref().is_none_or(|peers| peers.contains(peer))
    }

    /// Returns the behaviour that refuses connections to and from everybody else.
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
    fn nobody_but_who_was_named() {
        let [friend, stranger] = [1, 2].map(|byte| PeerId::from_public_key([byte; 32]));
        let members = Members::new(Some([friend].into()));
        assert!(members.admit(&friend) && !members.admit(&stranger) && members.behaviour().is_some());
        let everybody = Members::new(None);
        assert!(everybody.admit(&stranger) && everybody.behaviour().is_none());
        assert!(!Members::new(Some(BTreeSet::new())).admit(&friend), "an empty list names nobody");
    }
}
