//! [`Outdated`]: the peers of this swarm that speak version 1 of its protocols only. They are disconnected, and named to
//! the user, because the two nodes have nothing to say to each other until one of them is upgraded.

use std::collections::BTreeMap;
use std::time::Instant;

use libp2p::Multiaddr;
use reg_proto::peer::{Address, PeerId};

use super::limits::{OUTDATED_PATIENCE, OUTDATED_PEERS_MAX, OUTDATED_REMEMBERED};
use super::links::PeerInfo;

/// The outdated peers that were met last.
#[derive(Debug, Default)]
pub(super) struct Outdated(BTreeMap<PeerId, Met>);

#[derive(Debug)]
struct Met {
    at: Instant,
    is_leaving: bool,
    agent: String,
    addresses: Vec<Address>,
}

impl Outdated {
    /// Remembers a peer that was met at `now`, and returns whether it was not remembered before.
    pub(super) fn met(&mut self, peer: PeerId, agent: String, addresses: Vec<Address>, now: Instant) -> bool {
        self.forget_old(now);
        if self.0.len() >= OUTDATED_PEERS_MAX && !self.0.contains_key(&peer) {
            return false;
        }
        self.0.insert(peer, Met { at: now, is_leaving: true, agent, addresses }).is_none()
    }

    /// Returns the peers to disconnect at `now`, each once.
    pub(super) fn leaving(&mut self, now: Instant) -> Vec<PeerId> {
        let is_due = |met: &Met| met.is_leaving && now.duration_since(met.at) >= OUTDATED_PATIENCE;
        let due: Vec<PeerId> = self.0.iter().filter(|(_, met)| is_due(met)).map(|(peer, _)| *peer).collect();
        for peer in &due {
            if let Some(met) = self.0.get_mut(peer) {
                met.is_leaving = false;
            }
        }
        due
    }

    /// Tells whether a peer is remembered, and stays connected until [`Self::leaving`] names it.
    pub(super) fn is_leaving(&self, peer: &PeerId) -> bool {
        self.0.get(peer).is_some_and(|met| met.is_leaving)
    }

    /// Forgets a peer that speaks the present version.
    pub(super) fn upgraded(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }

    /// Describes the outdated peers.
    pub(super) fn infos(&mut self, now: Instant) -> Vec<PeerInfo> {
        self.forget_old(now);
        let infos = self.0.iter().map(|(peer, met)| PeerInfo {
            peer: *peer,
            addresses: met.addresses.clone(),
            agent: Some(met.agent.clone()),
            transport: None,
            rtt_ms: None,
            rtt_is_behind_pieces: false,
            near: false,
            lanes: 0,
            no_lane: None,
            outdated: true,
        });
        infos.collect()
    }

    fn forget_old(&mut self, now: Instant) {
        self.0.retain(|_, met| now.duration_since(met.at) < OUTDATED_REMEMBERED);
    }
}

/// Returns the addresses of connections to a peer as the user is shown them.
pub(super) fn shown(addresses: impl IntoIterator<Item = Multiaddr>) -> Vec<Address> {
    addresses.into_iter().filter_map(|it| it.to_string().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outdated_peer_is_named_until_it_is_upgraded_or_not_met_for_long() {
        let (one, two) = (PeerId::from_public_key([1; 32]), PeerId::from_public_key([2; 32]));
        let (mut outdated, start) = (Outdated::default(), Instant::now());
        assert!(outdated.met(one, "reg/0.1.0".to_owned(), Vec::new(), start));
        assert!(!outdated.met(one, "reg/0.1.0".to_owned(), Vec::new(), start), "it is named once");
        assert!(outdated.met(two, "reg/0.1.0".to_owned(), Vec::new(), start));
        assert!(outdated.infos(start).iter().all(|it| it.outdated && it.agent.is_some()));
        assert!(outdated.leaving(start).is_empty(), "their questions are answered first");
        assert!(outdated.is_leaving(&one));
        assert_eq!(outdated.leaving(start + OUTDATED_PATIENCE), [one, two]);
        assert!(outdated.leaving(start + OUTDATED_PATIENCE).is_empty() && !outdated.is_leaving(&one));
        outdated.upgraded(&two);
        assert_eq!(outdated.infos(start).iter().map(|it| it.peer).collect::<Vec<_>>(), [one]);
        assert!(outdated.infos(start + OUTDATED_REMEMBERED).is_empty());
    }
}
