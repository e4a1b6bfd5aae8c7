//! What the catalogue keeps: entries, what is searched in them, and the texts of their publishers.

use std::cmp::Ordering;

use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId, Tag};
use serde::{Deserialize, Serialize};

/// The name of an entry. Two names that differ only in the case of the model name are one.
#[derive(Debug, Clone)]
pub struct EntryName {
    pub publisher: PublisherId,
    pub model: ModelName,
    pub tag: Tag,
}

/// One tag of a publisher's model, as far as this node has heard of it.
// 14 fields, because an entry is what is passed on to peers, what is compared with theirs, and what is searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub publisher: PublisherId,
    pub model: ModelName,
    pub tag: Tag,
    pub listing: Listing,
    /// Digest of the payload of the tag record.
    pub payload: Digest,
    pub manifest: Digest,
    /// Two entries with equal content are one result of a search. So the caller must have computed it, and must not take it from a
    /// claim: the manifest's digest stands for a content that is not known.
    pub content: Digest,
    pub seq: u64,
    /// When the publisher says that it signed the record, in seconds since 1970.
    pub issued: u64,
    /// When this node heard of it, in seconds since 1970.
    pub heard: u64,
    /// Whether the record says that the tag is gone. Searches never show it.
    pub is_tombstone: bool,
    /// Where the entry stands in the trie of its publisher. The caller computes it.
    pub key: [u8; 32],
    /// What stands there.
    pub value: [u8; 32],
    pub facts: Facts,
}

/// The exact texts of an entry, as they are passed on to peers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The envelope of the tag record.
    pub record: String,
    /// The envelope of the card, if the publisher signed one.
    pub card: Option<String>,
}

/// What is known of a model without its blobs. Searches read it.
// 13 fields, because a search may ask for each of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    pub title: String,
    pub task: String,
    pub summary: String,
    pub licence: String,
    pub languages: Vec<String>,
    /// The model that this one was made from, as its publisher writes it.
    pub base: String,
    pub base_manifest: Option<Digest>,
    pub formats: Vec<String>,
    pub quantisations: Vec<String>,
    /// Number of weights.
    pub parameters: Option<u64>,
    /// Bytes of all files.
    pub bytes: Option<u64>,
    /// Tokens that the model can take at once.
    pub context: Option<u64>,
    /// Whether the publisher signed these facts. If not, this node computed them.
    pub is_claimed: bool,
}

/// What the catalogue holds in memory of a committed entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryHead {
    pub publisher: PublisherId,
    pub model: ModelName,
    pub tag: Tag,
    pub manifest: Digest,
    pub content: Digest,
    pub seq: u64,
    pub issued: u64,
    pub heard: u64,
    pub bytes: Option<u64>,
    /// Whether the publisher is kept whole. If not, the entry belongs to the sample of strangers.
    pub is_kept: bool,
    pub is_tombstone: bool,
}

/// The texts of a publisher that its entries need to be verified. They are kept once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublisherTexts {
    pub publisher: PublisherId,
    pub key_documents: Vec<String>,
    pub revocations: Vec<String>,
}

/// Where an entry stands in the trie of its publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryKey {
    pub publisher: PublisherId,
    pub key: [u8; 32],
    pub value: [u8; 32],
    pub is_kept: bool,
}

impl Entry {
    /// Returns the name.
    pub fn name(&self) -> EntryName {
        EntryName { publisher: self.publisher, model: self.model.clone(), tag: self.tag.clone() }
    }

    /// Returns what is held in memory of this entry.
    pub(crate) fn head(&self, is_kept: bool) -> EntryHead {
        EntryHead {
            publisher: self.publisher,
            model: self.model.clone(),
            tag: self.tag.clone(),
            manifest: self.manifest,
            content: self.content,
            seq: self.seq,
            issued: self.issued,
            heard: self.heard,
            bytes: self.facts.bytes,
            is_kept,
            is_tombstone: self.is_tombstone,
        }
    }
}

impl EntryHead {
    /// Returns the name.
    pub fn name(&self) -> EntryName {
        EntryName { publisher: self.publisher, model: self.model.clone(), tag: self.tag.clone() }
    }
}

/// Compares the names of two models of one publisher without case, then their tags.
pub(crate) fn compare(model: &str, tag: &str, other_model: &str, other_tag: &str) -> Ordering {
    let lower = model.bytes().map(|byte| byte.to_ascii_lowercase());
    let other_lower = other_model.bytes().map(|byte| byte.to_ascii_lowercase());
    lower.cmp(other_lower).then_with(|| tag.cmp(other_tag))
}

impl Ord for EntryName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.publisher.cmp(&other.publisher).then_with(|| {
            compare(self.model.as_str(), self.tag.as_str(), other.model.as_str(), other.tag.as_str())
        })
    }
}

impl PartialOrd for EntryName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for EntryName {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for EntryName {}
