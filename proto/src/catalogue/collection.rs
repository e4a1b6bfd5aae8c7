//! [`Collection`]: a publisher's list of models and publishers that it recommends.
//!
//! A collection is published as a model with one file, [`COLLECTION_FILE`], as a denylist is. So its publisher's keys sign it, its
//! tag record numbers and chains it, it cannot be rolled back, and any holder can serve it. An entry for a publisher is a vouch.
//! A collection counts only for users that follow it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::bounded::Bounded;
use crate::content::label::Label;
use crate::digest::Digest;
use crate::json::{self, JsonError, stated};
use crate::limits::{COLLECTION_BYTES_MAX, COLLECTION_ENTRIES_MAX, COLLECTION_WORDS_MAX};
use crate::name::{ModelName, Publisher, PublisherId, Reference, Tag};

/// Name of the only file of a collection's model.
pub const COLLECTION_FILE: &str = "collection.json";

/// The subject of an entry, written `publisher`, `publisher/model`, `publisher/model:tag` or `publisher/model@sha256:…`, with the
/// publisher's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collected {
    /// Everything of a publisher: a vouch.
    Publisher(PublisherId),
    /// Every tag of a model.
    Model(PublisherId, ModelName),
    /// One tag of a model.
    Tag(PublisherId, ModelName, Tag),
    /// One version of a model.
    Manifest(PublisherId, ModelName, Digest),
}

/// A text names nothing that a collection can have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{text:?} is not a publisher's id, with /model, and then with :tag or @sha256:… if only this is meant"
)]
pub struct CollectedError {
    text: String,
}

/// One entry of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectionEntry {
    pub collect: Collected,
    /// What the publisher of the collection says of it: at most [`COLLECTION_WORDS_MAX`] bytes. The field is absent if nothing.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    pub words: Option<Label>,
}

/// The contents of a collection's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collection {
    /// Version of the format: 1.
    pub version: u64,
    /// The name of the model that the collection is published as.
    pub name: ModelName,
    pub title: Label,
    /// What the collection is about. The field is absent if nothing is said.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    pub words: Option<Label>,
    pub entries: Bounded<CollectionEntry, COLLECTION_ENTRIES_MAX>,
}

/// Why some bytes are not a collection.
#[derive(Debug, Error)]
pub enum CollectionError {
    #[error("collection cannot be parsed")]
    Json(#[from] JsonError),
    #[error("collection is of version {found}, this node reads version 1 only")]
    Version { found: u64 },
    #[error(
        "collection has {length} bytes of words about entry {entry}, at most {COLLECTION_WORDS_MAX} are allowed"
    )]
    Words { entry: usize, length: usize },
}

impl Collection {
    /// Parses the file of a collection.
    ///
    /// # Errors
    /// If it has too many bytes or entries, unknown or duplicate fields, words that are too long, or another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CollectionError> {
        let collection: Self = json::from_slice(bytes, COLLECTION_BYTES_MAX)?;
        if collection.version != 1 {
            return Err(CollectionError::Version { found: collection.version });
        }
        let lengths = collection.entries.iter().map(|it| it.words.as_ref().map_or(0, |it| it.as_str().len()));
        match lengths.enumerate().find(|(_, length)| *length > COLLECTION_WORDS_MAX) {
            Some((entry, length)) => Err(CollectionError::Words { entry, length }),
            None => Ok(collection),
        }
    }

    /// Returns the bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::to_vec(self)
    }

    /// Returns the publishers that the collection vouches for.
    pub fn vouches(&self) -> impl Iterator<Item = PublisherId> + '_ {
        self.entries.iter().filter_map(|entry| match entry.collect {
            Collected::Publisher(publisher) => Some(publisher),
            _ => None,
        })
    }
}

impl Collected {
    /// Returns the publisher of what is collected.
    pub const fn publisher(&self) -> PublisherId {
        match self {
            Self::Publisher(publisher)
            | Self::Model(publisher, _)
            | Self::Tag(publisher, _, _)
            | Self::Manifest(publisher, _, _) => *publisher,
        }
    }
}

impl fmt::Display for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publisher(publisher) => publisher.fmt(f),
            Self::Model(publisher, model) => write!(f, "{publisher}/{model}"),
            Self::Tag(publisher, model, tag) => write!(f, "{publisher}/{model}:{tag}"),
            Self::Manifest(publisher, model, manifest) => write!(f, "{publisher}/{model}@{manifest}"),
        }
    }
}

impl FromStr for Collected {
    type Err = CollectedError;

    fn from_str(text: &str) -> Result<Self, CollectedError> {
        let refused = || CollectedError { text: text.chars().take(100).collect() };
        if let Ok(publisher) = text.parse() {
            return Ok(Self::Publisher(publisher));
        }
        match text.parse::<Reference>() {
            Ok(Reference { publisher: Publisher::Id(publisher), model, tag, digest }) => {
                match (tag, digest) {
                    (None, None) => Ok(Self::Model(publisher, model)),
                    (Some(tag), None) => Ok(Self::Tag(publisher, model, tag)),
                    (None, Some(manifest)) => Ok(Self::Manifest(publisher, model, manifest)),
                    (Some(_), Some(_)) => Err(refused()),
                }
            }
            _ => Err(refused()),
        }
    }
}

impl Serialize for Collected {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Collected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collection() -> Collection {
        let id = PublisherId::from_bytes([1; 32]);
        let entry = |text: String, words: Option<&str>| CollectionEntry {
            collect: text.parse().unwrap(),
            words: words.map(|it| it.parse().unwrap()),
        };
        Collection {
            version: 1,
            name: "small-models".parse().unwrap(),
            title: "Small models".parse().unwrap(),
            words: None,
            entries: Bounded::first_of([
                entry(id.to_string(), Some("careful people")),
                entry(format!("{id}/Tiny"), None),
                entry(format!("{id}/Tiny:v1"), None),
                entry(format!("{id}/Tiny@{}", Digest::of(b"m")), Some("the one of the paper")),
            ]),
        }
    }

    #[test]
    fn reads_back_what_it_writes_and_nothing_else() {
        let list = collection();
        let bytes = list.to_bytes();
        assert_eq!(Collection::from_bytes(&bytes).unwrap(), list);
        assert_eq!(list.vouches().collect::<Vec<_>>(), [PublisherId::from_bytes([1; 32])]);
        assert!(list.entries.iter().all(|it| it.collect.publisher() == PublisherId::from_bytes([1; 32])));
        let text = String::from_utf8(bytes).unwrap();
        for (from, to) in [
            ("\"version\":1", "\"version\":2"),
            ("\"version\":1", "\"version\":1,\"more\":1"),
            ("\"title\"", "\"version\":1,\"title\""),
            ("/Tiny\"", "/Tiny:v1@sha256:00\""),
            ("/Tiny:v1", "/Tiny:"),
            ("careful people", ""),
            ("careful people", "a\\nb"),
            ("careful people", &"a".repeat(201)),
            (r#","words":"careful people""#, r#","words":null"#),
            ("Small models", "Small\\u001bmodels"),
        ] {
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text, "{from}");
            assert!(Collection::from_bytes(other.as_bytes()).is_err(), "{to}");
        }
        for text in [
            "acme/tiny",
            "acme.org/tiny",
            "acme",
            &format!("{}/a:b@{}", list.vouches().next().unwrap(), Digest::of(b"")),
        ] {
            assert!(text.parse::<Collected>().is_err(), "{text}");
        }
    }
}
