//! Follows, fetches and shows collections. A collection is a model: it is pulled and pinned like one.
//!
//! Before a byte of it is fetched, its manifest must have the one small file of a collection. If it cannot be updated, its
//! stored version still counts.

use std::sync::Arc;

use reg_api::collection::{CollectionReport, CollectionRequest, CollectionShown, ShownEntry};
use reg_api::fault::{Fault, FaultKind};
use reg_api::looked::Looked;
use reg_api::reporter::Reporter;
use reg_api::request::PullRequest;
use reg_proto::catalogue::Collection;
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference};
use thiserror::Error;
use tokio::task::JoinError;
use tracing::{info, warn};

use super::Local;
use super::subscriptions::reference;
use crate::registry::catalogue::{NotACollection, are_of_collection};
use crate::registry::model::kept;
use crate::registry::model::record::ModelRecord;
use crate::registry::pull::PullError;
use crate::registry::resolve::RecordChoice;
use crate::registry::trust::{Subscription, TrustError};
use crate::store::DocumentKind;

/// Why a collection is not followed or shown.
#[derive(Debug, Error)]
pub enum CollectionError {
    #[error("collection cannot be fetched")]
    Pull(#[from] Box<PullError>),
    #[error("{name} is no collection")]
    NotOne { name: Reference, source: NotACollection },
    #[error("{name} names a tag or a digest: a collection is followed by its tag latest")]
    Version { name: Reference },
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
}

impl Fault for CollectionError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Pull(source) => source.kind(),
            Self::NotOne { .. } | Self::Version { .. } => FaultKind::Invalid,
            Self::Trust(source) => source.kind(),
            Self::Interrupted(_) => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Pull(source) => source.hint(),
            Self::Version { name } => {
                Some(format!("leave it out, as in reg follow {}/{}", name.publisher, name.model))
            }
            Self::NotOne { name, source } if source.is_another_kind() => {
                let Reference { publisher, model, .. } = name;
                Some(format!("it is a model of another kind: reg info {publisher}/{model}"))
            }
            Self::NotOne { name, .. } => {
                let Reference { publisher, model, .. } = name;
                Some(format!("its publisher must correct it; then: reg collection show {publisher}/{model}"))
            }
            Self::Trust(source) => source.hint(),
            Self::Interrupted(_) => None,
        }
    }
}

impl Local {
    /// Fetches a collection and follows it. Returns `None`, and follows nothing, where the model has other files than a
    /// collection.
    ///
    /// # Errors
    /// The model cannot be fetched, its list is refused, or there are too many collections.
    pub async fn follow_collection(
        self: &Arc<Self>,
        request: CollectionRequest,
        reporter: &Reporter,
    ) -> Result<Option<CollectionReport>, CollectionError> {
        let CollectionRequest { reference: name, ticket } = request;
        if name.tag.is_some() || name.digest.is_some() {
            return Err(CollectionError::Version { name });
        }
        let pull = PullRequest { ticket, ..PullRequest::into_cache(name.clone()) };
        let fetched = match Box::pin(self.fetch_collection(pull, reporter)).await {
            Ok(fetched) => fetched,
            Err(error) => return self.unfetched(&name, error, reporter).await,
        };
        self.on_thread(move |local| {
            let known = local.followed(fetched.publisher, &fetched.model)?;
            let subscription = match known {
                Some(known) => known,
                None => {
                    // A delegation or an alias may lead to another publisher, which is the one that is followed then.
                    let is_named = local.trust.file.resolve(&name.publisher)? == fetched.publisher;
                    let of = if is_named { name.publisher } else { Publisher::Id(fetched.publisher) };
                    let name = format!("{of}/{}", fetched.model);
                    local.trust.file.collect(&name, true)?;
                    let Fetched { publisher, model, .. } = &fetched;
                    Subscription { name, publisher: *publisher, model: model.clone() }
                }
            };
            local.keep_only(&subscription, fetched.manifest);
            local.catalogue.settle_kept();
            let reports = local.catalogue.collections()?;
            Ok(reports.into_iter().find(|it| it.collection == subscription.name))
        })
        .await
    }

