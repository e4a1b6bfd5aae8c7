//! [`Resolved`]: a reference with everything that was proven of it, and [`ResolveError`]: why it was not resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reg_api::behind::Behind;
use reg_api::clock;
use reg_api::fault::{Fault, FaultKind};
use reg_api::selection::SelectError;
use reg_api::tag_age::TagAge;
use reg_api::web_seed::WebSeed;
use reg_proto::attestation::Said;
use reg_proto::digest::Digest;
use reg_proto::envelope::SignatureError;
use reg_proto::key::{KeyError, KeyHistory};
use reg_proto::limits::DELEGATION_DEPTH_MAX;
use reg_proto::manifest::{Manifest, ManifestError};
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference, Tag};
use reg_proto::peer::{Address, PeerId};
use reg_proto::provenance::{Provenance, ProvenanceError};
use reg_proto::tag::{SignedTag, TagError};
use thiserror::Error;

use super::available::Wanted;
use super::brought::Brought;
use super::documents::DocumentError;
use super::finder::Finder;
use super::later::Later;
use super::version::{Tried, WhyNot};
use crate::registry::model::record::ModelError;
use crate::registry::publishers::TagsError;
use crate::registry::trust::TrustError;

/// A reference after every step has been verified.
///
/// It has 17 fields, because each later step of a pull and of a gateway reads most of them.
#[derive(Debug)]
pub struct Resolved {
    pub keys: KeyHistory,
    pub model: ModelName,
    /// The tag record, where the user asked for a tag or one is known.
    pub tag: Option<SignedTag>,
    pub digest: Digest,
    pub manifest: Manifest,
    pub provenance: Provenance,
    /// Every document that was needed, by its digest: the manifest, referrers, envelopes, bundle.
    pub documents: BTreeMap<Digest, Vec<u8>>,
    /// Piece states that peers have sent with the records, by the digests that the provenance names.
    pub states: BTreeMap<Digest, Vec<u8>>,
    /// The manifests that refer to this one.
    pub referrers: Vec<Digest>,
    /// The verified attestations.
    pub said: Vec<Said>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// The search, which goes on: a peer that it finds later may be a source.
    pub finder: Option<Finder>,
    /// The answers that are still to come; `None` where no peer was asked.
    pub later: Option<Later>,
    /// The peers that may hold the blobs: first those that have answered for this publisher.
    pub holders: Vec<PeerId>,
    /// Those of them that have not, and may still hold the blobs.
    pub strangers: BTreeSet<PeerId>,
    /// How this version stands behind the head of the tag; `None` where it is the head, or was asked for by digest.
    pub behind: Option<Behind>,
    /// The order of the newest known record of the tag.
    pub head: Option<(u64, u64)>,
    /// Whether an older version may be used in place of this one.
    pub has_other: bool,
}

impl Resolved {
    /// Returns a reference to it: by the tag that was asked for or is known, else by the digest.
    pub fn reference(&self) -> Reference {
        Reference {
            publisher: Publisher::Id(self.keys.publisher()),
            model: self.model.clone(),
            tag: self.tag.as_ref().map(|it| it.record().tag.clone()),
            digest: self.tag.is_none().then_some(self.digest),
        }
    }

    /// Returns the age of the tag record at this moment; `None` where there is no tag.
    pub fn tag_age(&self) -> Option<TagAge> {
        self.tag.as_ref().map(|tag| TagAge::of(tag.record(), clock::now()))
    }
}

/// The options of resolving a reference.
#[derive(Debug, Clone, Default)]
pub struct ResolveOptions {
    pub from: Vec<Address>,
    pub offline: bool,
    pub allow_expired: bool,
    /// Look for strangers too: see [`Rendezvous`](crate::net::Rendezvous).
    pub public: bool,
    /// How long peers are asked. `None`: as long as a user waits for a pull.
    pub patience: Option<Duration>,
    /// How long the head is looked for before an older version is used. `None`: as for a pull.
    pub unreached: Option<Duration>,
    /// Refuse an older version than the head.
    pub newest: bool,
    /// The blobs that must be here or at sources that are reached.
    pub wanted: Wanted,
    /// Web seeds to ask for them, in addition to those of all pulls.
    pub web_seeds: Vec<WebSeed>,
    /// The records of the tag that may be used.
    pub records: RecordChoice,
    /// What the caller brings of the model in the place of peers.
    pub brought: Option<Arc<Brought>>,
    /// The caller reads file by file. So where no version can be had whole it gets the newest one that is proven, and each file
    /// tells by itself whether it can be had.
    pub by_file: bool,
}

/// Which records of a tag may be used, by the digests of their payloads.
#[derive(Debug, Clone, Default)]
pub struct RecordChoice {
    /// Not these: their sources did not send what they said they hold.
    pub passed_over: BTreeSet<Digest>,
    /// Only these; `None` for all.
    pub only: Option<BTreeSet<Digest>>,
}

