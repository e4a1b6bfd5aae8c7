//! The task that owns the swarm: `select!` names what happened, each protocol handles its own.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{
    Multiaddr, Swarm, connection_limits, dcutr, identify, mdns, memory_connection_limits, ping,
    relay as circuit, swarm,
};
use reg_proto::announcement::{Announcement, Holder};
use reg_proto::bounded::Bounded;
use reg_proto::dht::DhtKey;
use reg_proto::peer::{Address, PeerId};
use reg_proto::swarm::Protocols;
use reg_proto::wire::{Request, Response};
use tokio::sync::{mpsc, oneshot};

use super::behaviour::{Behaviour, BehaviourEvent};
use super::inbound::{Inbound, PeerEvent};
use super::lane::Lanes;
use super::limits::{
    ADDRESSES_PER_PEER_MAX, COMMANDS_MAX, CONNECTIONS_INCOMING_MAX, CONNECTIONS_MAX, CONNECTIONS_PENDING_MAX,
    CONNECTIONS_PER_PEER_MAX, IDLE_TIMEOUT, INBOUND_MAX, MEMORY_MAX, PING_INTERVAL, TICK,
};
use super::links::{Links, PeerInfo, from_libp2p, to_libp2p};
use super::members::Members;
use super::network::{AskError, ConnectError, NetworkConfig, OpenStreamError, Opened, StartError};
use super::protocol::reachability::{self, Reachability};
use super::protocol::{blobs, discovery, gossip, records, relay};
use super::reach::{OpenRanges, Range, range};
use super::transport;

/// What the handle asks for.
#[derive(Debug)]
pub(super) enum Command {
    ListenAddresses(oneshot::Sender<Vec<Address>>),
    AddressesFor { peer: PeerId, reply: oneshot::Sender<Vec<Address>> },
    Connect { shown: Address, address: Multiaddr, reply: oneshot::Sender<Result<PeerId, ConnectError>> },
    DialHint { peer: PeerId, addresses: Vec<Address>, told_by: Option<PeerId>, reply: oneshot::Sender<()> },
    Ask { peer: PeerId, request: Request, reply: oneshot::Sender<Result<Response, AskError>> },
    OpenStream { peer: PeerId, reply: oneshot::Sender<Result<Opened, OpenStreamError>> },
    Providers { key: DhtKey, found: mpsc::Sender<PeerId> },
    Provide(DhtKey),
    Announce(Box<Announcement>),
    Acquaintances { asker: PeerId, reply: oneshot::Sender<Vec<Holder>> },
    Reachability(oneshot::Sender<Reachability>),
    Connected(oneshot::Sender<Vec<PeerId>>),
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    RemoteIps { peer: PeerId, reply: oneshot::Sender<Vec<IpAddr>> },
    Shutdown(oneshot::Sender<()>),
}

/// Who waits for a dial.
enum Dialling {
    Connect { shown: Address, reply: oneshot::Sender<Result<PeerId, ConnectError>> },
    Hint(oneshot::Sender<()>),
}

struct EventLoop {
    swarm: Swarm<Behaviour>,
    /// What this swarm calls its protocols.
    names: Protocols,
    ranges: OpenRanges,
    links: Links,
    dialling: HashMap<ConnectionId, Dialling>,
    records: records::Records,
    discovery: discovery::Discovery,
    gossip: gossip::Gossip,
    relays: relay::Relays,
    peers: mpsc::Sender<PeerEvent>,
}

