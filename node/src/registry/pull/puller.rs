//! Pulls a model: resolve → reserve → fetch from all sources at once → judge → record → seed → place.
//!
//! Verified pieces are never fetched again: a pull that was killed continues where it stopped.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reg_api::check::Check;
use reg_api::consent::Consent;
use reg_api::domain::AskDomain;
use reg_api::fault::Fault;
use reg_api::receipt::{Measured, ReceiptFile};
use reg_api::report::Pulled;
use reg_api::reporter::Reporter;
use reg_api::request::PullRequest;
use reg_api::selection::Part;
use reg_api::size::Given;
use reg_proto::content::kind::ContentKind;
use reg_proto::content::parts::Gap;
use reg_proto::digest::Digest;
use reg_proto::name::Tag;
use reg_proto::states::PieceStates;
use reg_proto::tag::SignedTag;

use tokio::task::spawn_blocking;

use super::by_ticket::note_moved;
use super::early::{Step, Steps, tell};
use super::error::PullError;
use super::told::Told;
use super::{Puller, into_hf_cache};
use crate::metrics::PullEnd;
use crate::registry::fetch::{Begin, Caller, DownLimit, Downloaded, Share, ShareError, Terms};
use crate::registry::limits::{ANSWERS_PATIENCE, CHANGES_MAX};
use crate::registry::model::checked_out::{ByTag, Named};
use crate::registry::model::checkout::{CheckoutError, Found, Placing, check_out, foresee};
use crate::registry::model::describe::{self, Description};
use crate::registry::model::kept;
use crate::registry::model::record::ModelRecord;
use crate::registry::model::whole;
use crate::registry::publishers::usable;
use crate::registry::resolve::{
    Later, RecordChoice, ResolveError, ResolveOptions, Resolved, Wanted, byte_sources, content_checks,
    proof_checks, receipt_of, refuse, whole_checks,
};
use crate::store::{CancelOnDrop, Lease};

/// Returns what a request wants done with files that are there.
const fn placing(request: &PullRequest) -> Placing {
    let PullRequest { copy, overwrite, keep, no_delete, .. } = *request;
    Placing { copy, overwrite, keep, keep_removed: no_delete }
}

fn named(resolved: &Resolved) -> Named {
    Named { publisher: resolved.keys.publisher(), model: resolved.model.clone() }
}

/// Returns the tag record by which a version was found; `None` where it was asked for by its digest.
fn by_tag(resolved: &Resolved) -> Option<ByTag> {
    let record = resolved.tag.as_ref()?.record();
    Some(ByTag { tag: record.tag.clone(), key_document: record.key_document, seq: record.seq })
}

/// Returns the tag by which a version was found; `None` where it was asked for by its digest.
pub(super) fn tag_of(resolved: &Resolved) -> Option<Tag> {
    resolved.tag.as_ref().map(|it| it.record().tag.clone())
}

/// The result of fetching a model.
struct Fetched {
    downloaded: Downloaded,
    /// Whether the store has bytes that it had not before.
    is_new: bool,
    /// Whether every file of the model is in the store now.
    is_whole: bool,
    /// Every file with the kind of its contents.
    files: Vec<(String, ContentKind)>,
    /// What the model itself lacks.
    gaps: Vec<Gap>,
    /// What the user's rules say of the kinds.
    formats: Vec<Check>,
}

impl Puller {
    /// Pulls a model: takes from the store what it has, fetches the rest, and places the files where the request says.
    ///
    /// # Errors
    /// See [`PullError`].
    pub async fn pull(
        self: &Arc<Self>,
        request: PullRequest,
        reporter: &Reporter,
    ) -> Result<Pulled, PullError> {
        let reference = request.reference.clone();
        self.pull_any(request, reporter).await.map_err(|error| self.with_versions(&reference, error))
    }

    /// Pulls the newest version that its sources send.
    async fn pull_any(
        self: &Arc<Self>,
        request: PullRequest,
        reporter: &Reporter,
    ) -> Result<Pulled, PullError> {
        self.pull_chosen(request, RecordChoice::default(), reporter).await
    }

