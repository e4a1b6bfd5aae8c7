//! The reports of the registry: the facts of each use case, as the CLI prints them with `--json`.

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

use crate::behind::Behind;
use crate::check::Check;
use crate::collection::CollectedIn;
use crate::counted::counted;
use crate::domain::{DomainEntry, ProfileReport};
use crate::health::Audited;
use crate::ingest::LeftOutList;
use crate::lineage::Lineage;
use crate::reachability::Reachability;
use crate::receipt::{ByteSource, Pace, Receipt};
use crate::request::{CardClaims, Claims};
use crate::rule::Rule;
use crate::swarm::SwarmSummary;
use crate::tag_age::TagAge;

/// A prepared record that its publisher has abandoned. Its signature must not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abandoned {
    pub publisher: PublisherId,
    pub model: ModelName,
    pub tag: Tag,
    pub seq: u64,
    pub manifest: Digest,
    /// When it was prepared, in seconds since 1970.
    pub since: u64,
}

/// A model that was published.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Published {
    pub reference: Reference,
    pub publisher: PublisherId,
    pub model: ModelName,
    pub tag: Tag,
    pub manifest: Digest,
    pub bytes: u64,
    pub files: usize,
    /// The sequence number of the tag record.
    pub seq: u64,
    /// The number of peers known to hold the whole model, without this node, once the caller has waited for them; else 0.
    pub holders: usize,
}

/// A model that was pulled. It has 27 fields, because programs read the answer as flat JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pulled {
    pub reference: Reference,
    pub publisher: PublisherId,
    pub model: ModelName,
    pub tag: Option<Tag>,
    /// The age of the tag record; `None` where the user asked for a digest that no tag means.
    #[serde(default)]
    pub tag_age: Option<TagAge>,
    /// How the pulled version stands behind the head of the tag; `None` where it is the head, or was asked for by digest.
    #[serde(default)]
    pub behind: Option<Behind>,
    pub manifest: Digest,
    pub bytes: u64,
    pub files: usize,
    pub dest: Option<PathBuf>,
    /// Files in `dest` that differ from the model's, and were kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<SafePath>,
    /// Files of the version before that this one has not, and that were removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<SafePath>,
    /// Files of the version before that this one has not, and that were kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<SafePath>,
    /// Whether the store now has every file of the model, and no file that another one needs is missing of the model itself.
    pub complete: bool,
    /// What the model itself lacks: files that its publisher left out, or that are not what their names say.
    #[serde(default)]
    pub gaps: Vec<String>,
    /// Whether the store has only the files that the user chose. `files` and `bytes` count them.
    #[serde(default)]
    pub is_part: bool,
    /// Bytes that came from peers and web seeds.
    pub bytes_fetched: u64,
    /// Bytes that were in the store before the pull.
    pub bytes_local: u64,
    /// Bytes among these of tensors that the store's other models have too.
    #[serde(default)]
    pub bytes_reused: u64,
    /// Bytes from each peer.
    pub peers: BTreeMap<PeerId, u64>,
    /// Bytes from each web seed, which is named as the user wrote it.
    #[serde(default)]
    pub web: BTreeMap<String, u64>,
    pub seconds: f64,
    /// What the user should know: a tag past its freshness, a publisher seen for the first time.
    pub notes: Vec<String>,
    /// Every check, in the order in which they were made.
    pub checks: Vec<Check>,
    /// The sources of the bytes, the largest one first and the cache last.
    pub sources: Vec<ByteSource>,
    pub pace: Pace,
    /// The receipt, where the user asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// What a pull would do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Planned {
    pub reference: Reference,
    pub manifest: Digest,
    /// The number of files that the user chose.
    pub files: usize,
    pub bytes: u64,
    /// The number of files of the whole model.
    pub model_files: usize,
    pub model_bytes: u64,
    pub bytes_to_fetch: u64,
    pub bytes_local: u64,
    /// The disks that need room: the cache's, and the directory's where that is another one.
    pub disks: Vec<DiskNeed>,
    pub cache_max_bytes: Option<u64>,
    /// The files that the user chose.
    pub entries: Vec<PlannedFile>,
    pub notes: Vec<String>,
    /// How the version that would be pulled stands behind the head of the tag.
    #[serde(default)]
    pub behind: Option<Behind>,
}

