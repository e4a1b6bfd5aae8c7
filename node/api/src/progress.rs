//! [`Progress`]: the events of a long use case.

use serde::{Deserialize, Serialize};

use crate::check::Check;

/// One event of a long use case, sent when it happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Progress {
    /// A new stage begins: `finding`, `resolving`, `hashing`, `fetching`, `verifying`, `placing`, `announcing`, `writing`,
    /// `taking`.
    Stage { stage: String, detail: String },
    /// The progress of the stage, in bytes, with the number of peers that send them.
    Bytes { done: u64, total: u64, peers: usize },
    /// Something the user should know now.
    Note { text: String },
    /// A check was made.
    Check(Check),
}