/// Builds the swarm, listens, and starts the task.
pub(super) async fn start(
    config: NetworkConfig,
) -> Result<(PeerId, mpsc::Sender<Command>, Inbound, Option<Lanes>), StartError> {
    let keypair = Keypair::ed25519_from_bytes(config.seed).expect("any 32 bytes are an ed25519 secret");
    let peer = from_libp2p(&keypair.public().to_peer_id()).expect("the key is ed25519");
    let (requests_in, requests) = mpsc::channel(INBOUND_MAX);
    let (streams_in, streams) = mpsc::channel(INBOUND_MAX);
    let (announcements_in, announcements) = mpsc::channel(INBOUND_MAX);
    let (peers_in, peers) = mpsc::channel(INBOUND_MAX);
    let ranges = OpenRanges::default();
    let names = config.swarm.key.as_deref().map_or_else(Protocols::public, Protocols::of_swarm);
    let members = Members::new(config.swarm.peers.clone());
    let (relayed, calls) = circuit::client::new(keypair.public().to_peer_id());
    let behaviour = behaviour(&config, &names, &members, &keypair, streams_in, calls)?;
    let transport = transport::build(&keypair, relayed, ranges.clone())?;
    let swarm_config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_TIMEOUT);
    let mut swarm = Swarm::new(transport, behaviour, keypair.public().to_peer_id(), swarm_config);
    for address in config.nat.external.iter().map(parse) {
        swarm.add_external_address(address?);
    }
    let beside = listen(&mut swarm, &config.listen).await?;
    let lanes = if config.lanes {
        let lanes = Lanes::start(&keypair, &beside).await;
        Some(lanes.map_err(|error| StartError::Lanes(Box::new(error)))?)
    } else {
        None
    };
    let bootstrap = config.bootstrap.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    bootstrap.iter().for_each(|address| ranges.open(address));
    let discovery = discovery::Discovery::new(*swarm.local_peer_id(), config.dht, bootstrap);
    let (commands, received) = mpsc::channel(COMMANDS_MAX);
    let event_loop = EventLoop {
        swarm,
        ranges,
        links: Links::default(),
        dialling: HashMap::new(),
        records: records::Records::new(requests_in, members),
        discovery,
        gossip: gossip::Gossip::new(announcements_in, &names),
        names,
        relays: relay::Relays::new(config.nat.relay),
        peers: peers_in,
    };
    tokio::spawn(event_loop.run(received));
    Ok((peer, commands, Inbound { requests, streams, announcements, peers }, lanes))
}

fn parse(address: &Address) -> Result<Multiaddr, StartError> {
    address.as_str().parse().map_err(|source| StartError::Address { address: address.clone(), source })
}

/// Listens on every address, and waits until each is bound: a port that is taken is an error at once. Returns the TCP
/// sockets, as they were asked for.
async fn listen(swarm: &mut Swarm<Behaviour>, addresses: &[Address]) -> Result<Vec<SocketAddr>, StartError> {
    let mut sockets = Vec::new();
    for address in addresses {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| StartError::Listen {
            address: address.clone(),
            source,
        };
        let parsed = parse(address)?;
        let socket = tcp_socket(&parsed);
        // libp2p listens with SO_REUSEPORT, so that two nodes could share a port and each get half of the connections.
        if let Some(socket) = socket.filter(|it| it.port() != 0) {
            std::net::TcpListener::bind(socket).map_err(|error| failed(Box::new(error)))?;
        }
        sockets.extend(socket);
        let id = swarm.listen_on(parsed).map_err(|error| failed(Box::new(error)))?;
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, .. } if listener_id == id => break,
                SwarmEvent::ListenerClosed { listener_id, reason, .. } if listener_id == id => {
                    let error = reason.err().unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into());
                    return Err(failed(Box::new(error)));
                }
                _ => {}
            }
        }
    }
    Ok(sockets)
}

