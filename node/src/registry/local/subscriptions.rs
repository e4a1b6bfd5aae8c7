//! Fetches the denylists that the user has subscribed to, and from time to time the followed collections. A denylist is a model: it
//! is pulled and pinned like one, and applied to what is pulled and served.
//!
//! If a list cannot be updated, its stored version still applies, and its age is reported.

use std::sync::Arc;

use reg_api::fault::{Fault, FaultKind};
use reg_api::reporter::Reporter;
use reg_api::request::PullRequest;
use reg_proto::denylist::DENYLIST_FILE;
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference, Tag};
use tracing::{info, warn};

use super::Local;
use crate::registry::limits::{DENIALS_RELOAD, DENYLISTS_REFRESH};
use crate::registry::model::kept::{self, Kept};
use crate::registry::model::record::ModelRecord;
use crate::registry::pull::PullError;
use crate::registry::trust::Subscription;

/// Why the user cannot subscribe to a list.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    #[error("list cannot be fetched")]
    Pull(#[from] Box<PullError>),
    #[error("{name} is no denylist: it has no readable {DENYLIST_FILE}")]
    NotAList { name: String },
    #[error(transparent)]
    Trust(#[from] crate::registry::trust::TrustError),
}

impl Fault for SubscribeError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Pull(source) => source.kind(),
            Self::NotAList { .. } => FaultKind::Invalid,
            Self::Trust(source) => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Pull(source) => source.hint(),
            Self::NotAList { .. } => None,
            Self::Trust(source) => source.hint(),
        }
    }
}

impl Local {
    /// Fetches a list and subscribes to it. Returns how many entries it has.
    ///
    /// # Errors
    /// The list cannot be pulled, or the model is no denylist.
    pub async fn subscribe(
        self: &Arc<Self>,
        list: &str,
        reporter: &Reporter,
    ) -> Result<usize, SubscribeError> {
        self.trust.file.subscribe(list, true)?;
        let subscribed = self.fetch_list(list, reporter).await;
        match &subscribed {
            Ok(_) => self.reload_denials().await,
            Err(_) => drop(self.trust.file.subscribe(list, false)?),
        }
        subscribed
    }

    async fn fetch_list(self: &Arc<Self>, name: &str, reporter: &Reporter) -> Result<usize, SubscribeError> {
        let trust = self.trust.file.load()?;
        let not_a_list = || SubscribeError::NotAList { name: name.to_owned() };
        let list = trust.denylists.into_iter().find(|it| it.name == name).ok_or_else(not_a_list)?;
        let pulled = self.puller.pull(PullRequest::into_cache(reference(&list)), reporter).await;
        let pulled = pulled.map_err(Box::new)?;
        let local = self.clone();
        let entries = tokio::task::spawn_blocking(move || {
            let (_, list_file) = local.trust.read_list(&list)?;
            local.keep_only(&list, pulled.manifest);
            Some(list_file.entries.len())
        });
        entries.await.ok().flatten().ok_or_else(not_a_list)
    }

    /// Reads the stored lists again, so that their newest versions apply to peers and to clients of a
    /// gateway, whatever version of a tag these clients read until now.
    pub async fn reload_denials(&self) {
        let trust = self.trust.clone();
        let reload = tokio::task::spawn_blocking(move || trust.reload_denials());
        if reload.await.unwrap_or(true) {
            self.resolver.views.forget_all();
        }
    }

    /// Applies a model that was pulled, if it is one of the lists.
    pub async fn apply_list(self: &Arc<Self>, publisher: PublisherId, model: ModelName) {
        let local = self.clone();
        let is_list = tokio::task::spawn_blocking(move || local.trust.is_list(publisher, &model));
        if is_list.await.unwrap_or(false) {
            self.reload_denials().await;
        }
    }

    /// Pins the newest version of a list, and unpins older ones.
    pub(super) fn keep_only(&self, list: &Subscription, manifest: Digest) {
        let records = ModelRecord::all(&self.store).unwrap_or_default();
        let of =
            |it: &ModelRecord| it.publisher == list.publisher && it.model.folded() == list.model.folded();
        for (digest, record) in records.into_iter().filter(|(_, it)| of(it)) {
            let key = ModelRecord::key(&digest, record.publisher, &record.model);
            // A version that was published here stays, and so does an old one that a donation, a follow or
            // the swarm keeps.
            let done = match kept::kept(&self.store, &key) {
                Err(error) => Err(error.into()),
                Ok(Some(Kept::Published)) => Ok(()),
                Ok(Some(Kept::Donated | Kept::Followed | Kept::Spread)) if digest != manifest => Ok(()),
                _ if digest == manifest => kept::pin(&self.store, &key, &list.name),
                _ => kept::release(&self.store, &key),
            };
            if let Err(error) = done {
                warn!(list = %list.name, %error, "a list cannot be pinned");
            }
        }
    }
}

/// Updates the lists from time to time, and applies their newest versions to serving.
pub async fn keep_lists(local: Arc<Local>) {
    let mut reload = tokio::time::interval(DENIALS_RELOAD);
    let mut refreshed: Option<tokio::time::Instant> = None;
    loop {
        reload.tick().await;
        if refreshed.is_none_or(|since| since.elapsed() >= DENYLISTS_REFRESH) {
            let lists = local.trust.file.load().map(|it| it.denylists).unwrap_or_default();
            for list in lists {
                match local.fetch_list(&list.name, &Reporter::silent()).await {
                    Ok(entries) => info!(list = %list.name, entries, "a denylist is up to date"),
                    Err(error) => {
                        warn!(list = %list.name, %error, "a denylist cannot be updated: its stored version still applies");
                    }
                }
            }
            local.refresh_collections().await;
            refreshed = Some(tokio::time::Instant::now());
        }
        local.reload_denials().await;
    }
}

/// Returns a reference to the newest version of a list.
pub(super) fn reference(list: &Subscription) -> Reference {
    Reference {
        publisher: Publisher::Id(list.publisher),
        model: list.model.clone(),
        tag: Some(Tag::latest()),
        digest: None,
    }
}
