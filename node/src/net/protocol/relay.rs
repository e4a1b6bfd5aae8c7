//! Relays (libp2p's circuit relay v2): a node that peers cannot dial reserves with relays, and peers reach it through
//! them.
//!
//! A relay carries identification, questions and hole punching between two nodes, never pieces: its circuits are short
//! and small, and no blob stream opens on them (`protocol/blobs.rs`).

use std::collections::BTreeMap;
use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::core::transport::{ListenerId, PortUse};
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol, relay};

use crate::net::config::RelayMode;
use crate::net::limits::{
    CIRCUIT_BYTES_MAX, CIRCUIT_DURATION_MAX, CIRCUITS_MAX, CIRCUITS_PER_PEER_MAX, RELAY_RETRY, RELAYS_MAX,
    RELAYS_OFFERED_MAX, RESERVATION_DURATION, RESERVATIONS_MAX, RESERVATIONS_PER_PEER_MAX,
};

/// The relay that a node offers: libp2p's behaviour, which sees direct connections only.
///
/// libp2p-relay 0.22 sends its new status to the handlers of all connections. Those of relayed connections are dummies
/// that panic on any message, and the swarm then never reports that the connection has closed.
pub(in crate::net) struct RelayService(relay::Behaviour);

impl RelayService {
    /// Returns a relay that serves no peer until [`Self::offer`].
    pub(in crate::net) fn new(own: PeerId) -> Self {
        let config = relay::Config {
            max_reservations: RESERVATIONS_MAX,
            max_reservations_per_peer: RESERVATIONS_PER_PEER_MAX,
            reservation_duration: RESERVATION_DURATION,
            max_circuits: CIRCUITS_MAX,
            max_circuits_per_peer: CIRCUITS_PER_PEER_MAX,
            max_circuit_duration: CIRCUIT_DURATION_MAX,
            max_circuit_bytes: CIRCUIT_BYTES_MAX,
            ..relay::Config::default()
        };
        let mut behaviour = relay::Behaviour::new(own, config);
        behaviour.set_status(Some(relay::Status::Disable));
        Self(behaviour)
    }

    /// Starts or stops offering this node as a relay.
    pub(in crate::net) fn offer(&mut self, is_offered: bool) {
        let status = if is_offered { relay::Status::Enable } else { relay::Status::Disable };
        self.0.set_status(Some(status));
    }
}

impl NetworkBehaviour for RelayService {
    type ConnectionHandler = <relay::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = relay::Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0.handle_established_outbound_connection(connection, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let endpoint: Option<&ConnectedPoint> = match &event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { endpoint, .. })
            | FromSwarm::ConnectionClosed(ConnectionClosed { endpoint, .. }) => Some(endpoint),
            _ => None,
        };
        if endpoint.is_none_or(|it| !it.is_relayed()) {
            self.0.on_swarm_event(event);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.0.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.0.poll(context)
    }
}

/// Tells whether an address leads through a relay.
pub(in crate::net) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// Tells whether a peer that speaks these protocols offers to relay.
pub(in crate::net) fn is_offered(protocols: &[StreamProtocol]) -> bool {
    protocols.contains(&relay::HOP_PROTOCOL_NAME)
}

/// A relay, and this node's reservation with it.
#[derive(Debug)]
struct Offer {
    address: Multiaddr,
    listener: Option<ListenerId>,
    /// When to ask for a reservation, while there is none.
    due: Instant,
}

/// The relays that this node knows, and its reservations.
#[derive(Debug)]
pub(in crate::net) struct Relays {
    mode: RelayMode,
    offers: BTreeMap<PeerId, Offer>,
}

/// The changes that are due to this node's reservations.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::net) struct Due {
    /// Addresses to listen on, each through a relay.
    pub(in crate::net) reserve: Vec<(PeerId, Multiaddr)>,
    pub(in crate::net) release: Vec<ListenerId>,
}

impl Relays {
    pub(in crate::net) const fn new(mode: RelayMode) -> Self {
        Self { mode, offers: BTreeMap::new() }
    }

    /// Tells whether this node offers itself as a relay.
    pub(in crate::net) fn is_to_serve(&self, is_reachable: bool) -> bool {
        match self.mode {
            RelayMode::Auto => is_reachable,
            RelayMode::On => true,
            RelayMode::Off => false,
        }
    }

    /// Tells whether the user has switched the relay on, so that this node's public addresses need no confirmation.
    pub(in crate::net) fn is_forced(&self) -> bool {
        self.mode == RelayMode::On
    }

