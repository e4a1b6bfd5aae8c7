//! What publishers have said and this node remembers: keys, tags, revocations, delegations, proofs of contradiction.
//!
//! In: verified documents. Out: the keys that are followed, the records that count, and the numbers that were seen. Promise:
//! every document is fsynced before it is acted on, and what was seen never goes back.

pub mod documents;
mod error;

pub mod declarations;
pub mod history;
pub mod key_pin;
pub mod keys;
pub mod proofs;
pub mod revoked;
pub mod tags;

pub use self::error::TagsError;
