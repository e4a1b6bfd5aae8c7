//! [`Links`]: the connections of this node, and what it knows of the peers at their other ends.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use libp2p::Multiaddr;
use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use reg_proto::limits::PEERS_TOLD_MAX;
use reg_proto::peer::{Address, PeerId};

use super::crowd::{self, Facts};
use super::limits::{
    ADDRESSES_PER_PEER_MAX, ADDRESSES_TOLD_MAX, CONNECTIONS_INCOMING_CROWDED, GONE_MAX, OUTGOING_ENOUGH,
    PEERS_TARGET,
};
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
    /// Whether pieces went over the same TCP connection when the round trip was measured. Then it shows how long the answer waited
    /// behind them, also where nothing waits on the line.
    pub rtt_is_behind_pieces: bool,
    /// Whether every connection to it stays in a private network.
    pub near: bool,
    /// Open lanes to it and from it.
    pub lanes: usize,
    /// Why there is no lane, where one was tried.
    pub no_lane: Option<String>,
    /// Whether it speaks version 1 of the protocols only. Such a peer is not connected.
    pub outdated: bool,
}

#[derive(Debug)]
struct Connection {
    /// The peer's address.
    address: Multiaddr,
    is_relayed: bool,
    /// Whether this node dialled it.
    is_outgoing: bool,
}

#[derive(Debug)]
struct Link {
    connections: BTreeMap<ConnectionId, Connection>,
    agent: Option<String>,
    is_ours: bool,
    rtt_ms: Option<u64>,
    /// The addresses that it says it listens on.
    listens: Vec<Multiaddr>,
    /// When it connected, and when it last asked for something: counted in events, not in time.
    since: u64,
    used: u64,
    connected_at: Instant,
    used_at: Option<Instant>,
    /// When it last sent something that was asked for and that has verified.
    of_use_at: Option<Instant>,
    /// Whether it holds a reservation with this node, as a relay.
    is_guest: bool,
    /// Whether it is being disconnected to make room.
    is_leaving: bool,
}

impl Link {
    fn new(since: u64) -> Self {
        Self {
            connections: BTreeMap::new(),
            agent: None,
            is_ours: false,
            rtt_ms: None,
            listens: Vec::new(),
            since,
            used: 0,
            connected_at: Instant::now(),
            used_at: None,
            of_use_at: None,
            is_guest: false,
            is_leaving: false,
        }
    }

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
pub(super) struct Links {
    peers: BTreeMap<PeerId, Link>,
    events: u64,
    /// The addresses of peers of this swarm that have gone, the last one at the back.
    gone: VecDeque<(PeerId, Vec<Multiaddr>)>,
}

impl Links {
    pub(super) fn connected(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let connection = Connection {
            address: endpoint.get_remote_address().clone(),
            is_relayed: endpoint.is_relayed(),
            is_outgoing: endpoint.is_dialer(),
        };
        self.events += 1;
        let since = self.events;
        let link = self.peers.entry(peer).or_insert_with(|| Link::new(since));
        link.connections.insert(id, connection);
    }

    /// Removes a connection, and tells whether it was the last one to a peer of this swarm.
    pub(super) fn disconnected(&mut self, peer: PeerId, connection: ConnectionId) -> bool {
        let Some(link) = self.peers.get_mut(&peer) else { return false };
        let closed = link.connections.remove(&connection).filter(|it| it.is_outgoing && !it.is_relayed);
        if !link.connections.is_empty() {
            return false;
        }
        let Some(link) = self.peers.remove(&peer).filter(|link| link.is_ours) else { return false };
        let mut addresses: Vec<Multiaddr> = closed.map(|it| it.address).into_iter().collect();
        addresses.extend(link.listens);
        addresses.dedup();
        addresses.truncate(ADDRESSES_PER_PEER_MAX);
        self.gone.retain(|(gone, _)| *gone != peer);
        self.gone.push_back((peer, addresses));
        if self.gone.len() > GONE_MAX {
            self.gone.pop_front();
        }
        true
    }

    /// Returns the addresses of a peer that has gone: where this node dialled it, and where it said that it listens.
    pub(super) fn gone(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let gone = self.gone.iter().find(|(gone, _)| gone == peer);
        gone.map(|(_, addresses)| addresses.clone()).unwrap_or_default()
    }

    /// Records that a peer speaks this swarm's protocols, and tells whether that is new.
    pub(super) fn identified(&mut self, peer: PeerId, agent: String) -> bool {
        let Some(link) = self.peers.get_mut(&peer) else { return false };
        link.agent = Some(agent);
        !std::mem::replace(&mut link.is_ours, true)
    }

