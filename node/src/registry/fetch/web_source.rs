//! Web seeds: HTTP servers as sources of a download, asked after peers.
//!
//! [`WebSeeds`] holds the URL of each blob of a model. [`WebSources`] sends the requests that the scheduler decides on, and
//! returns what the scheduler must learn as inputs. A server that sent one wrong piece is not asked again in that download.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reg_api::reporter::Reporter;
use reg_api::web_seed::{Subject, WebSeed};
use reg_proto::digest::Digest;
use reg_proto::manifest::Manifest;
use reg_proto::name::{ModelName, PublisherId};
use reg_proto::path::SafePath;
use reg_proto::piece::{PieceIndex, PieceSet};
use reg_transfer::{Input, Nearness, RequestId};
use tracing::{info, warn};

use super::event::{SourceId, WebId, WebNews};
use super::web_request;
use super::web_server::{Asked, Order, Sink, lock};
use crate::registry::limits::{STARVED_TIMEOUT, WEB_FAILURES_MAX, WEB_PATIENCE, WEB_SEEDS_MAX, WEB_WAIT_MAX};
use crate::store::Partial;
use crate::webseed::{WebClient, is_near};

/// The URLs of one model's blobs on HTTP servers.
#[derive(Debug, Clone, Default)]
pub struct WebSeeds(Arc<[SeedUrls]>);

#[derive(Debug, Clone)]
struct SeedUrls {
    seed: WebSeed,
    urls: BTreeMap<Digest, String>,
}

impl WebSeeds {
    /// Returns the URLs of a model's blobs at each seed. Takes the first `WEB_SEEDS_MAX` seeds and drops the others.
    pub fn new<'a>(
        seeds: impl Iterator<Item = &'a WebSeed>,
        publisher: &PublisherId,
        model: &ModelName,
        manifest_digest: &Digest,
        manifest: &Manifest,
    ) -> Self {
        let paths: BTreeMap<Digest, &SafePath> =
            manifest.files().iter().map(|file| (file.digest, &file.path)).collect();
        let mut urls_by_seed: Vec<SeedUrls> = Vec::new();
        for seed in seeds {
            if urls_by_seed.len() >= WEB_SEEDS_MAX || urls_by_seed.iter().any(|it| it.seed == *seed) {
                continue;
            }
            let url_of = |blob: Digest| {
                let path = paths.get(&blob).copied();
                let subject = Subject { publisher, model, manifest: manifest_digest, blob: &blob, path };
                Some((blob, seed.url_of(subject)?))
            };
            let urls = manifest.blobs().into_keys().filter_map(url_of).collect();
            urls_by_seed.push(SeedUrls { seed: seed.clone(), urls });
        }
        Self(urls_by_seed.into())
    }

    /// Adds the seeds of `more`, and the URLs of blobs at seeds that are known. Returns whether anything is new.
    fn merge(&mut self, more: &Self) -> bool {
        let known = |seed: &WebSeed| self.0.iter().position(|it| it.seed == *seed);
        let is_new = |it: &SeedUrls| match known(&it.seed) {
            Some(place) => it.urls.keys().any(|blob| !self.0[place].urls.contains_key(blob)),
            None => self.0.len() < WEB_SEEDS_MAX,
        };
        if !more.0.iter().any(is_new) {
            return false;
        }
        let mut all = self.0.to_vec();
        for it in more.0.iter() {
            match known(&it.seed) {
                Some(place) => all[place].urls.extend(it.urls.clone()),
                None if all.len() < WEB_SEEDS_MAX => all.push(it.clone()),
                None => {}
            }
        }
        self.0 = all.into();
        true
    }

    /// Tells whether there are no seeds.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// No source is left but web seeds that all ask for a pause.
#[derive(Debug)]
pub(super) struct AllPaused {
    /// The seed with the shortest pause, as the user has named it.
    pub seed: String,
    pub pause: Duration,
}

/// The web seeds of one download. Dropping it aborts the requests that are under way.
#[derive(Debug)]
pub(super) struct WebSources {
    seeds: WebSeeds,
    client: Option<WebClient>,
    asked: Vec<Asked>,
    reporter: Reporter,
}

impl WebSources {
    pub(super) fn new(seeds: WebSeeds) -> Self {
        Self { seeds, client: None, asked: Vec::new(), reporter: Reporter::silent() }
    }

    /// Tells whether there are seeds and [`Self::begin`] was not called yet.
    pub(super) fn are_waiting(&self) -> bool {
        self.client.is_none() && !self.seeds.is_empty()
    }

