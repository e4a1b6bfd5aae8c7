//! [`Denylist`]: a publisher's list of what not to pull and not to serve. It counts only for users that subscribe to it.
//!
//! A denylist is published as a model with one file, [`DENYLIST_FILE`]. So its publisher's keys sign it, its tag record
//! numbers and chains it, it cannot be rolled back, and any holder can serve it. The file adds the time until which the
//! list is current.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

use crate::bounded::Bounded;
use crate::content::label::Label;
use crate::digest::Digest;
use crate::json::{self, JsonError};
use crate::limits::{DENYLIST_BYTES_MAX, DENYLIST_ENTRIES_MAX};
use crate::name::PublisherId;

/// Name of the only file of a denylist's model.
pub const DENYLIST_FILE: &str = "denylist.json";

/// The subject of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Denied {
    /// A manifest, or a blob in any model.
    Digest(Digest),
    /// Every model of a publisher.
    Publisher(PublisherId),
}

/// A text is neither a digest nor a publisher id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is neither sha256:<64 hex digits> nor a publisher id")]
pub struct DeniedError {
    text: String,
}

/// One entry of a denylist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenylistEntry {
    pub deny: Denied,
    /// The reason, in one line, for users.
    pub reason: Label,
}

/// The contents of a denylist's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Denylist {
    /// Version of the format: 1.
    pub version: u64,
    /// Time from which the list is out of date, in seconds since 1970. Nodes still apply it, and report its age.
    pub expires: u64,
    pub entries: Bounded<DenylistEntry, DENYLIST_ENTRIES_MAX>,
}

/// Why some bytes are not a denylist.
#[derive(Debug, Error)]
pub enum DenylistError {
    #[error("denylist cannot be parsed")]
    Json(#[from] JsonError),
    #[error("denylist is of version {found}, this node reads version 1 only")]
    Version { found: u64 },
}

impl Denylist {
    /// Parses the file of a denylist.
    ///
    /// # Errors
    /// If it has too many bytes or entries, unknown or duplicate fields, or another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DenylistError> {
        let list: Self = json::from_slice(bytes, DENYLIST_BYTES_MAX)?;
        if list.version == 1 { Ok(list) } else { Err(DenylistError::Version { found: list.version }) }
    }

    /// Returns the bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::to_vec(self)
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => digest.fmt(f),
            Self::Publisher(publisher) => publisher.fmt(f),
        }
    }
}

impl FromStr for Denied {
    type Err = DeniedError;

    fn from_str(text: &str) -> Result<Self, DeniedError> {
        let digest = text.parse().map(Self::Digest).ok();
        let denied = digest.or_else(|| text.parse().map(Self::Publisher).ok());
        denied.ok_or_else(|| DeniedError { text: text.chars().take(100).collect() })
    }
}

impl Serialize for Denied {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Denied {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes_and_nothing_else() {
        let list = Denylist {
            version: 1,
            expires: 1_800_000_000,
            entries: Bounded::first_of([
                DenylistEntry {
                    deny: Denied::Digest(Digest::of(b"x")),
                    reason: "phones home".parse().unwrap(),
                },
                DenylistEntry {
                    deny: Denied::Publisher(PublisherId::from_bytes([1; 32])),
                    reason: "stolen key".parse().unwrap(),
                },
            ]),
        };
        let bytes = list.to_bytes();
        assert_eq!(Denylist::from_bytes(&bytes).unwrap(), list);
        let text = String::from_utf8(bytes).unwrap();
        for (from, to) in [
            ("\"version\":1", "\"version\":2"),
            ("\"version\":1", "\"version\":1,\"more\":1"),
            ("\"expires\"", "\"version\":1,\"expires\""),
            ("sha256:", "sha512:"),
            ("phones home", ""),
            ("phones home", "a\\nb"),
        ] {
            assert!(Denylist::from_bytes(text.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
        }
    }
}
