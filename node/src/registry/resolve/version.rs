//! Chooses the version in use: the head of a tag, or the newest of its ancestors that is available.
//!
//! A version is available if its manifest, its provenance and its wanted blobs are in the store or at peers that are
//! reached. Every version is proven and judged in the same way, whether it is the head or not.

use std::collections::BTreeSet;
use std::fmt;

use reg_api::behind::{Behind, BehindReason};
use reg_api::clock;
use reg_api::tag_age::TagAge;
use reg_proto::digest::Digest;
use reg_proto::envelope::SignatureError;
use reg_proto::key::KeyHistory;
use reg_proto::manifest::Manifest;
use reg_proto::name::{ModelName, Reference};
use reg_proto::peer::PeerId;
use reg_proto::provenance::ProvenanceError;
use reg_proto::tag::SignedTag;
use tokio::time::Instant;

use super::Resolver;
use super::attestations::Attestors;
use super::available::{Version, Wanted};
use super::documents::{Documents, Patience};
use super::finder::Finder;
use super::prove::{Accepted, accept};
use super::resolved::{ResolveError, ResolveOptions, Resolved};
use super::sent::AllSent;
use crate::registry::limits::{ANCESTOR_PATIENCE, NEWER_ASKED_MAX, UNREACHED, UNREACHED_MIN};
use crate::registry::model::whole;
use crate::registry::publishers::TagsError;
use crate::registry::publishers::usable::{self, Barred, Candidate};

/// The decisions on keys and records that were made before any document is fetched.
pub(super) struct Judged {
    pub(super) keys: KeyHistory,
    pub(super) model: ModelName,
    /// The version to try first; `None` where the tag is frozen.
    pub(super) first: Option<(Option<SignedTag>, Digest)>,
    pub(super) line: Line,
    pub(super) holders: Vec<PeerId>,
    /// Those of the holders that sent no keys of the publisher.
    pub(super) strangers: BTreeSet<PeerId>,
    /// Those of the holders that have not answered yet.
    pub(super) silent: BTreeSet<PeerId>,
    /// What peers have sent of the model beside its records.
    pub(super) sent: AllSent,
    pub(super) notes: Vec<String>,
    /// What a peer offered and this node refused. It is reported where no version is available.
    pub(super) refusal: Option<ResolveError>,
}

/// What may stand in for the head of a tag.
#[derive(Default)]
pub(super) struct Line {
    /// The head, or the two records of a frozen tag that contradict each other. Empty for a reference by digest.
    pub(super) heads: Vec<SignedTag>,
    /// The common ancestors of the heads, the newest first.
    pub(super) ancestors: Vec<Candidate>,
    /// Why the tag is frozen.
    pub(super) frozen: Option<TagsError>,
}

/// A version that was not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    pub seq: u64,
    pub manifest: Digest,
    pub why: WhyNot,
}

/// Why a version was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyNot {
    /// The node is offline, and the store does not have it whole.
    Offline,
    /// No peer that was asked sent its manifest.
    Manifest {
        asked: usize,
    },
    /// No peer that was reached has a provenance of it that holds.
    Provenance,
    /// So many of its blobs are not at the peers that were reached.
    Blobs {
        missing: usize,
        peers: usize,
    },
    /// Sources that said they have it did not send it.
    NotSent,
    /// The caller does not want it, or not yet.
    NotWanted,
    /// It has none of the files that were asked for.
    NoSuchFile,
    Expired {
        seconds: u64,
    },
    Barred(Barred),
    /// Enough newer ones were looked for, and an older one is whole in the store.
    Passed,
}

