//! [`KeyName`]: the user's name for a key.

use std::fmt;
use std::str::FromStr;

use reg_proto::name::Petname;
use reg_proto::path::SafePath;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::keyring::EXTENSION;

/// The user's name for a key. It is spelled like a petname, and is a valid file name on every system.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

/// A text that is not a key name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{text:?} is not a key name: lower-case letters, digits, single . _ - between them, at most 32, no device of Windows"
)]
pub struct KeyNameError {
    text: String,
}

impl KeyName {
    /// Returns the name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of the next key of this publisher with this number: `me.next-1`.
    pub fn next(&self, number: u32) -> Self {
        Self(format!("{self}{NEXT}{number}"))
    }

    /// Returns the name of the key that takes over with key document `version` where no next key was committed to:
    /// `me.key-2`.
    pub fn successor(&self, version: u64) -> Self {
        Self(format!("{self}{SUCCESSOR}{version}"))
    }

    /// Returns the name of the publisher that a key file belongs to by its name: `me` for `me.next-1` and `me.key-2`.
    pub fn publisher(&self) -> Option<Self> {
        let (publisher, _) = split(&self.0)?;
        Some(Self(publisher.to_owned()))
    }

    /// Returns the number of a next key of `publisher`; `None` for other names.
    pub(super) fn next_number(&self, publisher: &Self) -> Option<u32> {
        number(self.0.strip_prefix(publisher.as_str())?.strip_prefix(NEXT)?)
    }

    /// Returns `me` for `me.2`: earlier versions named the keys of a rotation so.
    pub(super) fn old_style_publisher(&self) -> Option<Self> {
        let (publisher, version) = self.0.rsplit_once('.')?;
        number(version)?;
        publisher.parse().ok()
    }
}

/// Stands between a publisher's name and the number of one of its next keys.
const NEXT: &str = ".next-";
/// Stands between a publisher's name and the version of the key document with which a key takes over.
const SUCCESSOR: &str = ".key-";
/// Digits of such a number: more keys than a publisher can ever have.
const NUMBER_DIGITS_MAX: usize = 4;

/// Splits `me.next-1` into the publisher's name and the number.
fn split(text: &str) -> Option<(&str, u32)> {
    let (publisher, digits) = text.rsplit_once(NEXT).or_else(|| text.rsplit_once(SUCCESSOR))?;
    let number = number(digits)?;
    is_key_name(publisher).then_some((publisher, number))
}

fn number(digits: &str) -> Option<u32> {
    let is_number = (1..=NUMBER_DIGITS_MAX).contains(&digits.len())
        && digits.bytes().all(|it| it.is_ascii_digit())
        && !digits.starts_with('0');
    if is_number { digits.parse().ok() } else { None }
}

fn is_key_name(text: &str) -> bool {
    let file = format!("{text}.{EXTENSION}");
    text.parse::<Petname>().is_ok() && file.parse::<SafePath>().is_ok_and(|it| it.portable() == file)
}

impl FromStr for KeyName {
    type Err = KeyNameError;

    fn from_str(text: &str) -> Result<Self, KeyNameError> {
        // The names of next keys may be longer, because they are made from names of full length.
        if is_key_name(text) || split(text).is_some() {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyNameError { text: text.chars().take(80).collect() })
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for KeyName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
