//! [`Registry`]: the use cases of a node, and what they share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reg_proto::peer::PeerId;
use reg_transfer::Courtesy;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tracing::debug;

use super::bans::Bans;
use super::denylists::{self, Unserved};
use super::heads::Heads;
use super::limits::{
    ANSWERS_AT_ONCE, COURTESY_LOOK, HOUSEKEEPING, READERS_MAX, STREAMS_PER_PEER_MAX, STREAMS_SERVED_MAX,
};
use super::model::ModelRecord;
use super::nearness::Zone;
use super::publish::Preparation;
use super::pullers::Pullers;
use super::pulls::Pulls;
use super::push::Held;
use super::relay::Relays;
use super::seed::{self, Suspects};
use super::sharing::{Given, Sharing, SharingRules};
use super::throttle::{Throttle, TransferLimits, UpLimit};
use super::traffic::Traffic;
use super::trust::{TrustError, TrustFile};
use super::turns::Turns;
use super::upload::Uploads;
use super::view::Views;
use super::vow_news::VowsPassed;
use super::{answer, clock, tags};
use crate::net::{Inbound, InboundStream, Network, PeerEvent, PieceBytes, PiecePool};
use crate::store::{Intake, Store};
use crate::web::WebSeed;

/// What a registry is made of.
#[derive(Debug)]
pub struct RegistryParts {
    pub store: Store,
    pub network: Network,
    /// What peers ask; `None` offline.
    pub inbound: Option<Inbound>,
    /// The file that holds the user's petnames.
    pub trust: PathBuf,
    /// Whether gateways serve files that run code when they are loaded, archives, and what is not recognised.
    pub allow_unsafe: bool,
    pub limits: TransferLimits,
    /// Servers of HTTP that are asked beside peers, in every pull.
    pub web_seeds: Vec<WebSeed>,
    /// Who is near.
    pub zone: Zone,
    /// Whose models come here, and which are given to others.
    pub sharing: SharingRules,
}

/// The use cases of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(super) inner: Arc<Inner>,
    tasks: Arc<tokio::sync::Mutex<JoinSet<()>>>,
}

/// What the use cases share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) network: Network,
    pub(super) trust: TrustFile,
    pub(super) heads: Mutex<Heads>,
    pub(super) vows_passed: Mutex<VowsPassed>,
    pub(super) bans: Bans,
    pub(super) pullers: Pullers,
    pub(super) traffic: Traffic,
    pub(super) views: Views,
    pub(super) relays: Relays,
    /// Buffers for pieces that come in.
    pub(super) pool: PiecePool,
    /// Verifies and writes them.
    pub(super) intake: Intake<PieceBytes>,
    pub(super) pulls: Pulls,
    pub(super) limits: TransferLimits,
    pub(super) web_seeds: Vec<WebSeed>,
    /// Who is near.
    pub(super) zone: Arc<Zone>,
    /// The limit on what is fetched, for all pulls together.
    pub(super) throttle: Option<Arc<Throttle>>,
    /// Serving peers in networks of one's own, and the others.
    near: Arc<Turns>,
    far: Arc<Turns>,
    /// Who reads blobs through gateways.
    pub(super) readers: Arc<Semaphore>,
    pub(super) allow_unsafe: bool,
    /// What lists that the user follows warn of.
    pub(super) unserved: Unserved,
    pub(super) sharing: Sharing,
    pub(super) given: Mutex<Given>,
    pub(super) uploads: Uploads,
    pub(super) held: Held,
    pub(super) preparations: Mutex<BTreeMap<u64, Preparation>>,
    /// Blobs that are being looked at, which are not served meanwhile.
    pub(super) suspects: Arc<Mutex<Suspects>>,
    /// Seconds since 1970 at which this began.
    pub(super) started: u64,
    ids: AtomicU64,
    streams: Arc<Semaphore>,
    streams_by_peer: Mutex<BTreeMap<PeerId, usize>>,
}

