//! [`Relay`]: fetching a model's blobs while they are read, as far as somebody reads them, each piece once for all readers.
//!
//! Who reads registers which pieces of which blob; the download asks peers for those, in the order of reading, and tells of
//! every piece that has been verified and written. Once nobody reads, it ends; what has come stays, and is not fetched again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use reg_proto::digest::Digest;
use reg_proto::piece::BlobLayout;
use reg_proto::states::PieceStates;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tracing::{debug, info, warn};

use super::downloader::{DownloadError, Downloader};
use super::fault::{Fault, FaultKind};
use super::finder::Finder;
use super::limits::{DESERTED_PATIENCE, RELAY_LINGER};
use super::pulls::Pulling;
use super::upstream::UpstreamError;
use super::view::ModelView;
use super::web::WebSeeds;
use super::{Inner, Reporter};
use crate::store::{Lease, Partial, PartialError, ReadError, ReserveError};

/// Why bytes of a blob do not come.
#[derive(Debug, Clone, Error)]
pub enum RelayError {
    #[error("{blob} is not here, and no peer is asked because the node is offline")]
    Offline { blob: Digest },
    #[error("{blob} is not here whole, and no peer that has it could be reached")]
    NoStates { blob: Digest },
    #[error("no peer that has the rest of {blob} can be reached")]
    Deserted { blob: Digest },
    #[error("no peer has sent anything for {seconds} s")]
    Starved { seconds: u64 },
    #[error("there is no room for {blob}")]
    Reserve { blob: Digest, source: Arc<ReserveError> },
    #[error("{blob} cannot be written to the cache")]
    Partial { blob: Digest, source: Arc<PartialError> },
    #[error("fetching stopped")]
    Download(#[from] Arc<DownloadError>),
    #[error("{blob} cannot be read from the cache")]
    Read { blob: Digest, source: Arc<ReadError> },
    #[error("{blob} is not here whole, and fetching is paused")]
    Paused { blob: Digest },
    #[error("too many files are being read at once")]
    Busy,
    #[error(transparent)]
    Upstream(Arc<UpstreamError>),
    #[error("a task ended early")]
    Interrupted,
}

impl Fault for RelayError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Offline { .. } | Self::NoStates { .. } | Self::Deserted { .. } | Self::Starved { .. } => {
                FaultKind::Unreachable
            }
            Self::Reserve { .. } => FaultKind::DiskFull,
            Self::Partial { source, .. } if source.is_disk_full() => FaultKind::DiskFull,
            Self::Download(source) => match source.as_ref() {
                DownloadError::FalseStates { .. } | DownloadError::OnlyWrongBytes { .. } => {
                    FaultKind::Verification
                }
                DownloadError::Write { source, .. } if source.is_disk_full() => FaultKind::DiskFull,
                _ => FaultKind::Unreachable,
            },
            Self::Busy | Self::Paused { .. } => FaultKind::RetryLater,
            Self::Upstream(source) => source.kind(),
            Self::Partial { .. } | Self::Read { .. } | Self::Interrupted => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        if matches!(self, Self::Paused { .. }) {
            return Some("`reg resume` lets it go on".to_owned());
        }
        match self.kind() {
            FaultKind::Unreachable => {
                Some("try again when a peer that has it is there: what was fetched is kept".to_owned())
            }
            FaultKind::DiskFull => Some("make room with `reg gc`, or raise cache.max_size".to_owned()),
            _ => None,
        }
    }
}

