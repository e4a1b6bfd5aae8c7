//! Web seeds: servers of HTTP as sources of a pull, the last to be asked.
//!
//! [`WebSeeds`] knows where each blob of a model lies; [`WebSources`] asks, as the scheduler decides, and hands pieces over
//! like those of peers. A server that has sent one wrong piece is not asked again in that pull.

mod download;
mod fetch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reg_proto::digest::Digest;
use reg_proto::manifest::Manifest;
use reg_proto::name::{ModelName, PublisherId};
use reg_proto::path::SafePath;
use reg_proto::piece::{BlobLayout, PieceIndex};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Reporter;
use super::limits::{STARVED_TIMEOUT, WEB_CONNECTIONS_PER_SEED, WEB_FAILURES_MAX, WEB_SEEDS_MAX};
use super::source::SourceEvent;
use super::throttle::Throttle;
use crate::net::PiecePool;
use crate::web::{Subject, WebClient, WebError, WebSeed};

/// Names a web seed within one download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WebId(usize);

/// Where the blobs of one model lie on servers of HTTP.
#[derive(Debug, Clone, Default)]
pub(super) struct WebSeeds(Arc<[Place]>);

#[derive(Debug)]
struct Place {
    seed: WebSeed,
    urls: BTreeMap<Digest, String>,
}

impl WebSeeds {
    /// Returns where the seeds have the blobs of a model; of many seeds the first ones are taken.
    pub(super) fn new<'a>(
        seeds: impl Iterator<Item = &'a WebSeed>,
        publisher: &PublisherId,
        model: &ModelName,
        manifest_digest: &Digest,
        manifest: &Manifest,
    ) -> Self {
        let paths: BTreeMap<Digest, &SafePath> =
            manifest.files().iter().map(|file| (file.digest, &file.path)).collect();
        let mut places: Vec<Place> = Vec::new();
        for seed in seeds {
            if places.len() >= WEB_SEEDS_MAX || places.iter().any(|it| it.seed == *seed) {
                continue;
            }
            let url_of = |blob: Digest| {
                let path = paths.get(&blob).copied();
                let subject = Subject { publisher, model, manifest: manifest_digest, blob: &blob, path };
                Some((blob, seed.url_of(subject)?))
            };
            let urls = manifest.blobs().into_keys().filter_map(url_of).collect();
            places.push(Place { seed: seed.clone(), urls });
        }
        Self(places.into())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a web seed tells the downloader beside pieces.
#[derive(Debug)]
pub(super) enum WebNews {
    /// A request is not answered to its end; it may be made anew after a while.
    Later { request: u32, wait: Duration, error: Option<WebError> },
    /// A request is not answered to its end, and the blob will not be had there.
    Never { request: u32, blob: Digest, error: WebError },
}

/// What the requests to one seed share.
#[derive(Debug)]
struct Server {
    /// Not to be asked before.
    not_before: Mutex<Option<Instant>>,
    /// Where redirects have led to.
    locations: Mutex<BTreeMap<Digest, String>>,
    turns: Semaphore,
    /// Failures one after the other.
    failures: AtomicUsize,
}

/// A seed that is asked.
#[derive(Debug)]
struct Asked {
    server: Arc<Server>,
    requests: BTreeMap<u32, AbortHandle>,
    /// Blobs that it was believed to have, and has not.
    lost: BTreeSet<Digest>,
    /// It is asked for nothing more.
    is_out: bool,
}

/// The web seeds of one download. Dropping it ends what is under way.
#[derive(Debug)]
pub(super) struct WebSources {
    seeds: WebSeeds,
    client: Option<WebClient>,
    asked: Vec<Asked>,
    reporter: Reporter,
}

/// Where pieces go, and what holds them back.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    pub(super) pool: PiecePool,
    pub(super) events: mpsc::Sender<SourceEvent>,
    pub(super) throttles: Arc<[Arc<Throttle>]>,
}

/// Pieces that are asked for.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) request: u32,
    pub(super) blob: Digest,
    pub(super) layout: BlobLayout,
    pub(super) first: PieceIndex,
    pub(super) count: u32,
}

impl WebSources {
    pub(super) fn new(seeds: WebSeeds) -> Self {
        Self { seeds, client: None, asked: Vec::new(), reporter: Reporter::silent() }
    }

    /// Tells whether there are any that have not been begun with.
    pub(super) fn are_waiting(&self) -> bool {
        self.client.is_none() && !self.seeds.is_empty()
    }

    /// Begins to use them.
    ///
    /// # Errors
    /// The system's certificates cannot be read.
    pub(super) fn begin(&mut self, reporter: Reporter) -> Result<(), WebError> {
        let client = WebClient::new(self.seeds.0.iter().map(|it| &it.seed));
        if client.is_err() {
            self.seeds = WebSeeds::default();
        }
        self.client = Some(client?);
        self.reporter = reporter;
        self.asked = self.seeds.0.iter().map(|_| Asked::new()).collect();
        Ok(())
    }