/// Returns the socket that a TCP address names.
fn tcp_socket(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

fn behaviour(
    config: &NetworkConfig,
    names: &Protocols,
    members: &Members,
    keypair: &Keypair,
    streams: mpsc::Sender<super::InboundStream>,
    calls: circuit::client::Behaviour,
) -> Result<Behaviour, StartError> {
    let own = keypair.public().to_peer_id();
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_established(Some(CONNECTIONS_MAX))
        .with_max_established_incoming(Some(CONNECTIONS_INCOMING_MAX))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX))
        .with_max_pending_incoming(Some(CONNECTIONS_PENDING_MAX))
        .with_max_pending_outgoing(Some(CONNECTIONS_PENDING_MAX));
    let identify = identify::Config::new(names.identify.clone(), keypair.public())
        .with_agent_version(concat!("reg/", env!("CARGO_PKG_VERSION")).to_owned())
        .with_push_listen_addr_updates(true);
    let mdns = match config.mdns {
        true => Some(mdns::tokio::Behaviour::new(mdns::Config::default(), own).map_err(StartError::Mdns)?),
        false => None,
    };
    let gossip = if config.gossip { Some(gossip::behaviour(keypair, names)?) } else { None };
    let reach = reachability::behaviours(config);
    Ok(Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        memory: memory_connection_limits::Behaviour::with_max_bytes(MEMORY_MAX),
        members: Toggle::from(members.behaviour()),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL)),
        mdns: Toggle::from(mdns),
        kad: Toggle::from(discovery::behaviour(own, config.dht, names)),
        gossip: Toggle::from(gossip),
        records: records::behaviour(names),
        blobs: blobs::Behaviour::new(streams, members.clone(), names),
        reach_client: reach.client,
        reach_server: reach.server,
        upnp: reach.upnp,
        relay: relay::Server::new(own),
        relayed: calls,
        punch: dcutr::Behaviour::new(own),
    })
}

