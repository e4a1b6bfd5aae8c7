//! Connects to the first peers that a domain or a ticket names.

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
        let peers = peers.iter().filter_map(|it| Some((it.parts().1?, vec![it.clone()])));
        let mut dials = match self.client.may_be_private(domain) {
            true => dial_all(&self.network, peers, |network, _, addresses| async move {
                match addresses.first() {
                    Some(address) => network.connect(address).await.is_ok(),
                    None => false,
                }
            }),
            false => dial_all(&self.network, peers, |network, peer, addresses| async move {
                network.dial_hint(peer, addresses, None).await;
                true
            }),
        };
        let all = async { while dials.join_next().await.is_some() {} };
        let _late = timeout(DOMAIN_DIAL_PATIENCE, all).await;
    }
}

/// Dials peers as `dial` does, all at once. Each dial yields whether its peer is connected, and known to be of this swarm. Where
/// `dial` returns false, that is not waited for.
pub fn dial_all<D: Future<Output = bool> + Send + 'static>(
    network: &Network,
    peers: impl IntoIterator<Item = (PeerId, Vec<Address>)>,
    dial: impl Fn(Network, PeerId, Vec<Address>) -> D,
) -> JoinSet<bool> {
    let mut dials = JoinSet::new();
    for (peer, addresses) in peers {
        let (network, dialled) = (network.clone(), dial(network.clone(), peer, addresses));
        // A search asks peers that are known to be of this swarm, which is known a moment after the connection is there.
        dials.spawn(async move { dialled.await && is_met(&network, &peer).await });
    }
    dials
}

/// Waits a bounded time until a peer that is being dialled is connected and known to be of this swarm. Returns whether it is.
async fn is_met(network: &Network, peer: &PeerId) -> bool {
    let look = async {
        while !network.connected().await.contains(peer) {
            tokio::time::sleep(LOOK_FIRST).await;
        }
    };
    timeout(TICKET_IDENTIFY, look).await.is_ok()
}