    /// Returns the report of a followed collection that cannot be fetched now; else the error.
    async fn unfetched(
        self: &Arc<Self>,
        name: &Reference,
        error: CollectionError,
        reporter: &Reporter,
    ) -> Result<Option<CollectionReport>, CollectionError> {
        let of = name.clone();
        let known = self.on_thread(move |local| {
            let publisher = local.trust.file.resolve(&of.publisher)?;
            let Some(known) = local.followed(publisher, &of.model)? else { return Ok(None) };
            let reports = local.catalogue.collections()?;
            Ok(reports.into_iter().find(|it| it.collection == known.name))
        });
        match (known.await, error) {
            (Ok(Some(known)), error) => {
                let why = reg_api::fault::chain(&error);
                reporter
                    .note(format_args!("{name} stays as it was, because no newer list can be had: {why}"));
                Ok(Some(known))
            }
            (_, CollectionError::NotOne { source, .. }) if source.is_another_kind() => Ok(None),
            (_, error) => Err(error),
        }
    }

    /// Ends the following of a collection, and returns how it was; `None` where it was not followed. The list may be evicted
    /// from then on.
    ///
    /// # Errors
    /// The publisher is not known, or the trust file cannot be read or written.
    pub async fn unfollow_collection(
        self: &Arc<Self>,
        name: Reference,
    ) -> Result<Option<CollectionReport>, CollectionError> {
        self.on_thread(move |local| {
            let publisher = local.trust.file.resolve(&name.publisher)?;
            let Some(known) = local.followed(publisher, &name.model)? else { return Ok(None) };
            let reports = local.catalogue.collections()?;
            local.trust.file.collect(&known.name, false)?;
            local.let_go(&known);
            local.catalogue.settle_kept();
            Ok(reports.into_iter().find(|it| it.collection == known.name))
        })
        .await
    }

    /// Reports on the followed collections.
    ///
    /// # Errors
    /// The trust file cannot be read.
    pub async fn collections(self: &Arc<Self>) -> Result<Vec<CollectionReport>, CollectionError> {
        self.on_thread(|local| Ok(local.catalogue.collections()?)).await
    }

    /// Fetches a collection, and returns it with its entries.
    ///
    /// # Errors
    /// The model cannot be fetched, or is no collection.
    pub async fn show_collection(
        self: &Arc<Self>,
        request: CollectionRequest,
        reporter: &Reporter,
    ) -> Result<CollectionShown, CollectionError> {
        let CollectionRequest { reference, ticket } = request;
        let pull = PullRequest { ticket, ..PullRequest::into_cache(reference.clone()) };
        let fetched = match Box::pin(self.fetch_collection(pull, reporter)).await {
            Ok(fetched) => fetched,
            Err(error) => self.in_use(reference, error, reporter).await?,
        };
        let Fetched { publisher, model, manifest, list } = fetched;
        self.on_thread(move |local| {
            let petnames = local.trust.petnames();
            let entries = list.entries.iter().map(|it| ShownEntry {
                petname: petnames.get(&it.collect.publisher()).cloned(),
                collect: it.collect.clone(),
                words: it.words.clone(),
            });
            Ok(CollectionShown {
                petname: petnames.get(&publisher).cloned(),
                manifest,
                title: list.title.clone(),
                words: list.words.clone(),
                entries: entries.collect(),
                followed: local.followed(publisher, &model)?.is_some(),
                publisher,
                model,
            })
        })
        .await
    }

    /// Returns the version in use of a followed collection that cannot be fetched now; else the error.
    async fn in_use(
        self: &Arc<Self>,
        name: Reference,
        error: CollectionError,
        reporter: &Reporter,
    ) -> Result<Fetched, CollectionError> {
        if name.tag.is_some() || name.digest.is_some() {
            return Err(error);
        }
        let of = name.clone();
        let used = self.on_thread(move |local| {
            let publisher = local.trust.file.resolve(&of.publisher)?;
            let is_it =
                |it: &CollectionReport| it.publisher == publisher && it.model.folded() == of.model.folded();
            let used = local.catalogue.collections()?.into_iter().find(is_it);
            Ok(used.and_then(|CollectionReport { model, manifest, .. }| {
                let (model, manifest) = (model, manifest?);
                let list = local.catalogue.collection(&manifest, &model).ok()?;
                Some(Fetched { publisher, model, manifest, list })
            }))
        });
        let Ok(Some(used)) = used.await else { return Err(error) };
        let why = reg_api::fault::chain(&error);
        reporter.note(format_args!(
            "this is the list of {name} that is in use, because no newer one can be had: {why}"
        ));
        Ok(used)
    }

