//! [`TrustEntries`]: the entries of the trust file, parsed and checked.

use std::collections::{BTreeMap, BTreeSet};

use reg_api::rule::{Rule, Scope, ScopeError};
use reg_proto::attestation::AttestationWordError;
use reg_proto::denylist::{Denied, DeniedError};
use reg_proto::name::{ModelName, NameError, Petname, PublisherId, Reference};
use thiserror::Error;

/// Why an entry of the trust file is refused.
#[derive(Debug, Error)]
pub enum EntryError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error(transparent)]
    Word(#[from] AttestationWordError),
    #[error(transparent)]
    Denied(#[from] DeniedError),
    #[error("{text:?} is not a kind of content, as in safetensors, gguf, json, text")]
    Format { text: String },
    #[error("{text} names a denylist with a tag or a digest: name the model alone, its tag latest counts")]
    List { text: Reference },
    #[error("rule for {scope} wants {count} attestations of {by} attestors")]
    Count { scope: Scope, count: usize, by: usize },
    #[error("rule for {scope} requires nothing")]
    Nothing { scope: Scope },
    #[error("{petname} is not a petname of yours")]
    Petname { petname: Petname },
    #[error("there are {count} {what}, at most {max} are followed")]
    TooMany { what: &'static str, count: usize, max: usize },
}

/// The entries of the trust file, with petnames replaced by ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustEntries {
    pub petnames: BTreeMap<Petname, PublisherId>,
    pub rules: Vec<Rule>,
    /// The denylists that the user follows.
    pub denylists: Vec<Subscription>,
    /// The digests and publishers that are accepted and served although a denylist warns of them.
    pub allowed: BTreeSet<Denied>,
}

/// A denylist that the user has subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The name as it is in the file: `acme/denylist`.
    pub name: String,
    pub publisher: PublisherId,
    pub model: ModelName,
}