impl WhyNot {
    /// Tells whether it is due to what the record names. So it holds for every other record of the same manifest too.
    const fn is_of_manifest(self) -> bool {
        match self {
            Self::Offline | Self::Manifest { .. } | Self::Provenance | Self::Blobs { .. } | Self::NotSent => {
                true
            }
            Self::NotWanted | Self::NoSuchFile | Self::Expired { .. } | Self::Barred(_) | Self::Passed => {
                false
            }
        }
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.seq, self.manifest, self.why)
    }
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offline => f.write_str("it is not whole in the store, and the node is offline"),
            Self::Manifest { asked } => {
                write!(f, "its manifest was asked of {asked} peers and none sent it")
            }
            Self::Provenance => f.write_str("no reached peer has a provenance of it that holds"),
            Self::Blobs { missing, peers } => {
                let at = match peers {
                    0 => "the store, and no peer was found".to_owned(),
                    1 => "the store nor at the peer that was found".to_owned(),
                    peers => format!("the store nor at the {peers} peers that were found"),
                };
                let are = if *missing == 1 { "is" } else { "are" };
                let neither = if *peers == 0 { "not" } else { "neither" };
                write!(f, "{missing} of its blobs {are} {neither} in {at}")
            }
            Self::NotSent => f.write_str("the sources that said they have it did not send it"),
            Self::NotWanted => f.write_str("it is not one of the versions that this pull may take"),
            Self::NoSuchFile => f.write_str("it has none of the files that were asked for"),
            Self::Expired { seconds } => write!(f, "it expired {seconds} s ago, says its publisher"),
            Self::Barred(Barred::Withdrawn) => f.write_str("its publisher has withdrawn it"),
            Self::Barred(Barred::SettledAway) => f.write_str("its publisher has settled it away"),
            Self::Passed => f.write_str("it was not looked for, because an older version is in the store"),
            Self::Barred(Barred::Below { min, by }) => {
                write!(f, "version {by} forbids every version below {min} (min_usable)")
            }
        }
    }
}

/// Why one version is not used.
enum Miss {
    /// It is not available; another version may be. With what was proven of it, where only its blobs are lacking.
    Absent(WhyNot, Box<ResolveError>, Option<Box<Proven>>),
    /// It is refused, and nothing is used in its place.
    Refused(Box<ResolveError>),
}

/// A version of which everything was proven, except that its blobs are available.
struct Proven {
    tag: Option<SignedTag>,
    digest: Digest,
    manifest: Manifest,
    accepted: Accepted,
    note: Option<String>,
}

impl Proven {
    fn resolved(self, of: &Of<'_>, documents: &mut Documents<'_>, has_other: bool) -> Resolved {
        let Self { tag, digest, manifest, accepted, note } = self;
        let (holders, mut kept) = documents.take_parts();
        let named: BTreeSet<Digest> = accepted.provenance.states.values().copied().collect();
        // A copy: a provenance may name anything, also a document that is to be kept.
        let sent = kept.iter().filter(|(digest, _)| named.contains(digest));
        let states = sent.map(|(digest, bytes)| (*digest, bytes.clone())).collect();
        kept.retain(|it, _| *it == digest || accepted.documents.contains(it));
        let Accepted { provenance, referrers, said, .. } = accepted;
        Resolved {
            keys: of.keys.clone(),
            model: provenance.model.clone(),
            head: tag.as_ref().map(|it| it.record().order()),
            tag,
            digest,
            manifest,
            provenance,
            documents: kept,
            states,
            referrers,
            said,
            notes: note.into_iter().collect(),
            finder: None,
            later: None,
            holders,
            strangers: BTreeSet::new(),
            behind: None,
            has_other,
        }
    }
}

impl Resolver {
    /// Proves the version to use and returns it: the head, or else the newest available ancestor. For a caller
    /// that reads file by file, returns the newest proven version where none is available whole.
    pub(super) async fn version_in_use(
        &self,
        reference: &Reference,
        judged: Judged,
        options: &ResolveOptions,
        finder: Option<&mut Finder>,
        began: Instant,
    ) -> Result<Resolved, ResolveError> {
        let Judged { keys, model, first, line, holders, silent, sent, notes, refusal, .. } = judged;
        let mut documents = Documents::new(self, holders, silent, sent, finder);
        let of = Of { reference, keys: &keys, model: &model, options };
        // Several records may name one manifest: then there is no other version.
        let is_other =
            |it: &Candidate| first.as_ref().is_none_or(|(_, head)| *head != it.tag.record().manifest.digest);
        let has_other = line.ancestors.iter().any(is_other);
        let (mut tried, mut error, mut proven) = (Vec::new(), None, None);
        if let Some((tag, digest)) = first {
            if has_other {
                let end =
                    (began + options.unreached.unwrap_or(UNREACHED)).max(Instant::now() + UNREACHED_MIN);
                documents.with_patience(Patience::until(end, true));
            }
            let passed = tag.as_ref().and_then(|it| options.records.why_not(it));
            let miss = if passed.is_some() {
                None
            } else {
                match self.prove(&of, &mut documents, tag.as_ref(), digest, has_other).await {
                    Ok(resolved) => return Ok(with_notes(notes, resolved)),
                    Err(Miss::Refused(error)) => return Err(*error),
                    Err(Miss::Absent(why, source, of_head)) => {
                        proven = of_head.filter(|_| options.by_file);
                        Some((why, source))
                    }
                }
            };
            let Some(tag) = tag.filter(|_| reference.digest.is_none()) else {
                return Err(miss.map_or(ResolveError::Search, |(_, error)| *error));
            };
            let why = miss.as_ref().map(|(why, _)| *why).or(passed).unwrap_or(WhyNot::NotSent);
            tried.push(Tried { seq: tag.record().seq, manifest: digest, why });
            error = miss.map(|(_, error)| error);
        }
        let ancestor = self.ancestor(&of, &line, &mut documents, &mut tried, &mut proven).await?;
        let in_part = || {
            let proven = proven?;
            let is_head =
                |tag: &SignedTag| line.heads.iter().any(|it| it.payload_digest() == tag.payload_digest());
            let tag = proven.tag.clone().filter(|tag| !is_head(tag));
            Some((tag, proven.resolved(&of, &mut documents, false)))
        };
        match ancestor.map(|(tag, resolved)| (Some(tag), resolved)).or_else(in_part) {
            Some((Some(tag), resolved)) => {
                self.stand_in(&of, &line, &tried, &tag, with_notes(notes, resolved))
            }
            Some((None, head)) => Ok(with_notes(notes, head)),
            None => Err(none_left(&of, line.frozen, tried, refusal, error)),
        }
    }

