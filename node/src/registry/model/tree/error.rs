//! [`TreeError`]: why a directory is not a model, and what to do about it.

use std::io;
use std::path::PathBuf;

use reg_api::fault::FaultKind;
use reg_api::ingest::LeftOutList;
use reg_api::selection::{IgnoreError, Pattern, listed};
use reg_api::size::Given;
use reg_proto::limits::{BLOB_BYTES_MAX, FILES_MAX};
use reg_proto::path::PathError;
use thiserror::Error;

use super::walk::{DEPTH_MAX, DIRECTORIES_MAX};

/// Why a directory is not a model.
#[derive(Debug, Error)]
pub enum TreeError {
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is neither a file nor a directory")]
    Special { path: PathBuf },
    #[error("{path} points to {target}, outside of what is published")]
    LinkOutside { path: PathBuf, target: PathBuf },
    #[error("{path} is a link to nothing")]
    LinkToNothing { path: PathBuf },
    #[error("{path} has a name that is not UTF-8")]
    NotUtf8 { path: PathBuf },
    #[error("{path} has a name that is refused")]
    Name { path: PathBuf, source: PathError },
    #[error("{first} and {second} would be one file where case or the spelling of characters is ignored")]
    Collision { first: PathBuf, second: PathBuf },
    #[error("{path} has {size} bytes, and a file of a model may have {}", Given(BLOB_BYTES_MAX))]
    TooLarge { path: PathBuf, size: u64 },
    #[error("{path} holds more than {FILES_MAX} files, and a model may have so many")]
    TooMany { path: PathBuf },
    #[error("{path} holds more than {DIRECTORIES_MAX} directories, counted once for each link to them")]
    TooManyDirectories { path: PathBuf },
    #[error("{path} holds no files that could be published")]
    Empty { path: PathBuf },
    #[error("{path} is nested deeper than {DEPTH_MAX} directories")]
    TooDeep { path: PathBuf },
    #[error("{path} looks like a secret: {found}")]
    Secret { path: PathBuf, found: String },
    #[error("{path} cannot be used")]
    Ignore { path: PathBuf, source: IgnoreError },
    #[error("no file below {path} matches {pattern}")]
    NoMatch { path: PathBuf, pattern: Pattern, names: Vec<String> },
    #[error("every file of {path} is left out")]
    AllLeftOut { path: PathBuf, left_out: LeftOutList },
    #[error("{path} is looked at no further: no caller waits for it any more")]
    Cancelled { path: PathBuf },
}

impl TreeError {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => FaultKind::NotFound,
            Self::Read { source, .. } => FaultKind::of_path(source),
            Self::NoMatch { .. } | Self::AllLeftOut { .. } => FaultKind::NoMatch,
            Self::Empty { .. } => FaultKind::NotFound,
            // The user has written a file wrongly.
            Self::Ignore { .. } => FaultKind::Invalid,
            // The command is right, and a file of the user is in the way.
            _ => FaultKind::Denied,
        }
    }

    /// Returns what the user can do next, where that is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::LinkOutside { .. } => {
                "copy the file into the directory, or leave the link out with --exclude"
            }
            Self::LinkToNothing { .. } | Self::Special { .. } => "remove it, or leave it out with --exclude",
            Self::Name { .. } | Self::NotUtf8 { .. } => "rename it, or leave it out with --exclude",
            Self::Collision { .. } => "rename one of the two, or leave one out with --exclude",
            Self::TooLarge { .. } => "split the file into shards, or leave it out with --exclude",
            Self::TooMany { .. } | Self::TooManyDirectories { .. } | Self::TooDeep { .. } => {
                "leave directories out with --exclude, or pack their files into archives"
            }
            Self::AllLeftOut { left_out, .. } => {
                return Some(format!("it has {}; --hidden takes hidden files", left_out.named()));
            }
            Self::NoMatch { names, .. } => return Some(format!("it has {}", listed(names))),
            Self::Secret { .. } => {
                "what is published stays public: take it with --secret NAME only if it is none"
            }
            Self::Ignore { .. } => "its lines have the syntax of a .gitignore",
            Self::Read { .. } | Self::Empty { .. } | Self::Cancelled { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
