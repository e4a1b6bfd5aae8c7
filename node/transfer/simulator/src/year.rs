//! Simulates a year of a network that keeps models: which of them are alive at its end, by what donors do.
//!
//! The world has nodes that come and go, caches that evict, and no hub. What a donor knows it has audited, piece by
//! piece, and what it then does is decided by `reg-commons`: the same code as in the node.

mod plan;

mod donor;
mod knowledge;
mod node;
mod world;

mod outcome;
mod picture;

pub use self::outcome::{Outcome, Sample, Summary};
pub use self::picture::picture;
pub use self::plan::{Plan, Policy};
pub use self::world::run;

#[cfg(test)]
mod tests;
