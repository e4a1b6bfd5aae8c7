//! The form of the trust file, and its conversion into [`TrustEntries`].

use std::collections::{BTreeMap, BTreeSet};

use reg_api::consent::kind_to_allow;
use reg_api::rule::{Quorum, Rule, Scope};
use reg_proto::attestation::AttestationKind;
use reg_proto::content::kind::ContentKind;
use reg_proto::denylist::DeniedError;
use reg_proto::name::{NameError, Petname, PublisherId, Reference};
use serde::{Deserialize, Serialize};
use toml_edit::{Table, value};

use super::alias::Alias;
use super::file::{ALIASES_MAX, COLLECTIONS_MAX, DENYLISTS_MAX, RULES_MAX};
use super::said::{EntryError, Names, Subscription, TrustEntries};

/// The entries as they are in the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTrust {
    #[serde(default)]
    petnames: BTreeMap<String, String>,
    /// An earlier version refuses a file with this table, so it is written with the first domain.
    #[serde(default)]
    domains: BTreeMap<String, String>,
    #[serde(default)]
    rules: Vec<RawRule>,
    #[serde(default)]
    denylists: RawDenylists,
    /// An earlier version refuses a file with this table, so it is written with the first collection and removed with the last.
    #[serde(default)]
    collections: RawCollections,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
}

/// A rule as it is in the file, and as commands send it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawRule {
    /// PUBLISHER/MODELS. Either may be `*`.
    pub models: String,
    #[serde(default)]
    pub known_publisher: bool,
    /// Refuse an older version where the newest one of a tag is not available.
    #[serde(default)]
    pub newest: bool,
    #[serde(default)]
    pub licenses: Vec<String>,
    #[serde(default)]
    pub formats: Vec<String>,
    /// Kinds that need no further consent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    #[serde(default)]
    pub attestations: Vec<RawQuorum>,
}

