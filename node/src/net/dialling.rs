//! [`Dialling`]: the dials that a caller waits for.
//!
//! libp2p bounds them: it refuses a dial while [`CONNECTIONS_PENDING_MAX`](super::limits::CONNECTIONS_PENDING_MAX) are
//! under way.

use std::collections::HashMap;
use std::io::{self, ErrorKind};

use libp2p::core::transport::TransportError;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, Swarm};
use reg_api::fault;
use reg_proto::peer::{Address, PeerId};
use tokio::sync::oneshot;

use super::behaviour::Behaviour;
use super::error::{ConnectError, DialFailure};
use super::links::to_libp2p;
use super::reach::OpenRanges;
use super::transport::NOT_OPEN;

/// The callers that wait, by the connection that each waits for.
#[derive(Debug)]
pub(super) struct Dialling {
    waiting: HashMap<ConnectionId, Waiting>,
    ranges: OpenRanges,
}

/// A caller that waits for a dial.
#[derive(Debug)]
enum Waiting {
    /// Wants to know which peer answers at `shown`, or why none does.
    Connect { shown: Address, reply: oneshot::Sender<Result<PeerId, ConnectError>> },
    /// Wants to know when the dial has ended. Until then, the addresses `allowed` may be dialled, whatever their range.
    Hint { allowed: Vec<Multiaddr>, reply: oneshot::Sender<()> },
}

impl Dialling {
    pub(super) fn new(ranges: OpenRanges) -> Self {
        Self { waiting: HashMap::new(), ranges }
    }

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
            Ok(()) => drop(self.waiting.insert(connection, Waiting::Connect { shown, reply })),
            Err(error) => drop(reply.send(Err(connect_error(shown, error)))),
        }
    }

    /// Dials `peer` at `addresses`, unless it is connected or is being dialled; the reply comes when the dial has
    /// ended. Where the user was given the addresses, each of them may be dialled.
    pub(super) fn hint(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        peer: &PeerId,
        addresses: Vec<Multiaddr>,
        is_given: bool,
        reply: oneshot::Sender<()>,
    ) {
        let allowed = if is_given { addresses.clone() } else { Vec::new() };
        let condition = PeerCondition::DisconnectedAndNotDialing;
        let options = DialOpts::peer_id(to_libp2p(peer)).condition(condition).addresses(addresses).build();
        let connection = options.connection_id();
        allowed.iter().for_each(|address| self.ranges.allow(address));
        match swarm.dial(options) {
            Ok(()) => drop(self.waiting.insert(connection, Waiting::Hint { allowed, reply })),
            Err(_) => self.answer(&allowed, reply),
        }
    }

    /// Tells the caller that waits for this connection, if there is one, that `peer` has answered.
    pub(super) fn connected(&mut self, connection: ConnectionId, peer: PeerId) {
        match self.waiting.remove(&connection) {
            Some(Waiting::Connect { reply, .. }) => drop(reply.send(Ok(peer))),
            Some(Waiting::Hint { allowed, reply }) => self.answer(&allowed, reply),
            None => {}
        }
    }

    /// Tells the caller that waits for this connection, if there is one, why it was not made.
    pub(super) fn failed(&mut self, connection: ConnectionId, error: DialError) {
        match self.waiting.remove(&connection) {
            Some(Waiting::Connect { shown, reply }) => drop(reply.send(Err(connect_error(shown, error)))),
            Some(Waiting::Hint { allowed, reply }) => self.answer(&allowed, reply),
            None => tracing::debug!(%error, "a dial failed"),
        }
    }

    fn answer(&self, allowed: &[Multiaddr], reply: oneshot::Sender<()>) {
        allowed.iter().for_each(|address| self.ranges.disallow(address));
        let _heard = reply.send(());
    }
}

fn connect_error(address: Address, error: DialError) -> ConnectError {
    match error {
        DialError::LocalPeerId { .. } => ConnectError::Own { address },
        error => ConnectError::Dial { address, source: failure(&error) },
    }
}

/// Returns why a dial failed, in the words of its user.
fn failure(error: &DialError) -> DialFailure {
    match error {
        DialError::WrongPeerId { obtained, .. } => DialFailure::OtherPeer { found: obtained.to_string() },
        DialError::Denied { .. } => DialFailure::Denied,
        DialError::Transport(tried) => tried.last().map_or(DialFailure::Aborted, |(_, error)| unmade(error)),
        DialError::NoAddresses => DialFailure::Transport,
        DialError::LocalPeerId { .. } | DialError::DialPeerConditionFalse(_) | DialError::Aborted => {
            DialFailure::Aborted
        }
    }
}

