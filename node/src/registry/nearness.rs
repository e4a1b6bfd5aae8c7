//! How near a peer is: on this machine, on this network, or farther away.

use std::net::IpAddr;

use reg_proto::peer::{Address, PeerId};

use crate::net::Network;
use crate::transfer::Nearness;

/// Returns how near a peer is that this node is connected to, by the nearest of its connections.
pub(super) async fn of(network: &Network, peer: PeerId) -> Nearness {
    let peers = network.peers().await;
    let info = peers.into_iter().find(|info| info.peer == peer);
    info.map_or(Nearness::Far, |info| info.addresses.iter().map(by_address).min().unwrap_or_default())
}

/// Private ranges are one site; what a relay carries is not near, wherever the relay is.
fn by_address(address: &Address) -> Nearness {
    let text = address.as_str();
    if text.contains("/p2p-circuit") {
        return Nearness::Far;
    }
    let mut parts = text.split('/').skip(1);
    let ip = match (parts.next(), parts.next()) {
        (Some("ip4" | "ip6"), Some(ip)) => ip.parse::<IpAddr>().ok().map(|ip| ip.to_canonical()),
        _ => None,
    };
    match ip {
        Some(ip) if ip.is_loopback() => Nearness::Host,
        Some(IpAddr::V4(ip)) if ip.is_private() || ip.is_link_local() => Nearness::Zone,
        Some(IpAddr::V6(ip)) if ip.is_unique_local() || ip.is_unicast_link_local() => Nearness::Zone,
        _ => Nearness::Far,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_networks_are_near_and_relays_are_not() {
        for (address, nearness) in [
            ("/ip4/127.0.0.1/tcp/1", Nearness::Host),
            ("/ip6/::1/tcp/1", Nearness::Host),
            ("/ip4/192.168.1.2/udp/1/quic-v1", Nearness::Zone),
            ("/ip6/::ffff:10.0.0.1/tcp/1", Nearness::Zone),
            ("/ip6/fe80::1/tcp/1", Nearness::Zone),
            ("/ip4/1.1.1.1/tcp/1", Nearness::Far),
            ("/ip4/10.0.0.1/tcp/1/p2p/12D3KooWA/p2p-circuit", Nearness::Far),
            ("/dns4/example.org/tcp/1", Nearness::Far),
        ] {
            assert_eq!(by_address(&address.parse().unwrap()), nearness, "{address}");
        }
    }
}