    /// Records the addresses that a peer says it listens on.
    pub(super) fn listens(&mut self, peer: &PeerId, addresses: Vec<Multiaddr>) {
        if let Some(link) = self.peers.get_mut(peer) {
            link.listens = addresses;
        }
    }

    /// Records that a peer has asked for something.
    pub(super) fn used(&mut self, peer: &PeerId) {
        self.events += 1;
        if let Some(link) = self.peers.get_mut(peer) {
            link.used = self.events;
            link.used_at = Some(Instant::now());
        }
    }

    /// Records that this node has asked a peer for something.
    pub(super) fn asked(&mut self, peer: &PeerId) {
        if let Some(link) = self.peers.get_mut(peer) {
            link.used_at = Some(Instant::now());
        }
    }

    /// Records that a peer has sent something that was asked for and that has verified.
    pub(super) fn was_of_use(&mut self, peer: &PeerId) {
        if let Some(link) = self.peers.get_mut(peer) {
            link.of_use_at = Some(Instant::now());
        }
    }

    /// Records whether a peer holds a reservation with this node.
    pub(super) fn set_guest(&mut self, peer: &PeerId, is_guest: bool) {
        if let Some(link) = self.peers.get_mut(peer) {
            link.is_guest = is_guest;
        }
    }

    /// Tells whether enough peers are connected, so that no more are dialled without need. Strangers that have dialled this
    /// node are not enough, however many they are.
    pub(super) fn are_enough(&self) -> bool {
        self.peers.len() >= PEERS_TARGET && self.chosen() >= OUTGOING_ENOUGH
    }

    /// Returns how many peers of this swarm are connected that this node has dialled.
    pub(super) fn chosen(&self) -> usize {
        let is_chosen = |link: &&Link| link.is_ours && link.connections.values().any(|it| it.is_outgoing);
        self.peers.values().filter(is_chosen).count()
    }

    /// Returns the addresses at which this node has dialled a peer directly.
    pub(super) fn dialled_at(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let direct = self.peers.get(peer).filter(|link| link.is_ours).into_iter().flat_map(Link::direct);
        direct.filter(|it| it.is_outgoing).map(|it| it.address.clone()).collect()
    }

    /// Tells whether this node has dialled a peer of this swarm at an address that names no peer.
    pub(super) fn is_dialled_at(&self, address: &Multiaddr) -> bool {
        let ours = self.peers.values().filter(|link| link.is_ours).flat_map(Link::direct);
        ours.filter(|it| it.is_outgoing).any(|it| it.address == *address)
    }

    /// Returns where a peer of this swarm says that it listens.
    pub(super) fn claims(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let link = self.peers.get(peer).filter(|link| link.is_ours);
        link.map(|link| link.listens.clone()).unwrap_or_default()
    }

    /// Forgets where a peer was dialled that has gone.
    pub(super) fn forget_gone(&mut self, peer: &PeerId) {
        self.gone.retain(|(gone, _)| gone != peer);
    }

    /// Returns the peers to disconnect because more are connected than are of use. `is_needed` tells what else depends on a
    /// connection.
    pub(super) fn surplus(&self, is_needed: impl Fn(&PeerId) -> bool) -> Vec<PeerId> {
        let facts = self.peers.iter().filter(|(_, link)| !link.is_leaving).map(|(peer, link)| Facts {
            peer: *peer,
            is_needed: link.is_guest || is_needed(peer),
            is_outgoing: link.connections.values().any(|it| it.is_outgoing),
            age: link.connected_at.elapsed(),
            used: link.used_at.map(|at| at.elapsed()),
            of_use: link.of_use_at.map(|at| at.elapsed()),
        });
        crowd::surplus(&facts.collect::<Vec<Facts>>())
    }

    /// When more than [`CONNECTIONS_INCOMING_CROWDED`] peers have connected to this node, returns the one that has been
    /// idle longest, for the caller to disconnect. That takes a while, so each call returns another peer.
    pub(super) fn make_room(&mut self) -> Option<PeerId> {
        let came = self
            .peers
            .iter_mut()
            .filter(|(_, link)| !link.is_leaving && !link.connections.values().any(|it| it.is_outgoing));
        let came: Vec<(&PeerId, &mut Link)> = came.collect();
        if came.len() <= CONNECTIONS_INCOMING_CROWDED {
            return None;
        }
        let (peer, link) = came.into_iter().min_by_key(|(_, link)| (link.used, link.since))?;
        link.is_leaving = true;
        Some(*peer)
    }

