//! [`Progress`]: the events of a long use case; [`Transfer`]: which files are being fetched.

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
    /// More of a stage that fetches, beside `Bytes`.
    Transfer(Transfer),
    /// Something the user should know now.
    Note { text: String },
    /// A check was made.
    Check(Check),
}

/// Files that are named as running at once. Of more, their number is told.
pub const RUNNING_FILES_MAX: usize = 4;

/// The files of a stage that fetches, where their bytes come from, and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Transfer {
    /// Bytes that the store had before, of those that were to be fetched.
    pub here: u64,
    /// The number of web seeds among the sources that `Bytes` counts as peers.
    pub web: usize,
    /// Files of which a part has come, at most [`RUNNING_FILES_MAX`].
    pub running: Vec<FileAmount>,
    /// Files that are complete, and all files of the stage.
    pub files_done: usize,
    pub files: usize,
    /// What it waits for, where it does.
    pub waits_for: Option<Waiting>,
}

/// How much of a file has come, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAmount {
    pub path: String,
    pub done: u64,
    pub total: u64,
}

/// What a transfer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// Its turn: it is paused, or a pull of a higher priority runs.
    Turn,
    /// A peer or a web seed that has it.
    Peers,
}
