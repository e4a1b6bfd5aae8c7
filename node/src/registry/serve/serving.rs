//! Dispatches what comes from peers: questions, streams and announcements. Adapts the upload rate to the line.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reg_proto::peer::PeerId;
use reg_transfer::Courtesy;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tracing::debug;

use super::queue::UploadQueue;
use super::{Serving, answer, stream};
use crate::net::{Inbound, InboundStream, PeerEvent};
use crate::registry::fetch::UpLimit;
use crate::registry::limits::{
    ANSWERS_AT_ONCE, ANSWERS_PER_PEER_MAX, COURTESY_LOOK, GREETINGS_MAX, STREAMS_PER_PEER_MAX,
};

impl Serving {
    /// Returns the upload queue that a peer is served from.
    pub(super) async fn queue_of(&self, peer: PeerId) -> Arc<UploadQueue> {
        if self.fetching.is_limited(peer).await { self.far.clone() } else { self.near.clone() }
    }

    /// Admits a stream of a peer; `None` if this node, or the peer, has too many streams.
    fn admit(self: &Arc<Self>, peer: PeerId) -> Option<Admitted> {
        let permit = self.streams.clone().try_acquire_owned().ok()?;
        let mut by_peer = self.streams_by_peer.lock().expect("no holder of this lock panics");
        let streams = by_peer.entry(peer).or_default();
        if *streams >= STREAMS_PER_PEER_MAX {
            return None;
        }
        *streams += 1;
        Some(Admitted { serving: self.clone(), peer, _permit: permit })
    }
}

/// The permit of a stream that is being served.
struct Admitted {
    serving: Arc<Serving>,
    peer: PeerId,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut by_peer = self.serving.streams_by_peer.lock().expect("no holder of this lock panics");
        if let Some(streams) = by_peer.get_mut(&self.peer) {
            *streams -= 1;
            if *streams == 0 {
                by_peer.remove(&self.peer);
            }
        }
    }
}

/// The peers with which declarations and heads are being exchanged.
type Greeted = Arc<Mutex<BTreeSet<PeerId>>>;

/// The turns in which questions are answered: a few of each peer, so that one peer leaves some to the others.
struct AnswerTurns {
    all: Arc<Semaphore>,
    by_peer: BTreeMap<PeerId, Arc<Semaphore>>,
}

impl AnswerTurns {
    fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(ANSWERS_AT_ONCE)), by_peer: BTreeMap::new() }
    }

    /// Returns the turns of a peer. Forgets those of peers without a question.
    fn of(&mut self, peer: PeerId) -> Arc<Semaphore> {
        if self.by_peer.len() > ANSWERS_AT_ONCE {
            self.by_peer.retain(|_, turns| Arc::strong_count(turns) > 1);
        }
        self.by_peer.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(ANSWERS_PER_PEER_MAX))).clone()
    }
}

/// Dispatches everything that peers send, until the network ends. Questions are answered in tasks, a bounded number at once.
pub async fn serve_all(serving: Arc<Serving>, mut inbound: Inbound) {
    let mut tasks = JoinSet::new();
    let mut turns = AnswerTurns::new();
    let greeted = Greeted::default();
    loop {
        tokio::select! {
            Some(request) = inbound.requests.recv() => {
                let (serving, own, all) = (serving.clone(), turns.of(request.peer), turns.all.clone());
                tasks.spawn(async move {
                    let _own_turn = own.acquire_owned().await;
                    let _turn = all.acquire_owned().await;
                    answer::answer(serving, request).await;
                });
            }
            Some(stream) = inbound.streams.recv() => serve_stream(&serving, stream, &mut tasks),
            Some(announcement) = inbound.announcements.recv() => {
                drop(tasks.spawn(serving.news.clone().hear(announcement)));
            }
            Some(event) = inbound.peers.recv() => greet(&serving, event, &greeted, &mut tasks),
            Some(_done) = tasks.join_next() => {}
            else => return,
        }
    }
}

fn serve_stream(serving: &Arc<Serving>, stream: InboundStream, tasks: &mut JoinSet<()>) {
    let peer = stream.peer;
    match serving.admit(peer) {
        Some(admitted) => {
            let serving = serving.clone();
            tasks.spawn(async move {
                stream::serve(serving, stream).await;
                drop(admitted);
            });
        }
        None => {
            serving.fetching.metrics.stream_refused();
            debug!(%peer, "a peer's stream is refused: too many streams");
        }
    }
}

/// Exchanges declarations and heads with a peer that has just connected, unless that is under way: a peer that connects
/// again and again has one exchange at a time.
fn greet(serving: &Arc<Serving>, event: PeerEvent, greeted: &Greeted, tasks: &mut JoinSet<()>) {
    let (PeerEvent::Connected(peer), true) = (event, serving.network.gossips()) else { return };
    {
        let mut greeted = greeted.lock().expect("no holder of this lock panics");
        if greeted.len() >= GREETINGS_MAX || !greeted.insert(peer) {
            return;
        }
    }
    let (serving, greeted) = (serving.clone(), greeted.clone());
    tasks.spawn(async move {
        serving.news.ask_for_declarations(peer).await;
        serving.news.take_heads_of(peer).await;
        serving.news.compare_with_neighbour(peer).await;
        greeted.lock().expect("no holder of this lock panics").remove(&peer);
    });
}

/// Keeps the upload rate to peers outside private networks: the configured one, or where none is, one with which the line builds
/// up no queue.
pub async fn be_courteous(serving: Arc<Serving>) {
    let (start, mut courtesy) = (std::time::Instant::now(), Courtesy::default());
    let mut due = tokio::time::interval(COURTESY_LOOK);
    let mut limits = serving.fetching.watch_limits();
    loop {
        tokio::select! {
            _ = due.tick() => {}
            Ok(()) = limits.changed() => {
                serving.far.set_rate(limits.borrow().up.fixed());
                courtesy = Courtesy::default();
            }
        }
        if serving.fetching.limits().up != UpLimit::Auto {
            continue;
        }
        let peers = serving.network.peers().await;
        let far = peers.into_iter().filter(|it| !it.near && !it.rtt_is_behind_pieces);
        let round_trips: Vec<(PeerId, Duration)> =
            far.filter_map(|it| Some((it.peer, Duration::from_millis(it.rtt_ms?)))).collect();
        let now = reg_transfer::Instant::after_start(start.elapsed());
        let sent = serving.far.take_sent() / COURTESY_LOOK.as_secs();
        serving.far.set_rate(courtesy.look(now, sent, &round_trips));
    }
}
