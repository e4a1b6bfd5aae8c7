//! [`Standing`]: what the event loop tells the rendezvous of this node, and the dials that it makes for it.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use reg_proto::peer::PeerId;
use tokio::sync::oneshot;

use crate::net::error::ConnectError;
use crate::net::event_loop::EventLoop;
use crate::net::protocol::reachability::is_public;

/// How this node stands in its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::net) struct Standing {
    /// Connected peers of this swarm.
    pub(super) peers: usize,
    /// The TCP port of an IPv4 address that any peer reaches, where this node has learnt that it has one.
    pub(super) reached_at: Option<u16>,
    /// Sockets that need no dial: those of this node and of connected peers.
    pub(super) known: BTreeSet<SocketAddrV4>,
}

impl EventLoop {
    /// Returns how this node stands in its network.
    pub(in crate::net) fn standing(&self) -> Standing {
        let peers = self.links.ours();
        let mut known: BTreeSet<SocketAddrV4> = peers
            .iter()
            .flat_map(|peer| self.links.addresses(peer))
            .filter_map(|it| socket_of(&it))
            .collect();
        let own = self.swarm.listeners().chain(self.swarm.external_addresses());
        known.extend(own.filter_map(socket_of));
        let reached = self.swarm.external_addresses().filter(|it| is_public(it));
        let reached_at = reached.filter_map(socket_of).map(|it| it.port()).next();
        Standing { peers: peers.len(), reached_at, known }
    }

    /// Dials a stranger at an address that names no peer.
    pub(in crate::net) fn meet(
        &mut self,
        socket: SocketAddrV4,
        reply: oneshot::Sender<Result<PeerId, ConnectError>>,
    ) {
        let address = Multiaddr::from(*socket.ip()).with(Protocol::Tcp(socket.port()));
        let shown = address.to_string().parse().expect("an address of numbers is short");
        self.dialling.connect(&mut self.swarm, shown, &address, reply);
    }
}

/// Returns the socket of a direct TCP address over IPv4.
fn socket_of(address: &Multiaddr) -> Option<SocketAddrV4> {
    let mut parts = address.iter();
    match (parts.next()?, parts.next()?) {
        (Protocol::Ip4(ip), Protocol::Tcp(port)) if !parts.any(|it| it == Protocol::P2pCircuit) => {
            Some(SocketAddrV4::new(ip, port))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_direct_tcp_over_ipv4_counts() {
        let peer = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
        for (address, expected) in [
            ("/ip4/1.1.1.1/tcp/4600".to_owned(), Some("1.1.1.1:4600")),
            (format!("/ip4/1.1.1.1/tcp/4600/p2p/{peer}"), Some("1.1.1.1:4600")),
            (format!("/ip4/1.1.1.1/tcp/4600/p2p/{peer}/p2p-circuit"), None),
            ("/ip4/1.1.1.1/udp/4600/quic-v1".to_owned(), None),
            ("/ip6/2606:4700::1111/tcp/4600".to_owned(), None),
            ("/dns4/example.org/tcp/4600".to_owned(), None),
        ] {
            let found = socket_of(&address.parse().expect("an address"));
            assert_eq!(found, expected.map(|it| it.parse().expect("a socket")), "{address}");
        }
    }
}
