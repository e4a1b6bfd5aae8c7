//! Parses strict JSON: bounded in bytes and depth, and without duplicate keys at any depth.
//!
//! serde takes the last of two equal keys in maps, and ignores duplicates of unknown fields. Two programs could then read
//! one signed text differently. So this module checks every document that crosses a trust boundary.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::JSON_DEPTH_MAX;

/// Why some bytes are not the expected JSON document.
#[derive(Debug, Error)]
pub enum JsonError {
    #[error("document has {length} bytes, at most {max} are allowed")]
    TooLarge { length: usize, max: usize },
    #[error("document is not JSON of the expected form")]
    Invalid(#[source] serde_json::Error),
}

/// Parses at most `max` bytes as a `T`.
///
/// # Errors
/// If `bytes` are more than `max`, not JSON or not a `T`; if they have duplicate keys, nesting beyond [`JSON_DEPTH_MAX`],
/// or bytes after the document.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, JsonError> {
    if bytes.len() > max {
        return Err(JsonError::TooLarge { length: bytes.len(), max });
    }
    let mut checker = serde_json::Deserializer::from_slice(bytes);
    Strict { depth: 0 }.deserialize(&mut checker).map_err(JsonError::Invalid)?;
    checker.end().map_err(JsonError::Invalid)?;
    serde_json::from_slice(bytes).map_err(JsonError::Invalid)
}

/// Returns `value` as JSON without white space, with fields in the order of their declaration.
///
/// # Panics
/// If JSON cannot hold a `T`: a map with keys other than strings. No type of this crate is one.
pub fn to_vec<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("the types of this crate have only text keys")
}

/// Deserialises a `T` from a string, by [`FromStr`].
pub(crate) fn text<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(de::Error::custom)
}

/// Deserialises an optional field that must be present, if only as `null`, so that a record has one spelling.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// Deserialises a field that is absent or has a value. Refuses `null`, which would be a second spelling of absence.
pub(crate) fn stated<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Walks a document and refuses duplicate keys. Keeps only the keys of the objects that enclose the current position.
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(&self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > JSON_DEPTH_MAX {
            return Err(E::custom(format_args!("nested deeper than {JSON_DEPTH_MAX}")));
        }
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate keys")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.deeper()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            entries.next_value_seed(self.deeper()?)?;
            if let Some(twice) = seen.replace(key) {
                return Err(de::Error::custom(format_args!("duplicate key {twice:?}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn refuses_duplicate_keys_at_any_depth() {
        for text in [r#"{"a":1,"a":2}"#, r#"[{"x":{"a":1,"a":1}}]"#, r#"{"a":1,"\u0061":2}"#] {
            assert!(from_slice::<Value>(text.as_bytes(), 100).is_err(), "{text}");
        }
        assert!(from_slice::<Value>(br#"{"a":{"a":1},"b":[{"a":1},{"a":1}]}"#, 100).is_ok());
    }

    #[test]
    fn refuses_what_is_too_large_too_deep_or_goes_on() {
        assert!(from_slice::<Value>(b"[1,2,3]", 6).is_err());
        assert!(from_slice::<Value>(b"1 2", 10).is_err());
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(from_slice::<Value>(deep(JSON_DEPTH_MAX).as_bytes(), 1000).is_ok());
        assert!(from_slice::<Value>(deep(JSON_DEPTH_MAX + 1).as_bytes(), 1000).is_err());
    }
}
