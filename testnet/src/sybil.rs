//! Sybils: many nodes of one attacker, with ids that are closer to one DHT key than those of honest nodes.
//!
//! The attacker generates ids until enough are close. Sybils follow the protocols, but store no provider records. The
//! closer peers that they name are Sybils.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use libp2p::futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{self, KBucketDistance, KBucketKey, RecordKey};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, SwarmBuilder, identify, noise, tcp, yamux};
use reg_proto::dht::DhtKey;
use reg_proto::digest::Digest;
use reg_proto::swarm::Protocols;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

/// Connections idle for longer are closed. Sybils look each other up, and two hundred fully connected ones would need forty
/// thousand open files.
const IDLE: Duration = Duration::from_secs(2);

#[derive(NetworkBehaviour)]
struct Behaviour {
    kad: kad::Behaviour<MemoryStore>,
    identify: identify::Behaviour,
}

/// Sybils around one key. Dropping this stops them.
#[derive(Debug)]
pub struct Sybils {
    pub peers: Vec<PeerId>,
    /// Number of leading bits that each id shares with the key, at least.
    pub bits: u32,
    _tasks: JoinSet<()>,
}

/// Generates `tries` peers, and returns the secrets of the `count` peers with ids closest to the key.
///
/// Also returns the number of leading bits that each of their ids shares with the key, at least.
pub fn grind(key: &DhtKey, count: usize, tries: u64) -> (Vec<[u8; 32]>, u32) {
    let target = KBucketKey::new(RecordKey::new(key.as_bytes()));
    let mut found: Vec<(KBucketDistance, [u8; 32])> = Vec::new();
    for number in 0..tries {
        let secret = *Digest::of(format!("sybil {number}").as_bytes()).as_bytes();
        let public = SigningKey::from_bytes(&secret).verifying_key().to_bytes();
        let peer = reg_proto::peer::PeerId::from_public_key(public);
        let peer = PeerId::from_bytes(&peer.to_multihash_bytes()).expect("an ed25519 peer");
        found.push((KBucketKey::from(peer).distance(&target), secret));
        if found.len() > 4 * count {
            found.sort();
            found.truncate(count);
        }
    }
    found.sort();
    found.truncate(count);
    let farthest = found.last().and_then(|(distance, _)| distance.ilog2()).unwrap_or(0);
    (found.into_iter().map(|(_, secret)| secret).collect(), 255 - farthest)
}

/// Allows this process as many open files as its user may have. Sybils are connected to each other by the dozen, with both ends
/// in this process: a usual limit of 1,024 is too few.
fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // With too few, connections fail, and the test says so.
    let _as_it_is = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

impl Sybils {
    /// Starts Sybils with these secrets, which know each other and join the network at `known`.
    ///
    /// # Panics
    /// If one does not start.
    pub async fn start(secrets: Vec<[u8; 32]>, bits: u32, known: Multiaddr) -> Self {
        allow_open_files();
        let (mut tasks, mut peers) = (JoinSet::new(), Vec::new());
        let mut addresses: Vec<(PeerId, Multiaddr)> = Vec::new();
        let mut swarms = Vec::new();
        for secret in secrets {
            let mut swarm = swarm(secret);
            swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("it listens");
            let address = loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    break address;
                }
            };
            addresses.push((*swarm.local_peer_id(), address));
            swarms.push(swarm);
        }
        for (at, mut swarm) in swarms.into_iter().enumerate() {
            peers.push(*swarm.local_peer_id());
            // Each knows twenty others, so a lookup that reaches one goes from Sybil to Sybil.
            for (peer, address) in addresses.iter().cycle().skip(at + 1).take(20) {
                swarm.behaviour_mut().kad.add_address(peer, address.clone());
            }
            swarm.dial(known.clone()).expect("it dials");
            tasks.spawn(async move {
                let mut again = tokio::time::interval(Duration::from_secs(20));
                loop {
                    tokio::select! {
                        event = swarm.select_next_some() => forget(&mut swarm, event),
                        // A node enters the routing tables of others by a lookup of its own id.
                        _ = again.tick() => {
                            let own = *swarm.local_peer_id();
                            swarm.behaviour_mut().kad.get_closest_peers(own);
                        }
                    }
                }
            });
        }
        Self { peers, bits, _tasks: tasks }
    }
}

fn swarm(secret: [u8; 32]) -> libp2p::Swarm<Behaviour> {
    let names = Protocols::public();
    let keypair = Keypair::ed25519_from_bytes(secret).expect("any 32 bytes are a secret");
    let dht = StreamProtocol::try_from_owned(names.dht).expect("it begins with a slash");
    SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .expect("TCP can be set up")
        .with_behaviour(|key| {
            let own = key.public().to_peer_id();
            let mut config = kad::Config::new(dht);
            // The behaviour passes records on instead of storing them, and this code drops them.
            config.set_record_filtering(kad::StoreInserts::FilterBoth);
            let mut kad = kad::Behaviour::with_config(own, MemoryStore::new(own), config);
            kad.set_mode(Some(kad::Mode::Server));
            let identify = identify::Behaviour::new(identify::Config::new(names.identify, key.public()));
            Behaviour { kad, identify }
        })
        .expect("the behaviour can be set up")
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
        .build()
}

/// Removes honest peers from the routing table as soon as they enter it, so that no Sybil names them to others.
fn forget(swarm: &mut libp2p::Swarm<Behaviour>, event: SwarmEvent<BehaviourEvent>) {
    if let SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
        peer_id, info, ..
    })) = event
        && info.agent_version.starts_with("reg/")
    {
        swarm.behaviour_mut().kad.remove_peer(&peer_id);
    }
}
