//! libp2p behind a handle: finds peers, asks them, and opens streams of pieces.
//!
//! In: a [`NetworkConfig`], and the calls of [`Network`], a cloneable handle without libp2p's types. Out: the answers
//! of peers, and in [`Inbound`] what peers ask of this node, on bounded channels.
//!
//! One task owns the swarm (`event_loop`) and only dispatches. Each protocol has a struct with its own state and
//! pending requests (`protocol`). Pieces also go over lanes, which are sockets beside the swarm (`lane`).

mod config;
mod error;
mod inbound;
mod network;

mod ahead;
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

mod crowd;
mod gather;
mod links;
mod members;
mod open_streams;
mod outdated;
mod reach;
mod refusals;
mod remembered;
mod rendezvous;
mod tls_first;
mod transport;
mod two_tasks;

mod limits;

pub use self::ahead::{LaneAhead, OpenedAhead};
pub use self::config::{DhtMode, NatConfig, NetworkConfig, RelayMode, SwarmConfig};
pub use self::error::{AskError, ConnectError, DialFailure, OpenStreamError, StartError};
pub use self::frames::{FrameError, FrameReader, FrameWriter, Received};
pub use self::inbound::{
    Inbound, InboundAnnouncement, InboundRequest, InboundStream, PeerEvent, Responder, Verdict,
};
pub use self::lane::{LaneEnd, LaneError, LaneReader, LaneTicket, LaneWriter};
pub use self::limits::{LANES_PER_PEER_MAX, PROVIDERS_DIALLED_MAX};
pub use self::links::PeerInfo;
pub use self::network::{Awaited, Network};
pub use self::pace::Pace;
pub use self::pool::{PieceBytes, PiecePool, PoolUse};
pub use self::protocol::provided::HeldKeys;
pub use self::reach::{is_global, is_near, is_public, public_of};
pub use self::remembered::{Forget, NamePeerError, NamedPeer, Remembered};
pub use self::rendezvous::{Rendezvous, RendezvousConfig};
