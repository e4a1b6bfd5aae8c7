//! [`Fault`]: what an edge needs to know of an error to choose an exit code or a status.

/// What kind of failure an error is, for the caller's next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The request cannot be meant: a bad path, a refused name, an unknown petname.
    Invalid,
    /// There is no such model, tag, file or key here or at any peer that was asked.
    NotFound,
    /// The model is there, and what was asked of it is not: a pattern matches none of its files.
    NoMatch,
    /// What was found is not what was signed.
    Verification,
    /// No peer could be reached, or the node is offline.
    Unreachable,
    /// A policy or the user's consent is missing.
    Denied,
    /// The disk or the cache is full.
    DiskFull,
    /// Nothing is wrong but the moment.
    RetryLater,
    /// The node itself failed.
    Internal,
}

/// An error of a use case.
pub trait Fault: std::error::Error {
    /// Returns what kind of failure this is.
    fn kind(&self) -> FaultKind;

    /// Returns what the user can do next, where that is known.
    fn hint(&self) -> Option<String> {
        None
    }
}
