//! [`Command`]: what the handle asks the event loop for.

use std::net::{IpAddr, SocketAddrV4};

use libp2p::Multiaddr;
use reg_api::reachability::Reachability;
use reg_api::report::DhtKeys;
use reg_proto::announcement::{Announcement, Holder};
use reg_proto::dht::DhtKey;
use reg_proto::peer::{Address, PeerId};
use reg_proto::wire::{Request, Response};
use tokio::sync::{mpsc, oneshot};

use super::error::{AskError, ConnectError, OpenStreamError};
use super::frames::{FrameReader, FrameWriter};
use super::links::PeerInfo;
use super::protocol::provided::HeldKeys;
use super::rendezvous::Standing;

/// Both halves of a blob stream.
pub(super) type Opened = (FrameReader, FrameWriter);

/// A call of the handle, with the channel that takes its answer.
#[derive(Debug)]
pub(super) enum Command {
    ListenAddresses(oneshot::Sender<Vec<Address>>),
    AddressesFor {
        peer: PeerId,
        reply: oneshot::Sender<Vec<Address>>,
    },
    Connect {
        shown: Address,
        address: Multiaddr,
        reply: oneshot::Sender<Result<PeerId, ConnectError>>,
    },
    DialHint {
        peer: PeerId,
        addresses: Vec<Address>,
        told_by: Option<PeerId>,
        /// Whether the user was given the addresses.
        is_given: bool,
        reply: oneshot::Sender<()>,
    },
    Ask {
        peer: PeerId,
        request: Request,
        reply: oneshot::Sender<Result<Response, AskError>>,
    },
    OpenStream {
        peer: PeerId,
        reply: oneshot::Sender<Result<Opened, OpenStreamError>>,
    },
    Providers {
        key: DhtKey,
        found: mpsc::Sender<PeerId>,
        /// Whether peers may turn up by themselves.
        awaits_peers: bool,
    },
    Provide {
        key: DhtKey,
        /// Whether what it names was published on this node.
        is_own: bool,
    },
    /// Provides these keys, and gives up others.
    Hold(Box<HeldKeys>),
    DhtKeys(oneshot::Sender<DhtKeys>),
    Announce(Box<Announcement>),
    Acquaintances {
        asker: PeerId,
        reply: oneshot::Sender<Vec<Holder>>,
    },
    Reachability(oneshot::Sender<Reachability>),
    Connected(oneshot::Sender<Vec<PeerId>>),
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    /// Answers with the peers of other swarms that were met lately.
    Foreign(oneshot::Sender<Vec<PeerInfo>>),
    /// Answers with what the rendezvous must know of this node.
    Standing(oneshot::Sender<Standing>),
    /// Dials a stranger.
    Meet {
        address: SocketAddrV4,
        reply: oneshot::Sender<Result<PeerId, ConnectError>>,
    },
    Refuse(PeerId),
    /// A peer has sent something that was asked for and that has verified.
    WasOfUse {
        peer: PeerId,
        is_remembered: bool,
    },
    /// Dials an address of the user's from now on.
    Name(Multiaddr),
    /// Dials these addresses no more, and disconnects their peers and `peers`.
    Unname {
        addresses: Vec<Multiaddr>,
        peers: Vec<PeerId>,
    },
    RemoteIps {
        peer: PeerId,
        reply: oneshot::Sender<Vec<IpAddr>>,
    },
    Shutdown(oneshot::Sender<()>),
}
