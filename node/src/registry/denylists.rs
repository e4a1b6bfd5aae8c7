//! Denylists that the user has subscribed to: fetched like models, kept, and applied to what is pulled and what is served.
//!
//! A list that cannot be fetched anew goes on to count as it is here; its age is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use reg_proto::denylist::{DENYLIST_FILE, Denied, Denylist};
use reg_proto::digest::Digest;
use reg_proto::limits::DENYLIST_BYTES_MAX;
use reg_proto::name::{Publisher, Reference, Tag};
use tracing::{info, warn};

use super::fault::{Fault, FaultKind};
use super::limits::{DENIALS_RELOAD, DENYLISTS_REFRESH};
use super::model::{self, ModelRecord};
use super::policy::{Denial, Denials};
use super::pull::PullError;
use super::request::PullRequest;
use super::trust::{DENYLISTS_MAX, Subscription, Trust};
use super::{Inner, Registry, Reporter, clock, tags};
use crate::store::DocumentKind;

/// What is not served, and the lists that were read to know it.
#[derive(Debug, Default)]
pub(super) struct Unserved {
    digests: Mutex<Arc<BTreeSet<Digest>>>,
    /// By the digest of their file, so that a list is read once.
    read: Mutex<BTreeMap<Digest, Arc<Denylist>>>,
}

