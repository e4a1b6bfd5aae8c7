//! The requests to the registry: one struct for each use case that takes more than a reference.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use reg_proto::announcement::Holder;
use reg_proto::bounded::Bounded;
use reg_proto::content::kind::ContentKind;
use reg_proto::content::label::Label;
use reg_proto::digest::Digest;
use reg_proto::limits::TICKET_PEERS_MAX;
use reg_proto::manifest::ModelDescriptor;
use reg_proto::name::{ModelName, PublisherId, Reference, Tag};
use reg_proto::path::SafePath;
use reg_proto::peer::Address;
use reg_proto::ticket::{Ticket, TicketPeer};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::consent::{Acceptance, Consent};
use crate::ingest::Ingest;
use crate::repository_name::RepositoryName;
use crate::selection::{Pattern, Selection};
use crate::web_seed::WebSeed;

/// Asks for the models in the store, in the order of publisher ids, names and manifests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRequest {
    /// Where the page before ended; `None` for the first page.
    #[serde(default)]
    pub after: Option<String>,
    /// The most models of the answer; `None` for all.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// Asks for a ticket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareRequest {
    /// The model that the ticket names; `None` for one that names this node alone.
    #[serde(default)]
    pub reference: Option<Reference>,
    /// Private addresses are named too.
    #[serde(default)]
    pub lan: bool,
}

/// The source of a model that is published.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishSource {
    /// A directory or file. The path is absolute, as the node sees it.
    Path(PathBuf),
    /// Blobs in the store, each with the path of its file.
    Blobs(Vec<(SafePath, Digest)>),
    /// The manifest of a ModelPack in the store. It is published unchanged, with all its blobs.
    Pack(Digest),
}

/// Asks to publish `source` as `model:tag`. It has 15 fields, because each is a choice of its own of the publisher's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PublishRequest {
    pub source: PublishSource,
    /// The envelopes (DSSE's JSON form) of the publisher's key documents; the digest of the first one's payload is the
    /// publisher's id.
    pub key_documents: Vec<String>,
    pub model: ModelName,
    pub tag: Tag,
    /// The publisher's claims about the model. They are shown apart from what the node computed.
    #[serde(default)]
    pub claims: Claims,
    /// What the card says beside the claims.
    #[serde(default)]
    pub card: CardClaims,
    /// Which files of a directory are published, and how the store takes them.
    #[serde(default = "Ingest::of_before")]
    pub ingest: Ingest,
    /// Consent to publish everything, also what runs code when it is loaded, such as pickle.
    #[serde(default)]
    pub allow_unsafe: bool,
    /// Consent to publish these kinds.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allow: BTreeSet<ContentKind>,
    /// Publish the model although files are missing, or are not what their names say.
    #[serde(default)]
    pub incomplete: bool,
    /// Seconds for which the tag is fresh. A later pull warns. `None`: for ever.
    #[serde(default)]
    pub fresh_for: Option<u64>,
    /// Seconds after which nodes refuse the tag. `None`: never.
    #[serde(default)]
    pub expires_in: Option<u64>,
    /// Settle an equivocation that froze the tag: the publisher states that both contradicting records are its own.
    #[serde(default)]
    pub settle: bool,
    /// The repository that the files come from, which the publisher attests.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// The lowest record that may be used where this one's model is not available. `None`: as the record before says.
    #[serde(default)]
    pub min_usable: Option<MinUsable>,
    /// Hold the tag until the record is signed elsewhere and published, or abandoned.
    #[serde(default)]
    pub hold: bool,
}

/// Asks what would be published of a directory or file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestRequest {
    /// The path, absolute as the node sees it.
    pub path: PathBuf,
    #[serde(default)]
    pub ingest: Ingest,
    #[serde(default)]
    pub accepted: Acceptance,
}

/// The lowest record of a tag that may be used in the place of a newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MinUsable {
    /// The record that states it: no earlier one may be used.
    This,
    Number(u64),
}

/// A text that is neither a record's number nor `this`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is neither the number of a record nor `this`")]
pub struct MinUsableError {
    text: String,
}

impl FromStr for MinUsable {
    type Err = MinUsableError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "this" => Ok(Self::This),
            text => text.parse().map(Self::Number).map_err(|_| MinUsableError { text: text.to_owned() }),
        }
    }
}

impl PublishRequest {
    /// Returns the consent that comes with the request.
    pub fn consent(&self) -> Consent {
        Consent::new(self.allow_unsafe, self.allow.clone())
    }

