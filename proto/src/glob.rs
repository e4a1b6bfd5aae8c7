//! [`ModelGlob`]: a pattern that selects models of a publisher by name: `*`, `llama-*`, `tiny`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::json;
use crate::limits::MODEL_NAME_CHARS_MAX;
use crate::name::ModelName;

/// A pattern of the characters of model names, and `*` for any number of them. It ignores case, as model names do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelGlob(String);

/// A text is not a pattern of model names.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{text:?} is not a pattern of model names: letters, digits, . _ - and *, at most {MODEL_NAME_CHARS_MAX}"
)]
pub struct GlobError {
    text: String,
}

impl ModelGlob {
    /// Returns whether the pattern matches the whole name of `model`.
    pub fn covers(&self, model: &ModelName) -> bool {
        let (pattern, name) = (self.0.to_ascii_lowercase(), model.folded());
        let mut parts = pattern.split('*');
        // The first part stands before the first star. A pattern without a star has only this part.
        let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
        let parts: Vec<&str> = parts.collect();
        let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
        let mut rest = rest;
        for part in middle {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

impl FromStr for ModelGlob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-*".contains(&byte);
        if (1..=MODEL_NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err(GlobError { text: text.chars().take(80).collect() })
        }
    }
}

impl fmt::Display for ModelGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ModelGlob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ModelGlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_what_it_says() {
        for (pattern, model, covered) in [
            ("*", "tiny", true),
            ("tiny", "Tiny", true),
            ("tiny", "tiny-2", false),
            ("llama-*", "llama-3", true),
            ("llama-*", "llama", false),
            ("*-gguf", "x-gguf", true),
            ("*-gguf", "x-gguf-2", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c", false),
            ("ab*ba", "aba", false),
            ("**", "x", true),
        ] {
            let found = pattern.parse::<ModelGlob>().unwrap().covers(&model.parse().unwrap());
            assert_eq!(found, covered, "{pattern} {model}");
        }
        for refused in ["", "a/b", "é", "a b", &"x".repeat(97)] {
            assert!(refused.parse::<ModelGlob>().is_err(), "{refused}");
        }
    }
}