impl RecordChoice {
    /// Returns why a record is not used, whatever can be had of it.
    pub(super) fn why_not(&self, tag: &SignedTag) -> Option<WhyNot> {
        let payload = tag.payload_digest();
        if self.only.as_ref().is_some_and(|only| !only.contains(&payload)) {
            return Some(WhyNot::NotWanted);
        }
        self.passed_over.contains(&payload).then_some(WhyNot::NotSent)
    }
}

/// Why a reference was not resolved, or is not followed.
#[derive(Debug, Error)]
pub enum ResolveError {
    #[error("publisher of {reference} is not known")]
    Trust { reference: Reference, source: TrustError },
    #[error("{publisher} is not one of the publishers that this node accepts models of")]
    NotTaken { publisher: PublisherId },
    #[error("{reference} is not in the store")]
    NotHere { reference: Reference },
    #[error("{reference} is not in the store, and no peer was asked because the node is offline")]
    Offline { reference: Reference },
    #[error("{reference} was not found: no peer could be reached")]
    NoPeers {
        reference: Reference,
        /// Whether strangers could be looked for, and were not.
        has_strangers: bool,
    },
    #[error("{reference} was not found: no peer answers at {}", at(addresses))]
    NamedUnreached { reference: Reference, addresses: Vec<Address>, has_strangers: bool },
    #[error("{reference} was not found: peer {peer}{} in another swarm, and no other peer has answered", are(*.more))]
    OtherSwarm { reference: Reference, peer: PeerId, more: usize },
    #[error("{reference} was not found: {}", asked_of(*.asked, *.unanswered))]
    NotFound { reference: Reference, asked: usize, unanswered: usize, foreign: Vec<PeerId> },
    #[error("{reference} was offered by a peer with keys that are not its publisher's")]
    Keys { reference: Reference, source: KeyError },
    #[error("{reference} was offered with a tag record that is not its publisher's")]
    Tag { reference: Reference, source: TagError },
    #[error("{reference} is not followed")]
    Tags { reference: Reference, source: TagsError },
    #[error("tag {tag} says manifest {tagged}, and the reference asks for {asked}")]
    TagMoved { tag: Tag, tagged: Digest, asked: Digest },
    #[error(
        "tag {tag} expired {seconds} s ago, says its publisher: the clock of this machine says {}, and the record says {}",
        clock::date(*.now),
        clock::date(.now.saturating_sub(*.seconds))
    )]
    Expired { tag: Tag, seconds: u64, now: u64 },
    #[error("{digest} was withdrawn by its publisher{}", because(.reason))]
    Withdrawn { digest: Digest, reason: String },
    #[error(
        "{reference} leads on to another publisher more than {DELEGATION_DEPTH_MAX} times, or in a circle"
    )]
    Delegations { reference: Reference },
    #[error("manifest of {reference} could not be fetched from any peer")]
    Document { reference: Reference, source: DocumentError },
    #[error("manifest {digest} is refused")]
    Manifest { digest: Digest, source: ManifestError },
    #[error("manifest {digest} has {found} bytes, the tag record says {stated}")]
    ManifestSize { digest: Digest, found: usize, stated: u64 },
    #[error("manifest {digest} has no provenance by {publisher}")]
    NoProvenance { digest: Digest, publisher: PublisherId },
    #[error("manifest {digest} has a provenance that is refused")]
    Provenance { digest: Digest, source: ProvenanceError },
    #[error("no version of {reference} can be had; {}", listed(.tried))]
    Unavailable { reference: Reference, tried: Vec<Tried> },
    #[error(
        "newest version of {reference} cannot be had ({why}), and version {used} ({manifest}), which can be, is older"
    )]
    NotNewest { reference: Reference, why: String, used: u64, manifest: Digest },
    #[error("{reference} is not proven: there is no record of it by its publisher")]
    NotBrought { reference: Reference },
    #[error("records of {reference} have more signatures than are verified at once")]
    TooDear { reference: Reference },
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error("model in the store cannot be read")]
    Here(#[from] ModelError),
    #[error("a task of the search ended early")]
    Search,
}

/// What sets a peer of another swarm apart.
pub const OTHER_KEY: &str =
    "its swarm key (--swarm-key, swarm.key in the configuration) is not that of this node";

