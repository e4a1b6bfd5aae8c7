//! [`ModelView`]: a model that a gateway reads from, proven by name and signature, whether its bytes are in the store
//! or not.
//!
//! Gateways ask for the same model many times. So a result is kept for a while, and requests at the same moment share
//! one resolution.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use reg_api::behind::Behind;
use reg_api::fault::{Fault, FaultKind};
use reg_api::reporter::Reporter;
use reg_proto::content::metadata::Metadata;
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::limits::VERIFICATIONS_PER_ANSWER_MAX;
use reg_proto::manifest::{Manifest, ModelFile};
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference, Tag};
use reg_proto::path::SafePath;
use reg_proto::peer::PeerId;
use reg_proto::tag::SignedTag;
use reg_proto::verification::Budget;
use reg_proto::wire::{Request, Response};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Resolver;
use super::consent::{PolicyError, refuse};
use super::finder::{Finder, Step};
use super::later::Later;
use super::resolved::{ResolveError, ResolveOptions, Resolved};
use super::stored::TagHere;
use super::verified::VerifiedRecords;
use crate::registry::limits::{
    CHANGES_MAX, PEERS_ASKED_FOR_TAGS, REFRESH_QUICK, TAG_FRESH, TAG_STALE, TAGS_TIMEOUT, UNREACHED_QUICK,
    VIEW_ANSWERS_PATIENCE, VIEW_PATIENCE, VIEW_TIMEOUT, VIEWS_MAX,
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

/// A model with a verified manifest and provenance.
#[derive(Debug)]
pub struct ModelView {
    pub reference: Reference,
    pub keys: KeyHistory,
    pub tag: Option<SignedTag>,
    pub states: BTreeMap<Digest, Digest>,
    pub holders: Vec<PeerId>,
    /// The record that the store keeps until it has every blob.
    pub record: ModelRecord,
    /// How this version stands behind the head of the tag that was asked for; `None` where it is the head.
    pub behind: Option<Behind>,
    /// The order of the newest record of the tag that was known.
    head: Option<(u64, u64)>,
    /// Files that were inspected before they were served, and whether they may be served.
    pub admitted: Mutex<BTreeMap<Digest, crate::registry::policy::Admission>>,
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
    #[error("{reference} has no version with a digest that begins with {prefix}")]
    NoSuchPrefix { reference: Reference, prefix: String },
    #[error("{reference} has {count} versions with digests that begin with {prefix}")]
    Ambiguous { reference: Reference, prefix: String, count: usize },
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
            Self::NoSuchPrefix { .. } => FaultKind::NotFound,
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
        let Resolved { keys, tag, digest, manifest, provenance, holders, behind, head, .. } = resolved;
        Self {
            reference,
            keys,
            tag,
            issued: provenance.issued,
            states: provenance.states,
            holders,
            record,
            behind,
            head,
            admitted: Mutex::default(),
            digest,
            manifest,
        }
    }
}

/// The models that were resolved lately.
#[derive(Debug, Default)]
pub struct Views(Mutex<Slots>);

/// The result for each revision, and the number of revocations that were known at that time.
#[derive(Debug, Default)]
struct Slots {
    by_key: BTreeMap<ViewKey, Arc<Slot>>,
    revocations: u64,
}

type ViewKey = (PublisherId, String, Revision);

/// The result for one revision, and its time.
#[derive(Debug, Default)]
struct Slot {
    /// Held while the revision is resolved. Requests in the meantime wait for the same result.
    view: tokio::sync::Mutex<Option<(Arc<ModelView>, Instant)>>,
    /// Whether the revision is being resolved again while requests get the old result.
    is_looked_at: AtomicBool,
}

