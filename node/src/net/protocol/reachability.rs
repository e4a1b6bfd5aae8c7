//! Finds out whether peers can reach this node: it asks peers to dial back (AutoNAT v2), and the router to open a port
//! (UPnP).

use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{Multiaddr, autonat, upnp};
use reg_api::reachability::Reachability;

use super::relay::is_relayed;
use crate::net::config::NetworkConfig;
use crate::net::reach::{Range, range};

/// The behaviours of AutoNAT and UPnP.
pub(in crate::net) struct Behaviours {
    pub(in crate::net) client: Toggle<autonat::v2::client::Behaviour>,
    pub(in crate::net) server: Toggle<autonat::v2::server::Behaviour>,
    pub(in crate::net) upnp: Toggle<upnp::tokio::Behaviour>,
}

/// Returns the behaviours; all are off where the node listens on loopback only.
pub(in crate::net) fn behaviours(config: &NetworkConfig) -> Behaviours {
    let address = |it: &reg_proto::peer::Address| it.as_str().parse::<Multiaddr>().ok();
    let mut listen = config.listen.iter().filter_map(address);
    let is_worldly = listen.any(|address| range(&address) != Some(Range::Loopback));
    let client = is_worldly.then(autonat::v2::client::Behaviour::default);
    let server = is_worldly.then(autonat::v2::server::Behaviour::default);
    let upnp = (is_worldly && config.nat.upnp).then(upnp::tokio::Behaviour::default);
    Behaviours { client: client.into(), server: server.into(), upnp: upnp.into() }
}

/// Tells whether a confirmed address of this node is one that every peer reaches: global, and not through a relay.
pub(in crate::net) fn is_public(address: &Multiaddr) -> bool {
    !is_relayed(address) && range(address) == Some(Range::Global)
}

/// Returns how peers reach this node, from its `confirmed` addresses.
pub(in crate::net) fn reachability<'a>(confirmed: impl Iterator<Item = &'a Multiaddr>) -> Reachability {
    let mut sum = Reachability::Unknown;
    for address in confirmed {
        match (is_public(address), is_relayed(address)) {
            (true, _) => return Reachability::Public,
            (false, true) => sum = Reachability::Relayed,
            (false, false) => {}
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_through_a_relay_is_not_public() {
        let relayed =
            "/ip4/1.1.1.1/tcp/1/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA/p2p-circuit";
        let [own, relayed, private]: [Multiaddr; 3] =
            ["/ip4/1.1.1.1/tcp/1", relayed, "/ip4/10.0.0.1/tcp/1"].map(|it| it.parse().unwrap());
        assert_eq!(reachability([].into_iter()), Reachability::Unknown);
        assert_eq!(reachability([&private].into_iter()), Reachability::Unknown);
        assert_eq!(reachability([&relayed, &private].into_iter()), Reachability::Relayed);
        assert_eq!(reachability([&relayed, &own].into_iter()), Reachability::Public);
    }
}