/// One model's blobs on their way to whoever reads them.
#[derive(Debug)]
pub(super) struct Relay {
    inner: Arc<Inner>,
    view: Arc<ModelView>,
    readings: Mutex<Readings>,
    opened: Mutex<BTreeMap<Digest, Opened>>,
    /// Held while a blob is opened: its states are asked for once.
    opening: tokio::sync::Mutex<()>,
    asked: Notify,
    news: watch::Sender<u64>,
    failure: Mutex<Option<Arc<DownloadError>>>,
    /// Since when there is nobody to fetch from, `None` while there is somebody.
    deserted: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Readings {
    next: u64,
    active: BTreeMap<u64, (Digest, Range<u32>)>,
    /// Who has joined, whether it reads already or not.
    joined: usize,
    /// Since when nobody has.
    idle_since: Instant,
    is_over: bool,
}

/// A blob that is on its way, and the room that is set aside for it.
#[derive(Debug)]
struct Opened {
    partial: Partial,
    _lease: Lease,
}

/// The relays that run, by the manifest of their model.
pub(super) type Relays = Mutex<BTreeMap<Digest, Arc<Relay>>>;

/// A place at a relay, for as long as it lives.
#[derive(Debug)]
pub(super) struct Joined(Arc<Relay>);

/// Pieces that are read, for as long as it lives.
#[derive(Debug)]
pub(super) struct Reading {
    relay: Arc<Relay>,
    id: u64,
}

impl Inner {
    /// Joins the relay of a model, starting it where there is none.
    pub(super) fn join_relay(self: &Arc<Self>, view: &Arc<ModelView>) -> Joined {
        let mut relays = self.relays.lock().expect("no holder of this lock panics");
        if let Some(relay) = relays.get(&view.digest()) {
            let mut readings = relay.readings();
            if !readings.is_over {
                readings.joined += 1;
                return Joined(relay.clone());
            }
        }
        let readings = Readings {
            next: 0,
            active: BTreeMap::new(),
            joined: 1,
            idle_since: Instant::now(),
            is_over: false,
        };
        let relay = Arc::new(Relay {
            inner: self.clone(),
            view: view.clone(),
            readings: Mutex::new(readings),
            opened: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            asked: Notify::new(),
            news: watch::Sender::new(0),
            failure: Mutex::default(),
            deserted: Mutex::new(Some(Instant::now())),
        });
        relays.insert(view.digest(), relay.clone());
        tokio::spawn(relay.clone().run());
        Joined(relay)
    }
}

impl Joined {
    /// Returns the relay.
    pub(super) const fn relay(&self) -> &Arc<Relay> {
        &self.0
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        let mut readings = self.0.readings();
        readings.joined -= 1;
        readings.idle_since = Instant::now();
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.relay.readings().active.remove(&self.id);
        self.relay.asked.notify_one();
    }
}

impl Relay {
    pub(super) fn view(&self) -> &ModelView {
        &self.view
    }