    /// Proves the newest ancestor that is available and may be used. A manifest that was not available is not
    /// tried again under another record. For a caller that reads file by file, keeps in `in_part` the newest one
    /// of which only blobs are lacking.
    ///
    /// # Errors
    /// The ancestor that would be used has none of the wanted files, and no newer version may have them: see
    /// [`ResolveError::Select`].
    async fn ancestor(
        &self,
        of: &Of<'_>,
        line: &Line,
        documents: &mut Documents<'_>,
        tried: &mut Vec<Tried>,
        in_part: &mut Option<Box<Proven>>,
    ) -> Result<Option<(SignedTag, Resolved)>, ResolveError> {
        let expired = |tag: &SignedTag| {
            let now = clock::now();
            let age = TagAge::of(tag.record(), now);
            age.judge(now, of.options.allow_expired, &mut Vec::new()).err().map(|it| it.seconds)
        };
        let is_here = |it: &Candidate| {
            let is_used = it.barred.is_none()
                && expired(&it.tag).is_none()
                && of.options.records.why_not(&it.tag).is_none();
            is_used && whole::is_kept(&self.store, &it.tag.record().manifest.digest)
        };
        let here = line.ancestors.iter().position(is_here);
        let mut asked = 0;
        for (index, Candidate { tag, barred }) in line.ancestors.iter().enumerate() {
            let record = tag.record();
            let manifest = record.manifest.digest;
            if tried.iter().any(|it| it.manifest == manifest && it.why.is_of_manifest()) {
                continue;
            }
            let is_enough = asked >= NEWER_ASKED_MAX && here.is_some_and(|here| index < here);
            let why = match (barred, expired(tag)) {
                (Some(barred), _) => Some(WhyNot::Barred(*barred)),
                (None, Some(seconds)) => Some(WhyNot::Expired { seconds }),
                (None, None) => of.options.records.why_not(tag).or(is_enough.then_some(WhyNot::Passed)),
            };
            let miss = match why {
                Some(why) => why,
                None => {
                    asked += 1;
                    let end = Instant::now() + ANCESTOR_PATIENCE;
                    documents.with_patience(Patience::until(end, false));
                    match self.prove(of, documents, Some(tag), manifest, true).await {
                        Ok(resolved) => return Ok(Some((tag.clone(), resolved))),
                        Err(Miss::Refused(error)) if matches!(*error, ResolveError::Select(_)) => {
                            // The user's choice is no reason to go back further. A newer version may have the files.
                            let is_newer_lacking = tried.iter().any(|it| it.why.is_of_manifest());
                            tried.push(Tried { seq: record.seq, manifest, why: WhyNot::NoSuchFile });
                            return if is_newer_lacking { Ok(None) } else { Err(*error) };
                        }
                        Err(Miss::Refused(error)) => {
                            tracing::debug!(%error, seq = record.seq, "an older version is refused");
                            WhyNot::Provenance
                        }
                        Err(Miss::Absent(why, _, proven)) => {
                            *in_part = in_part.take().or(proven.filter(|_| of.options.by_file));
                            why
                        }
                    }
                }
            };
            if !tried.iter().any(|it| it.manifest == manifest && it.why == miss) {
                tried.push(Tried { seq: record.seq, manifest, why: miss });
            }
        }
        Ok(None)
    }

