//! Policies: pure functions from facts to a verdict with its reason. They open nothing, ask nobody and read no clock.
//!
//! What the facts are is found out elsewhere (`registry/consent`); what the user wants stands in the trust file.

mod admission;
mod denials;
mod formats;
mod rules;

pub use self::admission::Admission;
pub use self::denials::{Denial, Denials};
pub use self::formats::{Verdict, judge};
pub use self::rules::{Facts, judge_formats, judge_trust};
