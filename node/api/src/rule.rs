//! [`Rule`]: the user's requirements on the models of a scope.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use reg_proto::attestation::AttestationKind;
use reg_proto::content::kind::ContentKind;
use reg_proto::glob::ModelGlob;
use reg_proto::name::{ModelName, Publisher, PublisherId};
use thiserror::Error;

/// The models that a rule is for: `PUBLISHER/PATTERN`, where the publisher is an id, a petname or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The publisher; `None` for all publishers.
    pub publisher: Option<Publisher>,
    pub models: ModelGlob,
}

/// Why a text is not a scope.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} does not read PUBLISHER/MODELS, as in acme/* or */llama-*")]
pub struct ScopeError {
    text: String,
}

/// A number of attestations of one kind with the result `pass`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    pub kind: AttestationKind,
    pub count: usize,
    /// The attestors that count. Empty: every publisher with a petname.
    pub by: BTreeSet<PublisherId>,
}

/// The requirements on the models of one scope. An empty field requires nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub scope: Scope,
    /// The id of the publisher that the scope names; `None` where it names none.
    pub publisher: Option<PublisherId>,
    /// Whether the publisher must have a petname.
    pub known_publisher: bool,
    pub attestations: Vec<Quorum>,
    /// The licences that a publisher may claim, in lower case.
    pub licenses: BTreeSet<String>,
    /// The kinds that the files may have, by their bytes.
    pub formats: BTreeSet<ContentKind>,
    /// The kinds that need no further consent, though they are more than data.
    pub allow: BTreeSet<ContentKind>,
    /// Whether an older version is refused where the newest one of a tag is not available.
    pub newest: bool,
}

impl Rule {
    /// Tells whether the rule applies to this model.
    pub fn is_for(&self, publisher: PublisherId, model: &ModelName) -> bool {
        let of = self.scope.publisher.is_none() || self.publisher == Some(publisher);
        of && self.scope.models.covers(model)
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let wrong = || ScopeError { text: text.chars().take(100).collect() };
        let (publisher, models) = text.split_once('/').ok_or_else(wrong)?;
        let publisher = match publisher {
            "*" => None,
            name => Some(name.parse().map_err(|_| wrong())?),
        };
        Ok(Self { publisher, models: models.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.publisher {
            Some(publisher) => write!(f, "{publisher}/{}", self.models),
            None => write!(f, "*/{}", self.models),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_names_a_publisher_and_models() {
        for text in ["*/*", "acme/*", "acme/llama-*", "*/x"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        for text in ["", "*", "acme", "/x", "acme/", "a*/x", "acme/x/y", "acme/[x]", "acme/x y", "ACME/x"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
        let id = |byte| PublisherId::from_bytes([byte; 32]);
        let rule = |text: &str, publisher| Rule {
            scope: text.parse().unwrap(),
            publisher,
            known_publisher: true,
            attestations: Vec::new(),
            licenses: BTreeSet::new(),
            formats: BTreeSet::new(),
            allow: BTreeSet::new(),
            newest: false,
        };
        let model = "Llama-3".parse().unwrap();
        assert!(rule("*/LLAMA*", None).is_for(id(1), &model));
        assert!(rule("acme/*", Some(id(1))).is_for(id(1), &model));
        assert!(!rule("acme/*", Some(id(1))).is_for(id(2), &model));
        assert!(!rule("acme/*", None).is_for(id(2), &model), "a petname without an id matches no publisher");
        assert!(!rule("*/mistral*", None).is_for(id(1), &model));
    }
}
