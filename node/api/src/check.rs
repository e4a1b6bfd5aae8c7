//! [`Check`]: one property of a model that was examined, with its result and the reason.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    Pass,
    /// The model is accepted, and the user should know this.
    Note,
    /// The check was not made: there was nothing to examine, or the user did not ask for it.
    NotDone,
    Deny,
}

/// One property of a model that was examined, with its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The name of the check, as in `tag record`.
    pub check: String,
    pub result: CheckResult,
    pub detail: String,
}

impl Check {
    /// Returns a check that passed.
    pub fn pass(check: &str, detail: impl fmt::Display) -> Self {
        Self::of(check, CheckResult::Pass, detail)
    }

    /// Returns a check that passed, with something that the user should know.
    pub fn note(check: &str, detail: impl fmt::Display) -> Self {
        Self::of(check, CheckResult::Note, detail)
    }

    /// Returns a check that was not made.
    pub fn not_done(check: &str, detail: impl fmt::Display) -> Self {
        Self::of(check, CheckResult::NotDone, detail)
    }

    /// Returns a refusal.
    pub fn deny(check: &str, detail: impl fmt::Display) -> Self {
        Self::of(check, CheckResult::Deny, detail)
    }

    fn of(check: &str, result: CheckResult, detail: impl fmt::Display) -> Self {
        Self { check: check.to_owned(), result, detail: detail.to_string() }
    }
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Note => "note",
            Self::NotDone => "not done",
            Self::Deny => "refused",
        })
    }
}