    /// Returns the peers that this node names to `asker`, each with the addresses that `asker` may be told. The first
    /// half are the peers that have been connected longest, the others are spread evenly over the rest.
    pub(super) fn acquaintances(&self, asker: &PeerId) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let ranges = self.ranges_of(asker);
        let mut named: Vec<(u64, PeerId, Vec<Multiaddr>)> = self
            .peers
            .iter()
            .filter(|(peer, link)| link.is_ours && *peer != asker)
            .map(|(peer, link)| {
                let fit = link.listens.iter().filter(|it| reach::is_fit(it, &ranges));
                (link.since, *peer, fit.take(ADDRESSES_TOLD_MAX).cloned().collect())
            })
            .filter(|(_, _, addresses): &(u64, PeerId, Vec<Multiaddr>)| !addresses.is_empty())
            .collect();
        named.sort_by_key(|(since, _, _)| *since);
        let rest = named.split_off(named.len().min(PEERS_TOLD_MAX / 2));
        let step = rest.len().div_ceil(PEERS_TOLD_MAX / 2).max(1);
        let named = named.into_iter().chain(rest.into_iter().step_by(step));
        named.map(|(_, peer, addresses)| (peer, addresses)).collect()
    }

    pub(super) fn pinged(&mut self, peer: PeerId, rtt: std::time::Duration) {
        if let Some(link) = self.peers.get_mut(&peer) {
            link.rtt_ms = u64::try_from(rtt.as_millis()).ok();
        }
    }

    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// Returns the peers of this swarm, longest connected first: a crowd that comes later stands behind them.
    pub(super) fn ours(&self) -> Vec<PeerId> {
        let ours = self.peers.iter().filter(|(_, link)| link.is_ours);
        let mut ours: Vec<(u64, PeerId)> = ours.map(|(peer, link)| (link.since, *peer)).collect();
        ours.sort();
        ours.into_iter().map(|(_, peer)| peer).collect()
    }

    /// Returns the ranges of a peer's direct connections; a relay's range says nothing of the peer behind it.
    pub(super) fn ranges_of(&self, peer: &PeerId) -> Vec<Range> {
        self.peers
            .get(peer)
            .into_iter()
            .flat_map(Link::direct)
            .filter_map(|it| reach::range(&it.address))
            .collect()
    }

    /// Returns the remote IP addresses of a peer's direct connections, each once.
    pub(super) fn remote_ips(&self, peer: &PeerId) -> Vec<IpAddr> {
        let direct = self.peers.get(peer).into_iter().flat_map(Link::direct);
        let mut ips: Vec<IpAddr> = direct.filter_map(|it| ip_of(&it.address)).collect();
        ips.sort();
        ips.dedup();
        ips.truncate(ADDRESSES_PER_PEER_MAX);
        ips
    }

    /// Returns the remote addresses of a peer's connections.
    pub(super) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let connections = self.peers.get(peer).into_iter().flat_map(|link| link.connections.values());
        connections.take(ADDRESSES_PER_PEER_MAX).map(|it| it.address.clone()).collect()
    }

    /// Tells whether a peer has a direct connection.
    pub(super) fn is_direct(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|link| link.direct().next().is_some())
    }

    /// Tells whether a peer is connected directly over a global address.
    pub(super) fn any_global(&self) -> bool {
        let mut direct = self.peers.values().flat_map(Link::direct);
        direct.any(|it| matches!(reach::range(&it.address), Some(Range::Global)))
    }

    /// Returns the address at which this node has dialled a peer directly, outside its own network.
    pub(super) fn dialled(&self, peer: &PeerId) -> Option<Multiaddr> {
        let mut outgoing = self.peers.get(peer)?.direct().filter(|it| it.is_outgoing);
        let is_outside = |it: &&Connection| {
            matches!(reach::range(&it.address), Some(Range::Global | Range::TestBed | Range::CarrierNat))
        };
        outgoing.find(is_outside).map(|it| it.address.clone())
    }

    /// Returns the relayed connections to peers that are connected directly as well: they are no longer needed.
    pub(super) fn needless(&self) -> Vec<ConnectionId> {
        let direct = self.peers.values().filter(|link| link.direct().next().is_some());
        let connections = direct.flat_map(|link| &link.connections);
        connections.filter(|(_, it)| it.is_relayed).map(|(id, _)| *id).collect()
    }

    pub(super) fn infos(&self) -> Vec<PeerInfo> {
        let infos = self.peers.iter().map(|(peer, link)| {
            let addresses = link.connections.values().take(ADDRESSES_PER_PEER_MAX);
            PeerInfo {
                peer: *peer,
                addresses: addresses.filter_map(|it| it.address.to_string().parse().ok()).collect(),
                agent: link.agent.clone(),
                transport: Some(link.transport().to_owned()),
                rtt_ms: link.rtt_ms,
                rtt_is_behind_pieces: false,
                near: link
                    .connections
                    .values()
                    .all(|it| !it.is_relayed && ip_of(&it.address).is_some_and(reach::is_near)),
                lanes: 0,
                no_lane: None,
                outdated: false,
            }
        });
        infos.collect()
    }
}

