//! [`TrustEntries`]: what the trust file says, once it was understood.

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
    #[error("{text:?} is no kind of content, as in safetensors, gguf, json, text")]
    Format { text: String },
    #[error(
        "{text} is a list that is named with a tag or a digest: name the model alone, its tag latest counts"
    )]
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

/// The file as it is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustEntries {
    pub petnames: BTreeMap<Petname, PublisherId>,
    pub rules: Vec<Rule>,
    /// Lists that count, by whom and what each is called.
    pub denylists: Vec<Subscription>,
    /// What is taken and served, whatever a list says.
    pub allowed: BTreeSet<Denied>,
}

/// A list that the user has subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// As it is written: `acme/denylist`.
    pub name: String,
    pub publisher: PublisherId,
    pub model: ModelName,
}
