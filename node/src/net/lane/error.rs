//! [`LaneError`]: why a lane does not open, or ends.

use std::io;

use reg_proto::wire::WireError;
use thiserror::Error;

/// Why a lane does not open, or carries no further piece.
#[derive(Debug, Error)]
pub enum LaneError {
    #[error("the node is offline, or has no lanes")]
    Off,
    #[error("peer is not connected directly")]
    NoAddress,
    #[error("peer cannot be reached by a lane")]
    Unreachable(#[source] io::Error),
    #[error("peer did not answer in time")]
    Timeout,
    #[error("handshake failed")]
    Handshake(#[source] io::Error),
    #[error("another peer answers at this address")]
    OtherPeer,
    #[error("peer speaks another protocol at this port")]
    OtherProtocol,
    #[error("peer does not admit us")]
    Refused,
    #[error("lane broke")]
    Io(#[from] io::Error),
    #[error("a record is not what the peer sealed")]
    Forged,
    #[error("a record of {length} bytes, which this protocol does not have")]
    Record { length: usize },
    #[error("peer sent a frame that is refused")]
    Wire(#[from] WireError),
    #[error("peer sent a frame that no lane carries")]
    Unexpected,
    #[error("lane has carried as much as one key may encrypt")]
    Spent,
}
