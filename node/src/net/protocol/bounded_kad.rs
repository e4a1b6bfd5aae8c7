//! [`BoundedKad`]: libp2p's Kademlia, which names few addresses of a peer that is dialled.
//!
//! Any node of the DHT names addresses of other peers, and one message has room for more than a thousand of one peer. libp2p would
//! dial them all, and many of them may be machines that are no nodes.

use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId, kad};

use super::discovery::Kad;
use crate::net::limits::ADDRESSES_PER_PEER_MAX;
use crate::net::reach::OpenRanges;

/// The DHT of a node.
pub(in crate::net) struct BoundedKad {
    kad: Kad,
    ranges: OpenRanges,
}

impl BoundedKad {
    pub(super) const fn new(kad: Kad, ranges: OpenRanges) -> Self {
        Self { kad, ranges }
    }
}

impl Deref for BoundedKad {
    type Target = Kad;

    fn deref(&self) -> &Kad {
        &self.kad
    }
}

impl DerefMut for BoundedKad {
    fn deref_mut(&mut self) -> &mut Kad {
        &mut self.kad
    }
}

impl NetworkBehaviour for BoundedKad {
    type ConnectionHandler = <Kad as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = kad::Event;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.kad.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kad.handle_established_inbound_connection(connection, peer, local, remote)
    }

    /// Returns the first addresses of the peer that may be dialled. Those of peers that this node has met come first.
    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let named = self.kad.handle_pending_outbound_connection(connection, peer, addresses, role)?;
        let may_dial = named.into_iter().filter(|it| self.ranges.may_dial(it));
        Ok(may_dial.take(ADDRESSES_PER_PEER_MAX).collect())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kad.handle_established_outbound_connection(connection, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.kad.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.kad.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<kad::Event, THandlerInEvent<Self>>> {
        self.kad.poll(context)
    }
}

#[cfg(test)]
mod tests {
    use reg_proto::swarm::Protocols;

    use super::*;
    use crate::net::config::DhtMode;
    use crate::net::protocol::discovery;

    #[test]
    fn of_a_thousand_addresses_of_a_peer_few_are_dialled_and_none_that_may_not_be() {
        let (own, peer, ranges) = (PeerId::random(), PeerId::random(), OpenRanges::default());
        let mut kad = discovery::behaviour(own, DhtMode::Server, &Protocols::public(), ranges).expect("on");
        for n in 0..1000u32 {
            let (first, [_, _, high, low]) = (if n < 500 { 10 } else { 1 }, n.to_be_bytes());
            let address = format!("/ip4/{first}.1.{high}.{low}/tcp/4600").parse().expect("an address");
            let _kept = kad.add_address(&peer, address);
        }
        let dial = ConnectionId::new_unchecked(1);
        let dialled = kad.handle_pending_outbound_connection(dial, Some(peer), &[], Endpoint::Dialer);
        let dialled = dialled.expect("it is not refused");
        assert_eq!(dialled.len(), ADDRESSES_PER_PEER_MAX);
        assert!(dialled.iter().all(|it| it.to_string().starts_with("/ip4/1.1.")), "{dialled:?}");
    }
}
