//! [`Network`]: the handle of the event loop, cloneable and without libp2p's types.

use libp2p::Multiaddr;
use reg_api::reachability::Reachability;
use reg_api::report::DhtKeys;
use reg_proto::announcement::{Announcement, Holder};
use reg_proto::dht::DhtKey;
use reg_proto::lane::LaneToken;
use reg_proto::peer::{Address, PeerId};
use reg_proto::swarm::Protocols;
use reg_proto::wire::{Request, Response};
use tokio::sync::{mpsc, oneshot};

use super::ahead::{Ahead, OpenedAhead};
use super::command::{Command, Opened};
use super::config::{DhtMode, NetworkConfig};
use super::error::{AskError, ConnectError, OpenStreamError, StartError};
use super::inbound::Inbound;
use super::lane::{LaneError, LaneReader, LaneTicket, Lanes};
use super::limits::PROVIDERS_TOLD_MAX;
use super::links::PeerInfo;
use super::protocol::provided::HeldKeys;
use super::reach::is_near;
use super::remembered::Remembered;
use super::rendezvous::Rendezvous;
use super::start::{Started, start};

/// The peers that turn up by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// Peers that the user has named for the start.
    Bootstrap,
    /// Nodes of the local network, found by mDNS.
    Neighbours,
    /// Peers that this node has met before, and is dialling for the first time since its start.
    Remembered,
}

/// The handle of the network. Cheap to clone. When the last clone is dropped, the node disconnects.
#[derive(Debug, Clone)]
pub struct Network {
    peer: PeerId,
    gossips: bool,
    finds_others: bool,
    awaits_peers: Option<Awaited>,
    pub(super) remembered: Remembered,
    /// `None` while the node is offline.
    pub(super) commands: Option<mpsc::Sender<Command>>,
    /// `None` where the node has no lanes.
    lanes: Option<Lanes>,
    ahead: Ahead,
    /// `None` while the node is offline, and in a private swarm.
    rendezvous: Option<Rendezvous>,
}

impl Network {
    /// Draws a random number in a thread of its own. The first one of a process takes 40 ms of processor time (aws-lc measures the
    /// jitter of the processor), and else the first handshake would wait for it.
    pub fn prepare() {
        // Where no thread can be started, the first handshake draws it.
        let _drawn_later_is_fine = std::thread::Builder::new().spawn(|| aws_lc_rs::rand::fill(&mut [0]));
    }

    /// Starts the network of a node, and returns its handle and what peers ask of it.
    ///
    /// # Errors
    /// Fails where an address is malformed or cannot be listened on, or where a protocol cannot be set up.
    pub async fn start(config: NetworkConfig) -> Result<(Self, Inbound), StartError> {
        let gossips = config.gossip;
        let are_named = !config.bootstrap.is_empty() || !config.remembered.named().is_empty();
        let (remembered, rendezvous) = (config.remembered.clone(), config.rendezvous.clone());
        let finds_others = config.mdns || config.dht != DhtMode::Off || are_named;
        let finds_others = finds_others || (rendezvous.is_on && config.swarm.is_open());
        let awaits_peers = match (!are_named, config.mdns) {
            (false, _) => Some(Awaited::Bootstrap),
            (true, true) => Some(Awaited::Neighbours),
            (true, false) => None,
        };
        let (is_open, external) = (config.swarm.is_open(), config.nat.external.clone());
        let Started { peer, commands, inbound, lanes } = start(config).await?;
        let meet = || Rendezvous::start(rendezvous, &external, Protocols::public(), &commands);
        let rendezvous = is_open.then(meet);
        let (commands, ahead) = (Some(commands), Ahead::default());
        let found = Self {
            peer,
            gossips,
            finds_others,
            awaits_peers,
            remembered,
            commands,
            lanes,
            ahead,
            rendezvous,
        };
        Ok((found, inbound))
    }

    /// Returns a handle without a network: every call fails with "offline", or finds nothing. Peers can be added and removed.
    pub fn offline(peer: PeerId, remembered: Remembered) -> Self {
        let (commands, lanes, ahead, rendezvous) = (None, None, Ahead::default(), None);
        let (gossips, finds_others, awaits_peers) = (false, false, None);
        Self { peer, gossips, finds_others, awaits_peers, remembered, commands, lanes, ahead, rendezvous }
    }