/// A file that a pull would fetch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlannedFile {
    pub path: SafePath,
    pub size: u64,
    pub digest: Digest,
    pub bytes_to_fetch: u64,
}

/// The room that a pull needs on one disk, in bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DiskNeed {
    pub path: PathBuf,
    pub needed: u64,
    /// The free bytes; `None` where they are not known.
    pub free: Option<u64>,
}

/// A model in the store. It has 20 fields, because programs read the answer as flat JSON.
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
    /// Whether it was published on this node, and is kept because of that.
    #[serde(default)]
    pub published: bool,
    /// Whether the user follows its publisher, and it is kept because of that.
    #[serde(default)]
    pub followed: bool,
    /// Whether it is kept for others: see `reg donate`.
    #[serde(default)]
    pub donated: bool,
    /// Whether it is a copy for the private swarm: see `reg swarm`.
    #[serde(default)]
    pub spread: bool,
    /// Whether the store has every blob, verified, and no file that another one needs is missing of the model itself.
    pub complete: bool,
    /// Whether the store has every blob that was chosen, verified, also of a model that was published without all of its files.
    #[serde(default)]
    pub here: bool,
    /// The files that the user chose, where it was only a part of the model.
    #[serde(default)]
    pub part: Option<PartSummary>,
    /// The bytes of the chosen files that are in the store, where some are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_here: Option<u64>,
    /// The tag by which a pull has begun that has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulling: Option<Tag>,
    /// The tags of which it was an earlier version, where no tag means it now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<Tag>,
    /// Seconds since 1970; `None` where it is not known.
    pub last_used: Option<u64>,
    /// Those of the tags that have a newer version, which the store does not have, with how this one stands behind it.
    #[serde(default)]
    pub behind: BTreeMap<Tag, Behind>,
    /// Why its publisher has withdrawn it; `None` where it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<String>,
}

/// A part of a model: some of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSummary {
    pub files: usize,
    pub bytes: u64,
    /// Whether the store has all of them.
    pub complete: bool,
}

/// The licence of a model, as rules judge it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Licence {
    pub licenses: Vec<String>,
    pub from: LicenceFrom,
}

/// Where the licence of a model is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LicenceFrom {
    /// The publisher has stated it when it was published.
    Publisher,
    /// The model card among the files claims it.
    Files,
    Nowhere,
}

/// Everything that this node knows of one model. It has 19 fields, because programs read the answer as flat JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelInfo {
    pub summary: ModelSummary,
    pub reference: Reference,
    /// The version of the key document with the keys that signed.
    pub key_document_version: u64,
    /// The number of the newest tag record of the tag that was asked for.
    pub seq: Option<u64>,
    /// The time of that record in seconds since 1970.
    pub issued: Option<u64>,
    pub fresh_until: Option<u64>,
    pub expires: Option<u64>,
    /// How this version stands behind the head of the tag that was asked for.
    #[serde(default)]
    pub behind: Option<Behind>,
    /// What the publisher said of it when it was published; `None` where the store does not have that yet.
    #[serde(default)]
    pub claims: Option<Claims>,
    /// The licence that rules judge; `None` where the store does not have what the publisher has stated.
    #[serde(default)]
    pub licence: Option<Licence>,
    /// What the publisher said for searches when it was published.
    #[serde(default)]
    pub card: Option<CardClaims>,
    pub metadata: Metadata,
    pub referrers: Vec<Digest>,
    pub kinds: BTreeMap<String, usize>,
    /// What the publisher says of itself.
    #[serde(default)]
    pub profile: Option<ProfileReport>,
    /// The repository that the files come from, as the publisher states it.
    #[serde(default)]
    pub mirror: Option<Mirror>,
    /// The verified attestations, by any attestor.
    #[serde(default)]
    pub attestations: Vec<AttestationInfo>,
    /// The result of the user's lists and rules for it now.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// The followed collections that have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collected: Vec<CollectedIn>,
    /// From what it is derived and what is derived from it.
    #[serde(default)]
    pub lineage: Lineage,
}

