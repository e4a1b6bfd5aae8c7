//! Policies: pure functions from facts to a verdict with its reason.
//!
//! In: facts about a model, which [`consent`](crate::registry::resolve) and [`trust`](crate::registry::trust) gather,
//! and the user's rules and denylists. Out: checks and verdicts. Promise: a policy opens no file, asks no peer and
//! reads no clock, so equal facts give equal verdicts.

mod denials;
mod formats;
mod rules;

pub use self::denials::{Denial, Denials};
pub use self::formats::{Verdict, judge};
pub use self::rules::{Facts, consent_to, judge_formats, judge_trust};
