//! [`Loose`]: a value of any type in untrusted JSON or YAML. A value of an unexpected type is ignored, not refused.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::label::Label;

/// Items that are kept of a list. Languages, tags and base models are tens at most.
pub(super) const ITEMS_MAX: usize = 256;

/// A value, whatever its type.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Loose {
    Text(String),
    Number(u64),
    Bool(bool),
    /// The first [`ITEMS_MAX`] items that are labels.
    List(Vec<Label>),
    #[default]
    Other,
}

impl Loose {
    /// Returns the value as a label, if it is a text or a number.
    pub(super) fn label(&self) -> Option<Label> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Number(number) => number.to_string().parse().ok(),
            Self::Bool(_) | Self::List(_) | Self::Other => None,
        }
    }

    /// Returns the labels of a list, or the only label if the value is not a list.
    pub(super) fn labels(self) -> Vec<Label> {
        match self {
            Self::List(labels) => labels,
            single => single.label().into_iter().collect(),
        }
    }

    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn is_true(&self) -> bool {
        *self == Self::Bool(true)
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Loose;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
        Ok(Loose::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Loose, E> {
        Ok(Loose::Text(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Loose, E> {
        Ok(Loose::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Loose, E> {
        Ok(u64::try_from(number).map_or(Loose::Other, Loose::Number))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Loose, E> {
        Ok(Loose::Bool(value))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_unit<E>(self) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_none<E>(self) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Loose, D::Error> {
        Loose::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Loose, A::Error> {
        let mut labels = Vec::new();
        while let Some(item) = items.next_element::<Loose>()? {
            labels.extend(item.label().filter(|_| labels.len() < ITEMS_MAX));
        }
        Ok(Loose::List(labels))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Loose, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Loose::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_is_of_use() {
        let read = |text: &str| serde_json::from_str::<Loose>(text).unwrap();
        assert_eq!(read("\"mit\"").label().unwrap().as_str(), "mit");
        assert_eq!(read("7").number(), Some(7));
        assert_eq!(read("[\"en\", {\"x\": 1}, [2], 3, \"fr\"]").labels().len(), 3);
        assert_eq!(read("\"en\"").labels().len(), 1);
        for other in ["null", "-1", "1.5", "{\"a\": [1]}"] {
            assert_eq!(read(other), Loose::Other);
        }
        let long = format!("[{}\"a\"]", "\"a\",".repeat(1000));
        assert_eq!(read(&long).labels().len(), ITEMS_MAX);
    }
}
