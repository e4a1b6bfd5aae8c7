//! Which piece from which peer, and when to give up on it: decisions without I/O.
//!
//! [`Scheduler`] takes [`Input`]s with the time as an argument and gives [`Output`]s; it moves ids, never bytes, and
//! reads no clock, so the same code runs in the node and in a simulation. Whoever drives it drains all outputs before
//! the next input.

mod limits;
mod peer;
mod scheduler;
mod time;
mod want;

pub use self::limits::{PIECES_IN_FLIGHT_PER_PEER, UNIT_PIECES};
pub use self::scheduler::{Input, Output, RequestId, Scheduler};
pub use self::time::Instant;
