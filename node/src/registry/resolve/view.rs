//! [`ModelView`]: a model that a gateway reads from, proven by name and signature, whether its bytes are in the store
//! or not.
//!
//! Gateways ask for the same model many times. So a result is kept for a while, and requests at the same moment share
//! one resolution.
//!
//! A client downloads a model with many requests, and some clients name the tag in each of them. So a tag means one version
//! until it was not asked for during `PIN_IDLE`, or for `PIN_MAX`: the files of two versions are not mixed. The version is
//! judged anew meanwhile, and what is refused by now is served no longer. The version that stands in for a head is not pinned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use reg_api::behind::Behind;
use reg_api::fault::{Fault, FaultKind};
use reg_api::reporter::Reporter;
use reg_proto::content::kind::ContentKind;
use reg_proto::content::metadata::Metadata;
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::limits::VERIFICATIONS_PER_ANSWER_MAX;
use reg_proto::manifest::{Manifest, ModelFile};
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference, Tag};
use reg_proto::path::SafePath;
use reg_proto::peer::PeerId;
use reg_proto::tag::{SignedTag, TagRecord};
use reg_proto::verification::Budget;
use reg_proto::wire::{Request, Response};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Resolver;
use super::absent::Sought;
use super::consent::{PolicyError, refuse};
use super::finder::{Finder, Step};
use super::later::Later;
use super::resolved::{ResolveError, ResolveOptions, Resolved};
use super::stored::TagHere;
use super::verified::VerifiedRecords;
use super::views::{Kept, Slot, is_pinned};
use crate::registry::limits::{
    CHANGES_MAX, PEERS_ASKED_FOR_TAGS, PIN_BEGINS, REFRESH_QUICK, TAG_FRESH, TAG_STALE, TAGS_TIMEOUT,
    UNREACHED_QUICK, VIEW_ANSWERS_PATIENCE, VIEW_PATIENCE, VIEW_TIMEOUT,
};
use crate::registry::model::record::{self, ModelRecord};
use crate::registry::model::whole;
use crate::registry::publishers::{TagsError, keys, revoked, tags, usable};
use crate::registry::trust::TrustError;
use crate::store::{DocumentKind, WriteError};

/// The version of a model that is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revision {
    Tag(Tag),
    Digest(Digest),
    /// The first hex digits of a manifest's digest. They are looked up among the versions of one publisher's model.
    Prefix(String),
}

/// The kind of a file, or why it cannot be read. All callers that ask for the file share it.
pub type Judged = Result<ContentKind, Arc<dyn Fault + Send + Sync>>;

/// The verdicts on files, each once it is there.
type Admitted = BTreeMap<(SafePath, Digest), watch::Receiver<Option<Judged>>>;

/// A model with a verified manifest and provenance.
#[derive(Debug)]
pub struct ModelView {
    pub reference: Reference,
    pub keys: KeyHistory,
    pub tag: Option<SignedTag>,
    pub states: BTreeMap<Digest, Digest>,
    pub holders: Vec<PeerId>,
    /// Those of the holders that have not answered for the publisher.
    pub strangers: BTreeSet<PeerId>,
    /// The record that the store keeps until it has every blob.
    pub record: ModelRecord,
    /// How this version stands behind the head of the tag that was asked for; `None` where it is the head.
    pub behind: Option<Behind>,
    /// The order of the newest record of the tag that was known.
    head: Option<(u64, u64)>,
    /// Files that are or were inspected before they are served, each by its name and bytes: the kind depends on both.
    pub admitted: Mutex<Admitted>,
    digest: Digest,
    manifest: Manifest,
    issued: u64,
}

/// Why a gateway cannot read from a model.
#[derive(Debug, Error)]
pub enum ViewError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("{reference} was not found within {seconds} s; peers are still being asked")]
    Slow { reference: Reference, seconds: u64 },
    #[error("{reference} is not in the store, and every peer in reach says that it lacks it")]
    Absent { reference: Reference },
    #[error("{reference} has no version with a digest that begins with {prefix}")]
    NoSuchPrefix { reference: Reference, prefix: String },
    #[error("{reference} has {count} versions with digests that begin with {prefix}")]
    Ambiguous { reference: Reference, prefix: String, count: usize },
    #[error("{document} of {reference} is damaged or missing in the store, and no peer has sent it")]
    Damaged { reference: Reference, document: Digest },
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("documents of {reference} cannot be kept")]
    Keep { reference: Reference, source: WriteError },
    #[error("tag of {reference} cannot be kept")]
    Remember { reference: Reference, source: TagsError },
}

