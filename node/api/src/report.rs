//! What the registry answers: the facts of each use case, as the CLI prints them with `--json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use reg_proto::attestation::{AttestationKind, AttestationResult, Mirror, Said};
use reg_proto::content::label::Label;
use reg_proto::content::metadata::Metadata;
use reg_proto::digest::Digest;
use reg_proto::envelope::PublicKey;
use reg_proto::name::{ModelName, Petname, PublisherId, Reference, Tag};
use reg_proto::path::SafePath;
use reg_proto::peer::{Address, PeerId};
use reg_proto::revocation::Revocation;
use serde::{Deserialize, Serialize};

use crate::check::Check;
use crate::reachability::Reachability;
use crate::receipt::{ByteSource, Pace, Receipt};
use crate::rule::Rule;
use crate::tag_age::TagAge;

/// A model that has been published.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Published {
    pub reference: Reference,
    pub publisher: PublisherId,
    pub model: ModelName,
    pub tag: Tag,
    pub manifest: Digest,
    pub bytes: u64,
    pub files: usize,
    /// Tag sequence number.
    pub seq: u64,
    /// Peers known to hold the whole model, this node not counted.
    pub holders: usize,
}

/// A model that has been pulled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pulled {
    pub reference: Reference,
    pub publisher: PublisherId,
    pub model: ModelName,
    pub tag: Option<Tag>,
    /// How old the record of the tag is; `None` where a digest was asked for that no tag means.
    #[serde(default)]
    pub tag_age: Option<TagAge>,
    pub manifest: Digest,
    pub bytes: u64,
    pub files: usize,
    pub dest: Option<PathBuf>,
    /// Whether every file of the model is here now; else what was chosen of it, which `files` and `bytes` count.
    pub complete: bool,
    /// Bytes that came from peers and web seeds.
    pub bytes_fetched: u64,
    /// Bytes that were here already.
    pub bytes_local: u64,
    /// Of these, bytes of tensors that other models here have too.
    #[serde(default)]
    pub bytes_reused: u64,
    /// Bytes by the peer that sent them.
    pub peers: BTreeMap<PeerId, u64>,
    /// Bytes by the web seed that sent them, as it was named.
    #[serde(default)]
    pub web: BTreeMap<String, u64>,
    pub seconds: f64,
    /// What the user should know: a tag past its freshness, a publisher seen for the first time.
    pub notes: Vec<String>,
    /// Everything that was looked at, in that order.
    pub checks: Vec<Check>,
    /// Where the bytes came from, the largest part first, the cache last.
    pub sources: Vec<ByteSource>,
    pub pace: Pace,
    /// Where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// What a pull would do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Planned {
    pub reference: Reference,
    pub manifest: Digest,
    /// Of what was chosen.
    pub files: usize,
    pub bytes: u64,
    /// Of the whole model.
    pub model_files: usize,
    pub model_bytes: u64,
    pub bytes_to_fetch: u64,
    pub bytes_local: u64,
    /// Where room is needed: the cache, and the directory where it lies on another disk.
    pub disks: Vec<DiskNeed>,
    pub cache_max_bytes: Option<u64>,
    /// The files that were chosen.
    pub entries: Vec<PlannedFile>,
    pub notes: Vec<String>,
}

/// A file that a pull would bring.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlannedFile {
    pub path: SafePath,
    pub size: u64,
    pub digest: Digest,
    pub bytes_to_fetch: u64,
}

/// Room that is needed on a disk, in bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DiskNeed {
    pub path: PathBuf,
    pub needed: u64,
    /// `None` where it is not known.
    pub free: Option<u64>,
}

/// A model that is here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelSummary {
    pub publisher: PublisherId,
    pub petname: Option<Petname>,
    pub model: ModelName,
    pub tags: Vec<Tag>,
    pub manifest: Digest,
    pub bytes: u64,
    pub files: usize,
    pub pinned: bool,
    /// Whether every blob is here and was verified.
    pub complete: bool,
    /// What was chosen of the model, where a part is all that was asked for.
    #[serde(default)]
    pub part: Option<PartSummary>,
    /// Seconds since 1970; `None` when it is not known.
    pub last_used: Option<u64>,
}

/// Some files of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSummary {
    pub files: usize,
    pub bytes: u64,
    /// Whether all of them are here.
    pub complete: bool,
}

/// All that is known of one model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelInfo {
    pub summary: ModelSummary,
    pub reference: Reference,
    /// Version of the key document that signed.
    pub key_document_version: u64,
    /// Newest tag record of the tag that was asked for.
    pub seq: Option<u64>,
    /// Seconds since 1970.
    pub issued: Option<u64>,
    pub fresh_until: Option<u64>,
    pub expires: Option<u64>,
    pub metadata: Metadata,
    pub referrers: Vec<Digest>,
    pub kinds: BTreeMap<String, usize>,
    /// Where its publisher says the files come from.
    #[serde(default)]
    pub mirror: Option<Mirror>,
    /// What anybody says of it, verified.
    #[serde(default)]
    pub attestations: Vec<AttestationInfo>,
    /// What the user's lists and rules say of it now.
    #[serde(default)]
    pub checks: Vec<Check>,
}

/// A file of a model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FileInfo {
    pub path: SafePath,
    pub size: u64,
    pub digest: Digest,
    pub media_type: String,
    pub here: bool,
}

/// What a verification has found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Verified {
    pub checked: usize,
    pub bytes: u64,
    pub damaged: Vec<Damage>,
    /// Files of a directory that the manifest does not name.
    pub unlisted: Vec<String>,
}

