//! [`Links`]: the connections of this node, and what is known of the peers at their other ends.

use std::collections::BTreeMap;
use std::net::IpAddr;

use libp2p::Multiaddr;
use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use reg_proto::peer::{Address, PeerId};

use super::limits::ADDRESSES_PER_PEER_MAX;
use super::reach::{self, Range};

/// A peer this node is connected to.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    pub peer: PeerId,
    /// Remote addresses of the connections.
    pub addresses: Vec<Address>,
    pub agent: Option<String>,
    /// `tcp`, `quic`, or `relay` where no connection is direct.
    pub transport: Option<String>,
    pub rtt_ms: Option<u64>,
    /// Whether it is in a network of one's own, over every connection to it.
    pub near: bool,
    /// Lanes that are open to it and from it.
    pub lanes: usize,
}

#[derive(Debug)]
struct Connection {
    /// The peer's address.
    address: Multiaddr,
    is_relayed: bool,
    /// Whether this node dialled it.
    is_outgoing: bool,
}

#[derive(Debug, Default)]
struct Link {
    connections: BTreeMap<ConnectionId, Connection>,
    agent: Option<String>,
    is_ours: bool,
    rtt_ms: Option<u64>,
}

impl Link {
    fn direct(&self) -> impl Iterator<Item = &Connection> {
        self.connections.values().filter(|it| !it.is_relayed)
    }

    fn transport(&self) -> &'static str {
        let mut direct = self.direct().peekable();
        if direct.peek().is_none() {
            return "relay";
        }
        if direct.any(|it| it.address.to_string().contains("/quic")) { "quic" } else { "tcp" }
    }
}

/// The connections, by peer.
#[derive(Debug, Default)]
pub(super) struct Links(BTreeMap<PeerId, Link>);

impl Links {
    pub(super) fn connected(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let connection = Connection {
            address: endpoint.get_remote_address().clone(),
            is_relayed: endpoint.is_relayed(),
            is_outgoing: endpoint.is_dialer(),
        };
        self.0.entry(peer).or_default().connections.insert(id, connection);
    }

    /// Takes a connection off, and tells whether the peer, one of ours, is gone with it.
    pub(super) fn disconnected(&mut self, peer: PeerId, connection: ConnectionId) -> bool {
        let Some(link) = self.0.get_mut(&peer) else { return false };
        link.connections.remove(&connection);
        if !link.connections.is_empty() {
            return false;
        }
        self.0.remove(&peer).is_some_and(|link| link.is_ours)
    }

    /// Notes that a peer speaks our protocols, and tells whether that is news.
    pub(super) fn identified(&mut self, peer: PeerId, agent: String) -> bool {
        let Some(link) = self.0.get_mut(&peer) else { return false };
        link.agent = Some(agent);
        !std::mem::replace(&mut link.is_ours, true)
    }

    pub(super) fn pinged(&mut self, peer: PeerId, rtt: std::time::Duration) {
        if let Some(link) = self.0.get_mut(&peer) {
            link.rtt_ms = u64::try_from(rtt.as_millis()).ok();
        }
    }

    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.0.contains_key(peer)
    }

    /// Returns the peers that speak our protocols.
    pub(super) fn ours(&self) -> Vec<PeerId> {
        self.0.iter().filter(|(_, link)| link.is_ours).map(|(peer, _)| *peer).collect()
    }

    /// Returns the ranges that a peer is connected over; a relay's range says nothing of the peer behind it.
    pub(super) fn ranges_of(&self, peer: &PeerId) -> Vec<Range> {
        self.0
            .get(peer)
            .into_iter()
            .flat_map(Link::direct)
            .filter_map(|it| reach::range(&it.address))
            .collect()
    }

    /// Returns the addresses at the other ends of a peer's direct connections, each once.
    pub(super) fn remote_ips(&self, peer: &PeerId) -> Vec<IpAddr> {
        let direct = self.0.get(peer).into_iter().flat_map(Link::direct);
        let mut ips: Vec<IpAddr> = direct.filter_map(|it| ip_of(&it.address)).collect();
        ips.sort();
        ips.dedup();
        ips.truncate(ADDRESSES_PER_PEER_MAX);
        ips
    }

    /// Tells whether some peer is connected over a public address.
    pub(super) fn any_global(&self) -> bool {
        let mut direct = self.0.values().flat_map(Link::direct);
        direct.any(|it| matches!(reach::range(&it.address), Some(Range::Global)))
    }

    /// Returns the address at which this node has reached a peer directly, outside its own network.
    pub(super) fn dialled(&self, peer: &PeerId) -> Option<Multiaddr> {
        let mut outgoing = self.0.get(peer)?.direct().filter(|it| it.is_outgoing);
        let is_outside = |it: &&Connection| {
            matches!(reach::range(&it.address), Some(Range::Global | Range::TestBed | Range::CarrierNat))
        };
        outgoing.find(is_outside).map(|it| it.address.clone())
    }

    /// Returns the connections through relays to peers that are connected directly as well: they are of no more use.
    pub(super) fn needless(&self) -> Vec<ConnectionId> {
        let direct = self.0.values().filter(|link| link.direct().next().is_some());
        let connections = direct.flat_map(|link| &link.connections);
        connections.filter(|(_, it)| it.is_relayed).map(|(id, _)| *id).collect()
    }

    pub(super) fn infos(&self) -> Vec<PeerInfo> {
        let infos = self.0.iter().map(|(peer, link)| {
            let addresses = link.connections.values().take(ADDRESSES_PER_PEER_MAX);
            PeerInfo {
                peer: *peer,
                addresses: addresses.filter_map(|it| it.address.to_string().parse().ok()).collect(),
                agent: link.agent.clone(),
                transport: Some(link.transport().to_owned()),
                rtt_ms: link.rtt_ms,
                near: link
                    .connections
                    .values()
                    .all(|it| !it.is_relayed && ip_of(&it.address).is_some_and(reach::is_near)),
                lanes: 0,
            }
        });
        infos.collect()
    }
}

/// Returns the IP address at the other end of a direct connection.
fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.to_canonical()),
        _ => None,
    }
}

/// Returns our name of a libp2p peer, `None` for a peer without an ed25519 key.
pub(super) fn from_libp2p(peer: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::from_multihash_bytes(&peer.to_bytes()).ok()
}

/// Returns libp2p's name of a peer.
pub(super) fn to_libp2p(peer: &PeerId) -> libp2p::PeerId {
    libp2p::PeerId::from_bytes(&peer.to_multihash_bytes())
        .expect("the multihash of an ed25519 key is a peer id")
}
