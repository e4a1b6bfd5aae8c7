//! Searching the catalogue: what is looked for, and what is found.

use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Petname, Publisher, PublisherId, Tag};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::collection::CollectedIn;

/// Results of one search, at most: a page of a list that is read by people.
pub const RESULTS_MAX: usize = 100;
/// Results of one search where the user does not say: what fits a terminal.
pub const RESULTS: usize = 20;

/// The order of results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchOrder {
    /// What fits the words best comes first; without words, what was signed last.
    #[default]
    Best,
    /// What was signed last comes first.
    Newest,
    /// The smallest comes first.
    Size,
    Name,
    /// What has most replicas comes first.
    Replicas,
}

/// Why a text is not the order of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not an order: best, newest, size, name or replicas")]
pub struct OrderError;

impl std::str::FromStr for SearchOrder {
    type Err = OrderError;

    fn from_str(text: &str) -> Result<Self, OrderError> {
        match text {
            "best" => Ok(Self::Best),
            "newest" => Ok(Self::Newest),
            "size" => Ok(Self::Size),
            "name" => Ok(Self::Name),
            "replicas" => Ok(Self::Replicas),
            _ => Err(OrderError),
        }
    }
}

/// Asks for models of the catalogue. Every part that is given must fit, but for words: those models come first that have all of
/// them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchRequest {
    pub words: String,
    pub task: Option<String>,
    pub license: Option<String>,
    pub format: Option<String>,
    pub quant: Option<String>,
    /// The most bytes of the whole model.
    pub max_bytes: Option<u64>,
    /// The name of a model that it is derived from, or a part of that name.
    pub base: Option<String>,
    pub publisher: Option<Publisher>,
    pub order: SearchOrder,
    /// Whether only models of publishers that the user knows are meant: those that are named, followed or collected.
    pub known: bool,
    pub offset: usize,
    /// The most results: [`RESULTS`] where it is 0, and [`RESULTS_MAX`] at most.
    pub limit: usize,
}

/// The result of a search.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchReport {
    pub results: Vec<FoundModel>,
    /// How many models fit, those on other pages too.
    pub found: usize,
    /// Models in the catalogue of this node.
    pub entries: usize,
    /// When the catalogue was last compared with a peer, in seconds since 1970; `None` if it was not since the start.
    pub compared: Option<u64>,
}

/// A model that a search has found.
///
/// It has 23 fields, because a table, a page and a script show all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundModel {
    /// The number by which `reg pull` takes it.
    pub number: usize,
    pub publisher: PublisherId,
    /// What the user calls the publisher.
    pub petname: Option<Petname>,
    /// Whether the user has named, follows or has collected the publisher, or is the publisher.
    pub is_known: bool,
    pub model: ModelName,
    pub tag: Tag,
    pub manifest: Digest,
    /// When the publisher has signed it, in seconds since 1970.
    pub issued: u64,
    pub title: Option<String>,
    pub task: Option<String>,
    pub summary: Option<String>,
    pub license: Option<String>,
    pub base: Option<String>,
    pub formats: Vec<String>,
    pub quants: Vec<String>,
    pub parameters: Option<u64>,
    pub bytes: Option<u64>,
    pub context: Option<u64>,
    /// Where the facts come from.
    pub facts: FactsFrom,
    /// Whether the whole model is in the store.
    pub is_here: bool,
    pub replicas: Option<Replicas>,
    /// Other names of the same content.
    pub also: Vec<OtherName>,
    /// The followed collections that have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collected: Vec<CollectedIn>,
}

/// Where the facts of a result come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactsFrom {
    /// The publisher has signed them with the model.
    Publisher,
    /// This node has computed them from the files.
    Node,
    /// There are none beyond the names.
    Names,
}

/// How many replicas were proven of a model, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicas {
    pub count: usize,
    /// The oldest of the proofs, in seconds since 1970.
    pub since: u64,
}

/// Another name of the same content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherName {
    pub publisher: PublisherId,
    pub petname: Option<Petname>,
    pub model: ModelName,
    pub tag: Tag,
    pub manifest: Digest,
}
