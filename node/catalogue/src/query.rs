//! What can be asked of the catalogue, and how it answers.

use reg_proto::name::PublisherId;

use crate::entry::{EntryHead, EntryName, Facts};

/// Results of one search: a page that people read, and that a gateway sends in one answer.
pub const LIMIT_MAX: usize = 100;
/// First result of the last page. Each page costs as much as all pages before it.
pub const OFFSET_MAX: usize = 10_000;
/// Publishers that one search can name: more than a user names, and the time of a search stays short.
pub const PUBLISHERS_MAX: usize = 256;
/// Lists of facts that one query can have: more than a client of a gateway asks for, and each costs one look-up.
pub const ANY_OF_MAX: usize = 32;
/// Facts of one such list: the names of one model.
pub const FACTS_OF_LIST_MAX: usize = 16;
/// Words of a search that count: more make it slower and find nothing else.
pub(crate) const WORDS_MAX: usize = 16;
/// Bytes of the text of a search that count.
pub(crate) const WORDS_BYTES_MAX: usize = 512;
/// Names of further entries with the same content: a popular model is published again by many.
pub(crate) const ALSO_MAX: usize = 16;

/// A search. Every field narrows it, and an empty query finds every entry.
// 15 fields, because each is a filter of its own, or a part of the order.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// What a user typed. No character has a meaning of its own. The last word may be the beginning of one.
    pub words: String,
    pub task: Option<String>,
    pub licence: Option<String>,
    pub format: Option<String>,
    pub quantisation: Option<String>,
    /// Models of unknown size are left out.
    pub bytes_max: Option<u64>,
    /// The base as its publisher writes it, or the digest of its manifest.
    pub base: Option<String>,
    /// An entry must have a fact of each list. At most [`ANY_OF_MAX`] lists of [`FACTS_OF_LIST_MAX`] facts.
    pub any_of: Vec<Vec<Fact>>,
    /// Any of these publishers, or all if there is none.
    pub publishers: Vec<PublisherId>,
    /// Whether strangers are left out.
    pub is_known_only: bool,
    /// Whether this is a filter of a list and no search: every word must be found, and each entry is a result of its own. The
    /// order is [`Self::sort`] alone.
    pub is_list: bool,
    pub sort: Sort,
    /// Whether the order of a list is turned around. [`Sort::Relevance`] is not.
    pub is_reversed: bool,
    pub offset: usize,
    /// Results at most, up to [`LIMIT_MAX`].
    pub limit: usize,
}

/// A fact that an entry may have, as its publisher writes it. Case does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    Task(String),
    Licence(String),
    Language(String),
    Format(String),
    Quantisation(String),
    /// The base by its name, or by the digest of its manifest.
    Base(String),
}

/// The order of results. Known publishers always come before strangers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// What has all words first, then by BM25.
    #[default]
    Relevance,
    /// By the time of the record, the newest first. A record cannot be newer than when it was heard of.
    Newest,
    /// The smallest first, unknown sizes last.
    Size,
    /// By the name of the model, without case.
    Name,
    /// The most replicas first, unknown numbers last.
    Replicas,
}

/// One result.
#[derive(Debug, Clone)]
pub struct Hit {
    pub head: EntryHead,
    pub facts: Facts,
    /// The score, moved by health and freshness. It is 0 if the query has no words.
    pub score: f32,
    /// Further entries with the same content, in the order of their rank. At most 16.
    pub also: Vec<EntryName>,
}

/// A page of results.
#[derive(Debug, Clone)]
pub struct Page {
    pub hits: Vec<Hit>,
    /// Entries that the query finds, before those with the same content became one. In a list they do not.
    pub total: usize,
}