/// A file of a model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FileInfo {
    pub path: SafePath,
    pub size: u64,
    pub digest: Digest,
    pub media_type: String,
    /// Whether the store has the file.
    pub here: bool,
}

/// The result of a verification.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Verified {
    pub checked: usize,
    pub bytes: u64,
    pub damaged: Vec<Damage>,
    /// Files of a directory that the manifest does not list.
    pub unlisted: Vec<String>,
    /// Files in other directories of the user that are links to a damaged blob, and were not put back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<PathBuf>,
    /// Those of them that a repair has put back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mended: Vec<PathBuf>,
    /// The verified versions that their publishers have withdrawn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<WithdrawnVersion>,
}

/// A version that its publisher has withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawnVersion {
    /// The version, by its digest.
    pub reference: Reference,
    pub why: String,
}

/// A blob or file that differs from what was signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Damage {
    pub digest: Digest,
    /// The file, where a directory was verified.
    pub path: Option<PathBuf>,
    pub problem: String,
    pub repaired: bool,
    /// Whether it is a file of a directory that the user has edited or replaced. A repair keeps it, unless the user says otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub edited: bool,
}

/// A peer that this node is connected to, or one that was disconnected because it must be upgraded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerReport {
    pub peer: PeerId,
    pub addresses: Vec<Address>,
    pub agent: Option<String>,
    pub transport: Option<String>,
    pub rtt_ms: Option<u64>,
    /// The number of open lanes, in both directions.
    #[serde(default)]
    pub lanes: usize,
    /// Why there is no lane although one was wanted. Pieces then go over the swarm's streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_lane: Option<String>,
    /// Whether the peer speaks version 1 of the protocol only. Then it is not connected, and its owner must upgrade it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outdated: bool,
    pub bytes_fetched: u64,
    pub bytes_served: u64,
    /// Bytes sent and received over lanes; the rest went over the swarm's streams.
    #[serde(default)]
    pub bytes_by_lane: u64,
}

/// A peer that this node remembers from one start to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPeer {
    /// `None` where the user has added an address alone.
    pub peer: Option<PeerId>,
    /// Where it is dialled, the best address first.
    pub addresses: Vec<Address>,
    /// Whether the user has added the address. It stays until the user removes it.
    pub added: bool,
    /// Whether only the peer itself has said where it listens: this node has not reached it there.
    pub claimed: bool,
    /// When it was last connected, in seconds since 1970.
    pub success: Option<u64>,
    /// When it was last of use, in seconds since 1970.
    pub used: Option<u64>,
    /// Dials in a row that did not reach it.
    pub failures: u32,
}

/// A peer that the user has added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAdded {
    /// As it is kept: with the peer's id, where that is known.
    pub address: Address,
    pub peer: Option<PeerId>,
    /// Whether the address was not kept before.
    pub is_new: bool,
    /// Whether the peer is connected now.
    pub connected: bool,
    /// Why it is not, where it was dialled.
    pub unreached: Option<String>,
}

/// A ticket that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    pub ticket: String,
    /// The model that it names.
    pub reference: Option<Reference>,
    /// The version of the model.
    pub digest: Option<Digest>,
    /// Where the ticket says that peers are.
    pub addresses: Vec<Address>,
    /// What the maker of the ticket should know.
    pub notes: Vec<String>,
}

/// The keys that a node could provide in the DHT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtKeys {
    /// Keys under which others find this node.
    pub provided: usize,
    /// Keys that enough other nodes provide.
    #[serde(default)]
    pub left_to_others: usize,
    /// Keys that are beyond the bound of their kind: those with the most other providers.
    #[serde(default)]
    pub beyond_bound: usize,
}

/// What a node has done to meet strangers, since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RendezvousReport {
    /// Whether it meets strangers by itself, and not only for a search that the user allows it for.
    pub is_on: bool,
    /// Whether it knows a port at which strangers reach it. Else it is not announced.
    pub is_reached: bool,
    /// Publishers for which it is announced.
    pub publishers: usize,
    /// Publishers beyond the bound.
    #[serde(default)]
    pub publishers_left_out: usize,
    /// Keys under which it is announced now, that of the network among them.
    pub announced: usize,
    /// Strangers that were dialled.
    pub dialled: u64,
    /// Those of them that have answered as peers.
    pub met: u64,
}