    /// Pulls a model as [`Puller::pull`] does, by one of the chosen records of its tag.
    ///
    /// # Errors
    /// See [`PullError`].
    pub async fn pull_chosen(
        self: &Arc<Self>,
        request: PullRequest,
        records: RecordChoice,
        reporter: &Reporter,
    ) -> Result<Pulled, PullError> {
        let counted = self.fetching.metrics.pull_begins();
        let pulled = self.pull_uncounted(request, records, reporter).await;
        counted.ends(match &pulled {
            Ok(_) => PullEnd::Done,
            Err(error) if error.is_cancelled() => PullEnd::Cancelled,
            Err(error) => PullEnd::Failed(error.kind()),
        });
        pulled
    }

    /// Pulls as [`Puller::pull_chosen`] does, and counts no pull: for what this node does of itself.
    pub(super) async fn pull_uncounted(
        self: &Arc<Self>,
        request: PullRequest,
        records: RecordChoice,
        reporter: &Reporter,
    ) -> Result<Pulled, PullError> {
        let start = Instant::now();
        let told = Told::begin(&request.reference, start);
        let result = self.pull_met(&request, records, start, reporter).await;
        told.end(&result);
        result
    }

    async fn pull_met(
        self: &Arc<Self>,
        request: &PullRequest,
        records: RecordChoice,
        start: Instant,
        reporter: &Reporter,
    ) -> Result<Pulled, PullError> {
        self.meet_first(request, reporter).await;
        let said = self.ask_domain(request, reporter).await?;
        let mut pulled = self.pull_named(request, records, start, reporter).await?;
        pulled.notes.splice(0..0, said);
        Ok(pulled)
    }

    /// Resolves the publisher's domain, where the request names one. Returns notes for the user.
    pub(super) async fn ask_domain(
        &self,
        request: &PullRequest,
        reporter: &Reporter,
    ) -> Result<Vec<String>, PullError> {
        let ask = || AskDomain {
            allow_unsigned_dns: request.allow_unsigned_dns,
            accept: None,
            offline: request.offline,
            from: request.from.clone(),
            public: request.public,
        };
        Ok(self.domains.prepare(&request.reference.publisher, ask, reporter).await?)
    }

    async fn pull_named(
        self: &Arc<Self>,
        request: &PullRequest,
        mut records: RecordChoice,
        start: Instant,
        reporter: &Reporter,
    ) -> Result<Pulled, PullError> {
        let (mut before, mut changes) = (None, 0);
        loop {
            let found = self.find(request, &records, reporter).await;
            let (mut resolved, part) = match (found, before.take()) {
                (Ok(found), _) => found,
                // No other version can be had: what went wrong with the first one says more.
                (Err(PullError::Resolve(ResolveError::Unavailable { .. })), Some(error)) => {
                    return Err(error);
                }
                (Err(error), _) => return Err(error),
            };
            let other = resolved.tag.as_ref().filter(|_| resolved.has_other);
            let tag = other.map(SignedTag::payload_digest);
            let later = resolved.later.take().filter(|_| changes < CHANGES_MAX);
            match (self.pull_version(request, resolved, later, part, start, reporter).await, tag) {
                (Err(PullError::Superseded), _) => {
                    changes += 1;
                    reporter.note("a peer has told of a newer version meanwhile: it is looked for");
                }
                (Err(error), Some(tag)) if error.is_withheld() && records.passed_over.insert(tag) => {
                    reporter.note(format_args!("{error}; another version is looked for"));
                    before = Some(error);
                }
                (pulled, _) => return pulled.inspect(|it| note_moved(request, it, reporter)),
            }
        }
    }