impl Fault for ViewError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Resolve(source) => source.kind(),
            Self::Slow { .. } => FaultKind::RetryLater,
            Self::Damaged { .. } => FaultKind::Unreachable,
            Self::Absent { .. } | Self::NoSuchPrefix { .. } => FaultKind::NotFound,
            Self::Ambiguous { .. } => FaultKind::Invalid,
            Self::Policy(source) => source.kind(),
            Self::Keep { source, .. } if source.is_disk_full() => FaultKind::DiskFull,
            Self::Keep { .. } | Self::Remember { .. } => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve(source) => source.hint(),
            Self::Policy(source) => source.hint(),
            Self::Slow { .. } => Some("try again; `reg peers` shows the connected peers".to_owned()),
            Self::Damaged { .. } => {
                Some("`reg verify --repair` on that node fetches it, if a peer has it".to_owned())
            }
            _ => None,
        }
    }
}

impl ModelView {
    /// Returns the publisher.
    pub fn publisher(&self) -> PublisherId {
        self.keys.publisher()
    }

    /// Returns the model's name, in the case that its publisher uses.
    pub const fn model(&self) -> &ModelName {
        &self.record.model
    }

    /// Returns the tag that was asked for; `None` where it was a digest.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref().map(|it| &it.record().tag)
    }

    /// Returns the digest of the manifest.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the manifest.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the time of the signature in seconds since 1970.
    pub const fn issued(&self) -> u64 {
        self.issued
    }

    /// Returns the manifests that refer to this one: provenance, OpenSSF bundle, key documents.
    pub fn referrers(&self) -> &[Digest] {
        &self.record.referrers
    }

    /// Returns the file at `path`.
    pub fn file(&self, path: &SafePath) -> Option<&ModelFile> {
        let files = self.manifest.files();
        files.binary_search_by(|file| file.path.cmp(path)).ok().map_or_else(
            // Another tool's manifest may be in any order.
            || files.iter().find(|file| file.path == *path),
            |place| files.get(place),
        )
    }

    fn new(reference: Reference, resolved: Resolved, record: ModelRecord) -> Self {
        let Resolved { keys, tag, digest, manifest, provenance, holders, strangers, behind, head, .. } =
            resolved;
        Self {
            reference,
            keys,
            tag,
            issued: provenance.issued,
            states: provenance.states,
            holders,
            strangers,
            record,
            behind,
            head,
            admitted: Mutex::default(),
            digest,
            manifest,
        }
    }
}

impl Resolver {
    /// Returns a model to read from. A recent result is returned at once, and an older one while it is resolved again.
    /// Otherwise the model is resolved first.
    ///
    /// # Errors
    /// See [`ViewError`]. The answer takes at most 10 s.
    pub async fn view(
        self: &Arc<Self>,
        publisher: &Publisher,
        model: &ModelName,
        revision: &Revision,
    ) -> Result<Arc<ModelView>, ViewError> {
        let reference = reference(publisher.clone(), model, revision);
        let publisher = self
            .trust
            .file
            .resolve(publisher)
            .map_err(|source| ResolveError::Trust { reference: reference.clone(), source })?;
        let slot = self.views.slot((publisher, model.folded(), revision.clone()), self.news.revocations());
        let look = async {
            let mut known = slot.view.lock().await;
            let asked = slot.ask();
            // After a revocation, of any publisher, what a client is reading is judged anew before it reads on.
            if let Some(doubt) = slot.take_doubt() {
                if let Some(kept) = known.clone()
                    && !(is_pinned(&kept, asked) && self.may_still_be_read(&kept).await)
                {
                    *known = None;
                }
                doubt.settle();
            }
            if let Some(kept) = known.as_ref().filter(|it| self.is_kept(it, asked)) {
                let age = kept.since.elapsed();
                tracing::trace!(?age, "a view is used again");
                if age < TAG_FRESH {
                    return Ok(kept.view.clone());
                }
                if is_pinned(kept, asked) || self.is_newest_here(&kept.view) {
                    self.look_behind(&slot, publisher, model, revision, 0);
                    return Ok(kept.view.clone());
                }
            }
            let absent = || ViewError::Absent { reference: reference.clone() };
            let sought = Sought::Version(revision.clone());
            if slot.is_absent() && !self.is_announced(publisher, model, &sought) {
                return Err(absent());
            }
            let looked = tokio::select! {
                looked = self.look(publisher, model, revision) => looked,
                () = self.absence(publisher, model, &sought) => {
                    slot.note_absent();
                    Err(absent())
                }
            };
            let (view, later) = looked?;
            let kept = Kept::new(view);
            let view = kept.view.clone();
            *known = Some(kept);
            if let Some(later) = later {
                self.look_later(&slot, publisher, model, revision, later, 0);
            }
            Ok(view)
        };
        let seconds = VIEW_TIMEOUT.as_secs();
        timeout(VIEW_TIMEOUT, look).await.unwrap_or(Err(ViewError::Slow { reference, seconds }))
    }

