//! [`Reading`]: fetches blobs of a model while readers read them: only the pieces that are read, each once for all readers.
//!
//! A reader says which pieces of which blob it reads. The download asks sources for those pieces in the order of reading. Pulls
//! of the same blobs share it. It ends some seconds after the last reader has left. Verified pieces stay and are not fetched
//! again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use reg_api::reporter::Reporter;
use reg_proto::digest::Digest;
use reg_proto::piece::BlobLayout;
use reg_proto::states::PieceStates;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, info};

use super::Reading;
use super::error::ReaderError;
use crate::registry::fetch::{Begin, BeginError, Caller, Demand, Pulling, Share, WebSeeds, Wish};
use crate::registry::limits::CONFIG_PATIENCE;
use crate::registry::resolve::ModelView;
use crate::store::Partial;

/// One reader of one blob that is being fetched. Dropping it ends the reading.
#[derive(Debug)]
pub(super) struct OnDemand {
    reading: Arc<Reading>,
    view: Arc<ModelView>,
    share: Share,
}

impl Reading {
    /// Joins the download of a model as a reader of a blob that is not whole in the store: takes the blob's piece states from
    /// the store or from peers, and reserves disk space. Returns no partial blob if the blob has become whole meanwhile.
    ///
    /// # Errors
    /// No peer sends the states, or the partial blob cannot be written: see [`ReaderError`].
    pub(super) async fn read_on_demand(
        self: &Arc<Self>,
        view: &Arc<ModelView>,
        blob: Digest,
        layout: BlobLayout,
    ) -> Result<(OnDemand, Option<Partial>), ReaderError> {
        let mut on_demand = self.join_on_demand(view);
        let is_first = !on_demand.share.own().is_running();
        on_demand.open(blob, layout).await?;
        if is_first {
            tokio::spawn(self.join_on_demand(view).fetch_config());
        }
        let partial = on_demand.share.partial(&blob);
        Ok((on_demand, partial))
    }

    fn join_on_demand(self: &Arc<Self>, view: &Arc<ModelView>) -> OnDemand {
        let search = self.resolver.search(view.publisher(), &view.reference, &[], &Reporter::silent());
        let begin = Begin {
            model: view.digest(),
            protect: view.record.blobs.iter().copied().chain([view.digest()]).collect(),
            holders: view.holders.clone(),
            strangers: view.strangers.clone(),
            search: Some(search),
            searches: true,
            web: self.web_seeds(view),
            states_max: view.manifest().blobs().into_values().map(PieceStates::byte_len).max().unwrap_or(0),
            has_room: false,
        };
        let share = self.fetching.share(begin, Caller::Reader(pulling(view)), &Reporter::silent());
        OnDemand { reading: self.clone(), view: view.clone(), share }
    }

    fn web_seeds(&self, view: &ModelView) -> WebSeeds {
        let seeds = self.resolver.web_seeds();
        WebSeeds::new(seeds.iter(), &view.publisher(), view.model(), &view.digest(), view.manifest())
    }
}

fn pulling(view: &ModelView) -> Pulling {
    Pulling {
        publisher: view.publisher(),
        model: view.model().clone(),
        tag: view.tag().cloned(),
        manifest: view.digest(),
    }
}

impl OnDemand {
    async fn open(&mut self, blob: Digest, layout: BlobLayout) -> Result<(), ReaderError> {
        let states = self.states(blob, layout).await.ok_or(ReaderError::NoStates { blob })?;
        self.share.open(BTreeMap::from([(blob, states)])).await.map_err(|error| match error {
            BeginError::Reserve(source) => ReaderError::Reserve { blob, source: Arc::new(source) },
            BeginError::Partial { blob, source } => ReaderError::Partial { blob, source: Arc::new(source) },
            BeginError::States { blob } => ReaderError::NoStates { blob },
            BeginError::BehindNat { .. } => ReaderError::Deserted { blob },
            BeginError::Interrupted(_) => ReaderError::Interrupted,
        })?;
        if let Some(demand) = self.share.demand_of(&blob) {
            let (puller, view) = (self.reading.puller.clone(), self.view.clone());
            demand.conclude_with(self.view.digest(), move || {
                if let Err(error) = puller.conclude(&view) {
                    info!(manifest = %view.digest(), %error, "a complete model cannot be recorded");
                }
            });
        }
        Ok(())
    }

    async fn states(&self, blob: Digest, layout: BlobLayout) -> Option<PieceStates> {
        if layout.piece_count() == 1 {
            return PieceStates::parse(layout, &[]).ok();
        }
        let (named, fetching) = (&self.view.states, &self.reading.fetching);
        let of_blob = named.get(&blob)?;
        if let Some(states) = fetching.states_here(&blob, of_blob) {
            return Some(states);
        }
        // The readers that begin at the same moment ask for the states once.
        let _one = self.share.own().prepare().await;
        if let Some(states) = fetching.states_here(&blob, of_blob) {
            return Some(states);
        }
        let mut lacking = BTreeMap::from([(blob, layout)]);
        let mut found = BTreeMap::new();
        let connected = self.reading.network.connected().await;
        for peer in self.view.holders.iter().copied().chain(connected) {
            if !self.reading.resolver.bans.is_banned(&peer)
                && let Err(error) = fetching.ask_states(peer, named, &mut lacking, &mut found).await
            {
                debug!(%peer, %error, "no states from a peer");
            }
            if let Some(states) = found.remove(&blob) {
                return Some(states);
            }
        }
        None
    }

    /// Fetches the model's configuration. It is small, and only the model as a whole needs it.
    async fn fetch_config(mut self) {
        let config = self.view.manifest().config();
        let Ok(layout) = BlobLayout::new(config.size) else { return };
        if self.reading.store.contains(&config.digest) || self.open(config.digest, layout).await.is_err() {
            return;
        }
        // Where no source has it, readers can do without it.
        let fetched = timeout(CONFIG_PATIENCE, self.share.whole(&mut None, &Reporter::silent())).await;
        debug!(?fetched, "the configuration of a model that is read was asked for");
    }

    fn demand(&self, blob: &Digest) -> &Arc<Demand> {
        self.share.demand_of(blob).unwrap_or_else(|| self.share.own())
    }

    /// Says that the reader reads these pieces of a blob, in this order.
    pub(super) fn read(&self, blob: Digest, pieces: Range<u32>) {
        self.share.want(&BTreeMap::from([(blob, Wish::Runs(vec![pieces]))]));
    }

    /// Returns a counter that changes with every piece that is stored.
    pub(super) fn news(&self, blob: &Digest) -> watch::Receiver<u64> {
        self.demand(blob).news()
    }

    /// Returns why the download of a blob has failed; `None` while it runs.
    pub(super) fn failure(&self, blob: &Digest) -> Option<ReaderError> {
        self.demand(blob).failure().map(|error| ReaderError::Download(Arc::new(error)))
    }

    /// Tells whether the user has paused this download.
    pub(super) fn is_paused(&self) -> bool {
        self.reading.fetching.priorities.is_paused(&pulling(&self.view))
    }

    /// Tells whether no source has held a wanted piece for some seconds.
    pub(super) fn is_deserted(&self, blob: &Digest) -> bool {
        self.demand(blob).is_deserted()
    }
}
