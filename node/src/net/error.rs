//! Why the network does not do what it is asked for: one enum for each operation of the handle.

use std::io;

use reg_proto::peer::Address;
use thiserror::Error;

/// Why a node cannot start its network.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("TLS cannot be set up")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("noise cannot be set up")]
    Noise(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("DNS cannot be set up")]
    Dns(#[source] io::Error),
    #[error("mDNS cannot be set up")]
    Mdns(#[source] io::Error),
    #[error("gossip cannot be set up")]
    Gossip(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("lanes cannot be set up")]
    Lanes(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{address} is not an address")]
    Address { address: Address, source: libp2p::multiaddr::Error },
    #[error("{address} cannot be listened on")]
    Listen { address: Address, source: Box<dyn std::error::Error + Send + Sync> },
}

/// Why a node cannot connect to an address.
#[derive(Debug, Error)]
pub enum ConnectError {
    #[error("the node is offline")]
    Offline,
    #[error("{address} is not an address that can be dialled")]
    Address { address: Address, source: libp2p::multiaddr::Error },
    #[error("{address} cannot be reached")]
    Dial { address: Address, source: DialFailure },
    #[error("{address} is this node itself")]
    Own { address: Address },
}

/// Why a dial has not led to the peer that was meant.
#[derive(Debug, Error)]
pub enum DialFailure {
    #[error("connection refused: no node listens there")]
    Refused,
    #[error("no answer in time")]
    TimedOut,
    #[error("there is no route to that address")]
    NoRoute,
    #[error("the address is private, and neither the user nor a peer on the same network gave it")]
    Private,
    #[error("another peer answers there: {found}")]
    OtherPeer { found: String },
    #[error(
        "the connection was closed during the handshake: no node of this network listens there, or it is full"
    )]
    Closed,
    #[error("this node does not talk to that peer, or has too many connections")]
    Denied,
    #[error("this node does not speak that transport: addresses are /ip4/…/tcp/…, or /udp/…/quic-v1")]
    Transport,
    #[error("the dial was given up")]
    Aborted,
    #[error("{text}")]
    Other { text: String },
}

/// Why a peer did not answer a question.
#[derive(Debug, Error)]
pub enum AskError {
    #[error("the node is offline")]
    Offline,
    #[error("peer cannot be reached")]
    Unreachable,
    #[error("peer did not answer in time")]
    Timeout,
    #[error("peer does not speak our protocol")]
    OtherNetwork,
    #[error("the exchange broke")]
    Broken(#[source] io::Error),
}

/// Why no blob stream to a peer opens.
#[derive(Debug, Error)]
pub enum OpenStreamError {
    #[error("the node is offline")]
    Offline,
    #[error("peer cannot be reached")]
    Unreachable,
    #[error("peer did not answer in time")]
    Timeout,
    #[error("peer does not speak our protocol")]
    OtherNetwork,
    #[error(
        "peer is behind a NAT that no direct connection passes (a symmetric one?), and relays carry no pieces"
    )]
    BehindNat,
    #[error("too many streams are being opened")]
    TooMany,
    #[error("the stream broke")]
    Broken(#[source] io::Error),
}
