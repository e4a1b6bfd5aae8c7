//! [`Fault`]: what an edge must know of an error to choose an exit code or a status.

use std::error::Error;
use std::io::{self, ErrorKind};

/// The kind of a failure, which tells the caller its next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The request makes no sense: a text that is no reference, flags that contradict each other, a refused setting.
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
    /// Every kind, in the order of exit codes.
    pub const ALL: [Self; 9] = [
        Self::Internal,
        Self::Invalid,
        Self::NotFound,
        Self::Verification,
        Self::Unreachable,
        Self::Denied,
        Self::DiskFull,
        Self::NoMatch,
        Self::RetryLater,
    ];

    /// Returns the name by which programs know this kind: the field `kind` of an error document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::NoMatch => "no_match",
            Self::Verification => "verification",
            Self::Unreachable => "unreachable",
            Self::Denied => "denied",
            Self::DiskFull => "disk_full",
            Self::RetryLater => "retry_later",
            Self::Internal => "internal",
        }
    }

    /// Returns the kind of this name; `None` for a name that a later version may have.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// Returns the exit code of a command that fails so.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Invalid => 2,
            Self::NotFound => 3,
            Self::Verification => 4,
            Self::Unreachable => 5,
            Self::Denied => 6,
            Self::DiskFull => 7,
            Self::NoMatch => 8,
            Self::RetryLater => 75,
        }
    }

    /// Says what this kind means.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Internal => "The node itself failed, or a disk did: none of the other kinds.",
            Self::Invalid => "The command, a flag or a setting makes no sense as it was typed.",
            Self::NotFound => {
                "Neither this node nor a peer that was asked has such a model, tag, file, folder, key or name."
            }
            Self::Verification => "The bytes or documents that were found are not those that were signed.",
            Self::Unreachable => {
                "No peer could be reached, none of them sent what it has, or the node is offline."
            }
            Self::Denied => {
                "A rule refuses it, your consent is missing, or something of yours is in the way."
            }
            Self::DiskFull => "The disk, the quota or the cache is full.",
            Self::NoMatch => "The model exists, and no file of it matches a pattern.",
            Self::RetryLater => "The failure is temporary.",
        }
    }

    /// Says what the user can do where an error of this kind has no hint of its own.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Internal => {
                "Read the lines that begin with `because`; run `reg status`; look into the log of the daemon."
            }
            Self::Invalid => "Read `reg help COMMAND`; `reg config path` prints where the settings are.",
            Self::NotFound => {
                "`reg ls`, `reg search WORDS`, `reg key ls` and `reg follow ls` list what there is; `--from` names a peer."
            }
            Self::Verification => {
                "`reg verify REF --repair` fetches damaged bytes again; ask other peers with `--from`; `reg log REF` shows the records of a tag."
            }
            Self::Unreachable => {
                "`reg peers` shows the peers; `--from ADDRESS` or `reg peers add` names one; what was fetched is kept."
            }
            Self::Denied => "The hint names the flag that consents, or the rule: `reg trust show`.",
            Self::DiskFull => {
                "`reg gc` and `reg rm REF` free the cache; run the same command again: what was fetched is kept."
            }
            Self::NoMatch => "`reg files REF` lists the files.",
            Self::RetryLater => "Run the same command again in a while.",
        }
    }

    /// Returns the kind of a failure to read or write a path that the user has named. A disk that fails or cannot be
    /// written to is no mistake of the user.
    pub fn of_path(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::PermissionDenied => Self::Denied,
            ErrorKind::AlreadyExists
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
