//! [`Lanes`]: listens for lanes, offers them to pullers, and connects to those that peers offer.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libp2p::identity::Keypair;
use reg_proto::bounded::Bounded;
use reg_proto::lane::{LANE_PORTS_MAX, LANE_TOKEN_LEN, LaneToken};
use reg_proto::peer::PeerId;
use reg_proto::wire::Frame;
use rustls::{ClientConfig, ServerConfig};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tracing::{debug, info};

use super::error::LaneError;
use super::open::{Direction, LaneEnd, OpenLanes};
use super::reach::reach;
use super::reader::LaneReader;
use super::record::{Opener, Sealer};
use super::tls;
use super::tokens::Tokens;
use super::writer::LaneWriter;
use crate::net::limits::{
    LANE_HANDSHAKE_TIMEOUT, LANE_HANDSHAKES_MAX, LANE_HANDSHAKES_PER_ADDRESS_MAX, LANE_NOTES_MAX, LANE_STALL,
    LANES_FETCHING_MANY,
};

/// Why a node has no lanes.
#[derive(Debug, Error)]
pub(in crate::net) enum LanesError {
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    #[error("{address} cannot be listened on")]
    Listen { address: SocketAddr, source: io::Error },
}

/// The lanes of a node. Cheap to clone; when the last clone is dropped, the node stops listening for lanes.
#[derive(Debug, Clone)]
pub(in crate::net) struct Lanes {
    host: Arc<Host>,
    _accepting: Arc<JoinSet<()>>,
}

#[derive(Debug)]
struct Host {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    /// The TCP ports that listen for lanes.
    ports: Vec<u16>,
    tokens: Mutex<Tokens<oneshot::Sender<LaneWriter>>>,
    open: OpenLanes,
    /// Why there is no lane to a peer or from it.
    missing: Mutex<BTreeMap<PeerId, String>>,
    handshakes: Arc<Semaphore>,
    handshakes_by_address: Mutex<BTreeMap<IpAddr, usize>>,
}

/// An offer to a puller, and the lane once the puller has connected.
#[derive(Debug)]
pub struct LaneTicket {
    pub ports: Bounded<u16, LANE_PORTS_MAX>,
    pub token: LaneToken,
    /// Yields the lane; closes where the puller does not connect in time.
    pub lane: oneshot::Receiver<LaneWriter>,
}