impl EventLoop {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                command = commands.recv() => match command {
                    Some(Command::Shutdown(reply)) => {
                        let _heard = reply.send(());
                        return;
                    }
                    Some(command) => self.on_command(command),
                    None => return,
                },
                Some(answered) = self.records.answering.next() => {
                    records::Records::answered(&mut self.swarm.behaviour_mut().records, answered);
                }
                Some(judged) = self.gossip.judging.next() => {
                    if let Some(gossip) = self.swarm.behaviour_mut().gossip.as_mut() {
                        gossip::Gossip::judged(gossip, judged);
                    }
                }
                _ = tick.tick() => self.on_tick(),
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::ListenAddresses(reply) => drop(reply.send(self.own_addresses(|_| true))),
            Command::AddressesFor { peer, reply } => drop(reply.send(self.addresses_for(&peer))),
            Command::Connect { shown, address, reply } => self.connect(shown, address, reply),
            Command::DialHint { peer, addresses, told_by, reply } => {
                self.dial_hint(peer, &addresses, told_by, reply)
            }
            Command::Ask { peer, request, reply } => {
                self.records.ask(&mut self.swarm.behaviour_mut().records, &peer, request, reply);
            }
            Command::OpenStream { peer, reply } => {
                self.swarm.behaviour_mut().blobs.open(to_libp2p(&peer), reply);
            }
            Command::Providers { key, found } => {
                if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() {
                    self.discovery.providers(kad, &key, found);
                }
            }
            Command::Provide(key) => {
                if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() {
                    self.discovery.provide(kad, key);
                }
            }
            Command::Announce(announcement) => {
                if let Some(gossip) = self.swarm.behaviour_mut().gossip.as_mut() {
                    self.gossip.announce(gossip, &announcement);
                }
            }
            Command::Acquaintances { asker, reply } => drop(reply.send(self.acquaintances(&asker))),
            Command::Reachability(reply) => drop(reply.send(self.reachability())),
            Command::Connected(reply) => drop(reply.send(self.links.ours())),
            Command::Peers(reply) => drop(reply.send(self.links.infos())),
            Command::RemoteIps { peer, reply } => drop(reply.send(self.links.remote_ips(&peer))),
            Command::Shutdown(_) => {}
        }
    }

    fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, endpoint, .. } => {
                self.on_disconnected(&peer_id, connection_id, &endpoint);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.on_dial_failed(connection_id, error);
            }
            SwarmEvent::ListenerClosed { listener_id, .. } => self.relays.closed(listener_id, Instant::now()),
            SwarmEvent::ExternalAddrConfirmed { address } => {
                tracing::info!(%address, "others reach this node here");
                self.discovery.own_addresses_changed();
            }
            event => tracing::trace!(?event, "swarm"),
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(event) => self.on_identify(event),
            BehaviourEvent::Ping(ping::Event { peer, result: Ok(rtt), .. }) => {
                from_libp2p(&peer).into_iter().for_each(|peer| self.links.pinged(peer, rtt));
            }
            BehaviourEvent::Mdns(event) => self.on_mdns(event),
            BehaviourEvent::Kad(event) => self.on_kad(event),
            BehaviourEvent::Gossip(event) => {
                if let Some(gossip) = self.swarm.behaviour_mut().gossip.as_mut() {
                    self.gossip.on_event(gossip, event);
                }
            }
            BehaviourEvent::Blobs(blobs::Taken(peer)) => self.links.used(&peer),
            BehaviourEvent::Records(event) => {
                if let Some(peer) = records::asker(&event) {
                    self.links.used(&peer);
                }
                self.records.on_event(&mut self.swarm.behaviour_mut().records, event);
            }
            BehaviourEvent::Punch(event) => self.on_punch(event),
            event @ (BehaviourEvent::ReachClient(_)
            | BehaviourEvent::Upnp(_)
            | BehaviourEvent::Relayed(_)
            | BehaviourEvent::Relay(_)) => tracing::debug!(?event, "reach"),
            _ => {}
        }
    }

    fn on_tick(&mut self) {
        let is_connected =
            |address: &Multiaddr| peer_of(address).is_some_and(|peer| self.swarm.is_connected(&peer));
        for address in self.discovery.due_bootstrap(Instant::now(), is_connected) {
            if let Err(error) = self.swarm.dial(dial_options(&address)) {
                tracing::debug!(%address, %error, "a bootstrap peer is not dialled");
            }
        }
        self.dial_neighbours();
        let is_reachable = self.reachability() == Reachability::Public;
        self.run_errands(is_reachable);
        self.swarm.behaviour_mut().blobs.tick(Instant::now());
        for needless in self.links.needless() {
            self.swarm.close_connection(needless);
        }
        if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() {
            self.discovery.choose_mode(kad, self.links.any_global(), is_reachable);
            self.discovery.tick(kad);
        }
    }

    fn reachability(&self) -> Reachability {
        reachability::reachability(self.swarm.external_addresses())
    }

    /// Offers this node as a relay, or looks for some.
    fn run_errands(&mut self, is_reachable: bool) {
        let serves = self.relays.is_to_serve(is_reachable);
        if self.relays.is_forced() {
            let known = |address: &Multiaddr| self.swarm.external_addresses().any(|it| it == address);
            let public = self.swarm.listeners().filter(|it| reachability::is_public(it) && !known(it));
            for address in public.cloned().collect::<Vec<_>>() {
                self.swarm.add_external_address(address);
            }
        }
        self.swarm.behaviour_mut().relay.offer(serves);
        let errands = self.relays.errands(is_reachable || serves, Instant::now());
        errands.release.into_iter().for_each(|listener: ListenerId| {
            let _was_open = self.swarm.remove_listener(listener);
        });
        for (peer, address) in errands.reserve {
            match self.swarm.listen_on(address) {
                Ok(listener) => self.relays.asked(&peer, listener),
                Err(error) => tracing::debug!(%peer, %error, "a relay is not asked"),
            }
        }
    }

    /// Two nodes behind NATs have tried to reach each other directly.
    fn on_punch(&mut self, event: dcutr::Event) {
        let dcutr::Event { remote_peer_id: peer, result } = event;
        match result {
            Ok(_) => tracing::info!(%peer, "reached directly, through the NATs"),
            Err(error) => {
                tracing::info!(%peer, %error, "not reached directly");
                self.swarm.behaviour_mut().blobs.punch_failed(&peer);
            }
        }
    }

    fn on_connected(&mut self, peer: libp2p::PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        if !endpoint.is_relayed() {
            self.ranges.connected(endpoint.get_remote_address());
        }
        let Some(ours) = from_libp2p(&peer) else {
            let _was_connected = self.swarm.disconnect_peer_id(peer);
            return;
        };
        self.links.connected(ours, connection, endpoint);
        if endpoint.is_listener()
            && let Some(useless) = self.links.make_room()
        {
            tracing::debug!(peer = %useless, "a peer that asks for nothing makes room");
            let _was_connected = self.swarm.disconnect_peer_id(to_libp2p(&useless));
        }
        match self.dialling.remove(&connection) {
            Some(Dialling::Connect { reply, .. }) => drop(reply.send(Ok(ours))),
            Some(Dialling::Hint(reply)) => {
                let _heard = reply.send(());
            }
            None => {}
        }
    }

    fn on_disconnected(
        &mut self,
        peer: &libp2p::PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        if !endpoint.is_relayed() {
            self.ranges.disconnected(endpoint.get_remote_address());
        }
        let Some(ours) = from_libp2p(peer) else { return };
        if self.links.disconnected(ours, connection) {
            self.relays.withdrawn(peer);
            let peer = ours;
            let _heard = self.peers.try_send(PeerEvent::Disconnected(peer));
        }
    }

    fn on_dial_failed(&mut self, connection: ConnectionId, error: DialError) {
        match self.dialling.remove(&connection) {
            Some(Dialling::Connect { shown: address, reply }) => drop(reply.send(Err(match error {
                DialError::LocalPeerId { .. } => ConnectError::Own { address },
                error => ConnectError::Dial { address, source: Box::new(error) },
            }))),
            Some(Dialling::Hint(reply)) => {
                let _heard = reply.send(());
            }
            None => tracing::debug!(%error, "a dial failed"),
        }
    }

    fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        if info.protocol_version != self.names.identify {
            tracing::debug!(peer = %peer_id, protocol = info.protocol_version, "a peer of another network is left");
            let _was_connected = self.swarm.disconnect_peer_id(peer_id);
            return;
        }
        let Some(peer) = from_libp2p(&peer_id) else { return };
        let ranges = self.links.ranges_of(&peer);
        let in_dht = info.protocols.iter().any(|protocol| protocol.as_ref() == self.names.dht);
        let fit =
            |it: &Multiaddr| range(it).is_none_or(|range| range == Range::Global || ranges.contains(&range));
        let listens: Vec<Multiaddr> =
            info.listen_addrs.into_iter().filter(fit).take(ADDRESSES_PER_PEER_MAX).collect();
        self.links.listens(&peer, listens.clone());
        for address in listens.iter().cloned() {
            self.swarm.add_peer_address(peer_id, address.clone());
            if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut().filter(|_| in_dht) {
                kad.add_address(&peer_id, address);
            }
        }
        match self.links.dialled(&peer) {
            Some(address) if relay::is_offered(&info.protocols) => {
                self.relays.offered(peer_id, address, Instant::now());
            }
            _ => {}
        }
        if self.links.identified(peer, info.agent_version) {
            let _heard = self.peers.try_send(PeerEvent::Connected(peer));
            self.dial_past_relay(&peer, listens);
        }
    }

    /// Dials a peer that is connected through a relay only, at its public addresses. Dialling at one moment from both ends,
    /// as for two NATs, would have both ends of a connection that comes through wait for the other's first word.
    fn dial_past_relay(&mut self, peer: &PeerId, mut addresses: Vec<Multiaddr>) {
        addresses.retain(reachability::is_public);
        if addresses.is_empty() || self.links.is_direct(peer) {
            return;
        }
        let options = DialOpts::peer_id(to_libp2p(peer)).condition(PeerCondition::Always);
        if let Err(error) = self.swarm.dial(options.addresses(addresses).build()) {
            tracing::debug!(%peer, %error, "a peer behind a relay is not dialled");
        }
    }

    fn on_mdns(&mut self, event: mdns::Event) {
        match event {
            mdns::Event::Discovered(found) => {
                for (peer, address) in found {
                    self.ranges.open(&address);
                    self.discovery.neighbour_found(peer, address);
                }
                self.dial_neighbours();
            }
            mdns::Event::Expired(lost) => {
                lost.iter().for_each(|(peer, address)| self.discovery.neighbour_lost(peer, address));
            }
        }
    }

    /// From a port of their own: two that dial each other from their listening ports in the same instant open one
    /// connection with no listener, and both wait for the other to answer.
    fn dial_neighbours(&mut self) {
        let swarm = &self.swarm;
        for (peer, addresses) in
            self.discovery.due_neighbours(Instant::now(), |peer| swarm.is_connected(peer))
        {
            let condition = PeerCondition::DisconnectedAndNotDialing;
            let options = DialOpts::peer_id(peer).condition(condition).addresses(addresses);
            if let Err(error) = self.swarm.dial(options.allocate_new_port().build()) {
                tracing::trace!(%peer, %error, "a neighbour is not dialled");
            }
        }
    }

    fn on_kad(&mut self, event: libp2p::kad::Event) {
        let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() else { return };
        for peer in self.discovery.on_kad(kad, event) {
            if !self.swarm.is_connected(&peer) {
                drop(self.swarm.dial(DialOpts::peer_id(peer).build()));
            }
        }
    }

    fn connect(
        &mut self,
        shown: Address,
        address: Multiaddr,
        reply: oneshot::Sender<Result<PeerId, ConnectError>>,
    ) {
        self.ranges.open(&address);
        if let Some(peer) = peer_of(&address).and_then(|peer| from_libp2p(&peer))
            && self.links.is_connected(&peer)
        {
            return drop(reply.send(Ok(peer)));
        }
        let options = dial_options(&address);
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => drop(self.dialling.insert(connection, Dialling::Connect { shown, reply })),
            Err(DialError::LocalPeerId { .. }) => drop(reply.send(Err(ConnectError::Own { address: shown }))),
            Err(error) => {
                drop(reply.send(Err(ConnectError::Dial { address: shown, source: Box::new(error) })));
            }
        }
    }

    fn dial_hint(
        &mut self,
        peer: PeerId,
        addresses: &[Address],
        told_by: Option<PeerId>,
        reply: oneshot::Sender<()>,
    ) {
        let ranges = told_by.map(|teller| self.links.ranges_of(&teller));
        let fit = |address: &Multiaddr| match range(address) {
            Some(Range::Global) | None => true,
            Some(range) => ranges.as_ref().is_none_or(|ranges| ranges.contains(&range)),
        };
        let addresses: Vec<Multiaddr> = addresses
            .iter()
            .take(ADDRESSES_PER_PEER_MAX)
            .filter_map(|address| address.as_str().parse().ok())
            .filter(fit)
            .collect();
        if addresses.is_empty() || self.links.is_connected(&peer) {
            let _heard = reply.send(());
            return;
        }
        let condition = PeerCondition::DisconnectedAndNotDialing;
        let options = DialOpts::peer_id(to_libp2p(&peer)).condition(condition).addresses(addresses).build();
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => drop(self.dialling.insert(connection, Dialling::Hint(reply))),
            Err(_) => {
                let _heard = reply.send(());
            }
        }
    }

    fn addresses_for(&self, peer: &PeerId) -> Vec<Address> {
        let ranges = self.links.ranges_of(peer);
        self.own_addresses(|address| {
            range(address).is_none_or(|range| range == Range::Global || ranges.contains(&range))
        })
    }

    fn acquaintances(&self, asker: &PeerId) -> Vec<Holder> {
        let named = self.links.acquaintances(asker).into_iter().map(|(peer, addresses)| {
            let addresses = addresses.iter().filter_map(|address| address.to_string().parse().ok());
            Holder { peer, addresses: Bounded::first_of(addresses) }
        });
        named.collect()
    }

    fn own_addresses(&self, fit: impl Fn(&Multiaddr) -> bool) -> Vec<Address> {
        let own = Protocol::P2p(*self.swarm.local_peer_id());
        let known = self.swarm.listeners().chain(self.swarm.external_addresses());
        let mut addresses: Vec<Address> = known
            .filter(|address| fit(address))
            .filter_map(|address| address.clone().with_p2p(*self.swarm.local_peer_id()).ok())
            .filter(|address| address.iter().last() == Some(own.clone()))
            .filter_map(|address| address.to_string().parse().ok())
            .collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }
}

