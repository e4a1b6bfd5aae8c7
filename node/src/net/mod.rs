//! libp2p behind a handle: finding peers, asking them, and streams of pieces.
//!
//! [`Network`] is what the rest of the node holds: cloneable, and free of libp2p's types. Behind it one task owns the
//! swarm. Every protocol has a struct of its own with what it waits for; the event loop only dispatches. What peers ask
//! of us arrives in [`Inbound`], on bounded channels.

mod config;
mod error;
mod inbound;
mod network;

mod frames;
mod lane;
mod pace;
mod pool;

mod command;
mod dialling;
mod event_loop;
mod start;

mod behaviour;
mod protocol;

mod links;
mod members;
mod reach;
mod transport;

mod limits;

pub use self::config::{DhtMode, NatConfig, NetworkConfig, RelayMode, SwarmConfig};
pub use self::error::{AskError, ConnectError, OpenStreamError, StartError};
pub use self::frames::{FrameError, FrameReader, FrameWriter, Received};
pub use self::inbound::{
    Inbound, InboundAnnouncement, InboundRequest, InboundStream, PeerEvent, Responder, Verdict,
};
pub use self::lane::{LaneEnd, LaneError, LaneReader, LaneTicket, LaneWriter};
pub use self::limits::LANES_PER_PEER_MAX;
pub use self::links::PeerInfo;
pub use self::network::Network;
pub use self::pace::Pace;
pub use self::pool::{PieceBytes, PiecePool, PoolUse};
pub use self::protocol::reachability::Reachability;
pub use self::reach::{is_global, is_near};
