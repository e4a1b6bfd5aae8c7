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
}

impl FromStr for KeyName {
    type Err = KeyNameError;

    fn from_str(text: &str) -> Result<Self, KeyNameError> {
        let is_file_name = || format!("{text}.{EXTENSION}").parse::<SafePath>().is_ok();
        if text.parse::<Petname>().is_ok() && is_file_name() {
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