/// Returns why a connection was not made.
fn unmade(error: &TransportError<io::Error>) -> DialFailure {
    let TransportError::Other(error) = error else { return DialFailure::Transport };
    let text = innermost(error);
    if text == NOT_OPEN {
        return DialFailure::Private;
    }
    match fault::system_call(Some(error)).map(io::Error::kind).or_else(|| system_error(&text)) {
        Some(ErrorKind::ConnectionRefused) => return DialFailure::Refused,
        Some(ErrorKind::TimedOut) => return DialFailure::TimedOut,
        Some(
            ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::AddrNotAvailable,
        ) => return DialFailure::NoRoute,
        Some(
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe,
        ) => return DialFailure::Closed,
        _ => {}
    }
    // The types of these errors are private to libp2p's transports.
    match text.to_lowercase() {
        it if it.contains("timeout") || it.contains("timed out") => DialFailure::TimedOut,
        it if it.contains("unsupported") => DialFailure::Transport,
        it if it.contains("negotiation failed") => DialFailure::Closed,
        _ => DialFailure::Other { text },
    }
}

/// Returns the kind of the system's error that a text ends with, as in `Connection refused (os error 111)`. libp2p's combined
/// transports pass on what such an error says, and not the error.
fn system_error(text: &str) -> Option<ErrorKind> {
    let (_, number) = text.rsplit_once("(os error ")?;
    let number = number.strip_suffix(')')?.parse().ok()?;
    Some(io::Error::from_raw_os_error(number).kind())
}

/// Returns what the innermost cause of an error says.
fn innermost(error: &io::Error) -> String {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    loop {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match inner.map(|it| it as &(dyn std::error::Error + 'static)).or_else(|| cause.source()) {
            Some(inner) => inner,
            None => return cause.to_string(),
        };
    }
}

/// Returns the peer at the end of an address. The relay on the way to it is another one.
pub(super) fn peer_of(address: &Multiaddr) -> Option<libp2p::PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::net::{Network, NetworkConfig};

    async fn started(seed: u8) -> Network {
        let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        Network::start(NetworkConfig { listen, ..NetworkConfig::quiet([seed; 32]) }).await.unwrap().0
    }

    #[test]
    fn an_address_through_a_relay_names_the_peer_at_its_end() {
        let [relay, peer] = [1, 2].map(|byte| to_libp2p(&PeerId::from_public_key([byte; 32])));
        let of = |text: String| peer_of(&text.parse().unwrap());
        let through = format!("/ip4/192.0.2.1/tcp/1/p2p/{relay}/p2p-circuit");
        assert_eq!(of(format!("{through}/p2p/{peer}")), Some(peer));
        assert_eq!(of(through), None);
        assert_eq!(of(format!("/ip4/192.0.2.1/tcp/1/p2p/{relay}")), Some(relay));
        assert_eq!(of("/ip4/192.0.2.1/tcp/1".to_owned()), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_dial_that_fails_says_why_in_plain_words() {
        let (node, other) = (started(1).await, started(2).await);
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let hangs_up = TcpListener::bind("127.0.0.1:0").unwrap();
        let rude = hangs_up.local_addr().unwrap().port();
        std::thread::spawn(move || while hangs_up.accept().is_ok() {});
        let listens = other.listen_addresses().await;
        let tcp = listens.iter().find(|it| it.as_str().contains("/tcp/")).unwrap().as_str();
        let tcp = tcp.split("/p2p/").next().unwrap();
        let stranger = PeerId::from_public_key([9; 32]);
        for (address, expected) in [
            (format!("/ip4/127.0.0.1/tcp/{closed}"), "connection refused"),
            (format!("/ip4/127.0.0.1/tcp/{closed}/p2p/{stranger}"), "connection refused"),
            (format!("/dns4/localhost/tcp/{closed}"), "connection refused"),
            (format!("/ip4/127.0.0.1/tcp/{rude}"), "closed during the handshake"),
            (format!("{tcp}/p2p/{stranger}"), "another peer answers there"),
            (format!("/ip4/127.0.0.1/tcp/{closed}/ws"), "does not speak that transport"),
        ] {
            let error = node.connect(&address.parse().unwrap()).await.unwrap_err();
            let ConnectError::Dial { source, .. } = &error else { panic!("{address}: {error:?}") };
            assert!(source.to_string().contains(expected), "{address}: {source}");
        }
    }
}