    /// Adds the collections that list a model to the result of a look at it.
    pub async fn with_collections(self: &Arc<Self>, looked: Looked) -> Looked {
        let (local, mut of) = (self.clone(), looked.clone());
        let found = tokio::task::spawn_blocking(move || {
            let tags: Vec<_> = of.tag.iter().cloned().collect();
            let manifest = of.planned.manifest;
            of.collected = local.catalogue.collected_in(of.publisher, &of.model, &tags, &manifest);
            of
        });
        found.await.unwrap_or(looked)
    }

    /// Fetches the newest versions of the followed collections.
    pub(super) async fn refresh_collections(self: &Arc<Self>) {
        let followed = self.trust.file.load().map(|it| it.collections).unwrap_or_default();
        for collection in followed {
            let request = PullRequest::into_cache(reference(&collection));
            match Box::pin(self.fetch_collection(request, &Reporter::silent())).await {
                Ok(fetched) => {
                    let name = collection.name.clone();
                    let keep = self.on_thread(move |local| {
                        local.keep_only(&collection, fetched.manifest);
                        Ok(())
                    });
                    if keep.await.is_ok() {
                        info!(collection = %name, "a collection is up to date");
                    }
                }
                Err(error) => {
                    let why = reg_api::fault::chain(&error);
                    warn!(collection = %collection.name, why, "a collection cannot be updated: its stored version still counts");
                }
            }
        }
    }

    /// Pulls a collection. Its files are judged by the manifest before they are fetched, and the version that was judged is the
    /// one that is fetched.
    async fn fetch_collection(
        self: &Arc<Self>,
        request: PullRequest,
        reporter: &Reporter,
    ) -> Result<Fetched, CollectionError> {
        let name = request.reference.clone();
        let looked = self.puller.look(request.clone(), reporter).await.map_err(Box::new)?;
        let files = looked.planned.entries.iter().map(|it| (it.path.as_str(), it.size));
        are_of_collection(files).map_err(|source| CollectionError::NotOne { name: name.clone(), source })?;
        let is_older = looked.planned.behind.is_some();
        let (publisher, model, manifest) = if is_older && looked.planned.bytes_to_fetch == 0 {
            // The version is in the store, and no newer one can be fetched.
            (looked.publisher, looked.model, looked.planned.manifest)
        } else {
            // An older version is used only beside the head, so that the choice is left to the pull then.
            let only = looked.record.filter(|_| !is_older).map(|it| [it].into());
            let records = RecordChoice { only, ..RecordChoice::default() };
            let pulled = self.puller.pull_chosen(request, records, reporter).await.map_err(Box::new)?;
            (pulled.publisher, pulled.model, pulled.manifest)
        };
        self.on_thread(move |local| {
            let list = local.catalogue.collection(&manifest, &model);
            let list = list.map_err(|source| CollectionError::NotOne { name, source })?;
            Ok(Fetched { publisher, model, manifest, list })
        })
        .await
    }

    /// Returns the followed collection of this publisher and name.
    fn followed(
        &self,
        publisher: PublisherId,
        model: &ModelName,
    ) -> Result<Option<Subscription>, CollectionError> {
        let is_it = |it: &Subscription| it.publisher == publisher && it.model.folded() == model.folded();
        Ok(self.trust.file.load()?.collections.into_iter().find(is_it))
    }

    /// Unpins the versions of a collection that were pinned because it was followed.
    fn let_go(&self, of: &Subscription) {
        let records = ModelRecord::all(&self.store).unwrap_or_default();
        let is_of = |it: &ModelRecord| it.publisher == of.publisher && it.model.folded() == of.model.folded();
        for (digest, record) in records.into_iter().filter(|(_, it)| is_of(it)) {
            let key = ModelRecord::key(&digest, record.publisher, &record.model);
            let pin = self.store.get_document(DocumentKind::Pin, &key);
            if pin.is_ok_and(|it| it.as_deref() == Some(of.name.as_bytes()))
                && let Err(error) = kept::release(&self.store, &key)
            {
                warn!(collection = %of.name, %error, "a collection stays pinned");
            }
        }
    }

    /// Runs `work`, which reads and writes the store, on a thread that may block.
    async fn on_thread<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, CollectionError> + Send + 'static,
    ) -> Result<T, CollectionError> {
        let local = self.clone();
        tokio::task::spawn_blocking(move || work(&local)).await?
    }
}

/// A collection that was fetched.
#[derive(Debug)]
struct Fetched {
    publisher: PublisherId,
    model: ModelName,
    manifest: Digest,
    list: Arc<Collection>,
}
