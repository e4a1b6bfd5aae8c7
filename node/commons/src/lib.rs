//! Decides which models a node keeps alive for others. Decisions only: time and chance are arguments.
//!
//! [`Audits`] counts the replicas of a model that have been proven, and [`Auditor`] says which piece to ask for next.
//! [`decide`] is what a donor does with its disk.
//! [`swarm`] keeps N copies of each blob of a private swarm. [`Health`] says when a model is endangered.
//!
//! This crate does no I/O, reads no clock and draws no random number. It moves no bytes and knows no network: its caller
//! asks peers, fetches and removes what is decided here.

pub mod swarm;

mod health;

mod donate;
mod scarcity;

mod audit;
mod replica;
mod zone;

mod passes;

mod chance;
mod time;

pub use self::audit::{
    ASKS_MAX, ASKS_PER_PEER_MAX, Answer, Ask, Auditor, BLOBS_PER_MODEL_MAX, BUDGET_PER_HOUR, Class,
    PIECES_PER_PEER_HOUR, ZONES_ENOUGH,
};
pub use self::chance::Chance;
pub use self::donate::{
    Action, COUNTED_FOR, Donor, Held, MARGIN, Model, RISE_PAUSE, Reason, Refusal, Standing,
    TAKES_PER_ROUND_MAX, Verdict, decide,
};
pub use self::health::{ENDANGERED_AFTER, Event, Health, Observed, RECOVERED_AFTER, SETTLING};
pub use self::passes::{
    FRESH_FOR, LAPSES_SOON, PASSES_NEEDED, PROOF_SPACING, Pass, Passes, PassesError, RENEWAL_SPACING, Urgency,
};
pub use self::replica::{
    Audits, Copies, Failed, Failure, MODELS_MAX, PEERS_PER_MODEL_MAX, PeerCopy, Replicas, TooManyCopies,
};
pub use self::scarcity::{Rise, SETTLES_AFTER, TARGET, give_back_probability, missing, take_probability};
pub use self::time::{DAY, HOUR, Moment};
pub use self::zone::{ZONE_NAME_BYTES_MAX, Zone, ZoneError, ZoneName, ZoneNameError};