    /// Returns the request to publish `source` as `model:tag`, without claims, dates, leaves or an origin.
    pub fn new(source: PublishSource, key_documents: Vec<String>, model: ModelName, tag: Tag) -> Self {
        Self {
            card: CardClaims::default(),
            source,
            key_documents,
            model,
            tag,
            claims: Claims::default(),
            ingest: Ingest::default(),
            allow_unsafe: false,
            allow: BTreeSet::new(),
            incomplete: false,
            fresh_for: None,
            expires_in: None,
            settle: false,
            origin: None,
            min_usable: None,
            hold: false,
        }
    }
}

/// The repository and the version from which the files of a model were copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub endpoint: String,
    pub repository: RepositoryName,
    pub commit: String,
}

/// The publisher's claims about a model. They become part of the ModelPack config, and so of the manifest's digest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    #[serde(default)]
    pub licenses: Vec<String>,
    #[serde(default)]
    pub title: Option<String>,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub version: Option<String>,
    #[serde(default)]
    pub source_url: Option<String>,
}

/// What a publisher says of a model for searches. It becomes part of the card, and not of the manifest, so that it can be said
/// in other words without another version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CardClaims {
    /// What the model is for, as in `text-generation`. `None`: as the model card in the files says.
    pub task: Option<Label>,
    /// A sentence or two. `None`: the description.
    pub summary: Option<Label>,
}

impl From<ModelDescriptor> for Claims {
    fn from(stated: ModelDescriptor) -> Self {
        let ModelDescriptor { title, description, version, licenses, source_url } = stated;
        Self { licenses, title, description, version, source_url }
    }
}

/// Asks to fetch a model, verify it, seed it, and put it into `dest` where one is given.
///
/// It has 24 fields, because `reg pull` has so many options that do not depend on each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PullRequest {
    pub reference: Reference,
    /// The destination, absolute as the node sees it. `None`: the cache only.
    #[serde(default)]
    pub dest: Option<PathBuf>,
    /// Peers to ask first.
    #[serde(default)]
    pub from: Vec<Address>,
    /// Web seeds to ask in addition to peers.
    #[serde(default)]
    pub web_seeds: Vec<WebSeed>,
    /// Consent to everything, also what runs code when it is loaded, such as pickle.
    #[serde(default)]
    pub allow_unsafe: bool,
    /// Consent to these kinds.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allow: BTreeSet<ContentKind>,
    /// Ask no peer: use only what is in the store.
    #[serde(default)]
    pub offline: bool,
    /// Look for strangers in BitTorrent's DHT too, where this node does not do so by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub public: bool,
    /// Copy into `dest`. Otherwise `dest` shares the cache's bytes by reflink or hard link.
    #[serde(default)]
    pub copy: bool,
    /// Replace files in `dest` that differ from the model's, also what the user has written.
    #[serde(default)]
    pub overwrite: bool,
    /// Keep files in `dest` that differ from the model's, also what the user has written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
    /// Keep files in `dest` that the version before had and this one has not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_delete: bool,
    /// Accept a tag after its expiry date.
    #[serde(default)]
    pub allow_expired: bool,
    /// Refuse an older version where the newest one of the tag is not available.
    #[serde(default)]
    pub newest: bool,
    /// The files to fetch: all of them where the selection is empty.
    #[serde(default)]
    pub selection: Selection,
    /// The tensors to fetch, by patterns on their names. The pull puts them into safetensors files without the others.
    #[serde(default)]
    pub tensors: Vec<Pattern>,
    /// The Hugging Face cache to fill, so that its clients find the model there.
    #[serde(default)]
    pub hub_cache: Option<HubCache>,
    /// The priority of this pull among the pulls that run at once.
    #[serde(default)]
    pub priority: Priority,
    /// A limit for this pull alone, in bytes per second. `None`: no limit.
    #[serde(default)]
    pub limit_down: Option<u64>,
    /// Seconds for which the pull goes on without a byte. `None`: minutes once bytes have come, else less.
    #[serde(default)]
    pub timeout: Option<u64>,
    /// Apply the limit to peers on this machine and in private networks too.
    #[serde(default)]
    pub limit_local: bool,
    /// Write a receipt: what was verified, and against which keys.
    #[serde(default)]
    pub receipt: bool,
    /// Take a TXT record of the publisher's domain, which nothing has signed.
    #[serde(default)]
    pub allow_unsigned_dns: bool,
    /// What else the ticket says that names the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketRequest>,
    /// The node keeps the model for others: see `reg donate`. Only the node itself asks so.
    #[serde(skip)]
    pub for_others: bool,
}

