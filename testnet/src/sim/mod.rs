//! The simulator: the node's own scheduler in virtual time, for swarms of up to ten thousand.
//!
//! Nothing here is random but by the plan's seed, and nothing waits: equal plans give equal traces, which the trace's hash
//! shows. Invariants are checked at every step, and a broken one is a panic that names the seed.

mod plan;

mod graph;
mod news;
mod node;
mod uplink;
mod world;

mod outcome;
mod picture;

pub use self::outcome::Outcome;
pub use self::picture::picture;
pub use self::plan::{Manner, Plan};
pub use self::world::run;
