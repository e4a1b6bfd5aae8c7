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
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::event::{Answer, Deliver, SourceEvent};
use super::traffic::Way;
use crate::net::{LANES_PER_PEER_MAX, LaneEnd, LaneReader, Network, Pace, Received};
use crate::registry::limits::{LANE_ANSWER_TIMEOUT, LANE_LOOK, LANE_TRIES_MAX, LANE_TRY_AGAIN};

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

/// Keeps lanes to a peer open as long as the peer's stream lives. After [`LANE_TRIES_MAX`] failures in a row it opens no
/// more: then the stream carries the pieces.
pub(super) async fn keep(
    network: Network,
    frames: mpsc::Sender<Frame>,
    mut answers: mpsc::Receiver<Answer>,
    deliver: Deliver,
) {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let mut running: Vec<Running> = Vec::new();
    let (mut failures, mut before, mut looked) = (0, 0, Instant::now());
    loop {
        running.retain_mut(|lane| lane.ended.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        let carried: u64 = running.iter().map(|lane| lane.bytes.load(Ordering::Relaxed)).sum();
        let seconds = looked.elapsed().as_secs_f64().max(0.001);
        let rate = (carried.saturating_sub(before) as f64 / seconds) as u64;
        (before, looked) = (carried, Instant::now());
        let facts = LaneFacts { open: running.len(), rate, cores, max: LANES_PER_PEER_MAX };
        if running.len() < lanes_wanted(facts) && failures < LANE_TRIES_MAX {
            match open(&network, &frames, &mut answers, &deliver).await {
                Some(lane) => {
                    failures = 0;
                    running.push(lane);
                }
                None => failures += 1,
            }
        }
        sleep(if failures == 0 { LANE_LOOK } else { LANE_TRY_AGAIN }).await;
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
        let pace = if deliver.is_free() { Pace::Free } else { Pace::Kept(&wait) };
        match lane.receive(pool, runtime, pace) {
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