    /// Returns those that can be asked, now or later.
    pub(super) fn alive(&self) -> impl Iterator<Item = WebId> + '_ {
        self.asked.iter().enumerate().filter(|(_, it)| !it.is_out).map(|(place, _)| WebId(place))
    }

    /// Tells whether a seed has a blob, as far as is known.
    pub(super) fn has(&self, id: WebId, blob: &Digest) -> bool {
        let is_lost = self.asked.get(id.0).is_none_or(|it| it.lost.contains(blob));
        !is_lost && self.seeds.0.get(id.0).is_some_and(|it| it.urls.contains_key(blob))
    }

    /// Notes that a seed does not have a blob, and tells whether that is news.
    pub(super) fn lose(&mut self, id: WebId, blob: Digest) -> bool {
        self.asked.get_mut(id.0).is_some_and(|it| it.lost.insert(blob))
    }

    /// Tells whether a seed is in a network of one's own, as far as its address says.
    pub(super) fn is_near(&self, id: WebId) -> bool {
        self.seeds.0.get(id.0).is_some_and(|it| it.seed.is_near())
    }

    /// Tells the user of something.
    pub(super) fn note(&self, text: fmt::Arguments<'_>) {
        self.reporter.note(text);
    }

    /// Returns a seed as the user has named it.
    pub(super) fn name(&self, id: WebId) -> String {
        self.seeds.0.get(id.0).map_or_else(String::new, |it| it.seed.to_string())
    }

    /// Asks a seed for pieces.
    pub(super) fn ask(&mut self, id: WebId, order: Order, sink: Sink) {
        let (Some(client), Some(place), Some(asked)) =
            (&self.client, self.seeds.0.get(id.0), self.asked.get_mut(id.0))
        else {
            return;
        };
        let Some(url) = place.urls.get(&order.blob).cloned() else { return };
        asked.requests.retain(|_, it| !it.is_finished());
        let (client, server, request) = (client.clone(), asked.server.clone(), order.request);
        let task = tokio::spawn(fetch::run(id, client, url, server, order, sink));
        asked.requests.insert(request, task.abort_handle());
    }

    /// Ends a request.
    pub(super) fn cancel(&mut self, id: WebId, request: u32) {
        if let Some(task) = self.asked.get_mut(id.0).and_then(|it| it.requests.remove(&request)) {
            task.abort();
        }
    }

    /// Ends all requests; the seeds are as they were.
    pub(super) fn hang_up(&mut self) {
        self.asked.iter_mut().for_each(Asked::hang_up);
    }

    /// Asks a seed for nothing more.
    pub(super) fn give_up(&mut self, id: WebId) {
        if let Some(asked) = self.asked.get_mut(id.0) {
            asked.is_out = true;
            asked.hang_up();
        }
    }

    /// Tells whether a seed has failed too often, one time after the other.
    pub(super) fn is_failing(&self, id: WebId) -> bool {
        let failures = self.asked.get(id.0).map_or(0, |it| it.server.failures.load(Ordering::Relaxed));
        failures >= WEB_FAILURES_MAX
    }

    /// Returns which of those that can be asked may be asked first, and in how long.
    pub(super) fn shortest_pause(&self) -> Option<(WebId, Duration)> {
        let pause = |id: WebId| Some((id, self.asked.get(id.0)?.server.pause().unwrap_or_default()));
        self.alive().filter_map(pause).min_by_key(|(_, pause)| *pause)
    }

    /// Tells whether some seed has asked for a pause that has not been over for long.
    pub(super) fn has_paused_lately(&self) -> bool {
        let lately =
            |it: &Asked| lock(&it.server.not_before).is_some_and(|end| end.elapsed() < STARVED_TIMEOUT);
        self.asked.iter().any(|it| !it.is_out && lately(it))
    }
}

impl Drop for WebSources {
    fn drop(&mut self) {
        self.hang_up();
    }
}

impl Asked {
    fn new() -> Self {
        let server = Arc::new(Server {
            not_before: Mutex::default(),
            locations: Mutex::default(),
            turns: Semaphore::new(WEB_CONNECTIONS_PER_SEED),
            failures: AtomicUsize::new(0),
        });
        Self { server, requests: BTreeMap::new(), lost: BTreeSet::new(), is_out: false }
    }

    fn hang_up(&mut self) {
        std::mem::take(&mut self.requests).into_values().for_each(|task| task.abort());
    }
}

impl Server {
    /// How long it wants to be left alone from now on.
    fn pause(&self) -> Option<Duration> {
        let left = lock(&self.not_before).as_ref()?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Leaves it alone for so long.
    fn leave_alone(&self, pause: Duration) {
        let until = Instant::now().checked_add(pause);
        let mut not_before = lock(&self.not_before);
        *not_before = (*not_before).max(until);
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
