//! Opens and accepts blob streams: `/reg/blob/2`, a libp2p behaviour of our own.
//!
//! libp2p-stream is alpha, drops inbound streams silently when no task is ready for them, and opens streams on a random
//! connection. This behaviour opens a stream on the first direct connection. It bounds the callers that wait and
//! answers each. It closes an inbound stream that finds no room, with a warning.
//!
//! No blob stream goes over a relay. Where a peer is connected only through one, the caller waits until hole punching
//! (DCUtR) has made a direct connection, or has failed.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use either::Either;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound, StreamUpgradeError,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, DialError, FromSwarm,
    NetworkBehaviour, NotifyHandler, Stream, SubstreamProtocol, THandlerInEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use reg_proto::swarm::Protocols;
use tokio::sync::{mpsc, oneshot};

use super::protocol;
use super::relay::is_relayed;
use crate::net::command::Opened;
use crate::net::error::OpenStreamError;
use crate::net::frames::{counted, split};
use crate::net::inbound::InboundStream;
use crate::net::limits::{OPENS_WAITING_MAX, PUNCH_PATIENCE, ROUND_TRIP_FREE, STREAM_IDLE};
use crate::net::links::from_libp2p;
use crate::net::members::Members;
use crate::net::open_streams::OpenStreams;
use crate::net::two_tasks::TwoTasks;

/// Takes the stream that a caller waits for, or the reason why there is none.
pub(in crate::net) type Reply = oneshot::Sender<Result<Opened, OpenStreamError>>;

/// The state of the protocol.
pub(in crate::net) struct Behaviour {
    inbound: mpsc::Sender<InboundStream>,
    members: Members,
    protocol: StreamProtocol,
    open_streams: OpenStreams,
    /// Direct connections.
    connections: BTreeMap<PeerId, Vec<ConnectionId>>,
    /// Peers that are connected through relays.
    relayed: BTreeMap<PeerId, Relayed>,
    /// Callers that wait for a direct connection to a peer.
    waiting: BTreeMap<PeerId, Vec<Reply>>,
    events: VecDeque<ToSwarm<Taken, Either<Open, Infallible>>>,
    waker: Option<Waker>,
}

/// The connections to a peer through relays.
struct Relayed {
    connections: Vec<ConnectionId>,
    /// When the wait for a direct connection ends; `None` once hole punching has failed.
    until: Option<Instant>,
}

/// Reports that this node has accepted a stream of a peer.
#[derive(Debug)]
pub(in crate::net) struct Taken(pub(in crate::net) reg_proto::peer::PeerId);

/// Asks a connection's handler for a stream.
#[derive(Debug)]
pub(in crate::net) struct Open(Reply);

impl Behaviour {
    pub(in crate::net) fn new(
        inbound: mpsc::Sender<InboundStream>,
        members: Members,
        names: &Protocols,
    ) -> Self {
        Self {
            inbound,
            members,
            protocol: protocol(&names.blobs),
            open_streams: OpenStreams::default(),
            connections: BTreeMap::new(),
            relayed: BTreeMap::new(),
            waiting: BTreeMap::new(),
            events: VecDeque::new(),
            waker: None,
        }
    }

    /// Opens a stream; dials the peer first where it is not connected, at `known` addresses and at those that libp2p knows.
    pub(in crate::net) fn open(&mut self, peer: PeerId, known: Vec<Multiaddr>, reply: Reply) {
        if let Some(connection) = self.connections.get(&peer).and_then(|all| all.first()) {
            let handler = NotifyHandler::One(*connection);
            self.push(ToSwarm::NotifyHandler { peer_id: peer, handler, event: Either::Left(Open(reply)) });
            return;
        }
        let relayed = self.relayed.get(&peer);
        if relayed.is_some_and(|it| it.until.is_none_or(|until| until < Instant::now())) {
            drop(reply.send(Err(OpenStreamError::BehindNat)));
            return;
        }
        let is_relayed = relayed.is_some();
        if self.waiting.values().map(Vec::len).sum::<usize>() >= OPENS_WAITING_MAX {
            drop(reply.send(Err(OpenStreamError::TooMany)));
            return;
        }
        self.waiting.entry(peer).or_default().push(reply);
        if !is_relayed {
            let condition = PeerCondition::DisconnectedAndNotDialing;
            let opts = DialOpts::peer_id(peer).condition(condition).addresses(known);
            self.push(ToSwarm::Dial { opts: opts.extend_addresses_through_behaviour().build() });
        }
    }