    /// Tells whether this node runs without a network.
    pub const fn is_offline(&self) -> bool {
        self.commands.is_none()
    }

    /// Tells whether this node takes part in gossip.
    pub const fn gossips(&self) -> bool {
        self.gossips
    }

    /// Tells whether this node finds peers by itself: through mDNS, the DHT, bootstrap peers, or peers that it has met before.
    pub fn finds_others(&self) -> bool {
        self.finds_others || (self.commands.is_some() && self.remembered.are_pending())
    }

    /// Returns which peers may turn up by themselves. The DHT needs one of them.
    pub fn awaits_peers(&self) -> Option<Awaited> {
        match self.awaits_peers {
            Some(Awaited::Bootstrap) => Some(Awaited::Bootstrap),
            _ if self.commands.is_some() && self.remembered.are_pending() => Some(Awaited::Remembered),
            awaited => awaited,
        }
    }

    /// Returns the means to meet strangers; `None` while the node is offline, and in a private swarm.
    pub const fn rendezvous(&self) -> Option<&Rendezvous> {
        self.rendezvous.as_ref()
    }

    /// Tells whether this node meets strangers by itself.
    pub fn meets_strangers(&self) -> bool {
        self.rendezvous.as_ref().is_some_and(Rendezvous::is_on)
    }

    /// Returns the peer id of this node.
    pub const fn peer_id(&self) -> PeerId {
        self.peer
    }

    /// Returns the addresses that this node listens on, each with its peer id.
    pub async fn listen_addresses(&self) -> Vec<Address> {
        self.call(Command::ListenAddresses).await.unwrap_or_default()
    }

    /// Returns the addresses of this node that `peer` may be told: private ones only where `peer` is connected over the
    /// same range.
    pub async fn addresses_for(&self, peer: PeerId) -> Vec<Address> {
        self.call(|reply| Command::AddressesFor { peer, reply }).await.unwrap_or_default()
    }

    /// Connects to an address that the user gave, and returns the peer that answers. Opens the address's range for
    /// good.
    ///
    /// # Errors
    /// Fails where the address is malformed, no peer answers, or this node itself does.
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

    /// Connects to `peer` at `addresses`, which the peer `told_by` or a signed record named. Skips addresses that may
    /// not be dialled. Returns when the dial has ended, whether it succeeded or not.
    pub async fn dial_hint(&self, peer: PeerId, addresses: Vec<Address>, told_by: Option<PeerId>) {
        self.call(|reply| Command::DialHint { peer, addresses, told_by, is_given: false, reply }).await;
    }

    /// Connects to `peer` at `addresses` that the user was given, such as those of a ticket. Private ones among them may be dialled
    /// now, and open no range for others. Returns when the dial has ended, whether it succeeded or not.
    pub async fn dial_given(&self, peer: PeerId, addresses: Vec<Address>) {
        self.call(|reply| Command::DialHint { peer, addresses, told_by: None, is_given: true, reply }).await;
    }