/// The state of the node in figures. It has 24 fields, because programs read the answer as flat JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    pub peer_id: PeerId,
    pub listen: Vec<Address>,
    /// How other nodes reach this one: `public`, `relayed` or `unknown`; `None` offline.
    #[serde(default)]
    pub reachability: Option<Reachability>,
    pub peers: usize,
    /// Peers that were met and disconnected, because they speak version 1 of the protocol only.
    #[serde(default)]
    pub outdated_peers: usize,
    /// Peers that are remembered, and addresses that the user has added.
    #[serde(default)]
    pub known_peers: usize,
    #[serde(default)]
    pub dht_keys: DhtKeys,
    /// `None` offline, and in a private swarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendezvous: Option<RendezvousReport>,
    pub models: usize,
    pub blobs: usize,
    pub bytes: u64,
    pub partial_bytes: u64,
    pub cache_max_bytes: Option<u64>,
    /// Payload bytes of pieces sent to peers since the start.
    pub bytes_served: u64,
    /// Payload bytes among these of pieces that no peer had been sent before. A swarm needs each such piece once from a
    /// seed.
    #[serde(default)]
    pub bytes_served_first: u64,
    /// Payload bytes of pieces fetched from peers since the start.
    pub bytes_fetched: u64,
    /// Payload bytes that audits of replicas have fetched.
    #[serde(default)]
    pub audited: Audited,
    /// Whether the whole node is paused (`reg pause`).
    #[serde(default)]
    pub paused: bool,
    pub uptime_seconds: u64,
    pub version: String,
    /// Why the index is kept in memory, where the disk takes none. What was verified is verified again after a restart
    /// then.
    #[serde(default)]
    pub index_trouble: Option<String>,
    /// Why the catalogue is closed, or why the disk lacks what it holds. The node tries again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue_trouble: Option<String>,
    /// Whether the size of the cache is a share of the disk, because the user has set none.
    #[serde(default)]
    pub cache_size_is_default: bool,
    /// The copies that this node keeps for a private swarm; `None` where it keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm: Option<SwarmSummary>,
}

/// What a garbage collection has removed, or would remove.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Collected {
    pub models: Vec<Digest>,
    pub blobs: usize,
    pub bytes: u64,
    pub dry_run: bool,
    /// What a removal has not freed, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfreed: Option<Unfreed>,
}

/// What the removal of a model has not freed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfreed {
    /// Bytes that other models in the store need too.
    pub shared_bytes: u64,
    /// Those models: as many as are named.
    pub shared_with: Vec<String>,
    /// Bytes that stay on the disk, because files in directories of the user are links to them.
    pub linked_bytes: u64,
    /// Those directories.
    pub linked_in: Vec<PathBuf>,
    /// What may bring the model back.
    pub returns: Option<BroughtBackBy>,
}

/// What may bring a removed model back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BroughtBackBy {
    Follow,
    Donation,
    Swarm,
}

/// The result of pausing or resuming.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// The number of running pulls that were paused or resumed.
    pub pulls: usize,
    /// Whether the whole node is paused now.
    pub all: bool,
}

/// A publisher to which the user gave a petname.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrustEntry {
    pub petname: Petname,
    pub publisher: PublisherId,
    /// The version of the newest key document seen; `None` where none was seen.
    pub key_document_version: Option<u64>,
    /// The publisher's revocations.
    #[serde(default)]
    pub revocations: Vec<Revocation>,
    /// What the publisher says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileReport>,
}

/// What this node remembers of a publisher.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PublisherReport {
    pub publisher: PublisherId,
    /// The version of the newest key document seen; `None` where none was seen.
    pub key_document: Option<u64>,
    /// The number of keys that must sign for the publisher; 0 where no key document was seen.
    pub threshold: usize,
    /// The keys that sign for the publisher now.
    pub keys: Vec<PublicKey>,
    /// The publisher's revocations.
    pub revocations: Vec<Revocation>,
    /// What the publisher says of itself.
    #[serde(default)]
    pub profile: Option<ProfileReport>,
}

