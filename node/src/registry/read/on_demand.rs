//! [`OnDemand`]: fetches blobs of a model while readers read them: only the pieces that are read, each once for all readers.
//!
//! A reader registers which pieces of which blob it reads ([`Demand`]). The download asks sources for those pieces in the order
//! of reading. It ends some seconds after the last reader has left. Verified pieces stay and are not fetched again.

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

/// The download of one model's blobs while they are read.
#[derive(Debug)]
pub(super) struct OnDemand {
    reading: Arc<Reading>,
    view: Arc<ModelView>,
    demand: Arc<Demand>,
    /// Locked while a blob is opened, so that its piece states are fetched once.
    opening: tokio::sync::Mutex<()>,
    failure: Mutex<Option<Arc<DownloadError>>>,
}

/// The models that are being fetched while they are read, by manifest.
pub(super) type Running = Mutex<BTreeMap<Digest, Arc<OnDemand>>>;

/// The registration of one reader. Dropping it ends the registration.
#[derive(Debug)]
pub(super) struct Joined(Arc<OnDemand>);

impl Reading {
    /// Joins the download of a model, and starts it if it does not run.
    pub(super) fn join_on_demand(self: &Arc<Self>, view: &Arc<ModelView>) -> Joined {
        let mut running = self.on_demand.lock().expect("no holder of this lock panics");
        if let Some(on_demand) = running.get(&view.digest()).filter(|it| it.demand.join()) {
            return Joined(on_demand.clone());
        }
        let (puller, concluded) = (self.puller.clone(), view.clone());
        let demand = Demand::new(move || {
            if let Err(error) = puller.conclude(&concluded) {
                info!(manifest = %concluded.digest(), %error, "a complete model cannot be recorded");
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
    /// Returns the download that was joined.
    pub(super) const fn on_demand(&self) -> &Arc<OnDemand> {
        &self.0
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.0.demand.leave();
    }
}

impl OnDemand {
    /// Opens a blob that is not whole in the store: takes its piece states from the store or from peers, and reserves disk
    /// space. Returns its partial blob.
    ///
    /// # Errors
    /// No peer sends the states, or the partial blob cannot be written: see [`ReaderError`].
    pub(super) async fn open(&self, blob: Digest, layout: BlobLayout) -> Result<Partial, ReaderError> {
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

    /// Registers that a reader reads these pieces of a blob, in this order.
    pub(super) fn read(&self, blob: Digest, pieces: Range<u32>) -> Read {
        self.demand.read(blob, pieces)
    }

    /// Returns a counter that changes with every piece that is stored.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.demand.news()
    }

    /// Returns why the download has failed; `None` while it runs.
    pub(super) fn failure(&self) -> Option<ReaderError> {
        let failure = self.failure.lock().expect("no holder of this lock panics");
        failure.clone().map(ReaderError::Download)
    }

    /// Tells whether the user has paused this download.
    pub(super) fn is_paused(&self) -> bool {
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

    /// Tells whether no source has held a wanted piece for some seconds.
    pub(super) fn is_deserted(&self) -> bool {
        self.demand.is_deserted()
    }

    /// Runs the download until the demand is over.
    async fn run(self: Arc<Self>) {
        let reading = self.reading.clone();
        if !reading.network.is_offline() {
            let config = self.view.manifest().config();
            if let (Ok(layout), false) =
                (BlobLayout::new(config.size), reading.store.contains(&config.digest))
            {
                // These blobs are small, and only the model as a whole needs them.
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
                    warn!(blob = %partial.digest(), %error, "progress of a partial blob cannot be recorded");
                }
            }
        });
    }

    fn web_seeds(&self) -> WebSeeds {
        let (view, seeds) = (&self.view, self.reading.fetching.web_seeds.iter());
        WebSeeds::new(seeds, &view.publisher(), view.model(), &view.digest(), view.manifest())
    }

    fn fail(&self, error: DownloadError) {
        warn!(manifest = %self.view.digest(), %error, "fetching a model for readers stopped");
        if let DownloadError::FalseStates { blob } = &error
            && let Some(partial) = self.demand.close(blob)
            && let Err(error) = partial.discard()
        {
            warn!(%blob, %error, "a partial blob with false states cannot be removed");
        }
        *self.failure.lock().expect("no holder of this lock panics") = Some(Arc::new(error));
        self.demand.tell();
    }
}