    /// Tells whether a stream to or from a peer is in use.
    pub(in crate::net) fn is_busy(&self, peer: &reg_proto::peer::PeerId) -> bool {
        self.open_streams.is_moving(peer, STREAM_IDLE)
    }

    /// Tells whether pieces go over a stream to or from a peer, so that other answers of the connection wait behind them.
    pub(in crate::net) fn moves_pieces(&self, peer: &reg_proto::peer::PeerId) -> bool {
        self.open_streams.moves_pieces(peer, ROUND_TRIP_FREE)
    }

    /// Answers the callers that wait for a direct connection to a peer: hole punching has failed.
    pub(in crate::net) fn punch_failed(&mut self, peer: &PeerId) {
        if let Some(relayed) = self.relayed.get_mut(peer) {
            relayed.until = None;
            self.fail(peer, || OpenStreamError::BehindNat);
        }
    }

    /// Answers the callers that have waited for a direct connection for [`PUNCH_PATIENCE`].
    pub(in crate::net) fn tick(&mut self, now: Instant) {
        let late = |relayed: &Relayed| relayed.until.is_some_and(|until| until < now);
        let late: Vec<PeerId> =
            self.relayed.iter().filter(|(_, relayed)| late(relayed)).map(|(peer, _)| *peer).collect();
        late.iter().for_each(|peer| self.punch_failed(peer));
    }