    /// Begins to use the seeds and returns what the scheduler must learn of them. Where the system's certificates cannot be
    /// read, notes that for the user and uses no seed.
    pub(super) fn begin(
        &mut self,
        reporter: Reporter,
        missing: &BTreeSet<Digest>,
        partials: &BTreeMap<Digest, Partial>,
    ) -> Vec<Input<SourceId>> {
        self.reporter = reporter;
        match WebClient::new(self.seeds.0.iter().map(|it| &it.seed)) {
            Ok(client) => self.client = Some(client),
            Err(error) => {
                self.seeds = WebSeeds::default();
                self.reporter.note(format_args!("no web seed is asked: {error}"));
            }
        }
        self.asked = self.seeds.0.iter().map(|_| Asked::new()).collect();
        self.resume(missing, partials)
    }

    /// Adds seeds, those of another pull of the same blobs, and returns what the scheduler must learn of them.
    pub(super) fn add(
        &mut self,
        more: &WebSeeds,
        missing: &BTreeSet<Digest>,
        partials: &BTreeMap<Digest, Partial>,
    ) -> Vec<Input<SourceId>> {
        if !self.seeds.merge(more) || self.client.is_none() {
            return Vec::new();
        }
        match WebClient::new(self.seeds.0.iter().map(|it| &it.seed)) {
            Ok(client) => self.client = Some(client),
            Err(error) => self.reporter.note(format_args!("no other web seed is asked: {error}")),
        }
        self.asked.resize_with(self.seeds.0.len(), Asked::new);
        self.resume(missing, partials)
    }

    /// Lets the seeds be asked again after [`Self::hang_up`], and returns what the scheduler must learn of them.
    pub(super) fn resume(
        &self,
        missing: &BTreeSet<Digest>,
        partials: &BTreeMap<Digest, Partial>,
    ) -> Vec<Input<SourceId>> {
        let mut inputs = Vec::new();
        for id in self.alive() {
            inputs.push(Input::PeerIs { peer: SourceId::Web(id), nearness: Nearness::Web });
            inputs.extend(missing.iter().filter_map(|blob| self.holds(id, *blob, partials)));
        }
        inputs
    }

    /// Returns the inputs that tell the scheduler which seeds have a blob.
    pub(super) fn holding(&self, blob: Digest, partials: &BTreeMap<Digest, Partial>) -> Vec<Input<SourceId>> {
        self.alive().filter_map(|id| self.holds(id, blob, partials)).collect()
    }

    fn holds(
        &self,
        id: WebId,
        blob: Digest,
        partials: &BTreeMap<Digest, Partial>,
    ) -> Option<Input<SourceId>> {
        let layout = partials.get(&blob)?.states().layout();
        let pieces = PieceSet::full(layout.piece_count());
        self.has(id, &blob).then_some(Input::PeerHolds { peer: SourceId::Web(id), blob, pieces })
    }

    /// Counts the seeds that have a blob of `missing`, as far as is known.
    pub(super) fn count_holders(&self, missing: &BTreeSet<Digest>) -> usize {
        self.alive().filter(|id| missing.iter().any(|blob| self.has(*id, blob))).count()
    }