/// Why a list is not subscribed to.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    #[error("list cannot be fetched")]
    Pull(#[from] Box<PullError>),
    #[error("{name} is no denylist: it has no readable {DENYLIST_FILE}")]
    NotAList { name: String },
    #[error(transparent)]
    Trust(#[from] super::trust::TrustError),
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

impl Registry {
    /// Fetches a list and subscribes to it; returns how many entries it has.
    ///
    /// # Errors
    /// It cannot be had, or is no list.
    pub async fn subscribe(&self, list: &str, reporter: &Reporter) -> Result<usize, SubscribeError> {
        self.inner.trust.subscribe(list, true)?;
        let subscribed = self.fetch_list(list, reporter).await;
        match &subscribed {
            Ok(_) => self.reload_denials().await,
            Err(_) => drop(self.inner.trust.subscribe(list, false)?),
        }
        subscribed
    }

    async fn fetch_list(&self, name: &str, reporter: &Reporter) -> Result<usize, SubscribeError> {
        let trust = self.inner.trust.load()?;
        let not_a_list = || SubscribeError::NotAList { name: name.to_owned() };
        let list = trust.denylists.into_iter().find(|it| it.name == name).ok_or_else(not_a_list)?;
        let (registry, wanted) = (self.clone(), list.reference());
        // A pull asks policies, and policies read lists: the box ends the circle of types.
        let pulled: std::pin::Pin<Box<dyn Future<Output = _> + Send>> = {
            let reporter = reporter.clone();
            Box::pin(async move { registry.pull(PullRequest::into_cache(wanted), &reporter).await })
        };
        let pulled = pulled.await.map_err(Box::new)?;
        let inner = self.inner.clone();
        let entries = tokio::task::spawn_blocking(move || {
            let (_, list_file) = inner.read_list(&list)?;
            inner.keep_only(&list, pulled.manifest);
            Some(list_file.entries.len())
        });
        entries.await.ok().flatten().ok_or_else(not_a_list)
    }

    /// Reads anew what is not to be served.
    pub async fn reload_denials(&self) {
        let inner = self.inner.clone();
        drop(tokio::task::spawn_blocking(move || inner.reload_denials()).await);
    }
}

/// Keeps the lists current, and what is not served with them.
pub(super) async fn keep_lists(registry: Registry) {
    let mut reload = tokio::time::interval(DENIALS_RELOAD);
    let mut refreshed: Option<tokio::time::Instant> = None;
    loop {
        reload.tick().await;
        if refreshed.is_none_or(|since| since.elapsed() >= DENYLISTS_REFRESH) {
            let lists = registry.inner.trust.load().map(|it| it.denylists).unwrap_or_default();
            for list in lists {
                match registry.fetch_list(&list.name, &Reporter::silent()).await {
                    Ok(entries) => info!(list = %list.name, entries, "a denylist is current"),
                    Err(error) => {
                        warn!(list = %list.name, %error, "a denylist is not fetched anew: it counts as it is here");
                    }
                }
            }
            refreshed = Some(tokio::time::Instant::now());
        }
        registry.reload_denials().await;
    }
}

impl Subscription {
    /// The newest version of the list.
    fn reference(&self) -> Reference {
        Reference {
            publisher: Publisher::Id(self.publisher),
            model: self.model.clone(),
            tag: Some(Tag::latest()),
            digest: None,
        }
    }
}

impl Inner {
    /// Gathers what the subscribed lists warn of. A list that is not here warns of nothing, and that is told.
    pub(super) fn denials(&self, trust: &Trust) -> Denials {
        let mut denials = Denials { allowed: trust.allowed.clone(), ..Denials::default() };
        for subscription in &trust.denylists {
            let name = &subscription.name;
            let Some((_, list)) = self.read_list(subscription) else {
                denials.notes.push(format!("{name} is not here, so nothing that it warns of is known"));
                continue;
            };
            denials.lists += 1;
            if let Some(late) = clock::now().checked_sub(list.expires) {
                denials
                    .notes
                    .push(format!("{name} has not been current for {} h: it counts still", late / 3600));
            }
            for entry in list.entries.iter() {
                let denial = Denial { reason: entry.reason.to_string(), list: name.clone() };
                denials.denied.entry(entry.deny).or_insert(denial);
            }
        }
        denials
    }

    fn read_list(&self, list: &Subscription) -> Option<(Digest, Arc<Denylist>)> {
        let tag = tags::record(&self.store, list.publisher, &list.model, &Tag::latest()).ok()??;
        let manifest = tag.record().manifest.digest;
        let file = model::manifest(&self.store, &manifest).ok()?;
        let file = file.files().iter().find(|it| it.path.as_str() == DENYLIST_FILE)?.digest;
        if let Some(known) = self.unserved.read.lock().expect("no holder of this lock panics").get(&file) {
            return Some((manifest, known.clone()));
        }
        let bytes = self.store.read_blob(&file, DENYLIST_BYTES_MAX as u64).ok()?;
        match Denylist::from_bytes(&bytes) {
            Ok(denylist) => {
                let denylist = Arc::new(denylist);
                let mut read = self.unserved.read.lock().expect("no holder of this lock panics");
                if read.len() >= 2 * DENYLISTS_MAX {
                    read.clear();
                }
                read.insert(file, denylist.clone());
                Some((manifest, denylist))
            }
            Err(error) => {
                warn!(list = %list.name, %error, "a denylist is not understood");
                None
            }
        }
    }

    /// Pins the newest version of a list, and lets older ones go.
    fn keep_only(&self, list: &Subscription, manifest: Digest) {
        let records = ModelRecord::all(&self.store).unwrap_or_default();
        let of =
            |it: &ModelRecord| it.publisher == list.publisher && it.model.folded() == list.model.folded();
        for (digest, record) in records.into_iter().filter(|(_, it)| of(it)) {
            let key = ModelRecord::key(&digest, record.publisher, &record.model);
            let done = if digest == manifest {
                self.store.put_document(DocumentKind::Pin, &key, list.name.as_bytes())
            } else {
                self.store.remove_document(DocumentKind::Pin, &key)
            };
            if let Err(error) = done {
                warn!(list = %list.name, %error, "a denylist is not pinned");
            }
        }
    }

    /// Works out which manifests, referrers and blobs are not served: all of a model that is denied, but what a model that
    /// is not needs too.
    fn reload_denials(&self) {
        let Ok(trust) = self.trust.load() else { return };
        let denials = self.denials(&trust);
        let mut denied = BTreeSet::new();
        if !denials.denied.is_empty() {
            let records = ModelRecord::all(&self.store).unwrap_or_default();
            let (bad, good): (Vec<_>, Vec<_>) = records
                .iter()
                .partition(|(digest, it)| denials.of_model(it.publisher, digest, &it.blobs).is_some());
            denied.extend(bad.iter().flat_map(|(digest, it)| it.blobs.iter().chain([digest])).copied());
            for blob in good.iter().flat_map(|(digest, it)| it.blobs.iter().chain([digest])) {
                denied.remove(blob);
            }
            let listed = denials.denied.keys().filter_map(|it| match it {
                Denied::Digest(digest) => denials.of_blob(digest).map(|_| *digest),
                Denied::Publisher(_) => None,
            });
            denied.extend(listed);
        }
        *self.unserved.digests.lock().expect("no holder of this lock panics") = Arc::new(denied);
    }

    /// Tells whether something is not to be served: a list that the user follows warns of it.
    pub(super) fn is_unserved(&self, digest: &Digest) -> bool {
        self.unserved.digests.lock().expect("no holder of this lock panics").contains(digest)
    }
}
