//! [`Dialling`]: the dials that a caller waits for.
//!
//! libp2p bounds them: it refuses a dial while [`CONNECTIONS_PENDING_MAX`](super::limits::CONNECTIONS_PENDING_MAX) are
//! under way.

use std::collections::HashMap;

use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, Swarm};
use reg_proto::peer::{Address, PeerId};
use tokio::sync::oneshot;

use super::behaviour::Behaviour;
use super::error::ConnectError;
use super::links::to_libp2p;

/// The callers that wait, by the connection that each waits for.
#[derive(Debug, Default)]
pub(super) struct Dialling(HashMap<ConnectionId, Waiting>);

/// A caller that waits for a dial.
#[derive(Debug)]
enum Waiting {
    /// Wants to know which peer answers at `shown`, or why none does.
    Connect { shown: Address, reply: oneshot::Sender<Result<PeerId, ConnectError>> },
    /// Wants to know when the dial has ended.
    Hint(oneshot::Sender<()>),
}

impl Dialling {
    /// Dials `address`; the reply names the peer that answers, or says why none does. Errors name the address `shown`.
    pub(super) fn connect(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        shown: Address,
        address: &Multiaddr,
        reply: oneshot::Sender<Result<PeerId, ConnectError>>,
    ) {
        let options = options(address);
        let connection = options.connection_id();
        match swarm.dial(options) {
            Ok(()) => drop(self.0.insert(connection, Waiting::Connect { shown, reply })),
            Err(error) => drop(reply.send(Err(connect_error(shown, error)))),
        }
    }

    /// Dials `peer` at `addresses`, unless it is connected or is being dialled; the reply comes when the dial has
    /// ended.
    pub(super) fn hint(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        peer: &PeerId,
        addresses: Vec<Multiaddr>,
        reply: oneshot::Sender<()>,
    ) {
        let condition = PeerCondition::DisconnectedAndNotDialing;
        let options = DialOpts::peer_id(to_libp2p(peer)).condition(condition).addresses(addresses).build();
        let connection = options.connection_id();
        match swarm.dial(options) {
            Ok(()) => drop(self.0.insert(connection, Waiting::Hint(reply))),
            Err(_) => answer(reply),
        }
    }

    /// Tells the caller that waits for this connection, if there is one, that `peer` has answered.
    pub(super) fn connected(&mut self, connection: ConnectionId, peer: PeerId) {
        match self.0.remove(&connection) {
            Some(Waiting::Connect { reply, .. }) => drop(reply.send(Ok(peer))),
            Some(Waiting::Hint(reply)) => answer(reply),
            None => {}
        }
    }

    /// Tells the caller that waits for this connection, if there is one, why it was not made.
    pub(super) fn failed(&mut self, connection: ConnectionId, error: DialError) {
        match self.0.remove(&connection) {
            Some(Waiting::Connect { shown, reply }) => drop(reply.send(Err(connect_error(shown, error)))),
            Some(Waiting::Hint(reply)) => answer(reply),
            None => tracing::debug!(%error, "a dial failed"),
        }
    }
}

fn answer(reply: oneshot::Sender<()>) {
    let _heard = reply.send(());
}

fn connect_error(address: Address, error: DialError) -> ConnectError {
    match error {
        DialError::LocalPeerId { .. } => ConnectError::Own { address },
        error => ConnectError::Dial { address, source: Box::new(error) },
    }
}

/// Returns the peer that an address names.
pub(super) fn peer_of(address: &Multiaddr) -> Option<libp2p::PeerId> {
    address.iter().find_map(|part| match part {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    })
}

/// Returns options that dial an address as it was given. Where it names a peer, the dial is made only while that peer
/// is not connected.
pub(super) fn options(address: &Multiaddr) -> DialOpts {
    match peer_of(address) {
        Some(peer) => DialOpts::peer_id(peer)
            .condition(PeerCondition::Disconnected)
            .addresses(vec![address.clone()])
            .build(),
        None => DialOpts::unknown_peer_id().address(address.clone()).build(),
    }
}
