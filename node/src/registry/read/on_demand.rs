//! [`OnDemand`]: fetching a model's blobs while they are read, as far as they are read, each piece once for all readers.
//!
//! A reader registers which pieces of which blob it reads ([`Demand`]); the download asks peers for those, in the order of
//! reading. Once nobody reads, it ends; what has come stays, and is not fetched again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use reg_api::reporter::Reporter;
use reg_proto::digest::Digest;
use reg_proto::piece::BlobLayout;
use reg_proto::states::PieceStates;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::Reading;
use super::error::ReaderError;
use crate::registry::fetch::{Demand, DownloadError, Downloader, Pulling, Read, WebSeeds};
use crate::registry::resolve::{Finder, ModelView};
use crate::store::Partial;

/// One model's blobs that are fetched as they are read.
#[derive(Debug)]
pub struct OnDemand {
    reading: Arc<Reading>,
    view: Arc<ModelView>,
    demand: Arc<Demand>,
    /// Held while a blob is opened: its states are asked for once.
    opening: tokio::sync::Mutex<()>,
    failure: Mutex<Option<Arc<DownloadError>>>,
}

/// The models that are fetched as they are read, by their manifest.
pub(super) type Running = Mutex<BTreeMap<Digest, Arc<OnDemand>>>;

/// A reader's place, for as long as it lives.
#[derive(Debug)]
pub struct Joined(Arc<OnDemand>);

impl Reading {
    /// Joins what fetches a model as it is read, starting it where it does not run.
    pub fn join_on_demand(self: &Arc<Self>, view: &Arc<ModelView>) -> Joined {
        let mut running = self.on_demand.lock().expect("no holder of this lock panics");
        if let Some(on_demand) = running.get(&view.digest()).filter(|it| it.demand.join()) {
            return Joined(on_demand.clone());
        }
        let (puller, concluded) = (self.puller.clone(), view.clone());
        let demand = Demand::new(move || {
            if let Err(error) = puller.conclude(&concluded) {
                info!(manifest = %concluded.digest(), %error, "a model that has come whole is not kept as one");
            }
        });
        let on_demand = Arc::new(OnDemand {
            reading: self.clone(),
            view: view.clone(),
            demand: Arc::new(demand),
            opening: tokio::sync::Mutex::default(),
            failure: Mutex::default(),
        });
        running.insert(view.digest(), on_demand.clone());
        tokio::spawn(on_demand.clone().run());
        Joined(on_demand)
    }
}

impl Joined {
    /// Returns what was joined.
    pub const fn on_demand(&self) -> &Arc<OnDemand> {
        &self.0
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.0.demand.leave();
    }
}

