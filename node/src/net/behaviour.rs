//! [`Behaviour`]: the list of the protocols that a node speaks.

use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    allow_block_list, autonat, connection_limits, dcutr, gossipsub, identify, mdns, memory_connection_limits,
    ping, relay, request_response, upnp,
};

use super::protocol::blobs;
use super::protocol::bounded_kad::BoundedKad;
use super::protocol::records::RecordsCodec;
use super::protocol::relay::RelayService;

/// Every protocol of the swarm. The limits come first: a connection that they refuse reaches no other protocol.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) memory: memory_connection_limits::Behaviour,
    pub(super) refused: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(super) members: Toggle<allow_block_list::Behaviour<allow_block_list::AllowedPeers>>,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(super) kad: Toggle<BoundedKad>,
    pub(super) gossip: Toggle<gossipsub::Behaviour>,
    pub(super) records: request_response::Behaviour<RecordsCodec>,
    pub(super) blobs: blobs::Behaviour,
    pub(super) reach_client: Toggle<autonat::v2::client::Behaviour>,
    pub(super) reach_server: Toggle<autonat::v2::server::Behaviour>,
    pub(super) upnp: Toggle<upnp::tokio::Behaviour>,
    pub(super) relay: RelayService,
    pub(super) relayed: relay::client::Behaviour,
    pub(super) punch: dcutr::Behaviour,
}
