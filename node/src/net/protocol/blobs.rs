//! Blob streams: `/reg/blob/1`, a behaviour of our own.
//!
//! libp2p-stream is alpha, drops inbound streams silently when nobody is ready for them, and opens streams on a random
//! connection. Here a stream is opened on the first direct connection, what waits is bounded and answered, and an inbound
//! stream that finds no room is refused with a warning.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::task::{Context, Poll, Waker};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound, StreamUpgradeError,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, DialError, FromSwarm,
    NetworkBehaviour, NotifyHandler, Stream, SubstreamProtocol, THandlerInEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use reg_proto::wire::BLOB_PROTOCOL;
use tokio::sync::{mpsc, oneshot};

use crate::net::frames::split;
use crate::net::inbound::InboundStream;
use crate::net::limits::OPENS_WAITING_MAX;
use crate::net::links::from_libp2p;
use crate::net::network::{OpenStreamError, Opened};

/// Who waits for a stream.
pub(crate) type Reply = oneshot::Sender<Result<Opened, OpenStreamError>>;

/// Opens and accepts blob streams.
pub(crate) struct Behaviour {
    inbound: mpsc::Sender<InboundStream>,
    connections: BTreeMap<PeerId, Vec<ConnectionId>>,
    /// Who waits for a connection to a peer.
    waiting: BTreeMap<PeerId, Vec<Reply>>,
    events: VecDeque<ToSwarm<Infallible, Open>>,
    waker: Option<Waker>,
}

/// Asks a connection's handler for a stream.
#[derive(Debug)]
pub(crate) struct Open(Reply);

impl Behaviour {
    pub(crate) const fn new(inbound: mpsc::Sender<InboundStream>) -> Self {
        Self {
            inbound,
            connections: BTreeMap::new(),
            waiting: BTreeMap::new(),
            events: VecDeque::new(),
            waker: None,
        }
    }

    /// Opens a stream, dialling the peer where it is not connected.
    pub(crate) fn open(&mut self, peer: PeerId, reply: Reply) {
        if let Some(connection) = self.connections.get(&peer).and_then(|all| all.first()) {
            let handler = NotifyHandler::One(*connection);
            self.push(ToSwarm::NotifyHandler { peer_id: peer, handler, event: Open(reply) });
            return;
        }
        if self.waiting.values().map(Vec::len).sum::<usize>() >= OPENS_WAITING_MAX {
            drop(reply.send(Err(OpenStreamError::TooMany)));
            return;
        }
        self.waiting.entry(peer).or_default().push(reply);
        let condition = PeerCondition::DisconnectedAndNotDialing;
        self.push(ToSwarm::Dial { opts: DialOpts::peer_id(peer).condition(condition).build() });
    }

    fn push(&mut self, event: ToSwarm<Infallible, Open>) {
        self.events.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn fail(&mut self, peer: &PeerId) {
        for reply in self.waiting.remove(peer).into_iter().flatten() {
            drop(reply.send(Err(OpenStreamError::Unreachable)));
        }
    }

    fn handler(&self, peer: &PeerId) -> Result<Handler, ConnectionDenied> {
        let peer = from_libp2p(peer).ok_or_else(|| ConnectionDenied::new(NotEd25519))?;
        Ok(Handler { peer, inbound: self.inbound.clone(), opening: VecDeque::new(), waker: None })
    }
}

/// A peer's key is of another kind than this network admits.
#[derive(Debug, thiserror::Error)]
#[error("peer has no ed25519 key")]
struct NotEd25519;

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        self.handler(&peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        self.handler(&peer)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(it) => {
                self.connections.entry(it.peer_id).or_default().push(it.connection_id);
                for reply in self.waiting.remove(&it.peer_id).into_iter().flatten() {
                    self.open(it.peer_id, reply);
                }
            }
            FromSwarm::ConnectionClosed(it) => {
                if let Some(all) = self.connections.get_mut(&it.peer_id) {
                    all.retain(|connection| *connection != it.connection_id);
                    if all.is_empty() {
                        self.connections.remove(&it.peer_id);
                    }
                }
            }
            FromSwarm::DialFailure(it) => {
                // A dial that was not made because another is under way fails nobody: that one will tell.
                let under_way = matches!(it.error, DialError::DialPeerConditionFalse(_));
                if let (Some(peer), false) = (it.peer_id, under_way) {
                    self.fail(&peer);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
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
pub(crate) struct Handler {
    peer: reg_proto::peer::PeerId,
    inbound: mpsc::Sender<InboundStream>,
    opening: VecDeque<Reply>,
    waker: Option<Waker>,
}

impl Handler {
    fn accept(&self, stream: Stream) {
        let (reader, writer) = split(stream);
        let peer = self.peer;
        if self.inbound.try_send(InboundStream { peer, reader, writer }).is_err() {
            tracing::warn!(%peer, "a blob stream finds no room and is closed");
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Infallible;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Reply;

    fn listen_protocol(&self) -> SubstreamProtocol<ReadyUpgrade<StreamProtocol>> {
        SubstreamProtocol::new(ReadyUpgrade::new(StreamProtocol::new(BLOB_PROTOCOL)), ())
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, Reply, Infallible>> {
        match self.opening.pop_front() {
            Some(reply) => {
                let upgrade = ReadyUpgrade::new(StreamProtocol::new(BLOB_PROTOCOL));
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
                drop(info.send(Ok(split(protocol))));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                drop(info.send(Err(match error {
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
