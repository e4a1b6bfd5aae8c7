//! What publishers have signed and this node remembers: keys, tags, revocations, delegations, profiles, tombstones,
//! proofs of equivocation.
//!
//! In: verified documents. Out: the keys that the node follows, the tag records that count, and the numbers that were
//! seen. Promise: every document is fsynced before the node acts on it, and the highest number seen of a tag never goes
//! back.
//!
//! One document for each tag is the truth about it. Its modules are public, because other rooms call their functions by the
//! module's name, such as `tags::seen` and `proofs::keep`.

mod book;
pub mod documents;
mod error;
mod histories;
mod known_tags;
mod migrate;

pub mod declarations;
pub mod forks;
pub mod history;
pub mod key_pin;
pub mod keys;
pub mod profiles;
pub mod proofs;
pub mod publication;
pub mod revoked;
pub mod tags;
pub mod tombstones;
pub mod usable;

pub use self::error::TagsError;
pub use self::migrate::{MigrateError, migrate};