/// A number of attestations, as it is in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawQuorum {
    pub kind: String,
    pub count: usize,
    /// Petnames or ids. Empty: every publisher with a petname.
    #[serde(default)]
    pub by: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDenylists {
    #[serde(default)]
    subscribed: Vec<String>,
    #[serde(default)]
    allow: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCollections {
    #[serde(default)]
    followed: Vec<String>,
}

impl RawTrust {
    /// Checks the entries, and replaces petnames by ids.
    pub(super) fn mean(self) -> Result<TrustEntries, EntryError> {
        let petnames = self.petnames.into_iter().map(|(petname, id)| Ok((petname.parse()?, id.parse()?)));
        let petnames: BTreeMap<Petname, PublisherId> = petnames.collect::<Result<_, NameError>>()?;
        let count = self.domains.len();
        let domains = self.domains.iter().map(|(domain, id)| Ok((domain.parse()?, id.parse()?)));
        let names = Names { petnames, domains: domains.collect::<Result<_, EntryError>>()? };
        if names.domains.len() != count {
            return Err(EntryError::DomainTwice);
        }
        let too_many = |what, count, max| Err(EntryError::TooMany { what, count, max });
        let (rules, lists) = (self.rules.len(), self.denylists.subscribed.len());
        if rules > RULES_MAX {
            return too_many("rules", rules, RULES_MAX);
        }
        if lists > DENYLISTS_MAX {
            return too_many("denylists", lists, DENYLISTS_MAX);
        }
        if self.collections.followed.len() > COLLECTIONS_MAX {
            return too_many("collections", self.collections.followed.len(), COLLECTIONS_MAX);
        }
        if self.aliases.len() > ALIASES_MAX {
            return too_many("aliases", self.aliases.len(), ALIASES_MAX);
        }
        let aliases = self.aliases.iter().map(|(from, to)| Alias::of(from, to, &names));
        let aliases = aliases.collect::<Result<_, _>>()?;
        let rules = self.rules.iter().map(|rule| rule.mean(&names)).collect::<Result<_, _>>()?;
        let subscription = |list: &String| {
            let text: Reference = list.parse()?;
            if text.tag.is_some() || text.digest.is_some() {
                return Err(EntryError::List { text });
            }
            let publisher = names.id_of(&text.publisher)?;
            Ok(Subscription { name: list.clone(), publisher, model: text.model })
        };
        let subscribed = self.denylists.subscribed.iter().map(subscription);
        let denylists = subscribed.collect::<Result<_, EntryError>>()?;
        let followed = self.collections.followed.iter().map(subscription);
        let collections = followed.collect::<Result<_, EntryError>>()?;
        let allowed = self.denylists.allow.iter().map(|it| it.parse()).collect::<Result<_, DeniedError>>()?;
        Ok(TrustEntries { names, rules, denylists, collections, allowed, aliases })
    }
}

impl RawRule {
    fn mean(&self, names: &Names) -> Result<Rule, EntryError> {
        let scope: Scope = self.models.parse()?;
        let publisher = scope.publisher.as_ref().map(|it| names.id_of(it)).transpose()?;
        let formats = self.formats.iter().map(|text| {
            let known = ContentKind::ALL.into_iter().find(|it| it.name() == text);
            known.ok_or_else(|| EntryError::Format { text: text.clone() })
        });
        let allow = self.allow.iter().map(|text| {
            kind_to_allow(text).map_err(|reason| EntryError::Allow { scope: scope.clone(), reason })
        });
        let attestations = self.attestations.iter().map(|it| {
            let kind: AttestationKind = it.kind.parse()?;
            let by = it.by.iter().map(|attestor| names.id_of(&attestor.parse()?));
            let by: BTreeSet<PublisherId> = by.collect::<Result<_, EntryError>>()?;
            let count = it.count;
            if count == 0 || (!by.is_empty() && by.len() < count) {
                return Err(EntryError::Count { scope: scope.clone(), count, by: by.len() });
            }
            Ok(Quorum { kind, count, by })
        });
        let rule = Rule {
            attestations: attestations.collect::<Result<_, EntryError>>()?,
            known_publisher: self.known_publisher,
            newest: self.newest,
            licenses: self.licenses.iter().map(|it| it.to_lowercase()).collect(),
            formats: formats.collect::<Result<_, EntryError>>()?,
            allow: allow.collect::<Result<_, EntryError>>()?,
            publisher,
            scope,
        };
        let requires = rule.known_publisher
            || rule.newest
            || !rule.allow.is_empty()
            || !(rule.attestations.is_empty() && rule.licenses.is_empty() && rule.formats.is_empty());
        if requires { Ok(rule) } else { Err(EntryError::Nothing { scope: rule.scope }) }
    }

    /// Returns the rule as a table of the trust file.
    pub fn to_table(&self) -> Table {
        let texts = |all: &[String]| value(all.iter().map(String::as_str).collect::<toml_edit::Array>());
        let mut table = Table::new();
        table.insert("models", value(&self.models));
        if self.known_publisher {
            table.insert("known-publisher", value(true));
        }
        if self.newest {
            table.insert("newest", value(true));
        }
        if !self.licenses.is_empty() {
            table.insert("licenses", texts(&self.licenses));
        }
        if !self.formats.is_empty() {
            table.insert("formats", texts(&self.formats));
        }
        if !self.allow.is_empty() {
            table.insert("allow", texts(&self.allow));
        }
        let quorums = self.attestations.iter().map(|it| {
            let mut quorum = toml_edit::InlineTable::new();
            quorum.insert("kind", it.kind.as_str().into());
            quorum.insert("count", i64::try_from(it.count).unwrap_or(i64::MAX).into());
            quorum.insert("by", it.by.iter().map(String::as_str).collect::<toml_edit::Array>().into());
            quorum
        });
        if !self.attestations.is_empty() {
            table.insert("attestations", value(quorums.collect::<toml_edit::Array>()));
        }
        table
    }
}