/// Returns the IP address that an address begins with.
pub(super) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.to_canonical()),
        _ => None,
    }
}

/// Converts libp2p's peer id to this project's; returns `None` where its key is not ed25519.
pub(super) fn from_libp2p(peer: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::from_multihash_bytes(&peer.to_bytes()).ok()
}

/// Converts a peer id to libp2p's.
pub(super) fn to_libp2p(peer: &PeerId) -> libp2p::PeerId {
    libp2p::PeerId::from_bytes(&peer.to_multihash_bytes())
        .expect("the multihash of an ed25519 key is a peer id")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(links: &mut Links, byte: u16, connection: usize) -> PeerId {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&byte.to_be_bytes());
        let peer = PeerId::from_public_key(key);
        let endpoint = ConnectedPoint::Listener {
            local_addr: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
            send_back_addr: "/ip4/127.0.0.1/tcp/2".parse().unwrap(),
        };
        links.connected(peer, ConnectionId::new_unchecked(connection), &endpoint);
        peer
    }

    #[test]
    fn who_has_been_of_no_use_for_longest_makes_room() {
        let mut links = Links::default();
        let peers: Vec<PeerId> =
            (0..CONNECTIONS_INCOMING_CROWDED).map(|n| arrive(&mut links, n as u16, n)).collect();
        assert_eq!(links.make_room(), None, "there is room");
        links.used(&peers[0]);
        let newcomer = arrive(&mut links, u16::MAX, usize::MAX);
        assert_eq!(
            links.make_room(),
            Some(peers[1]),
            "neither the peer that asks nor the one that has just connected"
        );
        assert_eq!(links.make_room(), None, "one is disconnected for each that connects");
        arrive(&mut links, 9999, 9999);
        assert_eq!(links.make_room(), Some(peers[2]), "another one, while the first is being disconnected");
        links.disconnected(peers[1], ConnectionId::new_unchecked(1));
        assert!(links.is_connected(&newcomer) && links.make_room().is_none());
    }

    #[test]
    fn strangers_that_dial_this_node_are_never_enough() {
        let mut links = Links::default();
        for n in 0..2 * PEERS_TARGET as u16 {
            let peer = arrive(&mut links, n, n.into());
            links.identified(peer, "reg/0".into());
        }
        assert!(!links.are_enough());
        for n in 0..OUTGOING_ENOUGH as u16 {
            let mut key = [1; 32];
            key[..2].copy_from_slice(&n.to_be_bytes());
            let (peer, id) =
                (PeerId::from_public_key(key), ConnectionId::new_unchecked(1000 + usize::from(n)));
            let endpoint = ConnectedPoint::Dialer {
                address: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
                role_override: libp2p::core::Endpoint::Dialer,
                port_use: libp2p::core::transport::PortUse::Reuse,
            };
            links.connected(peer, id, &endpoint);
            assert!(!links.are_enough(), "a peer of another network may be dialled too");
            links.identified(peer, "reg/0".into());
        }
        assert!(links.are_enough());
    }

    #[test]
    fn the_peers_that_connected_first_are_named_whatever_crowd_comes_after() {
        let mut links = Links::default();
        for n in 0..600 {
            let peer = arrive(&mut links, n, n.into());
            links.identified(peer, "reg/0".into());
            links.listens(
                &peer,
                vec!["/ip4/127.0.0.1/tcp/3".parse().unwrap(), "/ip4/10.0.0.1/tcp/3".parse().unwrap()],
            );
        }
        let asker = arrive(&mut links, 600, 600);
        let named = links.acquaintances(&asker);
        assert!(named.len() <= PEERS_TOLD_MAX && named.len() > PEERS_TOLD_MAX / 2);
        let first = arrive(&mut links, 0, 601);
        assert_eq!(named[0].0, first);
        assert!(
            named.iter().all(|(_, addresses)| addresses.len() == 1),
            "a private address is named only over its own range"
        );
    }
}
