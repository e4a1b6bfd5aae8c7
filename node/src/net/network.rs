//! [`Network`]: the handle, cloneable and free of libp2p's types.

use libp2p::Multiaddr;
use reg_proto::announcement::{Announcement, Holder};
use reg_proto::dht::DhtKey;
use reg_proto::lane::LaneToken;
use reg_proto::peer::{Address, PeerId};
use reg_proto::wire::{Request, Response};
use tokio::sync::{mpsc, oneshot};

use super::command::{Command, Opened};
use super::config::{DhtMode, NetworkConfig};
use super::error::{AskError, ConnectError, OpenStreamError, StartError};
use super::inbound::Inbound;
use super::lane::{LaneError, LaneReader, LaneTicket, Lanes};
use super::limits::PROVIDERS_TOLD_MAX;
use super::links::PeerInfo;
use super::protocol::reachability::Reachability;
use super::reach::is_near;
use super::start::{Started, start};

/// The network as the rest of the node sees it. Cheap to clone. When the last one is gone, the node disconnects.
#[derive(Debug, Clone)]
pub struct Network {
    peer: PeerId,
    gossips: bool,
    finds_others: bool,
    /// `None` offline.
    commands: Option<mpsc::Sender<Command>>,
    /// `None` where there are none.
    lanes: Option<Lanes>,
}

impl Network {
    /// Connects a node.
    ///
    /// # Errors
    /// An address that is none or cannot be listened on, or a protocol that cannot be set up.
    pub async fn start(config: NetworkConfig) -> Result<(Self, Inbound), StartError> {
        let gossips = config.gossip;
        let finds_others = config.mdns || config.dht != DhtMode::Off || !config.bootstrap.is_empty();
        let Started { peer, commands, inbound, lanes } = start(config).await?;
        Ok((Self { peer, gossips, finds_others, commands: Some(commands), lanes }, inbound))
    }

    /// Returns a network of nobody: every call says that the node is offline, or finds nothing.
    pub const fn offline(peer: PeerId) -> Self {
        Self { peer, gossips: false, finds_others: false, commands: None, lanes: None }
    }

    /// Tells whether this node has been told not to connect.
    pub const fn is_offline(&self) -> bool {
        self.commands.is_none()
    }

    /// Tells whether this node takes part in gossip.
    pub const fn gossips(&self) -> bool {
        self.gossips
    }

    /// Tells whether this node gets to know peers by itself: from neighbours, the DHT, or peers to connect to at the start.
    pub const fn finds_others(&self) -> bool {
        self.finds_others
    }

    /// Returns who this node is.
    pub const fn peer_id(&self) -> PeerId {
        self.peer
    }

    /// Returns the addresses that this node listens on, each with its peer id.
    pub async fn listen_addresses(&self) -> Vec<Address> {
        self.call(Command::ListenAddresses).await.unwrap_or_default()
    }

    /// Returns the addresses of this node that are fit to be told to `peer`: private ones only where it is connected over
    /// the same kind of network.
    pub async fn addresses_for(&self, peer: PeerId) -> Vec<Address> {
        self.call(|reply| Command::AddressesFor { peer, reply }).await.unwrap_or_default()
    }

    /// Connects to an address that the user gave, and returns who is there. Its range is open from then on.
    ///
    /// # Errors
    /// No address, nobody there, or this node itself.
    pub async fn connect(&self, address: &Address) -> Result<PeerId, ConnectError> {
        let parsed: Multiaddr = address
            .as_str()
            .parse()
            .map_err(|source| ConnectError::Address { address: address.clone(), source })?;
        let shown = address.clone();
        self.call(|reply| Command::Connect { shown, address: parsed, reply })
            .await
            .unwrap_or(Err(ConnectError::Offline))
    }

    /// Connects to a peer that somebody told of, as far as its addresses may be dialled; returns when that is done or has
    /// failed.
    pub async fn dial_hint(&self, peer: PeerId, addresses: Vec<Address>, told_by: Option<PeerId>) {
        self.call(|reply| Command::DialHint { peer, addresses, told_by, reply }).await;
    }