impl Lanes {
    /// Listens beside each TCP address of the swarm: on the next port, or on any where that one is taken.
    ///
    /// # Errors
    /// Fails where TLS cannot be set up, or where no port of an address can be bound.
    pub(in crate::net) async fn start(keypair: &Keypair, beside: &[SocketAddr]) -> Result<Self, LanesError> {
        let (client, server) = tls::configs(keypair)?;
        let mut listeners = Vec::new();
        for address in beside.iter().take(LANE_PORTS_MAX) {
            listeners.push(listen(*address).await?);
        }
        let mut ports: Vec<u16> =
            listeners.iter().filter_map(|it| it.local_addr().ok()).map(|it| it.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        let host = Arc::new(Host {
            client,
            server,
            ports,
            tokens: Mutex::new(Tokens::new()),
            open: OpenLanes::default(),
            missing: Mutex::default(),
            handshakes: Arc::new(Semaphore::new(LANE_HANDSHAKES_MAX)),
            handshakes_by_address: Mutex::default(),
        });
        let mut accepting = JoinSet::new();
        for listener in listeners {
            accepting.spawn(accept_all(host.clone(), listener));
        }
        Ok(Self { host, _accepting: Arc::new(accepting) })
    }

    /// Makes an offer to a puller; returns `None` where there is no room for its lane.
    pub(in crate::net) fn offer(&self, peer: PeerId) -> Option<LaneTicket> {
        let host = &self.host;
        if host.ports.is_empty() || !host.open.has_room(peer, Direction::ToPeer) {
            return None;
        }
        let mut bytes = [0; LANE_TOKEN_LEN];
        getrandom::fill(&mut bytes).ok()?;
        let (token, (admits, lane)) = (LaneToken::from_bytes(bytes), oneshot::channel());
        let is_added = lock(&host.tokens).add(Instant::now(), token, peer, admits);
        host.note(peer, "a lane was offered, and the peer has not come");
        is_added.then(|| LaneTicket { ports: Bounded::first_of(host.ports.iter().copied()), token, lane })
    }

    /// Connects to a lane that `peer` has offered, at the IP addresses of its direct connections.
    pub(in crate::net) async fn dial(
        &self,
        peer: PeerId,
        addresses: &[IpAddr],
        ports: &[u16],
        token: LaneToken,
    ) -> Result<LaneReader, LaneError> {
        let lane = self.connect(peer, addresses, ports, token).await;
        if let Err(error) = &lane {
            let cause = error.source().map_or_else(String::new, |source| format!(": {source}"));
            self.host.note(peer, &format!("{error}{cause} (port {})", shown(ports)));
        }
        lane
    }

    async fn connect(
        &self,
        peer: PeerId,
        addresses: &[IpAddr],
        ports: &[u16],
        token: LaneToken,
    ) -> Result<LaneReader, LaneError> {
        let open = self.host.open.enter(peer, Direction::FromPeer).ok_or(LaneError::Refused)?;
        let socket = reach(addresses, ports).await?;
        let handshake = shake_hands(self.host.client.clone(), socket, peer, token);
        let (socket, opener) =
            timeout(LANE_HANDSHAKE_TIMEOUT, handshake).await.map_err(|_| LaneError::Timeout)??;
        let mut end = UntilOpen(Some(LaneEnd::of(&socket)?));
        let admitted = tokio::task::spawn_blocking(move || {
            let mut reader = LaneReader::new(socket, opener, open);
            reader.wait_open().map(|()| reader)
        });
        match timeout(LANE_HANDSHAKE_TIMEOUT, admitted).await {
            Ok(Ok(Ok(reader))) => {
                end.0 = None;
                lock(&self.host.missing).remove(&peer);
                Ok(reader)
            }
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(_)) => Err(LaneError::Refused),
            Err(_) => Err(LaneError::Timeout),
        }
    }

    /// Records why there is no lane to a peer.
    pub(in crate::net) fn note(&self, peer: PeerId, why: &str) {
        self.host.note(peer, why);
    }

    /// Returns why there is no lane to a peer or from it, where one was tried.
    pub(in crate::net) fn missing(&self, peer: &PeerId) -> Option<String> {
        lock(&self.host.missing).get(peer).cloned()
    }

    /// Tells whether so many lanes from all peers are open that no slow peer needs another one.
    pub(in crate::net) fn are_many(&self) -> bool {
        self.host.open.of_all() >= LANES_FETCHING_MANY
    }

    /// Returns how many lanes are open to a peer and from it.
    pub(in crate::net) fn count(&self, peer: &PeerId) -> usize {
        self.host.open.count(*peer)
    }
}

