//! The naming rules as pure state machines: which keys speak for a publisher, which record of a tag counts, which may be
//! used, and which is signed next.
//!
//! In: facts of verified statements, and closures that judge them. Out: decisions. Promise: no I/O, no clock, no signature.
//! The node decides with the same code that a model checker explores. docs/naming.md explains the rules.

pub mod chain;
mod contradiction;
mod facts;
mod publication;
mod tag_book;

pub use self::contradiction::Contradiction;
pub use self::facts::RecordFacts;
pub use self::publication::{FinishError, Next, NextError, Pending, Promise, Signing};
pub use self::tag_book::{Heard, State, TagBook, Usable};