    fn push(&mut self, event: ToSwarm<Taken, Either<Open, Infallible>>) {
        self.events.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn fail(&mut self, peer: &PeerId, error: impl Fn() -> OpenStreamError) {
        for reply in self.waiting.remove(peer).into_iter().flatten() {
            drop(reply.send(Err(error())));
        }
    }

    fn handler(
        &self,
        peer: &PeerId,
        is_relayed: bool,
    ) -> Result<Either<Handler, dummy::ConnectionHandler>, ConnectionDenied> {
        let peer = from_libp2p(peer).ok_or_else(|| ConnectionDenied::new(NotEd25519))?;
        if is_relayed {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        Ok(Either::Left(Handler {
            peer,
            protocol: self.protocol.clone(),
            is_member: self.members.admit(&peer),
            inbound: self.inbound.clone(),
            open_streams: self.open_streams.clone(),
            opening: VecDeque::new(),
            taken: 0,
            waker: None,
        }))
    }

    fn connected(&mut self, peer: PeerId, connection: ConnectionId, is_relayed: bool) {
        if is_relayed {
            let until = Some(Instant::now() + PUNCH_PATIENCE);
            let relayed = self.relayed.entry(peer).or_insert(Relayed { connections: Vec::new(), until });
            relayed.connections.push(connection);
            return;
        }
        self.connections.entry(peer).or_default().push(connection);
        for reply in self.waiting.remove(&peer).into_iter().flatten() {
            self.open(peer, Vec::new(), reply);
        }
    }

    fn disconnected(&mut self, peer: PeerId, connection: ConnectionId) {
        if let Some(all) = self.connections.get_mut(&peer) {
            all.retain(|it| *it != connection);
            if all.is_empty() {
                self.connections.remove(&peer);
            }
        }
        if let Some(relayed) = self.relayed.get_mut(&peer) {
            relayed.connections.retain(|it| *it != connection);
            if relayed.connections.is_empty() {
                self.relayed.remove(&peer);
                self.fail(&peer, || OpenStreamError::BehindNat);
            }
        }
    }
}

/// The peer's key is not ed25519, the only kind that this network admits.
#[derive(Debug, thiserror::Error)]
#[error("peer has no ed25519 key")]
struct NotEd25519;

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Either<Handler, dummy::ConnectionHandler>;
    type ToSwarm = Taken;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Self::ConnectionHandler, ConnectionDenied> {
        self.handler(&peer, is_relayed(local))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Self::ConnectionHandler, ConnectionDenied> {
        self.handler(&peer, is_relayed(address))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(it) => {
                self.connected(it.peer_id, it.connection_id, it.endpoint.is_relayed());
            }
            FromSwarm::ConnectionClosed(it) => self.disconnected(it.peer_id, it.connection_id),
            FromSwarm::DialFailure(it) => {
                // Another dial is under way, and its result will answer the callers.
                let under_way = matches!(it.error, DialError::DialPeerConditionFalse(_));
                if let (Some(peer), false) = (it.peer_id, under_way)
                    && !self.relayed.contains_key(&peer)
                {
                    self.fail(&peer, || OpenStreamError::Unreachable);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Either<Taken, Infallible>) {
        match event {
            Either::Left(taken) => self.push(ToSwarm::GenerateEvent(taken)),
            Either::Right(never) => match never {},
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Taken, THandlerInEvent<Self>>> {
        match self.events.pop_front() {
            Some(event) => Poll::Ready(event),
            None => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// The blob streams of one connection.
pub(in crate::net) struct Handler {
    peer: reg_proto::peer::PeerId,
    protocol: StreamProtocol,
    /// Whether this node accepts the peer's streams.
    is_member: bool,
    inbound: mpsc::Sender<InboundStream>,
    open_streams: OpenStreams,
    opening: VecDeque<Reply>,
    /// Accepted streams that the behaviour has not reported yet.
    taken: usize,
    waker: Option<Waker>,
}

impl Handler {
    fn accept(&mut self, stream: Stream) {
        if !self.is_member {
            return;
        }
        let peer = self.peer;
        let (reader, writer) = counted(split(stream), self.open_streams.enter(peer));
        if self.inbound.try_send(InboundStream { peer, reader, writer }).is_err() {
            tracing::warn!(%peer, "too many blob streams wait; one is closed");
            return;
        }
        self.taken += 1;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Taken;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Reply;

    fn listen_protocol(&self) -> SubstreamProtocol<ReadyUpgrade<StreamProtocol>> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ())
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, Reply, Taken>> {
        if self.taken > 0 {
            self.taken -= 1;
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(Taken(self.peer)));
        }
        match self.opening.pop_front() {
            Some(reply) => {
                let upgrade = ReadyUpgrade::new(self.protocol.clone());
                let protocol = SubstreamProtocol::new(upgrade, reply);
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
            }
            None => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn on_behaviour_event(&mut self, Open(reply): Open) {
        self.opening.push_back(reply);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Reply>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.accept(protocol)
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                let opened = counted(split(TwoTasks::new(protocol)), self.open_streams.enter(self.peer));
                drop(info.send(Ok(opened)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                drop(info.send(Err(match error {
                    // A stream opens before the peer has agreed, so most refusals are met by the first read.
                    StreamUpgradeError::NegotiationFailed => OpenStreamError::OtherNetwork,
                    StreamUpgradeError::Timeout => OpenStreamError::Timeout,
                    StreamUpgradeError::Io(source) => OpenStreamError::Broken(source),
                    StreamUpgradeError::Apply(never) => match never {},
                })));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;

    /// A relay gives its bandwidth for names and manifests, never for pieces.
    #[test]
    fn no_blob_stream_is_taken_or_opened_over_a_relay() {
        let (inbound, _streams) = mpsc::channel(1);
        let mut behaviour = Behaviour::new(inbound, Members::new(None), &Protocols::public());
        let [peer, relay] =
            [1, 2].map(|seed| Keypair::ed25519_from_bytes([seed; 32]).unwrap().public().to_peer_id());
        let direct: Multiaddr = "/ip4/45.1.0.1/tcp/1".parse().unwrap();
        let relayed: Multiaddr = format!("/ip4/45.1.0.2/tcp/1/p2p/{relay}/p2p-circuit").parse().unwrap();
        let id = ConnectionId::new_unchecked(1);
        for (address, is_direct) in [(&direct, true), (&relayed, false)] {
            let incoming = behaviour.handle_established_inbound_connection(id, peer, address, address);
            assert_eq!(matches!(incoming, Ok(Either::Left(_))), is_direct, "from {address}");
            let (end, port) = (Endpoint::Dialer, PortUse::Reuse);
            let outgoing = behaviour.handle_established_outbound_connection(id, peer, address, end, port);
            assert_eq!(matches!(outgoing, Ok(Either::Left(_))), is_direct, "to {address}");
        }
        behaviour.connected(peer, id, true);
        let (reply, mut opened) = oneshot::channel();
        behaviour.open(peer, Vec::new(), reply);
        assert!(behaviour.events.is_empty(), "it waits for a direct connection");
        behaviour.punch_failed(&peer);
        assert!(matches!(opened.try_recv(), Ok(Err(OpenStreamError::BehindNat))));
    }
}