    /// Asks a peer, connecting to it where an address is known.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(&self, peer: PeerId, request: Request) -> Result<Response, AskError> {
        self.call(|reply| Command::Ask { peer, request, reply }).await.unwrap_or(Err(AskError::Offline))
    }

    /// Opens a blob stream to a peer, connecting to it where an address is known.
    ///
    /// # Errors
    /// See [`OpenStreamError`].
    pub async fn open_stream(&self, peer: PeerId) -> Result<Opened, OpenStreamError> {
        self.call(|reply| Command::OpenStream { peer, reply }).await.unwrap_or(Err(OpenStreamError::Offline))
    }

    /// Makes an offer of a lane to a puller, if this node has lanes and room for one.
    pub fn offer_lane(&self, peer: PeerId) -> Option<LaneTicket> {
        self.lanes.as_ref()?.offer(peer)
    }

    /// Tells whether a peer is in a network of one's own, over every connection to it; a relay's is not.
    pub async fn is_near(&self, peer: PeerId) -> bool {
        let addresses = self.call(|reply| Command::RemoteIps { peer, reply }).await.unwrap_or_default();
        !addresses.is_empty() && addresses.into_iter().all(is_near)
    }

    /// Tells whether this node takes lanes.
    pub const fn has_lanes(&self) -> bool {
        self.lanes.is_some()
    }

    /// Notes that a peer has offered no lane though it was asked for one.
    pub fn note_no_offer(&self, peer: PeerId) {
        if let Some(lanes) = &self.lanes {
            lanes.note(peer, "the peer offers no lane");
        }
    }

    /// Connects to a lane that `peer` has offered, at an address by which it is connected directly and nowhere else.
    ///
    /// # Errors
    /// See [`LaneError`].
    pub async fn dial_lane(
        &self,
        peer: PeerId,
        ports: &[u16],
        token: LaneToken,
    ) -> Result<LaneReader, LaneError> {
        let lanes = self.lanes.as_ref().ok_or(LaneError::Off)?;
        let addresses = self.call(|reply| Command::RemoteIps { peer, reply }).await.unwrap_or_default();
        lanes.dial(peer, &addresses, ports, token).await
    }

    /// Looks for providers of a key in the DHT; they come as they are found, until the query ends.
    pub async fn providers(&self, key: DhtKey) -> mpsc::Receiver<PeerId> {
        let (found, providers) = mpsc::channel(PROVIDERS_TOLD_MAX);
        self.tell(Command::Providers { key, found }).await;
        providers
    }

    /// Provides a key in the DHT for as long as the node lives.
    pub async fn provide(&self, key: DhtKey) {
        self.tell(Command::Provide(key)).await;
    }

    /// Gossips an announcement.
    pub async fn announce(&self, announcement: Announcement) {
        self.tell(Command::Announce(Box::new(announcement))).await;
    }

    /// Tells whether others reach this node; `None` offline.
    pub async fn reachability(&self) -> Option<Reachability> {
        self.call(Command::Reachability).await
    }

    /// Returns whom this node is connected to, as it would tell `asker`: with the addresses that are fit for it.
    pub async fn acquaintances(&self, asker: PeerId) -> Vec<Holder> {
        self.call(|reply| Command::Acquaintances { asker, reply }).await.unwrap_or_default()
    }

    /// Returns the peers that are connected and speak our protocols, who has been here for longest first.
    pub async fn connected(&self) -> Vec<PeerId> {
        self.call(Command::Connected).await.unwrap_or_default()
    }

    /// Returns what is known of the peers that are connected.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        let mut peers = self.call(Command::Peers).await.unwrap_or_default();
        for info in &mut peers {
            match &self.lanes {
                Some(lanes) => {
                    info.lanes = lanes.count(&info.peer);
                    info.no_lane = lanes.missing(&info.peer).filter(|_| info.lanes == 0);
                }
                None => info.no_lane = Some("this node has no lanes".to_owned()),
            }
        }
        peers
    }

    /// Disconnects.
    pub async fn shutdown(&self) {
        self.call(Command::Shutdown).await;
    }

    async fn tell(&self, command: Command) {
        if let Some(commands) = &self.commands {
            drop(commands.send(command).await);
        }
    }

    /// Sends a command and waits for its answer; `None` offline, or where the event loop has ended.
    async fn call<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.as_ref()?.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}
