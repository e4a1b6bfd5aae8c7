//! Connects to the first peers that a domain names.

use reg_proto::domain::Domain;
use reg_proto::peer::{Address, PeerId};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Domains;
use crate::net::Network;
use crate::registry::limits::{DOMAIN_DIAL_PATIENCE, LOOK_FIRST, TICKET_IDENTIFY};

impl Domains {
    /// Dials the peers that a domain names, all at once, and waits a bounded time. A private address is dialled only if the
    /// configuration allows the domain to have some: a public web page must not lead this node into the user's network.
    pub(super) async fn meet(&self, domain: &Domain, peers: &[Address]) {
        let is_private = self.client.may_be_private(domain);
        let mut dials = JoinSet::new();
        for address in peers {
            let (network, address) = (self.network.clone(), address.clone());
            let Some(peer) = peer_of(&address) else { continue };
            dials.spawn(async move {
                if is_private {
                    if network.connect(&address).await.is_err() {
                        return;
                    }
                } else {
                    network.dial_hint(peer, vec![address], None).await;
                }
                // A search asks peers that are known to be of this swarm, which is known a moment after the connection is there.
                is_met(&network, &peer).await;
            });
        }
        let all = async { while dials.join_next().await.is_some() {} };
        let _late = timeout(DOMAIN_DIAL_PATIENCE, all).await;
    }
}

/// Waits a bounded time until a peer that is being dialled is connected and known to be of this swarm. Returns whether it is.
pub async fn is_met(network: &Network, peer: &PeerId) -> bool {
    let look = async {
        while !network.connected().await.contains(peer) {
            tokio::time::sleep(LOOK_FIRST).await;
        }
    };
    timeout(TICKET_IDENTIFY, look).await.is_ok()
}

/// Returns the peer at the end of an address. An address without one is not dialled, because any peer might answer there.
fn peer_of(address: &Address) -> Option<PeerId> {
    address.as_str().rsplit_once("/p2p/")?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_peer() {
        let peer = PeerId::from_public_key([3; 32]);
        let of = |text: &str| peer_of(&text.parse().unwrap());
        assert_eq!(of(&format!("/ip4/198.51.100.7/tcp/4600/p2p/{peer}")), Some(peer));
        assert_eq!(of("/ip4/198.51.100.7/tcp/4600"), None);
        assert_eq!(of(&format!("/ip4/198.51.100.7/tcp/4600/p2p/{peer}/p2p-circuit")), None);
    }
}