impl OnDemand {
    /// Opens a blob that is not here whole: its states are had from here or from peers, and room is set aside.
    pub async fn open(&self, blob: Digest, layout: BlobLayout) -> Result<Partial, ReaderError> {
        let _one = self.opening.lock().await;
        if let Some(partial) = self.demand.partial(&blob) {
            return Ok(partial);
        }
        let states = self.states(blob, layout).await.ok_or(ReaderError::NoStates { blob })?;
        let (store, size) = (self.reading.store.clone(), layout.size());
        let wanted: BTreeSet<Digest> = self.view.record.blobs.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let lease = store
                .reserve(size, &wanted)
                .map_err(|source| ReaderError::Reserve { blob, source: Arc::new(source) })?;
            let partial = store
                .partial(blob, size, states)
                .map_err(|source| ReaderError::Partial { blob, source: Arc::new(source) })?;
            Ok::<_, ReaderError>((partial, lease))
        });
        let (partial, lease) = opened.await.map_err(|_| ReaderError::Interrupted)??;
        self.demand.open(partial.clone(), lease);
        Ok(partial)
    }

    async fn states(&self, blob: Digest, layout: BlobLayout) -> Option<PieceStates> {
        if layout.piece_count() == 1 {
            return PieceStates::parse(layout, &[]).ok();
        }
        let named = &self.view.states;
        if let Some(states) = self.reading.fetching.states_here(&blob, named.get(&blob)?) {
            return Some(states);
        }
        let mut lacking = BTreeMap::from([(blob, layout)]);
        let mut found = BTreeMap::new();
        let connected = self.reading.network.connected().await;
        for peer in self.view.holders.iter().copied().chain(connected) {
            if !self.reading.resolver.bans.is_banned(&peer)
                && let Err(error) =
                    self.reading.fetching.ask_states(peer, named, &mut lacking, &mut found).await
            {
                debug!(%peer, %error, "no states from a peer");
            }
            if let Some(states) = found.remove(&blob) {
                return Some(states);
            }
        }
        None
    }

    /// Registers that these pieces of a blob are read, from the first on.
    pub fn read(&self, blob: Digest, pieces: Range<u32>) -> Read {
        self.demand.read(blob, pieces)
    }

    /// Returns a counter that moves with every piece that comes.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.demand.news()
    }

    /// Returns why nothing more comes, if that is so.
    pub fn failure(&self) -> Option<ReaderError> {
        let failure = self.failure.lock().expect("no holder of this lock panics");
        failure.clone().map(ReaderError::Download)
    }

    /// Tells whether the user has paused it.
    pub fn is_paused(&self) -> bool {
        self.reading.fetching.priorities.is_paused(&self.pulling())
    }

    fn pulling(&self) -> Pulling {
        Pulling {
            publisher: self.view.publisher(),
            model: self.view.model().clone(),
            tag: self.view.tag().cloned(),
            manifest: self.view.digest(),
        }
    }

    /// Tells whether there has been nobody to fetch from for a while.
    pub fn is_deserted(&self) -> bool {
        self.demand.is_deserted()
    }

    /// Runs the download for as long as somebody reads.
    async fn run(self: Arc<Self>) {
        let reading = self.reading.clone();
        if !reading.network.is_offline() {
            let config = self.view.manifest().config();
            if let (Ok(layout), false) =
                (BlobLayout::new(config.size), reading.store.contains(&config.digest))
            {
                // Small, and wanted by nobody but the model as a whole.
                drop(self.open(config.digest, layout).await);
            }
            let search = reading.resolver.search(
                self.view.publisher(),
                &self.view.reference,
                &[],
                &Reporter::silent(),
            );
            let finder = Finder::start(&reading.network, search.clone());
            let config_read = self.demand.read(config.digest, 0..1);
            let pull = reading.fetching.priorities.enter_reading(self.pulling());
            let layouts = self.view.manifest().blobs().into_values();
            let states_max = layouts.map(PieceStates::byte_len).max().unwrap_or(0);
            let download = Downloader::on_demand(&reading.fetching, self.demand.clone(), states_max);
            let download = download.on_terms(pull, None);
            let download = download.looking_anew(search).with_web(self.web_seeds());
            let result = download.run(self.view.holders.clone(), Some(finder), &Reporter::silent()).await;
            drop(config_read);
            if let Err(error) = result {
                self.fail(error);
            }
        }
        self.demand.end();
        let mut running = reading.on_demand.lock().expect("no holder of this lock panics");
        if running.get(&self.view.digest()).is_some_and(|it| Arc::ptr_eq(it, &self)) {
            running.remove(&self.view.digest());
        }
        drop(running);
        let partials = self.demand.partials();
        tokio::task::spawn_blocking(move || {
            for partial in partials.into_iter().filter(|it| !it.have().is_full()) {
                if let Err(error) = partial.checkpoint() {
                    warn!(blob = %partial.digest(), %error, "what has come of a blob cannot be recorded");
                }
            }
        });
    }

    fn web_seeds(&self) -> WebSeeds {
        let (view, seeds) = (&self.view, self.reading.fetching.web_seeds.iter());
        WebSeeds::new(seeds, &view.publisher(), view.model(), &view.digest(), view.manifest())
    }

    fn fail(&self, error: DownloadError) {
        warn!(manifest = %self.view.digest(), %error, "fetching what is read stopped");
        if let DownloadError::FalseStates { blob } = &error
            && let Some(partial) = self.demand.close(blob)
            && let Err(error) = partial.discard()
        {
            warn!(%blob, %error, "what was fetched by false states cannot be thrown away");
        }
        *self.failure.lock().expect("no holder of this lock panics") = Some(Arc::new(error));
        self.demand.tell();
    }
}