    /// Returns the seeds that can be asked, now or later.
    fn alive(&self) -> impl Iterator<Item = WebId> + '_ {
        self.asked.iter().enumerate().filter(|(_, it)| !it.is_out).map(|(index, _)| WebId(index))
    }

    /// Returns the seeds that have sent bytes since the last call.
    pub(super) fn heard(&mut self) -> Vec<SourceId> {
        let asked = self.asked.iter_mut().enumerate();
        asked.filter_map(|(id, it)| it.heard.is_more().then_some(SourceId::Web(WebId(id)))).collect()
    }

    /// Tells whether a seed has a blob, as far as is known.
    fn has(&self, id: WebId, blob: &Digest) -> bool {
        let is_lost = self.asked.get(id.0).is_none_or(|it| it.lost.contains(blob));
        !is_lost && self.seeds.0.get(id.0).is_some_and(|it| it.urls.contains_key(blob))
    }

    /// Tells whether a seed is in a private network, as far as its address says.
    pub(super) fn is_near(&self, id: WebId) -> bool {
        self.seeds.0.get(id.0).is_some_and(|it| is_near(&it.seed))
    }

    /// Returns a seed as the user has named it.
    pub(super) fn name(&self, id: WebId) -> String {
        self.seeds.0.get(id.0).map_or_else(String::new, |it| it.seed.to_string())
    }

    /// Requests pieces from a seed; they arrive through `sink`.
    pub(super) fn ask(&mut self, id: WebId, order: Order, sink: Sink) {
        let (Some(client), Some(urls_of), Some(asked)) =
            (&self.client, self.seeds.0.get(id.0), self.asked.get_mut(id.0))
        else {
            return;
        };
        let Some(url) = urls_of.urls.get(&order.blob).cloned() else { return };
        asked.requests.retain(|_, it| !it.is_finished());
        let (client, server, request) = (client.clone(), asked.server.clone(), order.request);
        let task = tokio::spawn(web_request::run(id, client, url, server, order, sink));
        asked.requests.insert(request, task.abort_handle());
    }

    /// Aborts a request.
    pub(super) fn cancel(&mut self, id: WebId, request: u32) {
        if let Some(task) = self.asked.get_mut(id.0).and_then(|it| it.requests.remove(&request)) {
            task.abort();
        }
    }

    /// Aborts all requests and returns the inputs that tell the scheduler so. The seeds stay usable: see [`Self::resume`].
    pub(super) fn hang_up(&mut self) -> Vec<Input<SourceId>> {
        self.asked.iter_mut().for_each(Asked::hang_up);
        self.alive().map(|id| Input::PeerLeft { peer: SourceId::Web(id) }).collect()
    }

    /// Takes the news that a seed does not answer a request to its end, and returns what the scheduler must learn of it. A
    /// seed that has failed too often in a row is not asked again.
    pub(super) fn on_news(
        &mut self,
        id: WebId,
        news: WebNews,
        partials: &BTreeMap<Digest, Partial>,
    ) -> Vec<Input<SourceId>> {
        let peer = SourceId::Web(id);
        match news {
            WebNews::Never { request, blob, error } => {
                if self.asked.get_mut(id.0).is_some_and(|it| it.lost.insert(blob)) {
                    self.reporter.note(format_args!("web seed {}: {}", self.name(id), error.in_full()));
                }
                let none = partials.get(&blob).map(|it| PieceSet::new(it.states().layout().piece_count()));
                let lost = none.map(|pieces| Input::PeerHolds { peer, blob, pieces });
                let rejected = Input::Rejected { request: RequestId(request), busy: None };
                lost.into_iter().chain([rejected]).collect()
            }
            WebNews::Later { request, wait, error } => {
                let mut inputs = vec![Input::Rejected { request: RequestId(request), busy: Some(wait) }];
                if let Some(error) = error.filter(|_| self.is_failing(id)) {
                    let name = self.name(id);
                    self.reporter
                        .note(format_args!("web seed {name} is not asked any more: {}", error.in_full()));
                    self.give_up(id);
                    inputs.push(Input::PeerLeft { peer });
                }
                inputs
            }
        }
    }

    /// Gives up a seed that sent a piece which does not match. There is no dispute: a web seed knows no piece states.
    pub(super) fn on_mismatch(&mut self, id: WebId, blob: Digest, piece: PieceIndex) {
        let name = self.name(id);
        warn!(seed = %name, %blob, %piece, "a web seed sent wrong bytes and is not asked again");
        self.reporter.note(format_args!(
            "web seed {name} sent wrong bytes (piece {piece} of {blob}) and is not asked again"
        ));
        self.give_up(id);
    }

    /// Asks a seed for nothing more, and aborts its requests.
    fn give_up(&mut self, id: WebId) {
        if let Some(asked) = self.asked.get_mut(id.0) {
            asked.is_out = true;
            asked.hang_up();
        }
    }

    /// Tells whether a seed has failed too often in a row.
    fn is_failing(&self, id: WebId) -> bool {
        let failures = self.asked.get(id.0).map_or(0, |it| it.server.failures.load(Ordering::Relaxed));
        failures >= WEB_FAILURES_MAX
    }

    /// Returns how long a download may stay without a piece because seeds have asked for a pause; `None` where no seed has.
    /// `quiet` is how long no piece has come.
    ///
    /// # Errors
    /// There is no peer, and every seed asks for a longer pause than a pull waits.
    pub(super) fn patience(&self, has_peers: bool, quiet: Duration) -> Result<Option<Duration>, AllPaused> {
        let Some((id, pause)) = self.shortest_pause() else { return Ok(None) };
        if !has_peers && (pause > WEB_WAIT_MAX || (!pause.is_zero() && quiet > WEB_PATIENCE)) {
            let seed = self.name(id);
            info!(%seed, ?pause, "every source that is left asks for a pause");
            return Err(AllPaused { seed, pause });
        }
        Ok(self.has_paused_lately().then_some(WEB_PATIENCE))
    }

    /// Returns the seed that may be asked first, and in how long.
    fn shortest_pause(&self) -> Option<(WebId, Duration)> {
        let pause = |id: WebId| Some((id, self.asked.get(id.0)?.server.pause().unwrap_or_default()));
        self.alive().filter_map(pause).min_by_key(|(_, pause)| *pause)
    }

    /// Tells whether a seed is in a pause, or was less than [`STARVED_TIMEOUT`] ago.
    fn has_paused_lately(&self) -> bool {
        let lately =
            |it: &Asked| lock(&it.server.not_before).is_some_and(|end| end.elapsed() < STARVED_TIMEOUT);
        self.asked.iter().any(|it| !it.is_out && lately(it))
    }
}

impl Drop for WebSources {
    fn drop(&mut self) {
        self.asked.iter_mut().for_each(Asked::hang_up);
    }
}
