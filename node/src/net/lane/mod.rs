//! Lanes: sockets beside the swarm that carry pieces one way, over TCP and TLS 1.3 without a muxer.
//!
//! libp2p's streams share one task and a muxer that cuts everything into 16 KiB frames. With a lane, requests stay on
//! the blob stream, and pieces come over the lane. Both ends prove their peer id by libp2p's certificate ([`tls`]). A
//! one-time token, which the server sends on the blob stream, admits the puller ([`tokens`]). Then rustls hands over
//! the keys, as it does for kernel TLS, and [`record`] encrypts and decrypts records directly in the buffers of the
//! pieces.

mod host;
mod tls;
mod tokens;

mod reader;
mod writer;

mod record;

mod error;
mod open;
mod reach;

pub use self::error::LaneError;
pub use self::host::LaneTicket;
pub(super) use self::host::Lanes;
pub use self::open::LaneEnd;
pub use self::reader::LaneReader;
pub use self::writer::LaneWriter;