fn shown(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

/// Closes a lane if its caller stops waiting before it is open, so that the lane's thread ends.
struct UntilOpen(Option<LaneEnd>);

impl Drop for UntilOpen {
    fn drop(&mut self) {
        self.0.iter().for_each(LaneEnd::close);
    }
}

/// Binds the port after that of an address of the swarm, or any port where that one is taken.
async fn listen(beside: SocketAddr) -> Result<TcpListener, LanesError> {
    let next = beside.port().checked_add(1).filter(|_| beside.port() != 0);
    if let Some(port) = next
        && let Ok(listener) = TcpListener::bind(SocketAddr::new(beside.ip(), port)).await
    {
        return Ok(listener);
    }
    let address = SocketAddr::new(beside.ip(), 0);
    TcpListener::bind(address).await.map_err(|source| LanesError::Listen { address, source })
}

/// Proves the two peers to each other, sends the token, and takes the keys over from rustls.
async fn shake_hands(
    config: Arc<ClientConfig>,
    socket: TcpStream,
    peer: PeerId,
    token: LaneToken,
) -> Result<(std::net::TcpStream, Opener), LaneError> {
    socket.set_nodelay(true)?;
    // rustls wants a server name. It is not sent and means nothing: the certificate proves the peer id.
    let name = "lane.invalid".try_into().map_err(|_| LaneError::OtherProtocol)?;
    let mut stream = TlsConnector::from(config).connect(name, socket).await.map_err(LaneError::Handshake)?;
    if tls::peer_of(stream.get_ref().1)? != peer {
        return Err(LaneError::OtherPeer);
    }
    stream.write_all(token.as_bytes()).await?;
    stream.flush().await?;
    let (socket, connection) = stream.into_inner();
    let secrets = connection.dangerous_extract_secrets().map_err(|_| LaneError::OtherProtocol)?;
    Ok((blocking(socket)?, Opener::new(secrets.rx)?))
}

fn blocking(socket: TcpStream) -> io::Result<std::net::TcpStream> {
    let socket = socket.into_std()?;
    socket.set_nonblocking(false)?;
    Ok(socket)
}

async fn accept_all(host: Arc<Host>, listener: TcpListener) {
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, address)) => {
                    // No token waits, or too many handshakes are under way: the connection is closed at once.
                    let Some(turn) = host.turn(address.ip()) else { continue };
                    let host = host.clone();
                    handshakes.spawn(async move {
                        let admitted = timeout(LANE_HANDSHAKE_TIMEOUT, admit(&host, socket)).await;
                        match admitted.unwrap_or(Err(LaneError::Timeout)) {
                            Ok(peer) => debug!(%peer, "a lane is open"),
                            Err(error) => debug!(%address, %error, "a lane is not admitted"),
                        }
                        drop(turn);
                    });
                }
                Err(error) => {
                    info!(%error, "no lane can be accepted for 100 ms");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_done) = handshakes.join_next() => {}
        }
    }
}

/// Admits a puller that sends its token, and hands the lane to the task that offered it.
async fn admit(host: &Arc<Host>, socket: TcpStream) -> Result<PeerId, LaneError> {
    socket.set_nodelay(true)?;
    let acceptor = TlsAcceptor::from(host.server.clone());
    let mut stream = acceptor.accept(socket).await.map_err(LaneError::Handshake)?;
    let peer = tls::peer_of(stream.get_ref().1)?;
    let mut token = [0; LANE_TOKEN_LEN];
    stream.read_exact(&mut token).await?;
    let admits = lock(&host.tokens).redeem(Instant::now(), &LaneToken::from_bytes(token), &peer);
    let admits = admits.ok_or(LaneError::Refused)?;
    let open = host.open.enter(peer, Direction::ToPeer).ok_or(LaneError::Refused)?;
    let (socket, connection) = stream.into_inner();
    let secrets = connection.dangerous_extract_secrets().map_err(|_| LaneError::OtherProtocol)?;
    let socket = blocking(socket)?;
    socket.set_write_timeout(Some(LANE_STALL))?;
    let mut writer = LaneWriter::new(socket, Sealer::new(secrets.tx)?, open);
    // A few bytes into an empty socket do not block.
    writer.send(&Frame::LaneOpen)?;
    admits.send(writer).map_err(|_| LaneError::Refused)?;
    lock(&host.missing).remove(&peer);
    Ok(peer)
}

impl Host {
    fn note(&self, peer: PeerId, why: &str) {
        let mut missing = lock(&self.missing);
        if missing.len() < LANE_NOTES_MAX || missing.contains_key(&peer) {
            missing.insert(peer, why.to_owned());
        }
    }

    /// Lets a new connection begin its handshake, within the bounds; returns `None` where no token waits.
    fn turn(self: &Arc<Self>, address: IpAddr) -> Option<Turn> {
        if !lock(&self.tokens).is_any(Instant::now()) {
            return None;
        }
        let permit = self.handshakes.clone().try_acquire_owned().ok()?;
        let mut by_address = lock(&self.handshakes_by_address);
        let under_way = by_address.entry(address).or_default();
        if *under_way >= LANE_HANDSHAKES_PER_ADDRESS_MAX {
            return None;
        }
        *under_way += 1;
        Some(Turn { host: self.clone(), address, _permit: permit })
    }
}

/// A handshake that is under way.
struct Turn {
    host: Arc<Host>,
    address: IpAddr,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut by_address = lock(&self.host.handshakes_by_address);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

/// These locks guard plain data that is consistent after every statement, so a panic of another thread does not spoil
/// it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
