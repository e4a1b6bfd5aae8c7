//! What a node is asked about domains, and what it answers; and what publishers say of themselves.

use std::fmt;

use reg_proto::content::label::Label;
use reg_proto::digest::Digest;
use reg_proto::domain::Domain;
use reg_proto::name::PublisherId;
use reg_proto::peer::Address;
use reg_proto::profile::{Homepage, SignedProfile};
use serde::{Deserialize, Serialize};

/// How a domain may be resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskDomain {
    /// Take a TXT record, which nothing has signed.
    #[serde(default)]
    pub allow_unsigned_dns: bool,
    /// The publisher that the user accepts for the domain, whichever it had before, and however the domain names it.
    #[serde(default)]
    pub accept: Option<PublisherId>,
    /// Ask nothing of the network: what is pinned counts.
    #[serde(default)]
    pub offline: bool,
    /// Peers to ask for the publisher's profile first.
    #[serde(default)]
    pub from: Vec<Address>,
    /// Look for strangers that have the profile, also where the configuration does not say so.
    #[serde(default)]
    pub public: bool,
}

/// Where the publisher of a domain was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainSource {
    /// From `https://DOMAIN/.well-known/reg.json`.
    Https,
    /// From the TXT record `_reg.DOMAIN`.
    Dns,
    /// From the user's trust file.
    Pinned,
    /// From a petname of the user that is spelled like the domain.
    Petname,
}

impl fmt::Display for DomainSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Https => "its web server",
            Self::Dns => "an unsigned TXT record",
            Self::Pinned => "your trust file",
            Self::Petname => "a petname of yours",
        })
    }
}

/// The publisher of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainFound {
    pub domain: Domain,
    pub publisher: PublisherId,
    pub source: DomainSource,
    /// Whether the domain was pinned just now.
    pub is_new: bool,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// What a domain says now, beside what is pinned. Nothing of it is confirmed yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainSays {
    pub domain: Domain,
    pub publisher: PublisherId,
    pub source: DomainSource,
    pub pinned: Option<PublisherId>,
}

/// A domain that is pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainEntry {
    pub domain: Domain,
    pub publisher: PublisherId,
    #[serde(default)]
    pub profile: Option<ProfileReport>,
}

/// What a publisher says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileReport {
    /// The number of the profile.
    pub seq: u64,
    /// The digest of its payload, which the next profile names.
    pub payload: Digest,
    pub domain: Option<Domain>,
    pub title: Option<Label>,
    pub url: Option<Homepage>,
    /// Seconds since 1970.
    pub issued: u64,
    pub key_document: u64,
}

impl ProfileReport {
    /// Returns what is shown of a profile.
    pub fn of(signed: &SignedProfile) -> Self {
        let profile = signed.profile().clone();
        Self {
            seq: profile.seq,
            payload: signed.payload_digest(),
            domain: profile.domain,
            title: profile.title,
            url: profile.url,
            issued: profile.issued,
            key_document: profile.key_document,
        }
    }

    /// Returns the profile in one line: title, domain and page.
    pub fn line(&self) -> String {
        let domain = self.domain.as_ref().map(Domain::shown);
        let parts = [
            self.title.as_ref().map(ToString::to_string),
            domain,
            self.url.as_ref().map(ToString::to_string),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "says nothing of itself".to_owned() } else { parts.join(", ") }
    }
}