    /// Pulls a version that was found.
    pub(super) async fn pull_version(
        self: &Arc<Self>,
        request: &PullRequest,
        mut resolved: Resolved,
        mut later: Option<Later>,
        part: Part,
        start: Instant,
        reporter: &Reporter,
    ) -> Result<Pulled, PullError> {
        let finding = start.elapsed();
        let mut checks = Vec::new();
        reporter.checks(proof_checks(&resolved, &self.trust.petnames()), &mut checks);
        reporter.checks(self.resolver.consent(&resolved).await?, &mut checks);
        refuse(&checks, resolved.keys.publisher(), &resolved.model)?;
        if !request.for_others {
            kept::take_over(&self.store, &resolved.digest)?;
        }
        let offline = request.offline || self.network.is_offline();
        self.foresee(request, &resolved, &part).await?;
        if !request.tensors.is_empty() {
            self.settle(later.as_mut()).await?;
        }
        if !request.tensors.is_empty() {
            let pulled = self.pull_tensors(request.clone(), resolved, &part, start, reporter).await?;
            return Ok(Pulled { checks, ..pulled });
        }
        let fetched = tokio::select! {
            fetched = self.fetch(&mut resolved, &part, request, offline, reporter) => fetched?,
            () = self.changed(later.as_mut()) => return Err(PullError::Superseded),
        };
        self.settle(later.as_mut()).await?;
        self.resolver.ask_on(later);
        let fetching = start.elapsed().saturating_sub(finding);
        if fetched.is_new {
            self.news.seed_model(&resolved.digest).await;
        }
        // A version that stands in for the head is not announced: it is not what the publisher says now.
        let is_head = resolved.behind.is_none();
        if let (Some(tag), true) = (&resolved.tag, fetched.is_whole && is_head) {
            match offline {
                true => self.news.list(tag, &resolved.keys).await,
                false => self.news.announce(tag, &resolved.keys).await,
            }
        }
        let (placed, found) = self.place(request, &resolved, &part, reporter).await?;
        let bytes = part.bytes(&resolved.manifest);
        let Downloaded { sources: came_from, busy: (verifying, writing), reused } = fetched.downloaded;
        let bytes_fetched = came_from.bytes();
        let placing = start.elapsed().saturating_sub(finding + fetching);
        let blobs = part.blobs(&resolved.manifest).len();
        reporter.checks(content_checks(&fetched.files, blobs, bytes_fetched), &mut checks);
        reporter.checks(whole_checks(&fetched.gaps), &mut checks);
        reporter.checks(fetched.formats, &mut checks);
        let pace = Measured { finding, fetching, verifying, writing, placing, bytes_fetched }.pace();
        let sources = byte_sources(&came_from.peers, &came_from.web, bytes.saturating_sub(bytes_fetched));
        let reference = resolved.reference();
        let receipt = request.receipt.then(|| {
            let files = part.files(&resolved.manifest).map(|file| ReceiptFile {
                path: file.path.clone(),
                size: file.layout.size(),
                digest: file.digest,
            });
            receipt_of(&resolved, reference.clone(), files.collect(), checks.clone(), sources.clone())
        });
        Ok(Pulled {
            reference,
            checks,
            sources,
            pace,
            receipt,
            publisher: resolved.keys.publisher(),
            tag_age: resolved.tag_age(),
            model: resolved.model,
            tag: resolved.tag.map(|it| it.record().tag.clone()),
            behind: resolved.behind,
            manifest: resolved.digest,
            bytes,
            files: part.files(&resolved.manifest).count(),
            dest: placed,
            kept: found.kept,
            removed: found.removed,
            left: found.left,
            complete: fetched.is_whole && fetched.gaps.is_empty(),
            gaps: fetched.gaps.iter().map(ToString::to_string).collect(),
            is_part: !fetched.is_whole,
            bytes_fetched,
            bytes_local: bytes.saturating_sub(bytes_fetched),
            bytes_reused: reused,
            peers: came_from.peers,
            web: came_from.web,
            seconds: start.elapsed().as_secs_f64(),
            notes: resolved.notes,
        })
    }

    /// Waits until an answer that comes later changes which version is meant.
    async fn changed(&self, later: Option<&mut Later>) {
        match later {
            Some(later) => later.changed(&self.resolver).await,
            None => std::future::pending().await,
        }
    }

    /// Waits for the answers of the peers that were asked for the name, before anything is placed.
    ///
    /// # Errors
    /// One of them has changed which version is meant.
    pub(super) async fn settle(&self, later: Option<&mut Later>) -> Result<(), PullError> {
        let is_changed = match later {
            Some(later) => later.settle(&self.resolver, ANSWERS_PATIENCE).await,
            None => false,
        };
        if is_changed { Err(PullError::Superseded) } else { Ok(()) }
    }