    /// Opens a blob that is not here whole: its states are had from here or from peers, and room is set aside.
    pub(super) async fn open(&self, blob: Digest, layout: BlobLayout) -> Result<Partial, RelayError> {
        let _one = self.opening.lock().await;
        if let Some(opened) = self.opened().get(&blob) {
            return Ok(opened.partial.clone());
        }
        let states = self.states(blob, layout).await.ok_or(RelayError::NoStates { blob })?;
        let (store, size) = (self.inner.store.clone(), layout.size());
        let wanted: BTreeSet<Digest> = self.view.record.blobs.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let lease = store
                .reserve(size, &wanted)
                .map_err(|source| RelayError::Reserve { blob, source: Arc::new(source) })?;
            let partial = store
                .partial(blob, size, states)
                .map_err(|source| RelayError::Partial { blob, source: Arc::new(source) })?;
            Ok::<_, RelayError>(Opened { partial, _lease: lease })
        });
        let opened = opened.await.map_err(|_| RelayError::Interrupted)??;
        let partial = opened.partial.clone();
        self.opened().insert(blob, opened);
        Ok(partial)
    }

    async fn states(&self, blob: Digest, layout: BlobLayout) -> Option<PieceStates> {
        if layout.piece_count() == 1 {
            return PieceStates::parse(layout, &[]).ok();
        }
        let named = &self.view.states;
        if let Some(states) = self.inner.states_here(&blob, named.get(&blob)?) {
            return Some(states);
        }
        let mut lacking = BTreeMap::from([(blob, layout)]);
        let mut found = BTreeMap::new();
        let connected = self.inner.network.connected().await;
        for peer in self.view.holders.iter().copied().chain(connected) {
            if !self.inner.bans.is_banned(&peer)
                && let Err(error) = self.inner.ask_states(peer, named, &mut lacking, &mut found).await
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
    pub(super) fn read(self: &Arc<Self>, blob: Digest, pieces: Range<u32>) -> Reading {
        let mut readings = self.readings();
        let id = readings.next;
        readings.next += 1;
        readings.active.insert(id, (blob, pieces));
        drop(readings);
        self.asked.notify_one();
        Reading { relay: self.clone(), id }
    }

    /// Tells of pieces as they come.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Returns why nothing more comes, if that is so.
    pub(super) fn failure(&self) -> Option<RelayError> {
        let failure = self.failure.lock().expect("no holder of this lock panics");
        failure.clone().map(RelayError::Download)
    }

    /// Tells whether the user has paused it.
    pub(super) fn is_paused(&self) -> bool {
        self.inner.pulls.is_paused(&self.pulling())
    }

    fn pulling(&self) -> Pulling {
        Pulling {
            publisher: self.view.publisher(),
            model: self.view.model().clone(),
            tag: self.view.tag().cloned(),
            manifest: self.view.digest(),
        }
    }

    /// Notes whether there is anybody to fetch from.
    pub(super) fn note_sources(&self, any: bool) {
        let mut deserted = self.deserted.lock().expect("no holder of this lock panics");
        *deserted = if any { None } else { deserted.or_else(|| Some(Instant::now())) };
    }

    /// Tells whether there has been nobody to fetch from for a while.
    pub(super) fn is_deserted(&self) -> bool {
        let deserted = self.deserted.lock().expect("no holder of this lock panics");
        deserted.is_some_and(|since| since.elapsed() >= DESERTED_PATIENCE)
    }

    /// Waits until what is read has changed.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Returns what has been opened and is not complete.
    pub(super) fn partials(&self) -> Vec<Partial> {
        self.opened().values().map(|it| it.partial.clone()).collect()
    }

    /// Returns which pieces of each blob are read.
    pub(super) fn runs(&self) -> BTreeMap<Digest, Vec<Range<u32>>> {
        let mut runs: BTreeMap<Digest, Vec<Range<u32>>> = BTreeMap::new();
        for (blob, pieces) in self.readings().active.values() {
            runs.entry(*blob).or_default().push(pieces.clone());
        }
        runs
    }

    /// Tells that a piece has been verified and written.
    pub(super) fn tell(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Gives a blob that has come whole its name.
    pub(super) fn complete(self: &Arc<Self>, blob: Digest) {
        let relay = self.clone();
        tokio::task::spawn_blocking(move || {
            let Some(partial) = relay.opened().get(&blob).map(|it| it.partial.clone()) else { return };
            match partial.finish() {
                Ok(()) => drop(relay.opened().remove(&blob)),
                Err(error) => warn!(%blob, %error, "a blob that has come whole cannot be kept"),
            }
            if let Err(error) = relay.inner.conclude(&relay.view) {
                info!(manifest = %relay.view.digest(), %error, "a model that has come whole is not kept as one");
            }
        });
    }

    /// Tells whether nobody has read for a while; then nobody can join any more.
    pub(super) fn is_over(&self) -> bool {
        let mut readings = self.readings();
        readings.is_over |= readings.joined == 0 && readings.idle_since.elapsed() >= RELAY_LINGER;
        readings.is_over
    }

    /// Runs the download for as long as somebody reads.
    async fn run(self: Arc<Self>) {
        let inner = self.inner.clone();
        if !inner.network.is_offline() {
            let config = self.view.manifest().config();
            if let (Ok(layout), false) = (BlobLayout::new(config.size), inner.store.contains(&config.digest))
            {
                // Small, and wanted by nobody but the model as a whole.
                drop(self.open(config.digest, layout).await);
            }
            let search = inner.search(self.view.publisher(), &self.view.reference, &[], &Reporter::silent());
            let finder = Finder::start(&inner.network, search.clone());
            let config_read = self.read(config.digest, 0..1);
            let pull = inner.pulls.enter_reading(self.pulling());
            let download = Downloader::for_relay(&inner, self.clone()).on_terms(pull, None);
            let download = download.looking_anew(search).with_web(self.web_seeds());
            let result = download.run(self.view.holders.clone(), Some(finder), &Reporter::silent()).await;
            drop(config_read);
            if let Err(error) = result {
                self.fail(error);
            }
        }
        self.readings().is_over = true;
        let mut relays = inner.relays.lock().expect("no holder of this lock panics");
        if relays.get(&self.view.digest()).is_some_and(|it| Arc::ptr_eq(it, &self)) {
            relays.remove(&self.view.digest());
        }
        drop(relays);
        let partials = self.partials();
        tokio::task::spawn_blocking(move || {
            for partial in partials.into_iter().filter(|it| !it.have().is_full()) {
                if let Err(error) = partial.checkpoint() {
                    warn!(blob = %partial.digest(), %error, "what has come of a blob cannot be recorded");
                }
            }
        });
    }

    fn web_seeds(&self) -> WebSeeds {
        let (view, seeds) = (&self.view, self.inner.web_seeds.iter());
        WebSeeds::new(seeds, &view.publisher(), view.model(), &view.digest(), view.manifest())
    }

    fn fail(&self, error: DownloadError) {
        warn!(manifest = %self.view.digest(), %error, "fetching what is read stopped");
        if let DownloadError::FalseStates { blob } = &error
            && let Some(opened) = self.opened().remove(blob)
            && let Err(error) = opened.partial.discard()
        {
            warn!(%blob, %error, "what was fetched by false states cannot be thrown away");
        }
        *self.failure.lock().expect("no holder of this lock panics") = Some(Arc::new(error));
        self.tell();
    }

    fn readings(&self) -> MutexGuard<'_, Readings> {
        self.readings.lock().expect("no holder of this lock panics")
    }

    fn opened(&self) -> MutexGuard<'_, BTreeMap<Digest, Opened>> {
        self.opened.lock().expect("no holder of this lock panics")
    }
}
