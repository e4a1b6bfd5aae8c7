//! What can be asked of the registry: one struct for each use case that takes more than a reference.

use std::path::PathBuf;
use std::str::FromStr;

use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId, Reference, Tag};
use reg_proto::path::SafePath;
use reg_proto::peer::Address;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::repository_name::RepositoryName;
use crate::selection::{Pattern, Selection};
use crate::web_seed::WebSeed;

/// What a model is made from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishSource {
    /// A directory or file: absolute, as the node sees it.
    Path(PathBuf),
    /// Blobs that are here, and what each is called.
    Blobs(Vec<(SafePath, Digest)>),
    /// The manifest of a ModelPack that is here, as it is, with all its blobs.
    Pack(Digest),
}

/// Publish `source` as `model:tag`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PublishRequest {
    pub source: PublishSource,
    /// The envelopes (DSSE's JSON form) of the publisher's key documents; the digest of the first one's payload is the
    /// publisher's id.
    pub key_documents: Vec<String>,
    pub model: ModelName,
    pub tag: Tag,
    /// What the publisher says of the model; shown apart from what is computed.
    #[serde(default)]
    pub claims: Claims,
    /// Publish content that runs code when it is loaded, such as pickle.
    #[serde(default)]
    pub allow_unsafe: bool,
    /// Seconds for which the tag is fresh; later a pull warns. `None`: for ever.
    #[serde(default)]
    pub fresh_for: Option<u64>,
    /// Seconds after which the tag is refused. `None`: never.
    #[serde(default)]
    pub expires_in: Option<u64>,
    /// Settle what froze the tag: both records that contradict each other are the publisher's own.
    #[serde(default)]
    pub settle: bool,
    /// Where the files come from, to be attested.
    #[serde(default)]
    pub origin: Option<Origin>,
}

impl PublishRequest {
    /// Returns the request to publish `source` as `model:tag`, without claims, dates, leaves or an origin.
    pub fn new(source: PublishSource, key_documents: Vec<String>, model: ModelName, tag: Tag) -> Self {
        Self {
            source,
            key_documents,
            model,
            tag,
            claims: Claims::default(),
            allow_unsafe: false,
            fresh_for: None,
            expires_in: None,
            settle: false,
            origin: None,
        }
    }
}

/// A version of a repository that the files of a model were copied from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub endpoint: String,
    pub repository: RepositoryName,
    pub commit: String,
}

/// What a publisher claims of a model; it ends up in the ModelPack config, and so in the manifest's digest.
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

/// Fetch a model, verify it, share it, and put it into `dest` if there is one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PullRequest {
    pub reference: Reference,
    /// Absolute, as the node sees it. `None`: into the cache only.
    #[serde(default)]
    pub dest: Option<PathBuf>,
    /// Peers to ask first.
    #[serde(default)]
    pub from: Vec<Address>,
    /// Servers of HTTP to ask beside peers.
    #[serde(default)]
    pub web_seeds: Vec<WebSeed>,
    /// Take content that runs code when it is loaded, such as pickle.
    #[serde(default)]
    pub allow_unsafe: bool,
    /// Ask no peer: what is here is what there is.
    #[serde(default)]
    pub offline: bool,
    /// Copy into `dest` instead of sharing the cache's bytes by reflink or hard link.
    #[serde(default)]
    pub copy: bool,
    /// Replace files in `dest` that differ.
    #[serde(default)]
    pub overwrite: bool,
    /// Take a tag whose publisher's expiry date has passed.
    #[serde(default)]
    pub allow_expired: bool,
    /// Which of its files; all where nothing is said.
    #[serde(default)]
    pub selection: Selection,
    /// Only the tensors whose names match any of these, in safetensors files with no others.
    #[serde(default)]
    pub tensors: Vec<Pattern>,
    /// Fill Hugging Face's cache, so that its clients find the model there.
    #[serde(default)]
    pub hub_cache: Option<HubCache>,
    /// Which pull goes first where there are several.
    #[serde(default)]
    pub priority: Priority,
    /// Bytes per second for this pull alone; `None` for any.
    #[serde(default)]
    pub limit_down: Option<u64>,
    /// Write down what was verified, against which keys.
    #[serde(default)]
    pub receipt: bool,
}

impl PullRequest {
    /// Asks for a model in the cache, without anything that a user may add.
    pub fn into_cache(reference: Reference) -> Self {
        Self {
            reference,
            dest: None,
            from: Vec::new(),
            web_seeds: Vec::new(),
            allow_unsafe: false,
            offline: false,
            copy: false,
            overwrite: false,
            allow_expired: false,
            selection: Selection::default(),
            tensors: Vec::new(),
            hub_cache: None,
            priority: Priority::Low,
            limit_down: None,
            receipt: false,
        }
    }
}

/// Which pull goes first: one waits while another of higher priority gets on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
}

/// Some text is no priority.
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

/// Pause or resume the pulls of a model; without one everything: pulls, and what is served to peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseRequest {
    #[serde(default)]
    pub reference: Option<Reference>,
}

/// A repository in the cache of Hugging Face's clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubCache {
    /// The folder that holds `models--org--name`: absolute, as the node sees it.
    pub dir: PathBuf,
    /// What clients will call it.
    pub repository: RepositoryName,
    /// A branch, tag or commit.
    pub revision: String,
}

/// What to verify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyTarget {
    /// Every blob of the cache.
    Everything,
    /// The blobs of one model in the cache.
    Model(Reference),
    /// A directory that was pulled, against the manifest it was pulled from.
    Directory(PathBuf),
}

/// Rehash what is here against what was signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifyRequest {
    pub target: VerifyTarget,
    /// Fetch what is damaged from peers.
    #[serde(default)]
    pub repair: bool,
    #[serde(default)]
    pub from: Vec<Address>,
}

/// The models that a listing is about; `None` for all.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ListRequest {
    #[serde(default)]
    pub publisher: Option<PublisherId>,
}

/// Returns the tag that a reference means: the one it names, `latest` where it names neither tag nor digest.
pub fn wanted_tag(reference: &Reference) -> Option<Tag> {
    match (&reference.tag, reference.digest) {
        (Some(tag), _) => Some(tag.clone()),
        (None, None) => Some(Tag::latest()),
        (None, Some(_)) => None,
    }
}

/// Keep what somebody says of a model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttestRequest {
    /// The model, which must be here.
    pub reference: Reference,
    /// The statement in its envelope.
    pub envelope: String,
    /// The envelopes of the attestor's key documents, from the first on.
    pub key_documents: Vec<String>,
    pub attestor: PublisherId,
}

/// Copy a repository from an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImportRequest {
    /// As in `https://huggingface.co`.
    pub endpoint: String,
    pub repository: RepositoryName,
    /// A branch, tag or commit.
    pub revision: String,
    /// What the endpoint wants to be shown, where it wants that.
    #[serde(default)]
    pub token: Option<String>,
}