    /// Returns an ancestor as the version in use, with the reason, and remembers it; or refuses it, as the user wants.
    fn stand_in(
        &self,
        of: &Of<'_>,
        line: &Line,
        tried: &[Tried],
        tag: &SignedTag,
        mut resolved: Resolved,
    ) -> Result<Resolved, ResolveError> {
        let Of { reference, keys, options, .. } = of;
        let used = (tag.record().seq, tag.record().manifest.digest);
        let heads: Vec<(u64, Digest)> =
            line.heads.iter().map(|it| (it.record().seq, it.record().manifest.digest)).collect();
        let why = match (&line.frozen, tried.first()) {
            (Some(_), _) => format!(
                "the tag is frozen, because two records contradict each other: {}",
                heads
                    .iter()
                    .map(|(seq, manifest)| format!("{seq} ({manifest})"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            (None, Some(first)) => first.why.to_string(),
            (None, None) => String::new(),
        };
        if options.newest {
            return Err(ResolveError::NotNewest {
                reference: (*reference).clone(),
                why,
                used: used.0,
                manifest: used.1,
            });
        }
        let failed = |source| ResolveError::Tags { reference: (*reference).clone(), source };
        usable::remember(&self.store, keys, tag).map_err(failed)?;
        let (head, manifest) = heads.last().copied().unwrap_or(used);
        let reason = match (&line.frozen, tried.first().map(|it| it.why)) {
            (Some(_), _) => BehindReason::Frozen,
            (None, Some(WhyNot::Offline)) => BehindReason::Offline,
            _ => BehindReason::Unreached,
        };
        let behind = Behind { head, manifest, used: used.0, reason, why };
        // The expiry was judged when the version was chosen; this adds the notes on its dates.
        let now = clock::now();
        TagAge::of(tag.record(), now).judge(now, options.allow_expired, &mut resolved.notes)?;
        resolved.notes.push(behind.to_string());
        tracing::info!(reference = %reference, %behind, "an older version of a tag is used");
        resolved.head = line.heads.iter().map(|it| it.record().order()).max();
        resolved.behind = Some(behind);
        Ok(resolved)
    }

    /// Fetches and verifies the manifest of a version and its provenance. With `is_checked` its wanted blobs must be in the
    /// store or at sources that are reached.
    async fn prove(
        &self,
        of: &Of<'_>,
        documents: &mut Documents<'_>,
        tag: Option<&SignedTag>,
        digest: Digest,
        is_checked: bool,
    ) -> Result<Resolved, Miss> {
        let reference = of.reference;
        let is_offline = of.options.offline || self.network.is_offline() || of.options.brought.is_some();
        let is_here = whole::is_complete(&self.store, &digest);
        let probes =
            if is_checked && !is_here && !is_offline { documents.probe(digest) } else { Default::default() };
        let bytes = documents.get(digest).await.map_err(|source| {
            let why = if is_offline { WhyNot::Offline } else { WhyNot::Manifest { asked: source.asked } };
            Miss::Absent(why, Box::new(ResolveError::Document { reference: reference.clone(), source }), None)
        })?;
        let stated = tag.map(|tag| tag.record().manifest.size).filter(|it| *it != bytes.len() as u64);
        if let Some(stated) = stated {
            let error = ResolveError::ManifestSize { digest, found: bytes.len(), stated };
            return Err(Miss::Refused(Box::new(error)));
        }
        let manifest = Manifest::from_bytes(&bytes)
            .map_err(|source| Miss::Refused(Box::new(ResolveError::Manifest { digest, source })))?;
        let candidates = documents.referrers(digest).await;
        let model = tag.map_or_else(|| of.model.clone(), |tag| tag.record().model.clone());
        let (store, named) = (self.store.clone(), self.attestors().named);
        let keys = of.keys.clone();
        let is_held = is_here && tag.is_none();
        let (of_model, work_manifest) = (model.clone(), manifest.clone());
        let work = move || {
            let attestors = Attestors { store: &store, named };
            let now = accept(&candidates, &keys, &of_model, digest, &work_manifest, &attestors);
            // What this node held when the keys were retired stays readable by its digest.
            let then = now.as_ref().err().and_then(retired_under).filter(|_| is_held);
            match then.and_then(|then| Some((then, keys.as_of(then)?))) {
                Some((then, old)) => accept(&candidates, &old, &of_model, digest, &work_manifest, &attestors)
                    .map(|accepted| (accepted, Some(then))),
                None => now.map(|accepted| (accepted, None)),
            }
        };
        let accepted = self
            .verifier()
            .documents(work)
            .await
            .map_err(|_| Miss::Refused(Box::new(ResolveError::Search)))?;
        let (accepted, then) =
            accepted.map_err(|error| Miss::Absent(WhyNot::Provenance, Box::new(error), None))?;
        let note = then.map(|then| {
            format!(
                "key document {then} signed it, which is retired, and key document {} does not take it over: it is used \
                 because this node has held it",
                of.keys.version()
            )
        });
        let proven = Proven { tag: tag.cloned(), digest, manifest, accepted, note };
        let publisher = of.keys.publisher();
        let version = Version { publisher, model: &model, digest, manifest: &proven.manifest };
        match if is_checked { self.check_blobs(of, documents, version, probes).await } else { Ok(()) } {
            Ok(()) => Ok(proven.resolved(of, documents, is_checked)),
            Err(Miss::Absent(why, error, _)) => Err(Miss::Absent(why, error, Some(Box::new(proven)))),
            Err(refused) => Err(refused),
        }
    }

    async fn check_blobs(
        &self,
        of: &Of<'_>,
        documents: &mut Documents<'_>,
        version: Version<'_>,
        probes: super::available::Probes,
    ) -> Result<(), Miss> {
        let Of { options, reference, .. } = of;
        let missing = options.wanted.missing(&self.store, version).await;
        let missing = missing.map_err(|source| Miss::Refused(Box::new(ResolveError::Select(source))))?;
        let is_brought = options.brought.as_ref().is_some_and(|it| it.is_of(&version.digest));
        if missing.is_empty() || is_brought {
            return Ok(());
        }
        let is_offline = options.offline || self.network.is_offline() || options.brought.is_some();
        let seeds: Vec<_> = options.web_seeds.iter().chain(self.web_seeds().iter()).cloned().collect();
        let is_some = matches!(options.wanted, Wanted::Pieces(_));
        let lacking = match is_offline {
            true => missing.len(),
            false => documents.unavailable(version, missing, probes, &seeds, is_some).await,
        };
        if lacking == 0 {
            return Ok(());
        }
        let peers = documents.peers.len();
        let why = if is_offline { WhyNot::Offline } else { WhyNot::Blobs { missing: lacking, peers } };
        let error = match is_offline {
            true => ResolveError::Offline { reference: (*reference).clone() },
            false => ResolveError::NotFound {
                reference: (*reference).clone(),
                asked: peers,
                unanswered: 0,
                foreign: Vec::new(),
            },
        };
        Err(Miss::Absent(why, Box::new(error), None))
    }
}

/// Returns the version of the retired key document if this is why a provenance is refused.
fn retired_under(error: &ResolveError) -> Option<u64> {
    let ResolveError::Provenance { source: ProvenanceError::Signature { version, source, .. }, .. } = error
    else {
        return None;
    };
    matches!(source, SignatureError::Retired { .. }).then_some(*version)
}

/// Returns a resolved version with further notes before its own.
fn with_notes(mut notes: Vec<String>, resolved: Resolved) -> Resolved {
    notes.extend(resolved.notes);
    Resolved { notes, ..resolved }
}

/// What is resolved, and how.
struct Of<'a> {
    reference: &'a Reference,
    keys: &'a KeyHistory,
    model: &'a ModelName,
    options: &'a ResolveOptions,
}

/// Returns the error where neither the head nor an ancestor is used.
fn none_left(
    of: &Of<'_>,
    frozen: Option<TagsError>,
    tried: Vec<Tried>,
    refusal: Option<ResolveError>,
    error: Option<Box<ResolveError>>,
) -> ResolveError {
    let reference = of.reference.clone();
    match (frozen, refusal, error) {
        (Some(source), _, _) => ResolveError::Tags { reference, source },
        (None, Some(refusal), _) => refusal,
        // A provenance that is false says more than that nothing was found.
        (None, None, Some(error))
            if matches!(*error, ResolveError::Provenance { .. } | ResolveError::NoProvenance { .. }) =>
        {
            *error
        }
        (None, None, _) => ResolveError::Unavailable { reference, tried },
    }
}