/// Returns the peer that an address names.
fn peer_of(address: &Multiaddr) -> Option<libp2p::PeerId> {
    address.iter().find_map(|part| match part {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    })
}

/// Dials an address as it was given, whoever is connected already.
fn dial_options(address: &Multiaddr) -> DialOpts {
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
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;
    use libp2p::swarm::behaviour::ConnectionEstablished;
    use libp2p::swarm::{FromSwarm, NetworkBehaviour};

    use super::*;
    use crate::net::{DhtMode, NatConfig, SwarmConfig};

    /// Lets a peer connect, or be connected to, where the limits allow it.
    fn connects(
        limits: &mut connection_limits::Behaviour,
        peer: libp2p::PeerId,
        number: usize,
        comes: bool,
    ) -> bool {
        let id = ConnectionId::new_unchecked(number);
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let (role_override, port_use) = (Endpoint::Dialer, PortUse::Reuse);
        let (allowed, endpoint) = if comes {
            let allowed = limits.handle_established_inbound_connection(id, peer, &address, &address).is_ok();
            (allowed, ConnectedPoint::Listener { local_addr: address.clone(), send_back_addr: address })
        } else {
            let allowed = limits
                .handle_established_outbound_connection(id, peer, &address, role_override, port_use)
                .is_ok();
            (allowed, ConnectedPoint::Dialer { address, role_override, port_use })
        };
        if allowed {
            limits.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id: peer,
                connection_id: id,
                endpoint: &endpoint,
                failed_addresses: &[],
                other_established: 0,
            }));
        }
        allowed
    }

    fn count(numbers: std::ops::Range<usize>, mut is_let_in: impl FnMut(usize) -> bool) -> u32 {
        numbers.filter(|number| is_let_in(*number)).map(|_| 1).sum()
    }

    /// The limits of the swarm as it is started, not of the library.
    #[tokio::test]
    async fn connections_are_refused_beyond_their_limits() {
        let config = NetworkConfig {
            seed: [1; 32],
            listen: Vec::new(),
            bootstrap: Vec::new(),
            mdns: false,
            dht: DhtMode::Off,
            gossip: false,
            nat: NatConfig::default(),
            swarm: SwarmConfig::default(),
            lanes: false,
        };
        let keypair = Keypair::ed25519_from_bytes(config.seed).unwrap();
        let (streams, _streams) = mpsc::channel(1);
        let (_transport, calls) = circuit::client::new(keypair.public().to_peer_id());
        let names = Protocols::public();
        let Behaviour { mut limits, .. } =
            behaviour(&config, &names, &Members::new(None), &keypair, streams, calls).unwrap();
        let one = libp2p::PeerId::random();
        let of_one = count(0..100, |number| connects(&mut limits, one, number, true));
        assert_eq!(of_one, CONNECTIONS_PER_PEER_MAX);
        let any = libp2p::PeerId::random;
        let came = of_one + count(100..1000, |number| connects(&mut limits, any(), number, true));
        assert_eq!(came, CONNECTIONS_INCOMING_MAX);
        let all = came + count(1000..2000, |number| connects(&mut limits, any(), number, false));
        assert_eq!(all, CONNECTIONS_MAX);
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let knocking = count(2000..3000, |number| {
            let id = ConnectionId::new_unchecked(number);
            limits.handle_pending_inbound_connection(id, &address, &address).is_ok()
        });
        assert_eq!(knocking, CONNECTIONS_PENDING_MAX);
    }
}
