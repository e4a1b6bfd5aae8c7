//! Lanes: bulk bytes beside the swarm, over TCP and TLS 1.3 with nothing in between.
//!
//! libp2p's streams share one task and a muxer that cuts everything into 16 KiB frames. A lane is a socket of its own, and
//! goes one way: requests stay on the control stream, pieces come over the lane. Both ends prove their peer id by libp2p's
//! certificate ([`tls`]); a one-time token from the control stream admits ([`tokens`]); then rustls hands over the keys, as
//! it does for kernel TLS, and [`record`] seals and opens records from and into the buffers of the pieces themselves.

mod host;
mod tls;
mod tokens;

mod reader;
mod writer;

mod record;

pub use self::host::LaneTicket;
pub(super) use self::host::Lanes;
use self::host::OpenLane;
pub use self::reader::LaneReader;
pub use self::writer::LaneWriter;

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use reg_proto::wire::WireError;
use thiserror::Error;

/// Why a lane does not open, or is of no more use.
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
    #[error("somebody else answers there")]
    OtherPeer,
    #[error("peer speaks another protocol there")]
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
    #[error("lane has carried as much as one key may")]
    Spent,
}

/// Ends a lane from outside, whatever its thread waits for.
#[derive(Debug, Clone)]
pub struct LaneEnd(Arc<TcpStream>);

impl LaneEnd {
    fn of(socket: &TcpStream) -> io::Result<Self> {
        Ok(Self(Arc::new(socket.try_clone()?)))
    }

    /// Closes the lane.
    pub fn close(&self) {
        let _closed_already = self.0.shutdown(std::net::Shutdown::Both);
    }
}