    /// Adds a relay that this node has dialled directly at `address`.
    pub(in crate::net) fn offered(&mut self, peer: PeerId, mut address: Multiaddr, now: Instant) {
        if self.offers.contains_key(&peer) || self.offers.len() >= RELAYS_OFFERED_MAX {
            return;
        }
        if let Some(Protocol::P2p(_)) = address.iter().last() {
            address.pop();
        }
        self.offers.insert(peer, Offer { address, listener: None, due: now });
    }

    /// Removes a relay that has disconnected.
    pub(in crate::net) fn holds(&self, peer: &PeerId) -> bool {
        self.offers.get(peer).is_some_and(|offer| offer.listener.is_some())
    }

    /// Forgets what a peer has offered.
    pub(in crate::net) fn withdrawn(&mut self, peer: &PeerId) {
        self.offers.remove(peer);
    }

    /// Records the listener over which this node has asked `peer` for a reservation.
    pub(in crate::net) fn asked(&mut self, peer: &PeerId, listener: ListenerId) {
        if let Some(offer) = self.offers.get_mut(peer) {
            offer.listener = Some(listener);
        }
    }

    /// Records that a listener has closed. Where it was a reservation, the relay is asked again after [`RELAY_RETRY`].
    pub(in crate::net) fn closed(&mut self, listener: ListenerId, now: Instant) {
        for offer in self.offers.values_mut().filter(|it| it.listener == Some(listener)) {
            offer.listener = None;
            offer.due = now + RELAY_RETRY;
        }
    }

    /// Returns what is due: a reachable node releases its reservations, another one asks for up to [`RELAYS_MAX`].
    pub(in crate::net) fn due(&mut self, is_reachable: bool, now: Instant) -> Due {
        let mut changes = Due::default();
        if is_reachable {
            changes.release = self.offers.values_mut().filter_map(|offer| offer.listener.take()).collect();
            return changes;
        }
        let held = self.offers.values().filter(|offer| offer.listener.is_some()).count();
        let due = self.offers.iter_mut().filter(|(_, offer)| offer.listener.is_none() && offer.due <= now);
        for (peer, offer) in due.take(RELAYS_MAX.saturating_sub(held)) {
            offer.due = now + RELAY_RETRY;
            let address = offer.address.clone().with(Protocol::P2p(*peer)).with(Protocol::P2pCircuit);
            changes.reserve.push((*peer, address));
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_unreachable_node_reserves_with_a_few_relays_and_releases_them_when_reachable() {
        let mut relays = Relays::new(RelayMode::Auto);
        let now = Instant::now();
        let peers: Vec<PeerId> = (0..RELAYS_OFFERED_MAX + 3).map(|_| PeerId::random()).collect();
        for peer in &peers {
            let address = format!("/ip4/192.0.2.1/tcp/1/p2p/{peer}").parse().unwrap();
            relays.offered(*peer, address, now);
        }
        assert_eq!(relays.offers.len(), RELAYS_OFFERED_MAX);
        let due = relays.due(false, now);
        assert_eq!((due.reserve.len(), due.release.len()), (RELAYS_MAX, 0));
        for (peer, address) in &due.reserve {
            assert_eq!(address.to_string(), format!("/ip4/192.0.2.1/tcp/1/p2p/{peer}/p2p-circuit"));
            relays.asked(peer, ListenerId::next());
        }
        assert_eq!(relays.due(false, now), Due::default(), "enough are held");
        let released = relays.due(true, now).release;
        assert_eq!(released.len(), RELAYS_MAX);
        assert!(relays.is_to_serve(true) && !relays.is_to_serve(false));
    }

    #[test]
    fn a_reservation_that_is_refused_is_asked_for_again_later() {
        let mut relays = Relays::new(RelayMode::Off);
        let (now, peer, listener) = (Instant::now(), PeerId::random(), ListenerId::next());
        relays.offered(peer, "/ip4/192.0.2.1/tcp/1".parse().unwrap(), now);
        assert_eq!(relays.due(false, now).reserve.len(), 1);
        relays.asked(&peer, listener);
        relays.closed(listener, now);
        assert!(relays.due(false, now + Duration::from_secs(1)).reserve.is_empty());
        assert_eq!(relays.due(false, now + RELAY_RETRY).reserve.len(), 1);
        relays.withdrawn(&peer);
        assert!(relays.due(false, now + 2 * RELAY_RETRY).reserve.is_empty());
    }
}