    /// Finds out before anything is fetched whether the files could be placed.
    async fn foresee(
        self: &Arc<Self>,
        request: &PullRequest,
        resolved: &Resolved,
        part: &Part,
    ) -> Result<(), PullError> {
        let Some(dest) = request.dest.clone().filter(|_| request.tensors.is_empty()) else { return Ok(()) };
        let (puller, placing, named) = (self.clone(), placing(request), named(resolved));
        let (manifest, part) = (resolved.manifest.clone(), part.clone());
        let foreseen = spawn_blocking(move || {
            foresee(&puller.store, &named, &manifest, &part, &dest, placing)
                .map_err(|source| PullError::Dest { dest, source })
        });
        foreseen.await?
    }

    /// Places the files of a version where the request wants them. Returns the directory, and what was found in it.
    async fn place(
        self: &Arc<Self>,
        request: &PullRequest,
        resolved: &Resolved,
        part: &Part,
        reporter: &Reporter,
    ) -> Result<(Option<PathBuf>, Found), PullError> {
        let mut found = Found::default();
        if let Some(dest) = &request.dest {
            reporter.stage("placing", dest.display());
            let (puller, dest) = (self.clone(), dest.clone());
            let (placing, named) = (placing(request), named(resolved));
            let (manifest, digest, part) = (resolved.manifest.clone(), resolved.digest, part.clone());
            let by_tag = by_tag(resolved);
            let placed = spawn_blocking(move || {
                check_out(&puller.store, (&named, by_tag), (&digest, &manifest), &part, &dest, placing)
                    .map_err(|source| PullError::Checkout { dest, source })
            });
            match placed.await? {
                Err(PullError::Checkout { dest, source: CheckoutError::Remember { source, .. } })
                    if source.is_disk_full() =>
                {
                    reporter.note(format_args!(
                        "the store's disk is full, so it does not remember what is in {}: `reg verify` cannot check it",
                        dest.display()
                    ));
                }
                placed => found = placed?,
            }
        }
        if let Some(cache) = request.hub_cache.clone() {
            reporter.stage("placing", cache.dir.display());
            let (store, manifest, digest, part) =
                (self.store.clone(), resolved.manifest.clone(), resolved.digest, part.clone());
            let filled = spawn_blocking(move || {
                into_hf_cache::fill(&store, &digest, &manifest, &part, &cache)
                    .map_err(|source| PullError::Checkout { dest: cache.dir, source })
            });
            return Ok((Some(filled.await??), found));
        }
        Ok((request.dest.clone(), found))
    }

    /// Resolves the reference of a request, and selects the files that it wants. Uses one of the chosen records.
    pub async fn find(
        &self,
        request: &PullRequest,
        records: &RecordChoice,
        reporter: &Reporter,
    ) -> Result<(Resolved, Part), PullError> {
        let selection = request.selection.clone();
        let options = ResolveOptions {
            from: request.from.clone(),
            offline: request.offline,
            allow_expired: request.allow_expired,
            newest: request.newest,
            public: request.public,
            wanted: if request.tensors.is_empty() {
                Wanted::Files(selection)
            } else {
                Wanted::Pieces(selection)
            },
            web_seeds: request.web_seeds.clone(),
            records: records.clone(),
            ..ResolveOptions::default()
        };
        let resolved = self.resolver.resolve(&request.reference, &options, reporter).await?;
        self.selected(request, resolved, reporter)
    }

    /// Selects the files that a request wants of a resolved model, and reports what the user should know.
    pub(super) fn selected(
        &self,
        request: &PullRequest,
        mut resolved: Resolved,
        reporter: &Reporter,
    ) -> Result<(Resolved, Part), PullError> {
        let part = request.selection.choose(&resolved.manifest, &mut resolved.notes)?;
        for note in &resolved.notes {
            reporter.note(note);
        }
        Ok((resolved, part))
    }

