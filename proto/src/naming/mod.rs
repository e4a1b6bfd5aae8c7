//! The naming rules: which keys speak for a publisher, which statements count, and what a tag means.
//!
//! In: facts of verified documents and records, and closures that judge them. Out: decisions. Promise: no I/O, no clock,
//! no signature. The node runs the same code that a model checker explores. docs/naming.md explains the rules.

pub mod chain;
mod contradiction;
mod facts;
mod publication;
mod tag_book;

pub use self::contradiction::Contradiction;
pub use self::facts::RecordFacts;
pub use self::publication::{FinishError, Next, NextError, Pending, Promise, Signing};
pub use self::tag_book::{Barred, Candidate, Heard, State, TagBook, Usable};
