//! Pulling: resolve → reserve → fetch from everybody at once → judge → keep → seed → place.
//!
//! What has been verified is never fetched again: a pull that was killed goes on where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reg_proto::content::kind::ContentKind;
use reg_proto::dht::DhtKey;
use reg_proto::digest::Digest;
use reg_proto::manifest::Manifest;
use reg_proto::name::{Publisher, Reference};
use reg_proto::piece::BlobLayout;
use reg_proto::states::PieceStates;
use thiserror::Error;
use tokio::task::JoinError;

use super::bundle::BundleError;
use super::checkout::{CheckoutError, check_out};
use super::consent::{PolicyError, refuse};
use super::describe::{DescribeError, Description};
use super::downloader::{DownloadError, Downloaded, Downloader};
use super::explain::{self, Measured, ReceiptFile};
use super::fault::{Fault, FaultKind};
use super::hub_cache;
use super::model::ModelRecord;
use super::policy::Check;
use super::pulls::{Pull, Pulling};
use super::report::Pulled;
use super::request::{Priority, PullRequest};
use super::resolve::{ResolveError, ResolveOptions, Resolved};
use super::selection::{Part, SelectError};
use super::tags::{self, TagsError};
use super::tensors::TensorsError;
use super::web::WebSeeds;
use super::{Inner, Registry, Reporter};
use crate::store::{Lease, Partial, PartialError, ReadError, Recheck, ReserveError, Store, WriteError};
use crate::web::WebSeed;

