//! [`Fault`]: what an edge must know of an error to choose an exit code or a status.

use std::io::{self, ErrorKind};

/// The kind of a failure, which tells the caller its next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The request makes no sense: a bad path, a refused name, an unknown petname.
    Invalid,
    /// Neither this node nor any peer that was asked has such a model, tag, file or key.
    NotFound,
    /// The model exists, but the part that was asked for does not: a pattern matches none of its files.
    NoMatch,
    /// The bytes or documents that were found are not those that were signed.
    Verification,
    /// No peer could be reached, or the node is offline.
    Unreachable,
    /// A policy refuses, or the user's consent is missing.
    Denied,
    /// The disk or the cache is full.
    DiskFull,
    /// The failure is temporary: the same request may succeed later.
    RetryLater,
    /// The node itself failed.
    Internal,
}

impl FaultKind {
    /// Returns the kind of a failure to read or write a path that the user has named. A disk that fails or cannot be
    /// written to is no mistake of the user.
    pub fn of_path(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull,
            ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::AlreadyExists
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::InvalidInput
            | ErrorKind::InvalidFilename => Self::Invalid,
            _ => Self::Internal,
        }
    }
}

/// An error of a use case.
pub trait Fault: std::error::Error {
    /// Returns the kind of this failure.
    fn kind(&self) -> FaultKind;

    /// Returns what the user can do next, where that is known.
    fn hint(&self) -> Option<String> {
        None
    }
}
