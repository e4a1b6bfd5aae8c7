//! [`NetworkConfig`]: how a node is connected, as its user or a test asks for it.

use std::collections::BTreeSet;
use std::fmt;

use reg_proto::peer::{Address, PeerId};

use super::remembered::Remembered;
use super::rendezvous::RendezvousConfig;

/// How a node takes part in the DHT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DhtMode {
    /// A server while other peers can reach this node, as far as it knows; else a client.
    #[default]
    Auto,
    Server,
    Client,
    Off,
}

/// Whether a node relays the first messages between peers that cannot reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RelayMode {
    /// While the node knows that other peers reach it.
    #[default]
    Auto,
    On,
    Off,
}

/// How peers outside its own network reach a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NatConfig {
    pub relay: RelayMode,
    /// Whether the node asks the router to open a port (UPnP).
    pub upnp: bool,
    /// Addresses at which other peers reach this node, as its user says.
    pub external: Vec<Address>,
}

/// Which swarm a node belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SwarmConfig {
    /// The key from which the names of its protocols are derived; `None` for the public swarm.
    pub key: Option<String>,
    /// The only peers that the node talks to; `None` for all peers.
    pub peers: Option<BTreeSet<PeerId>>,
}

/// How a node is connected.
#[derive(Clone)]
pub struct NetworkConfig {
    /// Secret half of the node's ed25519 key: its identity on the network, never a publisher's key.
    pub seed: [u8; 32],
    pub listen: Vec<Address>,
    pub bootstrap: Vec<Address>,
    pub mdns: bool,
    pub dht: DhtMode,
    pub gossip: bool,
    pub nat: NatConfig,
    /// Whether pieces go over lanes, to and from peers that a lane connects to.
    pub lanes: bool,
    pub swarm: SwarmConfig,
    /// The peers that the node has met before.
    pub remembered: Remembered,
    /// How it meets strangers. A private swarm does not.
    pub rendezvous: RendezvousConfig,
}

impl SwarmConfig {
    /// Tells whether strangers belong to the swarm.
    pub const fn is_open(&self) -> bool {
        self.key.is_none() && self.peers.is_none()
    }
}

impl NetworkConfig {
    /// Returns a node of the public swarm that listens nowhere, and looks for no peer by itself.
    pub fn quiet(seed: [u8; 32]) -> Self {
        Self {
            seed,
            listen: Vec::new(),
            bootstrap: Vec::new(),
            mdns: false,
            dht: DhtMode::Off,
            gossip: false,
            nat: NatConfig::default(),
            lanes: false,
            swarm: SwarmConfig::default(),
            remembered: Remembered::nothing(),
            rendezvous: RendezvousConfig::default(),
        }
    }
}

impl fmt::Debug for NetworkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed: _,
            listen,
            bootstrap,
            mdns,
            dht,
            gossip,
            nat,
            lanes,
            swarm: _,
            remembered: _,
            rendezvous,
        } = self;
        write!(
            f,
            "NetworkConfig {{ {listen:?}, {bootstrap:?}, mdns: {mdns}, dht: {dht:?}, gossip: {gossip}, {nat:?}, lanes: {lanes}, {rendezvous:?} }}"
        )
    }
}
