//! [`Fault`]: what an edge must know of an error to choose an exit code or a status.

use std::error::Error;
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

/// Returns an error with its causes, as one line.
pub fn chain(error: &dyn Error) -> String {
    let (mut text, mut source) = (error.to_string(), error.source());
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// Returns the failed call of the system that an error comes from, if it comes from one. `source` is the error's source.
pub fn system_call<'a>(source: Option<&'a (dyn Error + 'static)>) -> Option<&'a io::Error> {
    let (mut cause, mut call) = (source, None);
    while let Some(error) = cause {
        let inner = match error.downcast_ref::<io::Error>() {
            // A library may have put an error of its own into it.
            Some(failed) => {
                call = Some(failed).filter(|it| it.kind() != ErrorKind::Other).or(call);
                failed.get_ref().map(|it| it as &(dyn Error + 'static))
            }
            None => None,
        };
        cause = inner.or_else(|| error.source());
    }
    call
}

/// Tells whether a call of the system failed because the disk or the user's quota is full.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Returns what the user can do about a call of the system that failed on a disk, where that is known.
pub fn disk_hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::StorageFull => Some("free some space on that disk, and run the same command again"),
        ErrorKind::QuotaExceeded => Some("free some space of your quota, and run the same command again"),
        ErrorKind::ReadOnlyFilesystem => {
            Some("that disk is mounted read-only: mount it read-write, or name a folder on another disk")
        }
        _ => None,
    }
}

/// An error of a use case.
pub trait Fault: Error {
    /// Returns the kind of this failure.
    fn kind(&self) -> FaultKind;

    /// Returns what the user can do next, where that is known.
    fn hint(&self) -> Option<String> {
        None
    }

    /// Returns what the client of a gateway can do next. It has no flags of a command.
    fn client_hint(&self) -> Option<String> {
        self.hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Box<dyn Error + Send + Sync>);

    #[test]
    fn the_failed_call_is_found_below_errors_of_libraries() {
        let full = || io::Error::from(ErrorKind::StorageFull);
        for error in [
            Outer(Box::new(full())),
            Outer(Box::new(Outer(Box::new(full())))),
            Outer(Box::new(io::Error::other(full()))),
            Outer(Box::new(io::Error::other(Outer(Box::new(io::Error::other(Outer(Box::new(full())))))))),
        ] {
            let call = system_call(error.source()).expect("it is there");
            assert!(is_disk_full(call) && disk_hint(call).is_some_and(|it| it.contains("free some space")));
        }
        let other = Outer("text".into());
        assert!(system_call(other.source()).is_none());
    }
}
