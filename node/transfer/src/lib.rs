//! Which piece from which peer, and when to give up on it: decisions without I/O.
//!
//! [`Scheduler`] takes [`Input`]s with the time as an argument and gives [`Output`]s; it moves ids, never bytes, and
//! reads no clock, so the same code runs in the node and in a simulation. Its driver drains all outputs before the next
//! input.

mod limits;
mod scheduler;

mod want;

mod bits;
mod focus;
mod holders;
mod rarity;
mod unit;

mod peer;
mod slots;

mod rate;

mod chance;
mod time;

mod lanes;

mod uplink;

mod bucket;
mod courtesy;
mod promised;
mod spread;

pub use self::bucket::TokenBucket;
pub use self::chance::Chance;
pub use self::courtesy::{COURTESY_MIN, Courtesy};
pub use self::lanes::{LaneFacts, lanes_wanted};
pub use self::limits::{HEARD_BYTES, HEARD_MAX, PIECES_IN_FLIGHT_PER_PEER, UNIT_PIECES};
pub use self::peer::Nearness;
pub use self::scheduler::{Input, Output, RequestId, Scheduler};
pub use self::time::Instant;
pub use self::uplink::{Asked, Line, SLOT_HOLD, Ticket, Turn, UPLOAD_SLOTS, Uplink, slots_at};