impl Views {
    /// Returns the slot of one revision. A revocation since then voids all earlier results. A caller that counted before
    /// another one voids nothing.
    fn slot(&self, key: ViewKey, revocations: u64) -> Arc<Slot> {
        let mut slots = self.0.lock().expect("no holder of this lock panics");
        if slots.revocations < revocations {
            slots.by_key.clear();
            slots.revocations = revocations;
        }
        let slots = &mut slots.by_key;
        if slots.len() >= VIEWS_MAX && !slots.contains_key(&key) {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry(key).or_default().clone()
    }

    /// Forgets the results for a publisher's model, because the store has a new version of it.
    pub fn forget(&self, publisher: PublisherId, model: &ModelName) {
        let model = model.folded();
        let mut slots = self.0.lock().expect("no holder of this lock panics");
        slots.by_key.retain(|(of, name, _), _| (*of, name.as_str()) != (publisher, model.as_str()));
    }

    /// Forgets all results, because the user's rules have changed.
    pub fn forget_all(&self) {
        self.0.lock().expect("no holder of this lock panics").by_key.clear();
    }

    /// Returns the manifests that were resolved for a publisher's model.
    fn known(&self, publisher: PublisherId, model: &ModelName) -> Vec<Digest> {
        let model = model.folded();
        let slots = self.0.lock().expect("no holder of this lock panics");
        let of = slots
            .by_key
            .iter()
            .filter(|((of, name, _), _)| (*of, name.as_str()) == (publisher, model.as_str()));
        of.filter_map(|(_, slot)| slot.view.try_lock().ok()?.as_ref().map(|(view, _)| view.digest)).collect()
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
            if let Some((view, since)) = known.as_ref().filter(|it| self.is_kept(it)) {
                let age = since.elapsed();
                tracing::trace!(?age, "a view is used again");
                if age < TAG_FRESH {
                    return Ok(view.clone());
                }
                if self.is_newest_here(view) {
                    self.look_behind(&slot, publisher, model, revision, 0);
                    return Ok(view.clone());
                }
            }
            let (view, later) = self.look(publisher, model, revision).await?;
            let view = Arc::new(view);
            *known = Some((view.clone(), Instant::now()));
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
        let (resolver, name, blob) = (self.clone(), model.folded(), *blob);
        let find = move || {
            let records = ModelRecord::all(&resolver.store).unwrap_or_default();
            let mut of =
                records.into_iter().filter(|(_, it)| it.publisher == id && it.model.folded() == name);
            of.find(|(_, it)| it.blobs.contains(&blob)).map(|(digest, _)| digest)
        };
        let digest = tokio::task::spawn_blocking(find).await.ok().flatten()?;
        self.view(publisher, model, &Revision::Digest(digest)).await.ok()
    }

    /// Returns a small document from the store: a manifest, a referrer, or what it carries.
    pub async fn document(self: &Arc<Self>, digest: &Digest) -> Option<Vec<u8>> {
        let (resolver, digest) = (self.clone(), *digest);
        tokio::task::spawn_blocking(move || record::document(&resolver.store, &digest)).await.ok().flatten()
    }

    /// Returns what a tag of a model means in this store. It asks no peer.
    pub async fn view_here(
        self: &Arc<Self>,
        publisher: &Publisher,
        model: &ModelName,
        tag: &Tag,
    ) -> Option<Arc<ModelView>> {
        let reference = reference(publisher.clone(), model, &Revision::Tag(tag.clone()));
        let options = ResolveOptions { offline: true, ..ResolveOptions::default() };
        let resolved = self.resolve(&reference, &options, &Reporter::silent()).await.ok()?;
        self.keep_view_aside(reference, resolved).await.ok().map(Arc::new)
    }

    /// Returns the version in use of each tag of a model: of the known tags, else the heads of those of peers.
    ///
    /// # Errors
    /// The publisher is not known, or its documents cannot be read.
    pub async fn tags(
        &self,
        publisher: &Publisher,
        model: &ModelName,
    ) -> Result<Vec<(Tag, Digest)>, ViewError> {
        let reference = reference(publisher.clone(), model, &Revision::Tag(Tag::latest()));
        let publisher = self
            .trust
            .file
            .resolve(publisher)
            .map_err(|source| ResolveError::Trust { reference: reference.clone(), source })?;
        let mut known = self.tags_known(publisher, model)?;
        if known.is_empty() && !self.network.is_offline() {
            known = self.tags_of_peers(publisher, model).await;
        }
        let keys = keys::keys(&self.store, publisher).ok().flatten();
        let used = |tag: &SignedTag| {
            let here = keys.as_ref().and_then(|keys| self.tag_here(keys, model, &tag.record().tag).ok()?);
            // A version that stands in for the head is listed: that is what the tag gives here.
            here.filter(|it| it.behind.is_some() && self.is_whole(it)).map(|it| it.tag)
        };
        let known = known.into_iter().map(|tag| used(&tag).unwrap_or(tag));
        Ok(known.map(|tag| (tag.record().tag.clone(), tag.record().manifest.digest)).collect())
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

    /// Tells whether gateways may accept and serve files that run code when they are loaded.
    pub fn allows_unsafe(&self) -> bool {
        self.allow_unsafe
    }

    /// Returns the metadata of a model; `None` until the store has every file of it.
    pub async fn metadata(self: &Arc<Self>, view: &ModelView) -> Option<Metadata> {
        let (resolver, digest) = (self.clone(), view.digest);
        let (publisher, model) = (view.publisher(), view.model().clone());
        let load = move || ModelRecord::load(&resolver.store, &digest, publisher, &model).ok().flatten();
        let record = tokio::task::spawn_blocking(load).await.ok().flatten()?;
        record.complete.then_some(record.metadata)
    }

    /// Tells whether a result may be used again: it is not old, and its model was not evicted since. What is read of a model
    /// without a record would be of no model, and stay in the store's way.
    fn is_kept(&self, (view, since): &(Arc<ModelView>, Instant)) -> bool {
        let key = ModelRecord::key(&view.digest, view.publisher(), view.model());
        since.elapsed() < TAG_STALE
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
            let looked = timeout(VIEW_TIMEOUT, resolver.look(publisher, &model, &revision)).await;
            // A refusal removes the old result, so the next request gets the reason.
            let (view, later) = looked.ok().and_then(Result::ok).unzip();
            *slot.view.lock().await = view.map(|view| (Arc::new(view), Instant::now()));
            slot.is_looked_at.store(false, Ordering::Release);
            if let Some(later) = later.flatten() {
                resolver.look_later(&slot, publisher, &model, &revision, later, again);
            }
        });
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
        let offline = |patience| ResolveOptions { offline: true, patience, ..ResolveOptions::default() };
        let online = |patience| ResolveOptions {
            patience: Some(patience),
            unreached: Some(UNREACHED_QUICK),
            ..ResolveOptions::default()
        };
        let silent = Reporter::silent();
        let is_stored =
            self.model_here(&reference).is_ok_and(|it| whole::is_complete(&self.store, &it.manifest));
        let settled = async |patience| {
            self.resolve_settled(&reference, &online(patience), &silent, VIEW_ANSWERS_PATIENCE).await
        };
        let mut resolved = match (&revision, is_stored) {
            // The meaning of a digest does not change.
            (Revision::Digest(_), _) => match self.resolve(&reference, &offline(None), &silent).await {
                Ok(resolved) => resolved,
                Err(_) => settled(VIEW_PATIENCE).await?,
            },
            (_, true) => match settled(REFRESH_QUICK).await {
                Err(error) if error.kind() != FaultKind::Verification => {
                    self.resolve(&reference, &offline(None), &silent).await?
                }
                resolved => resolved?,
            },
            (_, false) => settled(VIEW_PATIENCE).await?,
        };
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
        let records = ModelRecord::all(&self.store).unwrap_or_default();
        let of = records
            .into_iter()
            .filter(|(_, record)| record.publisher == publisher && record.model.folded() == model.folded());
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
    async fn tags_of_peers(&self, publisher: PublisherId, model: &ModelName) -> Vec<SignedTag> {
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
        let request = Request::GetRecords { publisher, model: Some(model.clone()), tag: None };
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

fn reference(publisher: Publisher, model: &ModelName, revision: &Revision) -> Reference {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_newer_revocation_voids_what_was_resolved() {
        let (views, publisher) = (Views::default(), PublisherId::from_bytes([1; 32]));
        let slot = |revocations| {
            views.slot((publisher, "m".to_owned(), Revision::Prefix("ab".to_owned())), revocations)
        };
        let first = slot(1);
        assert!(Arc::ptr_eq(&first, &slot(1)));
        let second = slot(2);
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &slot(1)), "a caller that counted earlier voids nothing");
    }
}