fn at(addresses: &[Address]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn are(more: usize) -> String {
    if more == 0 { " is".to_owned() } else { format!(" and {more} more are") }
}

fn asked_of(asked: usize, unanswered: usize) -> String {
    match (asked, unanswered) {
        (1, 1) => "1 peer was asked, and it did not answer".to_owned(),
        (1, _) => "1 peer was asked and none has it".to_owned(),
        (asked, 0) => format!("{asked} peers were asked and none has it"),
        (asked, unanswered) if asked == unanswered => format!("{asked} peers were asked, and none answered"),
        (asked, unanswered) => {
            format!("{asked} peers were asked and none has it ({unanswered} did not answer)")
        }
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason:?}") }
}

fn listed(tried: &[Tried]) -> String {
    let all: Vec<String> = tried.iter().map(|it| format!("version {it}")).collect();
    all.join("; ")
}

impl Fault for ResolveError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Trust { source, .. } => source.kind(),
            Self::Offline { .. }
            | Self::NoPeers { .. }
            | Self::NamedUnreached { .. }
            | Self::OtherSwarm { .. }
            | Self::Unavailable { .. } => FaultKind::Unreachable,
            Self::NotFound { asked, unanswered, .. } if *asked > 0 && asked == unanswered => {
                FaultKind::Unreachable
            }
            Self::NotNewest { .. } => FaultKind::Denied,
            Self::Select(_) => FaultKind::NoMatch,
            Self::NotHere { .. } | Self::NotFound { .. } | Self::Document { .. } => FaultKind::NotFound,
            Self::Expired { .. } | Self::Withdrawn { .. } | Self::NotTaken { .. } => FaultKind::Denied,
            Self::Keys { .. }
            | Self::Tag { .. }
            | Self::TagMoved { .. }
            | Self::Delegations { .. }
            | Self::NotBrought { .. }
            | Self::TooDear { .. }
            | Self::Manifest { .. }
            | Self::ManifestSize { .. }
            | Self::NoProvenance { .. }
            | Self::Provenance { .. } => FaultKind::Verification,
            Self::Tags { source, .. } => source.kind(),
            Self::Here(_) | Self::Search => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Trust { source, .. } => source.hint(),
            Self::Tags { source, .. } => source.hint(),
            Self::Select(source) => source.hint(),
            Self::Tag { source: TagError::Signature { source: SignatureError::Revoked { .. }, .. }, .. } => Some(
                "its publisher must sign it anew with keys that are not revoked; `reg log REF` shows what was revoked"
                    .to_owned(),
            ),
            Self::Tag { source: TagError::Signature { source: SignatureError::Retired { .. }, .. }, .. }
            | Self::Provenance {
                source: ProvenanceError::Signature { source: SignatureError::Retired { .. }, .. },
                ..
            } => Some(
                "its publisher can publish it again with the new keys; a thief of the old ones cannot"
                    .to_owned(),
            ),
            Self::Withdrawn { .. } => Some("`reg log REF` shows the versions that are not".to_owned()),
            Self::NotHere { .. } => Some("`reg ls` shows the models in the store, `reg pull REF` fetches one".to_owned()),
            Self::Offline { .. } => Some("run it without --offline".to_owned()),
            Self::NoPeers { has_strangers, .. } => {
                let known = "name a peer with --from MULTIADDR, or keep one for this and for later: `reg peers add MULTIADDR`";
                let strangers = "; --public looks for strangers in BitTorrent's DHT, and tells the world this machine's IP \
                                 address and which publisher it looks for";
                Some([known, if *has_strangers { strangers } else { "" }].concat())
            }
            Self::NamedUnreached { has_strangers, .. } => {
                let there = "start `reg daemon` there, and take the address that `reg status` prints there";
                let strangers = "; --public looks for strangers in BitTorrent's DHT, and tells the world this machine's IP \
                                 address and which publisher it looks for";
                Some([there, if *has_strangers { strangers } else { "" }].concat())
            }
            Self::OtherSwarm { .. } => Some(format!("{OTHER_KEY}: give both the same one")),
            Self::NotFound { asked, unanswered, .. } if *asked > 0 && asked == unanswered => {
                Some("try again later, or name another peer with --from MULTIADDR".to_owned())
            }
            Self::NotFound { .. } => {
                Some("check the spelling, or name a peer that has it with --from MULTIADDR".to_owned())
            }
            Self::NotTaken { .. } => Some("`swarm.publishers` in the configuration lists them".to_owned()),
            Self::Unavailable { tried, .. } if tried.iter().any(|it| it.why == WhyNot::Offline) => {
                Some("run it without --offline".to_owned())
            }
            Self::Unavailable { .. } => Some(
                "name a peer that has one of them with --from MULTIADDR; `reg log REF` shows the versions"
                    .to_owned(),
            ),
            Self::NotNewest { manifest, .. } => {
                Some(format!("take it by its digest (REF@{manifest}), or pull without --newest"))
            }
            Self::Expired { .. } => Some(
                "if the clock is wrong, set it (`timedatectl` shows it); if not, take the tag all the same with --allow-expired"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

impl From<reg_api::tag_age::Expired> for ResolveError {
    fn from(reg_api::tag_age::Expired { tag, seconds, now }: reg_api::tag_age::Expired) -> Self {
        Self::Expired { tag, seconds, now }
    }
}
