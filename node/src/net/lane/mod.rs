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

mod error;
mod open;

pub use self::error::LaneError;
pub use self::host::LaneTicket;
pub(super) use self::host::Lanes;
pub use self::open::LaneEnd;
pub use self::reader::LaneReader;
pub use self::writer::LaneWriter;