/// The branches of a publisher's keys that this node knows: where there are two, one of them may be a thief's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyBranches {
    pub publisher: PublisherId,
    /// The key document that the user has accepted; `None` where the user has accepted none.
    pub accepted: Option<Digest>,
    /// The followed branch first.
    pub branches: Vec<KeyBranch>,
}

/// One branch of a publisher's keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyBranch {
    /// The digest of the newest key document's payload.
    pub head: Digest,
    pub version: u64,
    /// The version of the last key document that this branch and the followed one have in common; `None` where this node
    /// follows none.
    pub common: Option<u64>,
    pub is_followed: bool,
    pub is_accepted: bool,
    /// Whether too many of its keys are revoked for it to sign anything.
    pub is_dead: bool,
    /// Whether the last common document committed to the keys of the document after it. A thief of the keys before does
    /// not have those.
    pub is_committed: bool,
    pub keys: Vec<PublicKey>,
    pub threshold: usize,
    /// The tags in the store that count under this branch, as `model:tag`.
    pub tags: Vec<String>,
    /// The newest time of signing of those tags, in seconds since 1970; `None` where there is none.
    pub newest_tag: Option<u64>,
}

/// A name that the user has pointed to another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasEntry {
    /// `publisher/model`, or `publisher/*`.
    pub from: String,
    pub to: String,
}

/// The contents of the trust file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrustReport {
    pub petnames: Vec<TrustEntry>,
    /// The domains that are pinned.
    #[serde(default)]
    pub domains: Vec<DomainEntry>,
    pub rules: Vec<RuleReport>,
    /// Denylists that the user has subscribed to.
    pub denylists: Vec<String>,
    /// Collections that the user follows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collections: Vec<String>,
    /// Digests and publishers that are accepted and served although a denylist warns of them.
    pub allowed: Vec<String>,
    /// Names that the user has pointed to others.
    #[serde(default)]
    pub aliases: Vec<AliasEntry>,
    /// The number of manifests, blobs and publishers that the denylists warn of.
    pub denied: usize,
    /// What the user should know of the denylists.
    pub notes: Vec<String>,
}

/// The requirements on the models of one scope.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RuleReport {
    pub models: String,
    /// The requirements, each as a sentence.
    pub requires: Vec<String>,
}

impl RuleReport {
    /// Returns the requirements of a rule as the CLI shows them.
    pub fn of(rule: &Rule) -> Self {
        let mut requires = Vec::new();
        if rule.known_publisher {
            requires.push("a publisher that you have named".to_owned());
        }
        for it in &rule.attestations {
            let of = match it.by.len() {
                0 => "of publishers that you have named".to_owned(),
                count => format!("of {}", counted(count, "attestor")),
            };
            let attestations = counted(it.count, &format!("{} attestation", it.kind));
            requires.push(format!(
                "{attestations} {of} {}",
                if it.count == 1 { "that says pass" } else { "that say pass" }
            ));
        }
        if rule.newest {
            requires
                .push("the newest version of a tag, and no older one where that cannot be had".to_owned());
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

/// An attestation as the CLI shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestationInfo {
    pub by: PublisherId,
    /// The user's petname for the attestor.
    pub petname: Option<Petname>,
    pub kind: AttestationKind,
    pub result: AttestationResult,
    pub tool: Option<Label>,
    pub note: Option<String>,
    /// The time of the attestation in seconds since 1970.
    pub issued: u64,
    pub key_document: u64,
}

impl AttestationInfo {
    /// Returns what is shown of an attestation, with the user's petname for its attestor.
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

/// A repository with its files in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImportedRepository {
    /// The commit that the revision names; in Ollama's store, the digest of the manifest.
    pub commit: String,
    pub files: Vec<(SafePath, Digest)>,
    pub bytes: u64,
    pub bytes_fetched: u64,
    /// What is not part of the model.
    #[serde(default)]
    pub left_out: LeftOutList,
}