    /// Returns a version of a model in the store that needs this blob: as a file, a referrer, or a document of one.
    pub async fn view_with(
        self: &Arc<Self>,
        publisher: &Publisher,
        model: &ModelName,
        blob: &Digest,
    ) -> Option<Arc<ModelView>> {
        let id = self.publisher(publisher).await.ok()?;
        let (resolver, name, blob) = (self.clone(), model, *blob);
        let model = name.clone();
        let find = move || {
            let lately = resolver.views.known(id, &model);
            let load =
                |digest: &Digest| ModelRecord::load(&resolver.store, digest, id, &model).ok().flatten();
            let has = |digest: &Digest| load(digest).is_some_and(|it| it.blobs.contains(&blob));
            lately.into_iter().find(has).or_else(|| {
                let mut of = ModelRecord::of_model(&resolver.store, id, &model).into_iter();
                of.find(|(_, it)| it.blobs.contains(&blob)).map(|(digest, _)| digest)
            })
        };
        let digest = tokio::task::spawn_blocking(find).await.ok().flatten()?;
        self.view(publisher, name, &Revision::Digest(digest)).await.ok()
    }

    /// Returns a small document from the store: a manifest, a referrer, or what it carries.
    pub async fn document(self: &Arc<Self>, digest: &Digest) -> Option<Vec<u8>> {
        let (resolver, digest) = (self.clone(), *digest);
        tokio::task::spawn_blocking(move || record::document(&resolver.store, &digest)).await.ok().flatten()
    }