/// What a ticket says beside the reference of its model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketRequest {
    /// Peers to meet before the model is looked for.
    pub peers: Bounded<Holder, TICKET_PEERS_MAX>,
    /// The version that the tag meant when the ticket was made.
    pub seen: Option<Digest>,
}

impl TicketRequest {
    /// Returns what a ticket says of its peers, and of the version that its maker has seen.
    pub fn of(ticket: &Ticket) -> Self {
        let peers = ticket.peers.iter().map(|TicketPeer { peer, addresses }| Holder {
            peer: *peer,
            addresses: Bounded::first_of(addresses.iter().map(|it| it.to_address(*peer))),
        });
        Self { peers: Bounded::first_of(peers), seen: ticket.seen() }
    }
}

impl PullRequest {
    /// Returns the consent that comes with the request.
    pub fn consent(&self) -> Consent {
        Consent::new(self.allow_unsafe, self.allow.clone())
    }

    /// Returns a request for a model in the cache, with the default of every option.
    pub fn into_cache(reference: Reference) -> Self {
        Self {
            reference,
            dest: None,
            from: Vec::new(),
            web_seeds: Vec::new(),
            allow_unsafe: false,
            allow: BTreeSet::new(),
            offline: false,
            public: false,
            copy: false,
            overwrite: false,
            keep: false,
            no_delete: false,
            allow_expired: false,
            newest: false,
            selection: Selection::default(),
            tensors: Vec::new(),
            hub_cache: None,
            priority: Priority::Low,
            limit_down: None,
            timeout: None,
            limit_local: false,
            receipt: false,
            allow_unsigned_dns: false,
            ticket: None,
            for_others: false,
        }
    }
}

/// The priority of a pull. It waits while a pull of higher priority makes progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
}

/// A text that names no priority.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is none of low, normal, high")]
pub struct PriorityError {
    text: String,
}

impl FromStr for Priority {
    type Err = PriorityError;

    fn from_str(text: &str) -> Result<Self, PriorityError> {
        match text {
            "low" => Ok(Self::Low),
            "normal" => Ok(Self::Normal),
            "high" => Ok(Self::High),
            _ => Err(PriorityError { text: text.to_owned() }),
        }
    }
}

/// Asks to pause or resume the pulls of a model. Without a model, it is about the whole node: all pulls, and all
/// seeding to peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseRequest {
    #[serde(default)]
    pub reference: Option<Reference>,
}

/// A repository in the cache of Hugging Face's clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubCache {
    /// The folder that contains `models--org--name`, absolute as the node sees it.
    pub dir: PathBuf,
    /// The name that clients will use.
    pub repository: RepositoryName,
    /// A branch, tag or commit.
    pub revision: String,
}

/// What a verification reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyTarget {
    /// Every blob of the cache.
    Everything,
    /// The blobs of one model in the cache.
    Model(Reference),
    /// A directory that a pull filled, against the manifest that it was pulled from.
    Directory(PathBuf),
}

/// Asks to hash the bytes on disk again, and to compare them with what was signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifyRequest {
    pub target: VerifyTarget,
    /// Fetch damaged bytes from peers again.
    #[serde(default)]
    pub repair: bool,
    /// Replace files of a directory that the user has edited, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overwrite: bool,
    #[serde(default)]
    pub from: Vec<Address>,
}

/// Returns the tag that a reference means: the tag in it, or `latest` where it has neither tag nor digest.
pub fn wanted_tag(reference: &Reference) -> Option<Tag> {
    match (&reference.tag, reference.digest) {
        (Some(tag), _) => Some(tag.clone()),
        (None, None) => Some(Tag::latest()),
        (None, Some(_)) => None,
    }
}

/// Asks to keep an attestation about a model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttestRequest {
    /// The model, which must be in the store.
    pub reference: Reference,
    /// The DSSE envelope of the statement.
    pub envelope: String,
    /// The envelopes of all key documents of the attestor, the first one first.
    pub key_documents: Vec<String>,
    pub attestor: PublisherId,
}

/// Asks to copy a repository from an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImportRequest {
    /// The URL of the endpoint, as in `https://huggingface.co`.
    pub endpoint: String,
    pub repository: RepositoryName,
    /// A branch, tag or commit.
    pub revision: String,
    /// The access token, where the endpoint requires one.
    #[serde(default)]
    pub token: Option<String>,
    /// What the publication that follows accepts, so that what it would refuse is refused before large files are fetched.
    #[serde(default)]
    pub accepted: Acceptance,
    /// Which files are copied. Nothing is known of their content before.
    #[serde(default = "Ingest::of_before")]
    pub ingest: Ingest,
}
