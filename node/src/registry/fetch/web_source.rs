//! Web seeds: servers of HTTP as sources of a pull, the last to be asked.
//!
//! [`WebSeeds`] knows where each blob of a model lies; [`WebSources`] asks, as the scheduler decides, and hands pieces over
//! like those of peers. A server that has sent one wrong piece is not asked again in that pull.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reg_api::reporter::Reporter;
use reg_api::web_seed::{Subject, WebSeed};
use reg_proto::digest::Digest;
use reg_proto::manifest::Manifest;
use reg_proto::name::{ModelName, PublisherId};
use reg_proto::path::SafePath;

use super::event::WebId;
use super::web_request;
use super::web_server::{Asked, Order, Sink, lock};
use crate::registry::limits::{STARVED_TIMEOUT, WEB_FAILURES_MAX, WEB_SEEDS_MAX};
use crate::webseed::{WebClient, WebError, is_near};

/// Where the blobs of one model lie on servers of HTTP.
#[derive(Debug, Clone, Default)]
pub struct WebSeeds(Arc<[SeedUrls]>);

#[derive(Debug)]
struct SeedUrls {
    seed: WebSeed,
    urls: BTreeMap<Digest, String>,
}

impl WebSeeds {
    /// Returns where the seeds have the blobs of a model; of many seeds the first ones are taken.
    pub fn new<'a>(
        seeds: impl Iterator<Item = &'a WebSeed>,
        publisher: &PublisherId,
        model: &ModelName,
        manifest_digest: &Digest,
        manifest: &Manifest,
    ) -> Self {
        let paths: BTreeMap<Digest, &SafePath> =
            manifest.files().iter().map(|file| (file.digest, &file.path)).collect();
        let mut places: Vec<SeedUrls> = Vec::new();
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
            places.push(SeedUrls { seed: seed.clone(), urls });
        }
        Self(places.into())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The web seeds of one download. Dropping it ends what is under way.
#[derive(Debug)]
pub struct WebSources {
    seeds: WebSeeds,
    client: Option<WebClient>,
    asked: Vec<Asked>,
    reporter: Reporter,
}

impl WebSources {
    pub fn new(seeds: WebSeeds) -> Self {
        Self { seeds, client: None, asked: Vec::new(), reporter: Reporter::silent() }
    }

    /// Tells whether there are any that have not been begun with.
    pub fn are_waiting(&self) -> bool {
        self.client.is_none() && !self.seeds.is_empty()
    }

    /// Begins to use them.
    ///
    /// # Errors
    /// The system's certificates cannot be read.
    pub fn begin(&mut self, reporter: Reporter) -> Result<(), WebError> {
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
    pub fn alive(&self) -> impl Iterator<Item = WebId> + '_ {
        self.asked.iter().enumerate().filter(|(_, it)| !it.is_out).map(|(place, _)| WebId(place))
    }

    /// Tells whether a seed has a blob, as far as is known.
    pub fn has(&self, id: WebId, blob: &Digest) -> bool {
        let is_lost = self.asked.get(id.0).is_none_or(|it| it.lost.contains(blob));
        !is_lost && self.seeds.0.get(id.0).is_some_and(|it| it.urls.contains_key(blob))
    }

    /// Notes that a seed does not have a blob, and tells whether that is news.
    pub fn lose(&mut self, id: WebId, blob: Digest) -> bool {
        self.asked.get_mut(id.0).is_some_and(|it| it.lost.insert(blob))
    }

    /// Tells whether a seed is in a network of one's own, as far as its address says.
    pub fn is_near(&self, id: WebId) -> bool {
        self.seeds.0.get(id.0).is_some_and(|it| is_near(&it.seed))
    }

    /// Tells the user of something.
    pub fn note(&self, text: fmt::Arguments<'_>) {
        self.reporter.note(text);
    }

    /// Returns a seed as the user has named it.
    pub fn name(&self, id: WebId) -> String {
        self.seeds.0.get(id.0).map_or_else(String::new, |it| it.seed.to_string())
    }

    /// Asks a seed for pieces.
    pub fn ask(&mut self, id: WebId, order: Order, sink: Sink) {
        let (Some(client), Some(place), Some(asked)) =
            (&self.client, self.seeds.0.get(id.0), self.asked.get_mut(id.0))
        else {
            return;
        };
        let Some(url) = place.urls.get(&order.blob).cloned() else { return };
        asked.requests.retain(|_, it| !it.is_finished());
        let (client, server, request) = (client.clone(), asked.server.clone(), order.request);
        let task = tokio::spawn(web_request::run(id, client, url, server, order, sink));
        asked.requests.insert(request, task.abort_handle());
    }

    /// Ends a request.
    pub fn cancel(&mut self, id: WebId, request: u32) {
        if let Some(task) = self.asked.get_mut(id.0).and_then(|it| it.requests.remove(&request)) {
            task.abort();
        }
    }

    /// Ends all requests; the seeds are as they were.
    pub fn hang_up(&mut self) {
        self.asked.iter_mut().for_each(Asked::hang_up);
    }

    /// Asks a seed for nothing more.
    pub fn give_up(&mut self, id: WebId) {
        if let Some(asked) = self.asked.get_mut(id.0) {
            asked.is_out = true;
            asked.hang_up();
        }
    }

    /// Tells whether a seed has failed too often, one time after the other.
    pub fn is_failing(&self, id: WebId) -> bool {
        let failures = self.asked.get(id.0).map_or(0, |it| it.server.failures.load(Ordering::Relaxed));
        failures >= WEB_FAILURES_MAX
    }

    /// Returns which of those that can be asked may be asked first, and in how long.
    pub fn shortest_pause(&self) -> Option<(WebId, Duration)> {
        let pause = |id: WebId| Some((id, self.asked.get(id.0)?.server.pause().unwrap_or_default()));
        self.alive().filter_map(pause).min_by_key(|(_, pause)| *pause)
    }

    /// Tells whether some seed has asked for a pause that has not been over for long.
    pub fn has_paused_lately(&self) -> bool {
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
