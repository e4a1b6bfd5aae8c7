//! Simulates swarms of up to ten thousand nodes in virtual time, with the node's own scheduler and upload queue. [`year`]
//! simulates which models a network keeps.
//!
//! Nothing here is random but by the plan's seed, and nothing waits: equal plans give equal traces, which the trace's hash
//! shows. Invariants are checked at every step, and a broken one is a panic that names the seed.

mod plan;

mod event;
mod graph;
mod news;
mod node;
mod post;
mod step;
mod uplink;
mod world;

mod outcome;
mod picture;

pub use self::outcome::{Outcome, Trace};
pub use self::picture::picture;
pub use self::plan::{Manner, Plan};
pub use self::world::run;

pub mod year;

#[cfg(test)]
mod tests;