    /// Fetches the missing blobs of a part of a resolved model, keeps its documents, and records the model.
    async fn fetch(
        &self,
        resolved: &mut Resolved,
        part: &Part,
        request: &PullRequest,
        offline: bool,
        reporter: &Reporter,
    ) -> Result<Fetched, PullError> {
        let missing = whole::missing(&self.store, part.blobs(&resolved.manifest)).await?;
        let was_missing = !missing.is_empty();
        let blobs = resolved.manifest.blobs().into_keys();
        let wanted: BTreeSet<Digest> = blobs.chain([resolved.digest]).collect();
        if was_missing && offline {
            return Err(PullError::Offline);
        }
        // The download reserves the room for the blobs that it fetches, and is given what this has for them; this is for the
        // others, and protects those that are here.
        let small: u64 =
            Steps::of(missing.clone(), &resolved.manifest).small.values().map(|it| it.size()).sum();
        let lease = self.reserve(small, wanted.clone()).await?;
        self.resolver.keep_documents_aside(resolved).await?;
        let publisher = resolved.keys.publisher();
        let consent = self.consent_of(resolved, request).await?;
        let known =
            ModelRecord::load(&self.store, &resolved.digest, publisher, &resolved.model).ok().flatten();
        let all = known.as_ref().map_or_else(|| part.clone(), |it| it.with(part, &resolved.manifest));
        let chosen = all.paths().cloned();
        let was_complete = known.as_ref().is_some_and(|it| it.complete);
        let says_the_same = known.as_ref().is_some_and(|it| it.referrers == resolved.referrers);
        let is_known = known.is_some_and(|it| it.complete || (it.chosen == chosen && !it.kinds.is_empty()));
        let mut downloaded = Downloaded::default();
        if was_missing {
            if !is_known {
                let chosen = chosen.clone();
                ModelRecord { chosen, pulling: tag_of(resolved), ..self.resolver.record(resolved, None) }
                    .save(&self.store, &resolved.digest)?;
            }
            self.news.seed_while_pulling(&publisher, &resolved.model).await;
            let terms = self.terms_of(resolved, request);
            let step =
                Step { resolved, wanted: &wanted, terms: &terms, lease: &lease, has_room: false, reporter };
            downloaded = self.bring_all(step, part, missing, &consent).await?;
        }
        let description = self.describe(resolved, all, part, consent).await?;
        let gaps = description.gaps();
        tell(&gaps, resolved, reporter);
        let files = description.files().to_vec();
        let formats = self.resolver.consent_to_formats(publisher, &resolved.model, &files)?;
        let is_whole = whole::missing(&self.store, resolved.manifest.blobs()).await?.is_empty();
        let is_new = was_missing || !is_known || (is_whole && !was_complete);
        if is_new || !says_the_same {
            let chosen = if is_whole { None } else { chosen };
            let record = self.resolver.record(resolved, Some(description));
            ModelRecord { chosen, complete: is_whole, ..record }.save(&self.store, &resolved.digest)?;
        }
        if let Some(tag) = &resolved.tag {
            usable::keep(&self.store, &resolved.keys, tag)?;
        }
        self.store.touch(&resolved.digest);
        let store = self.store.clone();
        spawn_blocking(move || store.commit()).await?;
        drop::<Lease>(lease);
        Ok(Fetched { downloaded, is_new, is_whole, files, gaps, formats })
    }

    /// Inspects and judges what was fetched, on a blocking thread: some formats are searched whole. It ends with its caller.
    async fn describe(
        &self,
        resolved: &Resolved,
        all: Part,
        part: &Part,
        consent: Consent,
    ) -> Result<Description, PullError> {
        let caller = CancelOnDrop::default();
        let (store, manifest, cancel) = (self.store.clone(), resolved.manifest.clone(), caller.cancel());
        let part = part.clone();
        let describe = move || describe::describe_part(&store, &manifest, &all, &part, &consent, &cancel);
        Ok(spawn_blocking(describe).await??)
    }

