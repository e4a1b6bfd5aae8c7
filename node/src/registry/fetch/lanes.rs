//! Keeps lanes from a puller to one peer: as many as the peer's rate justifies, none if they do not connect.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use reg_proto::wire::Frame;
use reg_transfer::{LaneFacts, lanes_wanted};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::event::{Answer, Deliver, SourceEvent};
use super::traffic::Way;
use crate::net::{LANES_PER_PEER_MAX, LaneAhead, LaneEnd, LaneReader, Network, Pace, Received};
use crate::registry::limits::{
    LANE_ANSWER_TIMEOUT, LANE_LOOK, LANE_SETTLES, LANE_TRIES_MAX, LANE_TRY_AGAIN, LANE_WARM_BYTES,
};

/// A lane and its thread; dropping it ends both.
#[derive(Debug)]
struct Running {
    end: LaneEnd,
    bytes: Arc<AtomicU64>,
    ended: oneshot::Receiver<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end.close();
    }
}

/// Keeps lanes to a peer open as long as the peer's stream lives. Those in `ahead` are being opened.
///
/// After [`LANE_TRIES_MAX`] failures in a row it opens no more: then the stream carries the pieces.
pub(super) async fn keep(
    network: Network,
    ahead: Vec<LaneAhead>,
    frames: mpsc::Sender<Frame>,
    mut answers: mpsc::Receiver<Answer>,
    deliver: Deliver,
) {
    let mut running: Vec<Running> = Vec::new();
    let mut opening: JoinSet<Option<LaneReader>> = ahead.into_iter().map(LaneAhead::connected).collect();
    let is_far = !network.is_near(deliver.peer).await;
    let (mut failures, mut rates) = (0, Rates::new());
    loop {
        running.retain_mut(|lane| lane.ended.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        while let Some(lane) = opening.try_join_next() {
            running.extend(lane.ok().flatten().and_then(|lane| start(lane, deliver.clone()).ok()));
            debug!(peer = %deliver.peer, lanes = running.len(), "a lane was opened ahead");
        }
        let carried: u64 = running.iter().map(|lane| lane.bytes.load(Ordering::Relaxed)).sum();
        deliver.ways.store(ways(running.len(), carried), Ordering::Relaxed);
        let facts = rates.facts(running.len(), carried, is_far && !network.has_many_lanes());
        if opening.is_empty() && facts.open < lanes_wanted(facts) && failures < LANE_TRIES_MAX {
            match open(&network, &frames, &mut answers, &deliver).await {
                Some(lane) => {
                    failures = 0;
                    running.push(lane);
                    rates.opened(carried);
                }
                None => failures += 1,
            }
        }
        sleep(if failures == 0 { LANE_LOOK } else { LANE_TRY_AGAIN }).await;
    }
}

/// Returns how many pieces a peer sends beside each other: one over each lane, and one over the stream while it helps.
fn ways(lanes: usize, carried: u64) -> u32 {
    let stream = lanes == 0 || carried < LANE_WARM_BYTES;
    u32::try_from(lanes + usize::from(stream)).unwrap_or(u32::MAX)
}

/// How much the lanes of a peer had carried at the last look, and when the last of them opened.
struct Rates {
    cores: usize,
    looked: (Instant, u64),
    opened: (Instant, u64),
}

impl Rates {
    fn new() -> Self {
        let (now, cores) = (Instant::now(), thread::available_parallelism().map_or(1, NonZero::get));
        Self { cores, looked: (now, 0), opened: (now, 0) }
    }

    fn opened(&mut self, carried: u64) {
        self.opened = (Instant::now(), carried);
    }

    /// Returns what decides the number of lanes. `may_help` tells whether more lanes may help a slow peer.
    fn facts(&mut self, open: usize, carried: u64, may_help: bool) -> LaneFacts {
        let since = |(at, before): (Instant, u64)| {
            (carried.saturating_sub(before) as f64 / at.elapsed().as_secs_f64().max(0.001)) as u64
        };
        let rate = since(self.looked);
        let is_known = may_help && self.opened.0.elapsed() >= LANE_SETTLES;
        let far_rate = is_known.then(|| since(self.opened));
        self.looked = (Instant::now(), carried);
        LaneFacts { open, rate, cores: self.cores, max: LANES_PER_PEER_MAX, far_rate }
    }
}

async fn open(
    network: &Network,
    frames: &mpsc::Sender<Frame>,
    answers: &mut mpsc::Receiver<Answer>,
    deliver: &Deliver,
) -> Option<Running> {
    let peer = deliver.peer;
    while answers.try_recv().is_ok() {}
    frames.send(Frame::WantLane).await.ok()?;
    let Ok(Some(Answer::Offer { ports, token })) = timeout(LANE_ANSWER_TIMEOUT, answers.recv()).await else {
        network.note_no_offer(peer);
        debug!(%peer, "a peer offers no lane");
        return None;
    };
    match network.dial_lane(peer, &ports, token).await.and_then(|lane| start(lane, deliver.clone())) {
        Ok(running) => {
            debug!(%peer, "a lane is open");
            Some(running)
        }
        Err(error) => {
            debug!(%peer, %error, "no lane to a peer: its stream carries the pieces");
            None
        }
    }
}

fn start(mut lane: LaneReader, deliver: Deliver) -> Result<Running, crate::net::LaneError> {
    lane.count_in(deliver.heard.clone());
    let (end, bytes, (over, ended)) = (lane.end()?, Arc::new(AtomicU64::new(0)), oneshot::channel());
    let (runtime, counter) = (Handle::current(), bytes.clone());
    thread::Builder::new().name("lane".to_owned()).spawn(move || {
        receive(lane, &deliver, &runtime, &counter);
        let _receiver_is_gone = over.send(());
    })?;
    Ok(Running { end, bytes, ended })
}

fn receive(mut lane: LaneReader, deliver: &Deliver, runtime: &Handle, counter: &AtomicU64) {
    let Deliver { peer, pool, events, .. } = deliver;
    let wait = |bytes: usize| deliver.wait(bytes);
    loop {
        match lane.receive(pool, runtime, Pace::Kept(&wait)) {
            Ok(Some(Received::Piece { id, piece, bytes })) => {
                counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                let piece = SourceEvent::Piece { peer: *peer, id, piece, bytes, way: Way::Lane };
                if events.blocking_send(piece).is_err() {
                    return;
                }
            }
            Ok(Some(Received::Frame(_)) | None) => return,
            Err(error) => {
                debug!(%peer, %error, "a lane broke");
                return;
            }
        }
    }
}
