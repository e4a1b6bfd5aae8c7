//! [`Progress`]: what happens during a long use case, event by event.

use serde::{Deserialize, Serialize};

use crate::check::Check;

/// What happens during a long use case, as it happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Progress {
    /// A new stage begins: `finding`, `resolving`, `hashing`, `fetching`, `verifying`, `placing`, `announcing`.
    Stage { stage: String, detail: String },
    /// How far the stage is.
    Bytes { done: u64, total: u64, peers: usize },
    /// Something the user should know now.
    Note { text: String },
    /// Something was looked at.
    Check(Check),
}