    /// Returns the paths of the files of manifests, in their order: of as many manifests as have `max` files together, and of one
    /// at least. A manifest that cannot be read has none.
    pub async fn paths_of(self: &Arc<Self>, manifests: Vec<Digest>, max: usize) -> Vec<Vec<SafePath>> {
        let resolver = self.clone();
        let read = move || {
            let (mut all, mut count): (Vec<Vec<SafePath>>, usize) = (Vec::new(), 0);
            for digest in manifests {
                let manifest = record::manifest(&resolver.store, &digest).ok();
                let files = manifest.iter().flat_map(Manifest::files);
                let paths: Vec<SafePath> = files.map(|file| file.path.clone()).collect();
                count += paths.len();
                if count > max && !all.is_empty() {
                    break;
                }
                all.push(paths);
            }
            all
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }

    /// Returns what a tag of a model means in this store; `None` where the store lacks it. It asks no peer.
    ///
    /// # Errors
    /// The version is here, and is refused or cannot be read.
    pub async fn view_here(
        self: &Arc<Self>,
        publisher: &Publisher,
        model: &ModelName,
        tag: &Tag,
    ) -> Result<Option<Arc<ModelView>>, ViewError> {
        let reference = reference(publisher.clone(), model, &Revision::Tag(tag.clone()));
        let options = ResolveOptions { offline: true, ..ResolveOptions::default() };
        match self.resolve(&reference, &options, &Reporter::silent()).await {
            Ok(resolved) => self.keep_view_aside(reference, resolved).await.map(|it| Some(Arc::new(it))),
            Err(error) if is_lack(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the version in use of each tag of a model: of the known tags, else the heads of those of peers. A tag that
    /// clients ask for means what it means to them.
    ///
    /// # Errors
    /// The publisher is not known, or its documents cannot be read.
    pub async fn tags(
        self: &Arc<Self>,
        publisher: &Publisher,
        model: &ModelName,
    ) -> Result<Vec<(Tag, Digest)>, ViewError> {
        let publisher = self.id_of(publisher, model)?;
        let mut known = self.tags_known(publisher, model)?;
        if known.is_empty() && !self.network.is_offline() {
            known = tokio::select! {
                known = self.tags_of_peers(publisher, model) => known,
                () = self.absence(publisher, model, &Sought::AnyTag) => Vec::new(),
            };
        }
        let keys = keys::keys(&self.store, publisher).ok().flatten();
        let used = |tag: &SignedTag| {
            let here = keys.as_ref().and_then(|keys| self.tag_here(keys, model, &tag.record().tag).ok()?);
            // A version that stands in for the head is listed: that is what the tag gives here.
            here.filter(|it| it.behind.is_some() && self.is_whole(it)).map(|it| it.tag)
        };
        let known = known.into_iter().map(|tag| used(&tag).unwrap_or(tag));
        let meant = |tag: SignedTag| {
            let TagRecord { tag, manifest, .. } = tag.record();
            let pinned = self.views.pinned(publisher, model, tag);
            (tag.clone(), pinned.unwrap_or(manifest.digest))
        };
        Ok(known.map(meant).collect())
    }

    fn is_whole(&self, here: &TagHere) -> bool {
        whole::is_complete(&self.store, &here.tag.record().manifest.digest)
    }

    /// Returns the id of a publisher. A petname is looked up in the trust file.
    ///
    /// # Errors
    /// The petname is not known.
    pub async fn publisher(self: &Arc<Self>, publisher: &Publisher) -> Result<PublisherId, TrustError> {
        let (resolver, publisher) = (self.clone(), publisher.clone());
        let resolve = tokio::task::spawn_blocking(move || resolver.trust.file.resolve(&publisher));
        resolve.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Returns the metadata of a model, of those of its files that are in the store; `None` where there are none.
    pub async fn metadata(self: &Arc<Self>, view: &Arc<ModelView>) -> Option<Metadata> {
        let (resolver, of) = (self.clone(), view.clone());
        let load =
            move || ModelRecord::load(&resolver.store, &of.digest, of.publisher(), of.model()).ok().flatten();
        let record = tokio::task::spawn_blocking(load).await.ok().flatten()?;
        if record.complete {
            return Some(record.metadata);
        }
        // What is served was judged before; here it is only described.
        self.described.metadata(&self.store, view).await
    }

    /// Tells whether a result may be used again: it is pinned or not old, and its model was not evicted since. What is read of
    /// a model without a record would be of no model, and stay in the store's way.
    fn is_kept(&self, kept: &Kept, asked: Option<Instant>) -> bool {
        let view = &kept.view;
        let key = ModelRecord::key(&view.digest, view.publisher(), view.model());
        (is_pinned(kept, asked) || kept.since.elapsed() < TAG_STALE)
            && self.store.document_keys(DocumentKind::Model, &key).is_ok_and(|keys| !keys.is_empty())
    }

    /// Tells whether this node has heard of no newer record of a view's tag.
    fn is_newest_here(&self, view: &ModelView) -> bool {
        let Some(tag) = view.tag.as_ref().map(SignedTag::record) else { return true };
        let head = view.head.unwrap_or(tag.order());
        let known = self.tags_known(view.publisher(), view.model());
        let is_newer = |it: &SignedTag| it.record().tag == tag.tag && it.record().order() > head;
        known.is_ok_and(|known| !known.iter().any(is_newer))
    }

    /// Takes the answers that come later in the background, and resolves the revision again where one of them changes its
    /// meaning. Requests until then get the first result. `again` counts how often this was done without a request: a peer
    /// that is always late and always contradicts must not make this node ask for ever.
    fn look_later(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        publisher: PublisherId,
        model: &ModelName,
        revision: &Revision,
        later: Later,
        again: usize,
    ) {
        let (resolver, slot, model, revision) = (self.clone(), slot.clone(), model.clone(), revision.clone());
        tokio::spawn(async move {
            if later.finish(&resolver).await && again < CHANGES_MAX {
                resolver.look_behind(&slot, publisher, &model, &revision, again + 1);
            }
        });
    }

    /// Resolves a revision again in the background, while requests get the old result.
    fn look_behind(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        publisher: PublisherId,
        model: &ModelName,
        revision: &Revision,
        again: usize,
    ) {
        if slot.is_looked_at.swap(true, Ordering::AcqRel) {
            return;
        }
        let (resolver, slot, model, revision) = (self.clone(), slot.clone(), model.clone(), revision.clone());
        tokio::spawn(async move {
            let (before, revocations) = (slot.view.lock().await.clone(), resolver.news.revocations());
            let looked = timeout(VIEW_TIMEOUT, resolver.look(publisher, &model, &revision)).await;
            let (new, later) = looked.ok().and_then(Result::ok).unzip();
            let new = new.map(Kept::new);
            let old = before.clone().filter(|it| is_pinned(it, slot.last_asked()));
            // A client reads the version that it began with, while that one may be read. Answers that come soon after belong
            // to the beginning.
            let stays = match &old {
                Some(old) if again > 0 && old.pinned.elapsed() < PIN_BEGINS => false,
                Some(old) => resolver.may_still_be_read(old).await,
                None => false,
            };
            let mut known = slot.view.lock().await;
            // After a revocation a request judges it, and may have replaced it by now.
            if is_same(known.as_ref(), before.as_ref()) && resolver.news.revocations() == revocations {
                // A refusal removes the old result, so the next request gets the reason.
                *known = match (old, new) {
                    (Some(old), new) if stays => {
                        Some(Kept { since: new.map_or_else(Instant::now, |it| it.since), ..old })
                    }
                    (_, new) => new,
                };
            }
            drop(known);
            slot.is_looked_at.store(false, Ordering::Release);
            if let Some(later) = later.flatten() {
                resolver.look_later(&slot, publisher, &model, &revision, later, again);
            }
        });
    }

    /// Judges a pinned version anew: the user's rules, denylists and consent, revocations, and whether its record may still
    /// stand for the tag. What cannot be asked now refuses nothing, and leaves a client of [`Self::view`] time for the rest.
    async fn may_still_be_read(self: &Arc<Self>, kept: &Kept) -> bool {
        let view = &kept.view;
        let (publisher, model) = (view.publisher(), view.model().clone());
        let revision = Revision::Digest(view.digest);
        let judged = self.look(publisher, &model, &revision);
        if let Ok(Err(error)) = timeout(VIEW_PATIENCE, judged).await
            && is_refusal(&error)
        {
            return false;
        }
        let Some(tag) = view.tag().cloned() else { return false };
        let (resolver, digest) = (self.clone(), view.digest);
        let stands = move || {
            let keys = keys::keys(&resolver.store, publisher).ok().flatten()?;
            let line = usable::usable(&resolver.store, &keys, &model, &tag).ok()?;
            Some(line.iter().any(|it| it.record().manifest.digest == digest))
        };
        tokio::task::spawn_blocking(stands).await.ok().flatten().unwrap_or(false)
    }

    async fn look(
        self: &Arc<Self>,
        publisher: PublisherId,
        model: &ModelName,
        revision: &Revision,
    ) -> Result<(ModelView, Option<Later>), ViewError> {
        let revision = match revision {
            Revision::Prefix(prefix) => Revision::Digest(self.with_prefix(publisher, model, prefix).await?),
            revision => revision.clone(),
        };
        let reference = reference(Publisher::Id(publisher), model, &revision);
        let by_file = ResolveOptions { by_file: true, ..ResolveOptions::default() };
        let offline = |patience| ResolveOptions { offline: true, patience, ..by_file.clone() };
        let online = |patience| ResolveOptions {
            patience: Some(patience),
            unreached: Some(UNREACHED_QUICK),
            ..by_file.clone()
        };
        let silent = Reporter::silent();
        let is_stored =
            self.model_here(&reference).is_ok_and(|it| whole::is_complete(&self.store, &it.manifest));
        let settled = async |patience| {
            Box::pin(self.resolve_settled(&reference, &online(patience), &silent, VIEW_ANSWERS_PATIENCE))
                .await
        };
        // On the heap: a resolution is large, and a worker of the runtime has a stack of 2 MiB.
        let resolving = Box::pin(async {
            match (&revision, is_stored) {
                // The meaning of a digest does not change.
                (Revision::Digest(_), _) => {
                    match Box::pin(self.resolve(&reference, &offline(None), &silent)).await {
                        Ok(resolved) => Ok(resolved),
                        Err(_) => settled(VIEW_PATIENCE).await,
                    }
                }
                (_, true) => match settled(REFRESH_QUICK).await {
                    Err(error) if error.kind() != FaultKind::Verification => {
                        Box::pin(self.resolve(&reference, &offline(None), &silent)).await
                    }
                    resolved => resolved,
                },
                (_, false) => settled(VIEW_PATIENCE).await,
            }
        });
        let mut resolved = self.unless_damaged(&reference, resolving).await?;
        refuse(&self.consent(&resolved).await?, publisher, &resolved.model)?;
        let later = resolved.later.take();
        Ok((self.keep_view_aside(reference, resolved).await?, later))
    }

    /// Stores the documents as [`Self::keep_view`] does, on a blocking thread.
    async fn keep_view_aside(
        self: &Arc<Self>,
        reference: Reference,
        resolved: Resolved,
    ) -> Result<ModelView, ViewError> {
        let resolver = self.clone();
        let keep = tokio::task::spawn_blocking(move || resolver.keep_view(reference, resolved));
        keep.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Stores the documents that prove the model, so that it can be read and served by digest from then on.
    pub fn keep_view(&self, reference: Reference, resolved: Resolved) -> Result<ModelView, ViewError> {
        let keep = |source| ViewError::Keep { reference: reference.clone(), source };
        self.keep_documents(&resolved).map_err(keep)?;
        let record = self.record(&resolved, None);
        let known = ModelRecord::load(&self.store, &resolved.digest, record.publisher, &record.model);
        if !matches!(known, Ok(Some(_))) {
            record.save(&self.store, &resolved.digest).map_err(keep)?;
        }
        if let Some(tag) = &resolved.tag {
            usable::keep(&self.store, &resolved.keys, tag)
                .map_err(|source| ViewError::Remember { reference: reference.clone(), source })?;
        }
        self.store.touch(&resolved.digest);
        Ok(ModelView::new(reference, resolved, record))
    }

    /// Returns the one version of a model that has a digest with these first hex digits.
    async fn with_prefix(
        &self,
        publisher: PublisherId,
        model: &ModelName,
        prefix: &str,
    ) -> Result<Digest, ViewError> {
        let reference = reference(Publisher::Id(publisher), model, &Revision::Prefix(prefix.to_owned()));
        let of = ModelRecord::of_model(&self.store, publisher, model).into_iter();
        let tagged = self.tags_known(publisher, model)?;
        let mut found: BTreeSet<Digest> = of
            .map(|(digest, _)| digest)
            .chain(tagged.iter().map(|tag| tag.record().manifest.digest))
            .chain(self.views.known(publisher, model))
            .filter(|digest| digest.hex().starts_with(prefix))
            .collect();
        if found.is_empty() && !self.network.is_offline() {
            let of_peers = self.tags_of_peers(publisher, model).await;
            let of_peers = of_peers.iter().map(|tag| tag.record().manifest.digest);
            found = of_peers.filter(|digest| digest.hex().starts_with(prefix)).collect();
        }
        let (count, prefix) = (found.len(), prefix.to_owned());
        match (found.pop_first(), count) {
            (Some(digest), 1) => Ok(digest),
            (Some(_), count) => Err(ViewError::Ambiguous { reference, prefix, count }),
            (None, _) => Err(ViewError::NoSuchPrefix { reference, prefix }),
        }
    }

    /// Returns the newest record of each tag in the store or among the heads.
    fn tags_known(&self, publisher: PublisherId, model: &ModelName) -> Result<Vec<SignedTag>, ViewError> {
        let reference = || reference(Publisher::Id(publisher), model, &Revision::Tag(Tag::latest()));
        let stored = tags::records(&self.store, publisher, Some(model))
            .map_err(|source| ResolveError::Tags { reference: reference(), source })?;
        let heard = self.news.heads_of(publisher, Some(model), None).into_iter().map(|head| head.tag);
        Ok(newest(stored.into_iter().chain(heard)))
    }

    /// Returns the newest record of each tag from the first peers that know the model.
    pub(super) async fn tags_of_peers(&self, publisher: PublisherId, model: &ModelName) -> Vec<SignedTag> {
        let reference = reference(Publisher::Id(publisher), model, &Revision::Tag(Tag::latest()));
        let mut finder =
            Finder::start(&self.network, self.search(publisher, &reference, &[], &Reporter::silent()));
        let mut end = tokio::time::Instant::now() + TAGS_TIMEOUT;
        let (mut found, mut asked) = (Vec::new(), 0);
        let mut questions = JoinSet::new();
        // Until a peer knows the model, and every peer that was asked has answered.
        while found.is_empty() || finder.is_asking_known() || !questions.is_empty() {
            tokio::select! {
                step = finder.step(), if asked < PEERS_ASKED_FOR_TAGS => match step {
                    Some(Step::Peer(found)) => {
                        asked += 1;
                        questions.spawn(self.ask_tags(found.peer, publisher, model));
                    }
                    Some(Step::Answered) => {}
                    None => break,
                },
                Some(answer) = questions.join_next() => {
                    let tags = answer.ok().flatten().map(|it| self.standing(it)).unwrap_or_default();
                    if !tags.is_empty() && found.is_empty() {
                        end = end.min(tokio::time::Instant::now() + VIEW_ANSWERS_PATIENCE);
                    }
                    found.extend(tags);
                }
                () = tokio::time::sleep_until(end) => break,
            }
        }
        newest(found.into_iter().filter(|tag| tag.record().model.folded() == model.folded()))
    }

    /// Asks a peer for the records of all tags of a model, and verifies them.
    fn ask_tags(
        &self,
        peer: PeerId,
        publisher: PublisherId,
        model: &ModelName,
    ) -> impl Future<Output = Option<VerifiedRecords>> + Send + 'static + use<> {
        let (network, news) = (self.network.clone(), self.news.clone());
        let request =
            Request::GetRecords { publisher, model: Some(model.clone()), tag: None, documents: None };
        async move {
            let Ok(Response::Records(records)) = network.ask(peer, request).await else { return None };
            let work = move |budget: &mut Budget| budget.run(|| VerifiedRecords::verify(publisher, &records));
            news.verifier().answer(peer, VERIFICATIONS_PER_ANSWER_MAX, work).await.ok()?.ok()
        }
    }

    /// Returns the records in an answer that its keys stand for, also with the revocations in the store.
    fn standing(&self, answer: VerifiedRecords) -> Vec<SignedTag> {
        let VerifiedRecords { keys: Ok(mut keys), tags, .. } = answer else { return Vec::new() };
        if revoked::revoke(&self.store, &mut keys).is_err() {
            return Vec::new();
        }
        let valid = tags.into_iter().filter_map(Result::ok);
        valid.filter_map(|it| SignedTag::verify(it.envelope(), &keys).ok()).collect()
    }
}

/// Tells whether two results are one, whenever it was looked at last.
fn is_same(one: Option<&Kept>, other: Option<&Kept>) -> bool {
    one.map(|it| Arc::as_ptr(&it.view)) == other.map(|it| Arc::as_ptr(&it.view))
}

/// Tells whether an error says that the store does not have a version, and peers may have it.
fn is_lack(error: &ResolveError) -> bool {
    matches!(error.kind(), FaultKind::NotFound | FaultKind::Unreachable | FaultKind::RetryLater)
}

/// Tells whether an error says that a version must not be read, and not only that it cannot be looked at now.
fn is_refusal(error: &ViewError) -> bool {
    !matches!(
        error.kind(),
        FaultKind::Unreachable | FaultKind::RetryLater | FaultKind::NotFound | FaultKind::Internal
    )
}

pub(super) fn reference(publisher: Publisher, model: &ModelName, revision: &Revision) -> Reference {
    let (tag, digest) = match revision {
        Revision::Tag(tag) => (Some(tag.clone()), None),
        Revision::Digest(digest) => (None, Some(*digest)),
        Revision::Prefix(_) => (None, None),
    };
    Reference { publisher, model: model.clone(), tag, digest }
}

fn newest(tags: impl Iterator<Item = SignedTag>) -> Vec<SignedTag> {
    let mut newest: BTreeMap<Tag, SignedTag> = BTreeMap::new();
    for tag in tags {
        let name = tag.record().tag.clone();
        if newest.get(&name).is_none_or(|known| known.record().order() < tag.record().order()) {
            newest.insert(name, tag);
        }
    }
    newest.into_values().collect()
}