    /// Sends `request` to a peer and returns its answer; dials the peer first where it is not connected.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(&self, peer: PeerId, request: Request) -> Result<Response, AskError> {
        self.call(|reply| Command::Ask { peer, request, reply }).await.unwrap_or(Err(AskError::Offline))
    }

    /// Opens a blob stream to a peer; dials the peer first where it is not connected.
    ///
    /// # Errors
    /// See [`OpenStreamError`].
    pub async fn open_stream(&self, peer: PeerId) -> Result<Opened, OpenStreamError> {
        self.call(|reply| Command::OpenStream { peer, reply }).await.unwrap_or(Err(OpenStreamError::Offline))
    }

    /// Begins to open a blob stream and a lane to a peer that is connected, because a download is likely to need them soon.
    pub fn open_ahead(&self, peer: PeerId) {
        self.ahead.begin(self.clone(), peer);
    }

    /// Returns the stream that [`Self::open_ahead`] has opened to a peer, if there is one.
    pub async fn take_ahead(&self, peer: PeerId) -> Option<OpenedAhead> {
        self.ahead.take(peer).await
    }

    /// Offers a lane to a puller; returns `None` where this node has no lanes or no room for one more.
    pub fn offer_lane(&self, peer: PeerId) -> Option<LaneTicket> {
        self.lanes.as_ref()?.offer(peer)
    }

    /// Tells whether every connection to a peer stays in a private network. A relayed connection does not.
    pub async fn is_near(&self, peer: PeerId) -> bool {
        let addresses = self.call(|reply| Command::RemoteIps { peer, reply }).await.unwrap_or_default();
        !addresses.is_empty() && addresses.into_iter().all(is_near)
    }

    /// Tells whether this node has lanes.
    pub const fn has_lanes(&self) -> bool {
        self.lanes.is_some()
    }

    /// Tells whether so many lanes from all peers are open that no slow peer needs another one.
    pub fn has_many_lanes(&self) -> bool {
        self.lanes.as_ref().is_some_and(Lanes::are_many)
    }

    /// Records that a peer has offered no lane when this node asked for one.
    pub fn note_no_offer(&self, peer: PeerId) {
        if let Some(lanes) = &self.lanes {
            lanes.note(peer, "the peer offers no lane");
        }
    }

    /// Connects to a lane that `peer` has offered, only at IP addresses of its direct connections.
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

    /// Looks up providers of a key in the DHT, and returns a channel that yields each as it is found. The channel
    /// closes when the query ends.
    pub async fn providers(&self, key: DhtKey) -> mpsc::Receiver<PeerId> {
        let (found, providers) = mpsc::channel(PROVIDERS_TOLD_MAX);
        let awaits_peers = self.awaits_peers().is_some();
        self.tell(Command::Providers { key, found, awaits_peers }).await;
        providers
    }

    /// Provides a key in the DHT for as long as the node lives, or leaves it to others while enough of them provide it.
    pub async fn provide(&self, key: DhtKey) {
        self.tell(Command::Provide { key, is_own: false }).await;
    }

    /// Provides the key of something that was published on this node, however many others provide it.
    pub async fn provide_own(&self, key: DhtKey) {
        self.tell(Command::Provide { key, is_own: true }).await;
    }

    /// Provides the keys of everything in the store, and gives up those of what is not there any more.
    pub async fn hold(&self, held: HeldKeys) {
        self.tell(Command::Hold(Box::new(held))).await;
    }

    /// Returns how many keys this node provides in the DHT, and how many it does not, and why.
    pub async fn dht_keys(&self) -> DhtKeys {
        self.call(Command::DhtKeys).await.unwrap_or_default()
    }

    /// Gossips an announcement.
    pub async fn announce(&self, announcement: Announcement) {
        self.tell(Command::Announce(Box::new(announcement))).await;
    }

    /// Returns how peers reach this node; `None` while it is offline.
    pub async fn reachability(&self) -> Option<Reachability> {
        self.call(Command::Reachability).await
    }

    /// Returns the connected peers that this node names to `asker`, each with the addresses that `asker` may be told.
    pub async fn acquaintances(&self, asker: PeerId) -> Vec<Holder> {
        self.call(|reply| Command::Acquaintances { asker, reply }).await.unwrap_or_default()
    }

    /// Returns the connected peers of this swarm, longest connected first.
    pub async fn connected(&self) -> Vec<PeerId> {
        self.call(Command::Connected).await.unwrap_or_default()
    }

    /// Describes the connected peers, and those of version 1 that were met and disconnected.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        let mut peers = self.call(Command::Peers).await.unwrap_or_default();
        for info in peers.iter_mut().filter(|it| !it.outdated) {
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

    /// Returns the peers of other swarms that were met lately: nodes of this project with another swarm key.
    pub async fn foreign(&self) -> Vec<PeerId> {
        let met = self.call(Command::Foreign).await.unwrap_or_default();
        met.into_iter().map(|info| info.peer).collect()
    }

    /// Disconnects a peer that has cost this node too much, and refuses connections to and from it for a while.
    pub async fn refuse(&self, peer: PeerId) {
        self.remembered.distrust(&peer);
        self.tell(Command::Refuse(peer)).await;
    }

    /// Disconnects from all peers, ends the event loop, and writes which peers it has met.
    pub async fn shutdown(&self) {
        if let Some(rendezvous) = &self.rendezvous {
            rendezvous.end().await;
        }
        self.call(Command::Shutdown).await;
        // What has failed is told in the log.
        drop(self.remembered.save().await);
    }

    pub(super) async fn tell(&self, command: Command) {
        if let Some(commands) = &self.commands {
            drop(commands.send(command).await);
        }
    }

    /// Sends a command and waits for its answer; `None` while offline, or where the event loop has ended.
    async fn call<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.as_ref()?.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}