/// Something that is not what was signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Damage {
    pub digest: Digest,
    /// The file, where a directory was verified.
    pub path: Option<PathBuf>,
    pub problem: String,
    pub repaired: bool,
}

/// A peer this node is connected to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerReport {
    pub peer: PeerId,
    pub addresses: Vec<Address>,
    pub agent: Option<String>,
    pub transport: Option<String>,
    pub rtt_ms: Option<u64>,
    /// Lanes that are open to it and from it.
    #[serde(default)]
    pub lanes: usize,
    /// Why there is none, where one was wanted: then the swarm's streams carry pieces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_lane: Option<String>,
    pub bytes_fetched: u64,
    pub bytes_served: u64,
    /// How many of both went over lanes; the rest went over the swarm's streams.
    #[serde(default)]
    pub bytes_by_lane: u64,
}

/// The node in figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    pub peer_id: PeerId,
    pub listen: Vec<Address>,
    /// Whether others reach this node: `public`, `relayed` or `unknown`; nothing offline.
    #[serde(default)]
    pub reachability: Option<Reachability>,
    pub peers: usize,
    pub models: usize,
    pub blobs: usize,
    pub bytes: u64,
    pub partial_bytes: u64,
    pub cache_max_bytes: Option<u64>,
    /// Payload bytes of pieces written to peers since the start.
    pub bytes_served: u64,
    /// How many of these were of pieces that had been sent to nobody before: a swarm needs no more of them from one seed.
    #[serde(default)]
    pub bytes_served_first: u64,
    /// Payload bytes of pieces taken from peers since the start.
    pub bytes_fetched: u64,
    /// Whether everything is paused (`reg pause`).
    #[serde(default)]
    pub paused: bool,
    pub uptime_seconds: u64,
    pub version: String,
}

/// What a collection has removed, or would remove.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Collected {
    pub models: Vec<Digest>,
    pub blobs: usize,
    pub bytes: u64,
    pub dry_run: bool,
}

/// What pausing or resuming has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Pulls that run and were meant.
    pub pulls: usize,
    /// Whether everything is paused now.
    pub all: bool,
}

/// A publisher the user has named.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrustEntry {
    pub petname: Petname,
    pub publisher: PublisherId,
    /// Highest key document seen, where any was.
    pub key_document_version: Option<u64>,
    /// What it has revoked.
    #[serde(default)]
    pub revocations: Vec<Revocation>,
}

/// What is remembered of a publisher here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PublisherReport {
    pub publisher: PublisherId,
    /// Highest key document seen, where any was.
    pub key_document: Option<u64>,
    /// How many keys must sign for it; 0 where no key document was seen.
    pub threshold: usize,
    /// The keys that sign for it now.
    pub keys: Vec<PublicKey>,
    /// What it has revoked.
    pub revocations: Vec<Revocation>,
}

/// All that the trust file says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrustReport {
    pub petnames: Vec<TrustEntry>,
    pub rules: Vec<RuleReport>,
    /// Lists that are subscribed to.
    pub denylists: Vec<String>,
    /// What is taken and served, whatever a list says.
    pub allowed: Vec<String>,
    /// How many manifests, blobs and publishers the lists warn of.
    pub denied: usize,
    /// What should be known of the lists.
    pub notes: Vec<String>,
}

/// What is required of the models of one scope.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RuleReport {
    pub models: String,
    /// Each as a sentence.
    pub requires: Vec<String>,
}

impl RuleReport {
    pub fn of(rule: &Rule) -> Self {
        let mut requires = Vec::new();
        if rule.known_publisher {
            requires.push("a publisher that you have named".to_owned());
        }
        for it in &rule.attestations {
            let of = match it.by.len() {
                0 => "of publishers that you have named".to_owned(),
                count => format!("of {count} attestors"),
            };
            requires.push(format!("{} {} attestations {of} that say pass", it.count, it.kind));
        }
        if !rule.licenses.is_empty() {
            let all: Vec<&str> = rule.licenses.iter().map(String::as_str).collect();
            requires.push(format!("licences among {}", all.join(", ")));
        }
        if !rule.formats.is_empty() {
            let all: Vec<&str> = rule.formats.iter().map(|it| it.name()).collect();
            requires.push(format!("files of kind {}", all.join(", ")));
        }
        Self { models: rule.scope.to_string(), requires }
    }
}

/// An attestation as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestationInfo {
    pub by: PublisherId,
    /// What the user calls who says so.
    pub petname: Option<Petname>,
    pub kind: AttestationKind,
    pub result: AttestationResult,
    pub tool: Option<Label>,
    pub note: Option<String>,
    /// Seconds since 1970.
    pub issued: u64,
    pub key_document: u64,
}

impl AttestationInfo {
    /// Shows what was said, with the name that the user has for who says it.
    pub fn of(said: &Said, petnames: &BTreeMap<PublisherId, Petname>) -> Self {
        let (tool, note) = match said {
            Said::Attestation(it) => (it.tool.clone(), it.note.as_ref().map(ToString::to_string)),
            Said::Mirror(it) => {
                (None, Some(format!("{} at {}, commit {}", it.repository, it.endpoint, it.commit)))
            }
        };
        Self {
            by: said.by(),
            petname: petnames.get(&said.by()).cloned(),
            kind: said.kind(),
            result: said.result(),
            tool,
            note,
            issued: said.issued(),
            key_document: said.key_document(),
        }
    }
}

/// A repository whose files are here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImportedRepository {
    /// The commit that the revision meant.
    pub commit: String,
    pub files: Vec<(SafePath, Digest)>,
    pub bytes: u64,
    pub bytes_fetched: u64,
}
