//! [`ShortName`]: a name of few characters in a card, such as a format, a quantisation or a language.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::json;
use crate::limits::SHORT_NAME_CHARS_MAX;

/// A name of 1 to 24 ASCII letters, digits, `.`, `_` and `-`: `safetensors`, `Q4_K_M`, `pt-BR`.
///
/// A reader keeps names that it does not know, because a later version may write more.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortName(String);

/// Why a text is not a short name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not a short name: at most {SHORT_NAME_CHARS_MAX} letters, digits, . _ and -")]
pub struct ShortNameError {
    text: String,
}

impl ShortName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ShortName {
    type Err = ShortNameError;

    fn from_str(text: &str) -> Result<Self, ShortNameError> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=SHORT_NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_fit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ShortNameError { text: text.chars().take(80).collect() })
        }
    }
}

impl fmt::Display for ShortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ShortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ShortName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ShortName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::format::FORMATS;

    #[test]
    fn every_format_has_a_short_name_and_no_text_is_one() {
        for row in FORMATS {
            assert_eq!(row.name.parse::<ShortName>().map(|it| it.to_string()), Ok(row.name.to_owned()));
        }
        assert!("Q4_K_M".parse::<ShortName>().is_ok() && "a".repeat(24).parse::<ShortName>().is_ok());
        for text in ["", "a b", "\u{e9}", "a\"", "a\u{1b}", &"a".repeat(25)] {
            assert!(text.parse::<ShortName>().is_err(), "{text:?}");
        }
    }
}
