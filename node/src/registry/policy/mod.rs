//! Policies: pure functions from facts to a verdict with its reason. They open nothing, ask nobody and read no clock.
//!
//! What the facts are is found out elsewhere (`registry/consent`); what the user wants stands in the trust file.

mod check;
mod content;
mod denial;
mod rule;
mod trust;

pub use self::check::{Check, CheckResult};
pub use self::content::{Verdict, judge};
pub use self::denial::{Denial, Denials};
pub use self::rule::{Quorum, Rule, Scope, ScopeError};
pub use self::trust::{Facts, judge_formats, judge_trust};
