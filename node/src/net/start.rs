//! Starts the network: builds the swarm, listens on the addresses of the configuration, and spawns the event loop.

use std::net::{IpAddr, SocketAddr};

use futures::StreamExt;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    Multiaddr, Swarm, allow_block_list, connection_limits, dcutr, identify, mdns, memory_connection_limits,
    ping, relay as circuit, swarm,
};
use reg_proto::peer::{Address, PeerId};
use reg_proto::swarm::Protocols;
use tokio::sync::mpsc;

use super::behaviour::Behaviour;
use super::command::Command;
use super::config::NetworkConfig;
use super::dialling::Dialling;
use super::error::StartError;
use super::event_loop::EventLoop;
use super::inbound::{Inbound, InboundStream};
use super::lane::Lanes;
use super::limits::{
    COMMANDS_MAX, CONNECTIONS_INCOMING_MAX, CONNECTIONS_MAX, CONNECTIONS_PENDING_MAX,
    CONNECTIONS_PER_PEER_MAX, IDLE_TIMEOUT, INBOUND_MAX, MEMORY_MAX, PING_INTERVAL,
};
use super::links::{Links, from_libp2p};
use super::members::Members;
use super::outdated::Outdated;
use super::protocol::{blobs, discovery, gossip, reachability, records, relay};
use super::reach::OpenRanges;
use super::refusals::Refusals;
use super::remembered::Redialler;
use super::transport;

/// What a network that was started is used through.
pub(super) struct Started {
    pub(super) peer: PeerId,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) inbound: Inbound,
    /// `None` where the configuration wants no lanes.
    pub(super) lanes: Option<Lanes>,
}

/// Builds the swarm, waits until it listens, and spawns the event loop.
pub(super) async fn start(config: NetworkConfig) -> Result<Started, StartError> {
    let keypair = Keypair::ed25519_from_bytes(config.seed).expect("any 32 bytes are an ed25519 secret");
    let peer = from_libp2p(&keypair.public().to_peer_id()).expect("the key is ed25519");
    let (requests_in, requests) = mpsc::channel(INBOUND_MAX);
    let (streams_in, streams) = mpsc::channel(INBOUND_MAX);
    let (announcements_in, announcements) = mpsc::channel(INBOUND_MAX);
    let (peers_in, peers) = mpsc::channel(INBOUND_MAX);
    let ranges = OpenRanges::default();
    let names = config.swarm.key.as_deref().map_or_else(Protocols::public, Protocols::of_swarm);
    let members = Members::new(config.swarm.peers.clone());
    let (relayed, circuits) = circuit::client::new(keypair.public().to_peer_id());
    let behaviour = behaviour(&config, &names, &members, &keypair, &ranges, streams_in, circuits)?;
    let transport = transport::build(&keypair, relayed, ranges.clone())?;
    // A stream that can speak one protocol only sends its first message with the protocol's name: each question takes one
    // round trip instead of two. A stream that two tasks use needs care then: `two_tasks`. Those of libp2p's protocols are each
    // used by the one task of their connection.
    let swarm_config = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE_TIMEOUT)
        .with_substream_upgrade_protocol_override(Version::V1Lazy);
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
    let mut bootstrap = config.bootstrap.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    // An address that the user has added was parsed then; the file may have been edited since.
    bootstrap.extend(config.remembered.named().iter().filter_map(|it| it.as_str().parse().ok()));
    bootstrap.iter().chain(&config.rendezvous.literal()).for_each(|address| ranges.open(address));
    let discovery = discovery::Discovery::new(*swarm.local_peer_id(), config.dht, bootstrap);
    let (commands, received) = mpsc::channel(COMMANDS_MAX);
    let event_loop = EventLoop {
        swarm,
        dialling: Dialling::new(ranges.clone()),
        ranges,
        links: Links::default(),
        records: records::Records::new(requests_in, members),
        discovery,
        gossip: gossip::Gossip::new(announcements_in, &names),
        names,
        relays: relay::Relays::new(config.nat.relay),
        refusals: Refusals::default(),
        redialler: Redialler::new(config.remembered),
        outdated: Outdated::default(),
        foreign: Outdated::default(),
        peers: peers_in,
    };
    tokio::spawn(event_loop.run(received));
    Ok(Started { peer, commands, inbound: Inbound { requests, streams, announcements, peers }, lanes })
}

fn parse(address: &Address) -> Result<Multiaddr, StartError> {
    address.as_str().parse().map_err(|source| StartError::Address { address: address.clone(), source })
}

/// Listens on every address, and waits until each is bound: a port that is taken is an error at once. Returns the TCP
/// sockets as the configuration names them.
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
    ranges: &OpenRanges,
    streams: mpsc::Sender<InboundStream>,
    circuits: circuit::client::Behaviour,
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
        refused: allow_block_list::Behaviour::default(),
        members: Toggle::from(members.behaviour()),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL)),
        mdns: Toggle::from(mdns),
        kad: Toggle::from(discovery::behaviour(own, config.dht, names, ranges.clone())),
        gossip: Toggle::from(gossip),
        records: records::behaviour(names),
        blobs: blobs::Behaviour::new(streams, members.clone(), names),
        reach_client: reach.client,
        reach_server: reach.server,
        upnp: reach.upnp,
        relay: relay::RelayService::new(own),
        relayed: circuits,
        punch: dcutr::Behaviour::new(own),
    })
}

#[cfg(test)]
mod tests {
    use libp2p::core::transport::PortUse;
    use libp2p::core::{ConnectedPoint, Endpoint};
    use libp2p::swarm::behaviour::ConnectionEstablished;
    use libp2p::swarm::{ConnectionId, FromSwarm, NetworkBehaviour};

    use super::*;

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
        let config = NetworkConfig::quiet([1; 32]);
        let keypair = Keypair::ed25519_from_bytes(config.seed).unwrap();
        let (streams, _streams) = mpsc::channel(1);
        let (_transport, circuits) = circuit::client::new(keypair.public().to_peer_id());
        let names = Protocols::public();
        let Behaviour { mut limits, .. } = behaviour(
            &config,
            &names,
            &Members::new(None),
            &keypair,
            &OpenRanges::default(),
            streams,
            circuits,
        )
        .unwrap();
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
