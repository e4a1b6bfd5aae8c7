//! [`TrustEntries`]: the entries of the trust file, parsed and checked.

use std::collections::{BTreeMap, BTreeSet};

use reg_api::rule::{Rule, Scope, ScopeError};
use reg_proto::attestation::AttestationWordError;
use reg_proto::denylist::{Denied, DeniedError};
use reg_proto::domain::{Domain, DomainError};
use reg_proto::name::{ModelName, NameError, Petname, Publisher, PublisherId, Reference};
use thiserror::Error;

use super::alias::Alias;

/// Why an entry of the trust file is refused.
#[derive(Debug, Error)]
pub enum EntryError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Domain(#[from] DomainError),
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error(transparent)]
    Word(#[from] AttestationWordError),
    #[error(transparent)]
    Denied(#[from] DeniedError),
    #[error("{text:?} is not a kind of content, as in safetensors, gguf, json, text")]
    Format { text: String },
    #[error("{text} names a list with a tag or a digest: name the model alone, its tag latest counts")]
    List { text: Reference },
    #[error("rule for {scope} wants {count} attestations of {by} attestors")]
    Count { scope: Scope, count: usize, by: usize },
    #[error("rule for {scope} allows what it cannot: {reason}")]
    Allow { scope: Scope, reason: String },
    #[error("rule for {scope} requires nothing")]
    Nothing { scope: Scope },
    #[error("{petname} is not a petname of yours")]
    Petname { petname: Petname },
    #[error("one domain is pinned twice, in two spellings")]
    DomainTwice,
    #[error("{domain} is no domain that you have pinned")]
    Unpinned { domain: Domain },
    #[error("{text:?} is not a name of the form PUBLISHER/MODEL or PUBLISHER/*")]
    AliasName { text: String },
    #[error("alias from {from} to {to} points a model to all models, all models to one, or a name to itself")]
    Alias { from: String, to: String },
    #[error("there are {count} {what}, at most {max} are followed")]
    TooMany { what: &'static str, count: usize, max: usize },
}

/// The names in the trust file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    pub petnames: BTreeMap<Petname, PublisherId>,
    /// The domains that are pinned, each with the publisher that it named at first.
    pub domains: BTreeMap<Domain, PublisherId>,
}

impl Names {
    /// Returns the publisher that a user means. Where a petname of before is spelled like a domain, the petname is meant.
    ///
    /// # Errors
    /// The name is not in the file.
    pub fn id_of(&self, publisher: &Publisher) -> Result<PublisherId, EntryError> {
        match publisher {
            Publisher::Id(id) => Ok(*id),
            Publisher::Petname(petname) => {
                let known = self.petnames.get(petname).copied();
                known.ok_or_else(|| EntryError::Petname { petname: petname.clone() })
            }
            Publisher::Domain(domain) => {
                let known = self.named_like(domain).or_else(|| self.domains.get(domain).copied());
                known.ok_or_else(|| EntryError::Unpinned { domain: domain.clone() })
            }
        }
    }

    /// Returns the publisher with a petname that is spelled like `domain`. An earlier version gave such petnames.
    pub fn named_like(&self, domain: &Domain) -> Option<PublisherId> {
        self.petnames.get(&domain.as_petname()?).copied()
    }
}

/// The entries of the trust file, with petnames replaced by ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustEntries {
    pub names: Names,
    pub rules: Vec<Rule>,
    /// The denylists that the user follows.
    pub denylists: Vec<Subscription>,
    /// The collections that the user follows.
    pub collections: Vec<Subscription>,
    /// The digests and publishers that are accepted and served although a denylist warns of them.
    pub allowed: BTreeSet<Denied>,
    /// The names that the user has pointed to others.
    pub aliases: Vec<Alias>,
}

impl TrustEntries {
    /// Returns the publisher and model that the user means by `model` of `publisher`, where an alias says so. An alias for
    /// the one model goes before one for all models of the publisher.
    pub fn alias(&self, publisher: &PublisherId, model: &ModelName) -> Option<(PublisherId, ModelName)> {
        let (for_one, for_all): (Vec<&Alias>, Vec<&Alias>) =
            self.aliases.iter().partition(|it| it.is_for_one());
        for_one.into_iter().chain(for_all).find_map(|it| it.apply(publisher, model))
    }
}

/// A list that the user has subscribed to: a denylist or a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The name as it is in the file: `acme/denylist`.
    pub name: String,
    pub publisher: PublisherId,
    pub model: ModelName,
}
