//! The naming rules: which keys speak for a publisher, which statements count, and what a tag means.
//!
//! They are pure: a rule takes facts and returns a decision, and never a clock, a file or a signature. The node decides
//! with them, and the model checker explores the same code (`docs/naming.md`).

pub mod chain;
