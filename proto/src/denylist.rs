//! [`Denylist`]: what somebody advises not to pull and not to serve. Nobody's list counts unless the user has subscribed to it.
//!
//! A list travels as a model: one file, [`DENYLIST_FILE`], published under a name like any other. So it is signed by its
//! publisher's keys, numbered and chained by its tag record, cannot be rolled back, and is fetched from whoever has it.
//! What the file adds is when the list ends to be current.

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

/// The one file of a model that is a denylist.
pub const DENYLIST_FILE: &str = "denylist.json";

/// What a list warns of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Denied {
    /// A manifest, or a blob in whatever model it is.
    Digest(Digest),
    /// Everything of a publisher.
    Publisher(PublisherId),
}

/// A text names nothing that can be denied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is neither sha256:<64 hex digits> nor a publisher id")]
pub struct DeniedError {
    text: String,
}

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenylistEntry {
    pub deny: Denied,
    /// Why, in a line that is shown.
    pub reason: Label,
}

/// The file of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Denylist {
    /// 1.
    pub version: u64,
    /// Seconds since 1970 after which the list is not current: it is applied still, and its age is told.
    pub expires: u64,
    pub entries: Bounded<DenylistEntry, DENYLIST_ENTRIES_MAX>,
}

/// Why some bytes are not a denylist.
#[derive(Debug, Error)]
pub enum DenylistError {
    #[error("denylist is not understood")]
    Json(#[from] JsonError),
    #[error("denylist is of version {found}, this node knows version 1")]
    Version { found: u64 },
}

impl Denylist {
    /// Reads a list.
    ///
    /// # Errors
    /// Too many bytes or entries, unknown or duplicate fields, or another version.
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