impl Registry {
    /// Starts serving what is here, and answering peers.
    ///
    /// # Errors
    /// The rules of sharing name a petname that means nobody.
    pub fn start(parts: RegistryParts) -> Result<Self, TrustError> {
        let RegistryParts { store, network, inbound, trust, allow_unsafe, limits, web_seeds, zone, sharing } =
            parts;
        let trust = TrustFile::open(trust);
        let sharing = Sharing::new(&sharing, &trust)?;
        let up = match limits.up {
            UpLimit::Rate(rate) => Some(rate),
            UpLimit::Auto | UpLimit::None => None,
        };
        let inner = Arc::new(Inner {
            store,
            network,
            trust,
            heads: Mutex::default(),
            vows_passed: Mutex::default(),
            bans: Bans::default(),
            pullers: Pullers::default(),
            traffic: Traffic::default(),
            views: Views::default(),
            relays: Relays::default(),
            pool: PiecePool::new(),
            intake: Intake::start(),
            pulls: Pulls::default(),
            limits,
            web_seeds,
            zone: Arc::new(zone),
            throttle: limits.down.map(Throttle::new),
            near: Turns::new(None),
            far: Turns::new(up),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            allow_unsafe,
            unserved: Unserved::default(),
            sharing,
            given: Mutex::default(),
            uploads: Uploads::default(),
            held: Held::default(),
            preparations: Mutex::default(),
            suspects: Arc::default(),
            started: clock::now(),
            ids: AtomicU64::new(1),
            streams: Arc::new(Semaphore::new(STREAMS_SERVED_MAX)),
            streams_by_peer: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        if let Some(inbound) = inbound {
            tasks.spawn(serve_all(inner.clone(), inbound));
            tasks.spawn(seed_all(inner.clone()));
            if limits.up == UpLimit::Auto {
                tasks.spawn(be_courteous(inner.clone()));
            }
        }
        tasks.spawn(keep_house(inner.clone()));
        let registry = Self { inner, tasks: Arc::default() };
        tasks.spawn(denylists::keep_lists(registry.without_tasks()));
        Ok(Self { tasks: Arc::new(tokio::sync::Mutex::new(tasks)), ..registry })
    }

    /// The same for a task of its own, which must not hold what holds it.
    fn without_tasks(&self) -> Self {
        Self { inner: self.inner.clone(), tasks: Arc::default() }
    }

    /// Ends what runs in the background, and makes the index last.
    pub async fn shutdown(&self) {
        self.tasks.lock().await.shutdown().await;
        self.inner.network.shutdown().await;
        let store = self.inner.store.clone();
        drop(tokio::task::spawn_blocking(move || store.commit()).await);
    }
}

impl Inner {
    pub(super) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells whether the limits hold for a peer.
    pub(super) async fn is_limited(&self, peer: PeerId) -> bool {
        self.limits.local || !self.network.is_near(peer).await
    }

    /// Returns the turns in which a peer is served.
    pub(super) async fn turns(&self, peer: PeerId) -> Arc<Turns> {
        if self.is_limited(peer).await { self.far.clone() } else { self.near.clone() }
    }

    /// Lets a stream in, if there is room for it.
    fn admit(self: &Arc<Self>, peer: PeerId) -> Option<Admitted> {
        let permit = self.streams.clone().try_acquire_owned().ok()?;
        let mut by_peer = self.streams_by_peer.lock().expect("no holder of this lock panics");
        let streams = by_peer.entry(peer).or_default();
        if *streams >= STREAMS_PER_PEER_MAX {
            return None;
        }
        *streams += 1;
        Some(Admitted { inner: self.clone(), peer, _permit: permit })
    }
}

/// A stream that is being served.
struct Admitted {
    inner: Arc<Inner>,
    peer: PeerId,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut by_peer = self.inner.streams_by_peer.lock().expect("no holder of this lock panics");
        if let Some(streams) = by_peer.get_mut(&self.peer) {
            *streams -= 1;
            if *streams == 0 {
                by_peer.remove(&self.peer);
            }
        }
    }
}

/// Hands everything that comes in to whoever answers it.
async fn serve_all(inner: Arc<Inner>, mut inbound: Inbound) {
    let mut tasks = JoinSet::new();
    let answers = Arc::new(Semaphore::new(ANSWERS_AT_ONCE));
    loop {
        tokio::select! {
            Some(request) = inbound.requests.recv() => {
                let (inner, answers) = (inner.clone(), answers.clone());
                tasks.spawn(async move {
                    let _turn = answers.acquire_owned().await;
                    answer::answer(inner, request).await;
                });
            }
            Some(stream) = inbound.streams.recv() => serve_stream(&inner, stream, &mut tasks),
            Some(announcement) = inbound.announcements.recv() => inner.hear(announcement),
            Some(event) = inbound.peers.recv() => greet(&inner, event, &mut tasks),
            Some(_done) = tasks.join_next() => {}
            else => return,
        }
    }
}

fn serve_stream(inner: &Arc<Inner>, stream: InboundStream, tasks: &mut JoinSet<()>) {
    let peer = stream.peer;
    match inner.admit(peer) {
        Some(admitted) => {
            let inner = inner.clone();
            tasks.spawn(async move {
                seed::serve(inner, stream).await;
                drop(admitted);
            });
        }
        None => debug!(%peer, "a peer's stream finds no room"),
    }
}

/// Compares what was heard of with a peer that has just come.
fn greet(inner: &Arc<Inner>, event: PeerEvent, tasks: &mut JoinSet<()>) {
    if let (PeerEvent::Connected(peer), true) = (event, inner.network.gossips()) {
        let inner = inner.clone();
        tasks.spawn(async move {
            inner.ask_for_vows(peer).await;
            inner.take_heads_of(peer).await;
        });
    }
}

/// Provides and announces what is here already.
async fn seed_all(inner: Arc<Inner>) {
    let store = inner.store.clone();
    let Ok(Ok(models)) = tokio::task::spawn_blocking(move || ModelRecord::all(&store)).await else { return };
    let mut publishers = BTreeSet::new();
    for (manifest, record) in models {
        // Of what was chosen of a model, its publisher's records and its large blobs are provided, not the model.
        if record.complete || record.chosen.is_some() {
            inner.seed_model(&manifest).await;
            publishers.insert(record.publisher);
        }
    }
    for publisher in publishers {
        let Ok(Some(keys)) = tags::keys(&inner.store, publisher) else { continue };
        for tag in tags::records(&inner.store, publisher, None).unwrap_or_default() {
            if inner.is_complete(&tag.record().manifest.digest) {
                inner.announce(&tag, &keys).await;
            }
        }
    }
}

/// Sends to the world no faster than the line takes without a queue.
async fn be_courteous(inner: Arc<Inner>) {
    let (start, mut courtesy) = (std::time::Instant::now(), Courtesy::default());
    let mut due = tokio::time::interval(COURTESY_LOOK);
    loop {
        due.tick().await;
        let peers = inner.network.peers().await;
        let far = peers.into_iter().filter(|it| !it.near);
        let round_trips: Vec<(PeerId, Duration)> =
            far.filter_map(|it| Some((it.peer, Duration::from_millis(it.rtt_ms?)))).collect();
        let now = reg_transfer::Instant::after_start(start.elapsed());
        let sent = inner.far.take_sent() / COURTESY_LOOK.as_secs();
        inner.far.set_rate(courtesy.look(now, sent, &round_trips));
    }
}

/// Looks after the cache from time to time.
async fn keep_house(inner: Arc<Inner>) {
    let mut due = tokio::time::interval(HOUSEKEEPING);
    due.tick().await;
    loop {
        due.tick().await;
        let store = inner.store.clone();
        drop(tokio::task::spawn_blocking(move || store.commit()).await);
    }
}