/// Why a model was not pulled, or not whole. What was fetched and verified stays here.
#[derive(Debug, Error)]
pub enum PullError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error(transparent)]
    Tensors(#[from] TensorsError),
    #[error("model is not whole here, and no peer is asked because the node is offline")]
    Offline,
    #[error("there is no room for the model")]
    Reserve(#[from] ReserveError),
    #[error("piece states that were signed for {blob} could not be had from any peer")]
    States { blob: Digest },
    #[error("every peer that has the model ({peers}) is behind a NAT that cannot be got through")]
    BehindNat { peers: usize },
    #[error("{blob} cannot be written to the cache")]
    Partial { blob: Digest, source: PartialError },
    #[error("fetching stopped")]
    Download(#[from] DownloadError),
    #[error("store does not take the model")]
    Write(#[from] WriteError),
    #[error("tag cannot be remembered")]
    Tags(#[from] TagsError),
    #[error(transparent)]
    Describe(#[from] DescribeError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("OpenSSF bundle is refused")]
    Bundle(#[from] BundleError),
    #[error("model is in the cache, but cannot be put into {dest}")]
    Checkout { dest: PathBuf, source: CheckoutError },
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
}

impl Fault for PullError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Resolve(source) => source.kind(),
            Self::Select(_) => FaultKind::NoMatch,
            Self::Tensors(source) => source.kind(),
            Self::Offline | Self::Download(DownloadError::Starved { .. }) => FaultKind::Unreachable,
            Self::Download(DownloadError::BehindNat { .. }) => FaultKind::Unreachable,
            Self::Download(DownloadError::LeftAlone { .. }) => FaultKind::RetryLater,
            Self::States { .. } | Self::BehindNat { .. } => FaultKind::Unreachable,
            Self::Reserve(_) => FaultKind::DiskFull,
            Self::Partial { source, .. } if source.is_disk_full() => FaultKind::DiskFull,
            Self::Write(source) if source.is_disk_full() => FaultKind::DiskFull,
            Self::Download(DownloadError::Write { source, .. }) if source.is_disk_full() => {
                FaultKind::DiskFull
            }
            Self::Checkout { source, .. } => source.kind(),
            Self::Policy(source) => source.kind(),
            Self::Download(DownloadError::FalseStates { .. } | DownloadError::OnlyWrongBytes { .. })
            | Self::Bundle(_) => FaultKind::Verification,
            Self::Describe(error) if error.is_consent_missing() => FaultKind::Denied,
            Self::Partial { .. }
            | Self::Write(_)
            | Self::Tags(_)
            | Self::Interrupted(_)
            | Self::Download(_)
            | Self::Describe(_) => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve(source) => source.hint(),
            Self::Select(source) => source.hint(),
            Self::Tensors(source) => source.hint(),
            Self::Reserve(_) => {
                Some("make room with `reg gc`, raise cache.max_size, or free the disk".into())
            }
            Self::Describe(error) if error.is_consent_missing() => {
                Some("take it all the same with --allow-unsafe".into())
            }
            Self::Download(DownloadError::LeftAlone { .. }) => {
                Some("run the same command again after that time: what was fetched is kept".into())
            }
            Self::Download(DownloadError::Starved { .. }) => Some(
                "run the same command again: what was fetched is kept; --from MULTIADDR names a peer".into(),
            ),
            Self::BehindNat { .. } | Self::Download(DownloadError::BehindNat { .. }) => Some(
                "forward a port to a node at either end and name it there with --external, or pull from a node that is \
                 reached directly: --from MULTIADDR"
                    .into(),
            ),
            Self::Download(DownloadError::FalseStates { .. }) => Some(
                "the publisher has to publish again; nothing of this blob was kept under its name".into(),
            ),
            Self::Checkout { source, .. } => source.hint(),
            Self::Policy(source) => source.hint(),
            error if error.kind() == FaultKind::DiskFull => {
                Some("free the disk and run the same command again: what was fetched is kept".into())
            }
            _ => None,
        }
    }
}

impl Registry {
    /// Pulls a model: from here what is here, from peers the rest.
    ///
    /// # Errors
    /// See [`PullError`].
    pub async fn pull(&self, request: PullRequest, reporter: &Reporter) -> Result<Pulled, PullError> {
        let start = Instant::now();
        let (mut resolved, part) = self.inner.find(&request, reporter).await?;
        let mut checks = Vec::new();
        reporter.checks(explain::proven(&resolved, &self.inner.petnames()), &mut checks);
        reporter.checks(self.inner.consent(&resolved).await?, &mut checks);
        refuse(&checks, resolved.keys.publisher(), &resolved.model)?;
        let finding = start.elapsed();
        let offline = request.offline || self.inner.network.is_offline();
        if !request.tensors.is_empty() {
            let pulled = self.pull_tensors(request, resolved, &part, start, reporter).await?;
            return Ok(Pulled { checks, ..pulled });
        }
        let fetched = self.inner.fetch(&mut resolved, &part, &request, offline, reporter).await?;
        let fetching = start.elapsed().saturating_sub(finding);
        if fetched.is_new {
            self.inner.seed_model(&resolved.digest).await;
        }
        if let (Some(tag), true) = (&resolved.tag, fetched.is_whole && !offline) {
            self.inner.announce(tag, &resolved.keys).await;
        }
        if let Some(dest) = &request.dest {
            reporter.stage("placing", dest.display());
            let (inner, dest, copy, overwrite) =
                (self.inner.clone(), dest.clone(), request.copy, request.overwrite);
            let (manifest, digest, part) = (resolved.manifest.clone(), resolved.digest, part.clone());
            tokio::task::spawn_blocking(move || {
                check_out(&inner.store, &digest, &manifest, &part, &dest, copy, overwrite)
                    .map_err(|source| PullError::Checkout { dest, source })
            })
            .await??;
        }
        let mut placed = request.dest;
        if let Some(cache) = request.hub_cache {
            reporter.stage("placing", cache.dir.display());
            let (store, manifest, digest, part) =
                (self.inner.store.clone(), resolved.manifest.clone(), resolved.digest, part.clone());
            let filled = tokio::task::spawn_blocking(move || {
                hub_cache::fill(&store, &digest, &manifest, &part, &cache)
                    .map_err(|source| PullError::Checkout { dest: cache.dir, source })
            });
            placed = Some(filled.await??);
        }
        let bytes = part.bytes(&resolved.manifest);
        let Downloaded { peers, web, .. } = &fetched.downloaded;
        let bytes_fetched = peers.values().chain(web.values()).sum();
        let placing = start.elapsed().saturating_sub(finding + fetching);
        let blobs = part.blobs(&resolved.manifest).len();
        reporter.checks(explain::content(&fetched.files, blobs, bytes_fetched), &mut checks);
        reporter.checks(fetched.formats, &mut checks);
        let (verifying, writing) = fetched.downloaded.busy;
        let pace = Measured { finding, fetching, verifying, writing, placing, bytes_fetched }.pace();
        let sources = explain::sources(peers, web, bytes.saturating_sub(bytes_fetched));
        let reference = Reference {
            publisher: Publisher::Id(resolved.keys.publisher()),
            model: resolved.model.clone(),
            tag: resolved.tag.as_ref().map(|it| it.record().tag.clone()),
            digest: resolved.tag.is_none().then_some(resolved.digest),
        };
        let receipt = request.receipt.then(|| {
            let files = part.files(&resolved.manifest).map(|file| ReceiptFile {
                path: file.path.clone(),
                size: file.layout.size(),
                digest: file.digest,
            });
            explain::receipt(&resolved, reference.clone(), files.collect(), checks.clone(), sources.clone())
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
            manifest: resolved.digest,
            bytes,
            files: part.files(&resolved.manifest).count(),
            dest: placed,
            complete: fetched.is_whole,
            bytes_fetched,
            bytes_local: bytes.saturating_sub(bytes_fetched),
            bytes_reused: fetched.downloaded.reused,
            peers: fetched.downloaded.peers,
            web: fetched.downloaded.web,
            seconds: start.elapsed().as_secs_f64(),
            notes: resolved.notes,
        })
    }
}

/// How a download takes its place among others.
#[derive(Debug, Clone, Default)]
pub(super) struct Terms {
    pub(super) priority: Priority,
    pub(super) limit_down: Option<u64>,
    pub(super) web: WebSeeds,
}

/// What fetching a model has brought.
struct Fetched {
    downloaded: Downloaded,
    /// Whether there is something here that was not before.
    is_new: bool,
    /// Whether every file of the model is here now.
    is_whole: bool,
    /// Every file with what its bytes are.
    files: Vec<(String, ContentKind)>,
    /// What the user's rules say of them.
    formats: Vec<Check>,
}

impl Inner {
    /// Resolves what is asked for, and chooses the files of it that are wanted.
    pub(super) async fn find(
        &self,
        request: &PullRequest,
        reporter: &Reporter,
    ) -> Result<(Resolved, Part), PullError> {
        let options = ResolveOptions {
            from: request.from.clone(),
            offline: request.offline,
            allow_expired: request.allow_expired,
            patience: None,
        };
        let mut resolved = self.resolve(&request.reference, &options, reporter).await?;
        let part = request.selection.choose(&resolved.manifest, &mut resolved.notes)?;
        for note in &resolved.notes {
            reporter.note(note);
        }
        Ok((resolved, part))
    }

    /// Brings the blobs of a part of a resolved model here, keeps its documents, and remembers it.
    async fn fetch(
        &self,
        resolved: &mut Resolved,
        part: &Part,
        request: &PullRequest,
        offline: bool,
        reporter: &Reporter,
    ) -> Result<Fetched, PullError> {
        let web = self.web_seeds_of(resolved, &request.web_seeds);
        let terms = Terms { priority: request.priority, limit_down: request.limit_down, web };
        let missing = self.missing(part.blobs(&resolved.manifest)).await?;
        let needed = missing.values().map(|layout| layout.size()).sum();
        let blobs = resolved.manifest.blobs().into_keys();
        let wanted: BTreeSet<Digest> = blobs.chain([resolved.digest]).collect();
        let lease = self.store.reserve(needed, &wanted)?;
        self.keep_documents(resolved)?;
        let publisher = resolved.keys.publisher();
        let known =
            ModelRecord::load(&self.store, &resolved.digest, publisher, &resolved.model).ok().flatten();
        let all = known.as_ref().map_or_else(|| part.clone(), |it| it.with(part, &resolved.manifest));
        let chosen = all.paths().cloned();
        let was_complete = known.as_ref().is_some_and(|it| it.complete);
        let says_the_same = known.as_ref().is_some_and(|it| it.referrers == resolved.referrers);
        let is_known = known.is_some_and(|it| it.complete || (it.chosen == chosen && !it.kinds.is_empty()));
        let mut downloaded = Downloaded::default();
        if !missing.is_empty() {
            if offline {
                return Err(PullError::Offline);
            }
            if !is_known {
                let chosen = chosen.clone();
                ModelRecord { chosen, ..self.record(resolved, None) }.save(&self.store, &resolved.digest)?;
            }
            self.seed_while_pulling(resolved).await;
            reporter.stage("fetching", format_args!("{needed} bytes in {} blobs", missing.len()));
            downloaded = self.download(resolved, &missing, terms, reporter).await?;
        }
        let description = self.describe_part(&resolved.manifest, &all, part, request.allow_unsafe)?;
        let files = description.files().to_vec();
        let formats = self.consent_to_formats(publisher, &resolved.model, &files)?;
        let is_whole = self.missing(resolved.manifest.blobs()).await?.is_empty();
        let is_new = !missing.is_empty() || !is_known || (is_whole && !was_complete);
        if is_new || !says_the_same {
            let chosen = if is_whole { None } else { chosen };
            let record = self.record(resolved, Some(description));
            ModelRecord { chosen, complete: is_whole, ..record }.save(&self.store, &resolved.digest)?;
        }
        if let Some(tag) = &resolved.tag {
            tags::keep(&self.store, tag)?;
        }
        self.store.touch(&resolved.digest);
        self.store.commit();
        drop::<Lease>(lease);
        Ok(Fetched { downloaded, is_new, is_whole, files, formats })
    }

    /// Returns where the blobs of a model lie on the servers that the user has named, for this pull and for all.
    pub(super) fn web_seeds_of(&self, resolved: &Resolved, more: &[WebSeed]) -> WebSeeds {
        let seeds = more.iter().chain(&self.web_seeds);
        let Resolved { keys, model, digest, manifest, .. } = resolved;
        WebSeeds::new(seeds, &keys.publisher(), model, digest, manifest)
    }

    /// Gives a pull its place among others.
    pub(super) fn enter(&self, resolved: &Resolved, priority: Priority) -> Pull {
        let pulling = Pulling {
            publisher: resolved.keys.publisher(),
            model: resolved.model.clone(),
            tag: resolved.tag.as_ref().map(|it| it.record().tag.clone()),
            manifest: resolved.digest,
        };
        self.pulls.enter(pulling, priority)
    }

    /// Fetches blobs that are missing, each piece verified before it is written.
    pub(super) async fn download(
        &self,
        resolved: &mut Resolved,
        missing: &BTreeMap<Digest, BlobLayout>,
        terms: Terms,
        reporter: &Reporter,
    ) -> Result<Downloaded, PullError> {
        let pull = self.enter(resolved, terms.priority);
        let partials = self.open_partials(missing, resolved, reporter).await?;
        let wanted = partials.clone();
        let room = tokio::task::spawn_blocking(move || Room::set_aside(wanted)).await??;
        let reused = self.reuse(&partials, resolved, &terms.web, reporter).await;
        let before = busy(&partials);
        let downloader = Downloader::new(self, partials.clone());
        let downloader = downloader.on_terms(pull, terms.limit_down).with_web(terms.web);
        let first = resolved.holders.clone();
        if let Some(finder) = &mut resolved.finder {
            finder.exchange(&self.network, resolved.digest);
        }
        let result = downloader.run(first, resolved.finder.take(), reporter).await;
        if let Err(DownloadError::FalseStates { blob }) = &result {
            for partial in partials.iter().filter(|it| it.digest() == *blob) {
                partial.discard().map_err(|source| PullError::Partial { blob: *blob, source })?;
            }
        }
        let after = busy(&partials);
        let finished = tokio::task::spawn_blocking(move || {
            for partial in partials {
                let done = if partial.have().is_full() { partial.finish() } else { partial.checkpoint() };
                done.map_err(|source| PullError::Partial { blob: partial.digest(), source })?;
            }
            room.give_back();
            Ok::<_, PullError>(())
        });
        finished.await.map_err(PullError::from).flatten().or_else(|error| match &result {
            Ok(_) => Err(error),
            Err(_) => Ok(()),
        })?;
        let mut downloaded = result?;
        for (peer, bytes) in reused.peers {
            *downloaded.peers.entry(peer).or_default() += bytes;
        }
        for (seed, bytes) in reused.web {
            *downloaded.web.entry(seed).or_default() += bytes;
        }
        let busy = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
        Ok(Downloaded { reused: reused.bytes, busy, ..downloaded })
    }

    /// Opens the partial blobs of what is missing, with the states that the provenance names.
    pub(super) async fn open_partials(
        &self,
        missing: &BTreeMap<Digest, BlobLayout>,
        resolved: &mut Resolved,
        reporter: &Reporter,
    ) -> Result<Vec<Partial>, PullError> {
        let states = self.states_of(missing, resolved, reporter).await?;
        let store = self.store.clone();
        let open = tokio::task::spawn_blocking(move || {
            let open = |(blob, states): (Digest, PieceStates)| {
                let size = states.layout().size();
                store.partial(blob, size, states).map_err(|source| PullError::Partial { blob, source })
            };
            states.into_iter().map(open).collect::<Result<Vec<Partial>, PullError>>()
        });
        open.await?
    }

    /// Those of `blobs` that are not here. One that has changed since it was verified is rehashed first, and is missing
    /// as far as it is damaged.
    pub(super) async fn missing(
        &self,
        mut blobs: BTreeMap<Digest, BlobLayout>,
    ) -> Result<BTreeMap<Digest, BlobLayout>, PullError> {
        let store = self.store.clone();
        let check = tokio::task::spawn_blocking(move || {
            blobs.retain(|blob, _| !is_whole(&store, blob));
            blobs
        });
        Ok(check.await?)
    }

    /// Keeps the manifest, the referrers and what they carry: small, verified, and needed to serve the model.
    pub(super) fn keep_documents(&self, resolved: &Resolved) -> Result<(), PullError> {
        for bytes in resolved.documents.values() {
            self.store.put_blob(bytes)?;
        }
        Ok(())
    }

    /// Others may fetch what has come so far while the rest is coming.
    async fn seed_while_pulling(&self, resolved: &Resolved) {
        if self.sharing.gives(&resolved.keys.publisher(), &resolved.model) {
            self.network.provide(DhtKey::publisher(&resolved.keys.publisher())).await;
        }
    }

    pub(super) fn record(&self, resolved: &Resolved, described: Option<Description>) -> ModelRecord {
        let blobs = resolved.manifest.blobs().into_keys().chain(resolved.documents.keys().copied());
        let complete = described.is_some();
        let (metadata, kinds) = described.map(Description::finish).unwrap_or_default();
        ModelRecord {
            publisher: resolved.keys.publisher(),
            model: resolved.model.clone(),
            blobs: blobs.chain([resolved.digest]).collect(),
            referrers: resolved.referrers.clone(),
            bytes: resolved.manifest.total_bytes(),
            files: resolved.manifest.files().len(),
            complete,
            chosen: None,
            metadata,
            kinds,
        }
    }

    /// Looks at the files of `all` that are here, and judges those of `part`: the others were taken before.
    fn describe_part(
        &self,
        manifest: &Manifest,
        all: &Part,
        part: &Part,
        allow_unsafe: bool,
    ) -> Result<Description, DescribeError> {
        let mut description = Description::default();
        for file in all.files(manifest).filter(|file| self.store.contains(&file.digest)) {
            let is_taken = allow_unsafe || !part.contains(&file.path);
            description.add(&self.store, &file.path, &file.digest, file.layout.size(), is_taken)?;
        }
        Ok(description)
    }

    /// Looks at every file and judges it. A model that is here may have been taken with consent that is not given now.
    pub(super) fn describe(
        &self,
        manifest: &Manifest,
        allow_unsafe: bool,
    ) -> Result<Description, DescribeError> {
        let mut description = Description::default();
        for file in manifest.files() {
            description.add(&self.store, &file.path, &file.digest, file.layout.size(), allow_unsafe)?;
        }
        Ok(description)
    }
}

/// Room of the disk for blobs that are on their way. What is not used of it is given back when their pull ends, however it
/// ends.
struct Room(Vec<Partial>);

impl Room {
    fn set_aside(partials: Vec<Partial>) -> Result<Self, PullError> {
        let room = Self(partials);
        for partial in &room.0 {
            let blob = partial.digest();
            partial.set_aside().map_err(|source| PullError::Partial { blob, source })?;
        }
        Ok(room)
    }

    /// Gives back what is not used. Blocks.
    fn give_back(mut self) {
        std::mem::take(&mut self.0).iter().for_each(Partial::give_back);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let partials = std::mem::take(&mut self.0);
        // Whoever drops a pull must not wait for the disk. Outside a runtime, the next start gives the room back.
        if let Some(runtime) = tokio::runtime::Handle::try_current().ok().filter(|_| !partials.is_empty()) {
            runtime.spawn_blocking(move || partials.iter().for_each(Partial::give_back));
        }
    }
}

/// Returns how long pieces of these blobs were verified and written, of all threads together.
fn busy(partials: &[Partial]) -> (Duration, Duration) {
    let each = partials.iter().map(Partial::busy);
    each.fold(Default::default(), |sum, it| (sum.0 + it.0, sum.1 + it.1))
}

/// Tells whether a blob is here and what its name says, after a look at its bytes where that is not known.
pub(super) fn is_whole(store: &Store, blob: &Digest) -> bool {
    match store.open_blob(blob) {
        Ok(_) => true,
        Err(ReadError::Unverified { .. }) => matches!(store.recheck(blob, &|_| {}), Ok(Recheck::Intact)),
        Err(_) => false,
    }
}