    /// Returns the consent of a request together with what the user's rules allow.
    pub(super) async fn consent_of(
        &self,
        resolved: &Resolved,
        request: &PullRequest,
    ) -> Result<Consent, PullError> {
        let (trust, given) = (self.trust.clone(), request.consent());
        let (publisher, model) = (resolved.keys.publisher(), resolved.model.clone());
        Ok(spawn_blocking(move || trust.consent_to(publisher, &model, &given)).await??)
    }

    /// Reserves room, as [`crate::store::Store::reserve`] does, on a blocking thread: eviction may delete gigabytes.
    pub(super) async fn reserve(&self, bytes: u64, protect: BTreeSet<Digest>) -> Result<Lease, PullError> {
        let store = self.store.clone();
        Ok(spawn_blocking(move || store.reserve(bytes, &protect)).await??)
    }

    /// Returns the terms of a pull.
    pub(super) fn terms_of(&self, resolved: &Resolved, request: &PullRequest) -> Terms {
        let web = self.fetching.web_seeds_of(resolved, &request.web_seeds);
        let of_all = self.fetching.limits();
        let limit = DownLimit {
            far: request.limit_down,
            near: request.limit_down.or(of_all.down).filter(|_| of_all.local || request.limit_local),
        };
        let timeout = request.timeout.map(Duration::from_secs);
        Terms { priority: request.priority, limit, timeout, from: request.from.clone(), web }
    }

    /// Notes that a limit does not hold for a peer that has the model, because the peer is near.
    pub(super) async fn note_limit(&self, step: &Step<'_>) {
        let limit = step.terms.limit.far.or(self.fetching.limits().down);
        let (Some(limit), None) = (limit, step.terms.limit.near) else { return };
        for peer in &step.resolved.holders {
            if self.network.is_near(*peer).await {
                step.reporter.note(format_args!(
                    "the limit of {}/s does not hold for peers on this machine and in private networks, such as {peer}: \
                     --limit-local applies it to them",
                    Given(limit)
                ));
                return;
            }
        }
    }

    /// Takes part in the download of a model.
    pub(super) fn share(&self, step: &Step<'_>) -> Share {
        let Step { resolved, wanted, terms, has_room, reporter, .. } = step;
        let publisher = resolved.keys.publisher();
        let begin = Begin {
            model: resolved.digest,
            protect: (*wanted).clone(),
            holders: resolved.holders.clone(),
            strangers: resolved.strangers.clone(),
            searches: false,
            // The caller's own search reports peers that cannot be reached.
            search: Some(self.resolver.search(
                publisher,
                &resolved.reference(),
                &terms.from,
                &Reporter::silent(),
            )),
            web: terms.web.clone(),
            states_max: resolved.manifest.blobs().into_values().map(PieceStates::byte_len).max().unwrap_or(0),
            has_room: *has_room,
        };
        let pull = Arc::new(self.fetching.enter(resolved, terms.priority));
        let mut share = self.fetching.share(begin, Caller::Pull(pull, terms.limit, terms.timeout), reporter);
        share.name(resolved.manifest.files().iter().map(|it| (it.digest, it.path.to_string())).collect());
        share
    }

    /// Fetches blobs that were opened. Each piece is verified before it is written.
    pub(super) async fn download(
        &self,
        share: &mut Share,
        resolved: &mut Resolved,
        reporter: &Reporter,
    ) -> Result<Downloaded, PullError> {
        for peer in &resolved.holders {
            share.introduce(*peer, !resolved.strangers.contains(peer));
        }
        let result = self.fetch_opened(share, resolved, reporter).await;
        if let Err(error) = &result {
            share.settle(error).await;
        }
        let reused = result?;
        Ok(Downloaded { reused, ..share.downloaded() })
    }

    async fn fetch_opened(
        &self,
        share: &mut Share,
        resolved: &mut Resolved,
        reporter: &Reporter,
    ) -> Result<u64, ShareError> {
        share.set_aside().await?;
        let reused = self.reuse(share, resolved, reporter).await;
        if let Some(finder) = &mut resolved.finder {
            finder.exchange(&self.network, resolved.digest);
        }
        share.whole(&mut resolved.finder, reporter).await?;
        Ok(reused)
    }
}
