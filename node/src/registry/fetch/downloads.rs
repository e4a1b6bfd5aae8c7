//! [`Downloads`]: the downloads that run, so that each blob is fetched once for all callers that want it.
//!
//! A download fetches blobs of one model. A caller that wants a blob joins the download that fetches it, or has the blob
//! added to the download of its own model. A download runs in a task of its own, so it goes on when the caller that began it
//! is gone, as long as another one is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reg_api::progress::Progress;
use reg_api::reporter::Reporter;
use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use tokio::sync::mpsc;
use tracing::warn;

use super::Fetching;
use super::demand::{Demand, Joining, Membership};
use super::downloader::{DownloadError, Downloader};
use super::web_source::WebSeeds;
use crate::registry::limits::DOWNLOAD_EVENTS_MAX;
use crate::registry::resolve::{Finder, Search};
use crate::store::Partial;

/// The blob of a download, and the list of piece states that verifies it.
pub(super) type Key = (Digest, Digest);

/// The downloads that run.
#[derive(Debug, Default)]
pub(super) struct Downloads(Mutex<Running>);

#[derive(Debug, Default)]
struct Running {
    by_model: BTreeMap<Digest, Arc<Demand>>,
    by_blob: BTreeMap<Key, Arc<Demand>>,
}

/// How a download of a model begins.
#[derive(Debug, Clone)]
pub struct Begin {
    /// The manifest of the model, or the only blob.
    pub model: Digest,
    /// The blobs that must not be evicted meanwhile.
    pub protect: BTreeSet<Digest>,
    /// The peers to dial at once.
    pub holders: Vec<PeerId>,
    /// Those of them that are not known to hold the blobs. They are asked for nothing before they say what they hold.
    pub strangers: BTreeSet<PeerId>,
    /// How to search for peers again once none is left.
    pub search: Option<Search>,
    /// Whether to search from the start. A pull does that itself.
    pub searches: bool,
    pub web: WebSeeds,
    /// Bytes of piece states that a peer may send in one frame.
    pub states_max: usize,
    /// Whether the caller has reserved the room for its blobs.
    pub has_room: bool,
}

impl Begin {
    /// Returns the peers to dial, and whether each is known to hold the blobs.
    pub(super) fn peers(&self) -> impl Iterator<Item = (PeerId, bool)> {
        self.holders.iter().map(|peer| (*peer, !self.strangers.contains(peer)))
    }
}

impl Downloads {
    /// Joins the download of a model, which begins to run with its first blob.
    pub(super) fn join(&self, model: Digest, mut joining: impl FnMut(&Arc<Demand>) -> Joining) -> Membership {
        let mut running = self.running();
        let before = running.by_model.len();
        running.by_model.retain(|_, demand| !demand.is_over());
        // One that never ran has no task that forgets its blobs.
        if running.by_model.len() < before {
            running.by_blob.retain(|_, demand| !demand.is_over());
        }
        loop {
            let demand = running.by_model.entry(model).or_default().clone();
            match demand.join(joining(&demand)) {
                Some(membership) => return membership,
                None => drop(running.by_model.remove(&model)),
            }
        }
    }

    /// Returns the download that fetches a blob. If there is none, `own` does from now on.
    pub(super) fn claim(&self, key: Key, own: &Arc<Demand>) -> Arc<Demand> {
        let mut running = self.running();
        let claimed = running.by_blob.entry(key).or_insert_with(|| own.clone());
        if claimed.is_over() || claimed.end_of(&key.0).is_some() {
            *claimed = own.clone();
        }
        claimed.clone()
    }

    /// Tells whether a download is to fetch a blob.
    pub(super) fn is_claimed(&self, key: &Key, by: &Arc<Demand>) -> bool {
        self.running().by_blob.get(key).is_some_and(|it| Arc::ptr_eq(it, by))
    }

    /// Gives up the claims of `own` to blobs that it has not opened.
    pub(super) fn unclaim(&self, keys: &[Key], own: &Arc<Demand>) {
        let mut running = self.running();
        for key in keys {
            let is_own = running.by_blob.get(key).is_some_and(|it| Arc::ptr_eq(it, own));
            if is_own && own.partial(&key.0).is_none() {
                running.by_blob.remove(key);
            }
        }
    }

    /// Forgets a download that has ended, and the blobs of running downloads that are whole.
    fn forget(&self, demand: &Arc<Demand>) {
        let mut running = self.running();
        running.by_model.retain(|_, it| !Arc::ptr_eq(it, demand));
        running.by_blob.retain(|(blob, _), it| !Arc::ptr_eq(it, demand) && it.end_of(blob).is_none());
    }

    /// Returns the downloads that run.
    pub(super) fn all(&self) -> Vec<Arc<Demand>> {
        self.running().by_model.values().filter(|it| !it.is_over()).cloned().collect()
    }

    /// Returns the download of a model.
    pub(super) fn of_model(&self, model: &Digest) -> Option<Arc<Demand>> {
        self.running().by_model.get(model).filter(|it| !it.is_over()).cloned()
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a download however its task ends.
struct Ending {
    fetching: Arc<Fetching>,
    demand: Arc<Demand>,
    failure: Option<DownloadError>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let (demand, failure) = (self.demand.clone(), self.failure.take());
        let is_false = match &failure {
            Some(DownloadError::FalseStates { blob }) => Some(*blob),
            _ => None,
        };
        // Without a failure, a member that is left was not served to the end.
        let partials = demand.end(failure.or(Some(DownloadError::Ended)));
        self.fetching.downloads.forget(&demand);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || partials.iter().for_each(|it| settle(it, is_false)));
        }
    }
}

/// Records the progress of a blob that was not completed; removes it if its states are false.
pub(super) fn settle(partial: &Partial, is_false: Option<Digest>) {
    let blob = partial.digest();
    let result = match partial.have().is_full() {
        _ if is_false == Some(blob) => partial.discard(),
        // It is being finished.
        true => Ok(()),
        false => partial.checkpoint(),
    };
    if let Err(error) = result {
        warn!(%blob, %error, "progress of a partial blob cannot be recorded");
    }
}

impl Fetching {
    /// Runs a download until its last member has left.
    pub(super) fn run(self: &Arc<Self>, demand: Arc<Demand>, begin: Begin) {
        let fetching = self.clone();
        tokio::spawn(async move {
            let mut ending = Ending { fetching: fetching.clone(), demand: demand.clone(), failure: None };
            let (listener, events) = mpsc::channel(DOWNLOAD_EVENTS_MAX);
            tokio::spawn(pass_on(demand.clone(), events));
            begin.peers().for_each(|(peer, is_holder)| demand.introduce(peer, is_holder));
            let mut download = Downloader::new(&fetching, demand, begin.states_max).with_web(begin.web);
            let mut finder = None;
            if let Some(search) = begin.search {
                finder = begin.searches.then(|| Finder::start(&fetching.network, search.clone()));
                download = download.looking_anew(search);
            }
            let result = download.run(finder, &Reporter::new(listener)).await;
            ending.failure = result.err();
        });
    }
}

/// Passes the news of a download on to its members, until the download ends.
async fn pass_on(demand: Arc<Demand>, mut events: mpsc::Receiver<Progress>) {
    while let Some(progress) = events.recv().await {
        demand.report(&progress);
    }
}
