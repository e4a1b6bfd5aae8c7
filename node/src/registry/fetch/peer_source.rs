//! [`PeerSource`]: one peer that pieces are fetched from: its stream, a task that reads the stream, a task that writes it,
//! and the lanes that carry its pieces if they connect.
//!
//! Reading and writing are separate tasks, so that a peer which does not read cannot keep this node from reading.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use reg_proto::digest::Digest;
use reg_proto::limits::BLOBS_FOLLOWED_MAX;
use reg_proto::peer::PeerId;
use reg_proto::wire::Frame;
use reg_transfer::{HEARD_BYTES, Nearness};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::debug;

use super::event::{Answer, Deliver, SourceEvent};
use super::lanes;
use super::traffic::Way;
use crate::net::{FrameReader, FrameWriter, Network, OpenStreamError, OpenedAhead, Pace, Received};
use crate::registry::limits::{FRAMES_TO_SEND_MAX, LANE_ANSWERS_MAX, SAY_SOMETHING};

/// A peer with an open stream. Dropping it closes the stream and its lanes.
#[derive(Debug)]
pub(super) struct PeerSource {
    frames: mpsc::Sender<Frame>,
    followed: BTreeSet<Digest>,
    opened: Instant,
    /// Whether the peer has said that it holds a wanted piece.
    pub holds_any: bool,
    /// How near the peer is: far until that is known.
    pub nearness: Nearness,
    heard: Heard,
    ways: Arc<AtomicU32>,
    /// The number of ways that was told last.
    told_ways: u32,
    _tasks: JoinSet<()>,
}

impl PeerSource {
    /// Opens a stream to `peer`, or takes one that was opened ahead, and starts its tasks. A frame with more than `states_max` bytes of piece states is refused.
    ///
    /// # Errors
    /// No stream to the peer can be opened.
    pub(super) async fn open(
        network: &Network,
        peer: PeerId,
        states_max: usize,
        deliver: Deliver,
    ) -> Result<Self, OpenStreamError> {
        let (mut reader, writer, ahead) = match network.take_ahead(peer).await {
            Some(OpenedAhead { reader, writer, lanes }) => (reader, writer, lanes),
            None => {
                let (reader, writer) = network.open_stream(peer).await?;
                (reader, writer, Vec::new())
            }
        };
        reader.set_states_max(states_max);
        reader.count_in(deliver.heard.clone());
        let (frames, to_send) = mpsc::channel(FRAMES_TO_SEND_MAX);
        let (answers, answered) = mpsc::channel(LANE_ANSWERS_MAX);
        let (heard, ways) = (Heard::of(deliver.heard.clone()), deliver.ways.clone());
        let mut tasks = JoinSet::new();
        if network.has_lanes() {
            tasks.spawn(lanes::keep(network.clone(), ahead, frames.clone(), answered, deliver.clone()));
        }
        tasks.spawn(read(reader, answers, deliver));
        tasks.spawn(write(peer, writer, to_send));
        let (followed, opened) = (BTreeSet::new(), Instant::now());
        Ok(Self {
            frames,
            followed,
            opened,
            holds_any: false,
            nearness: Nearness::default(),
            heard,
            ways,
            told_ways: 0,
            _tasks: tasks,
        })
    }

    /// Follows at most [`BLOBS_FOLLOWED_MAX`] of the missing blobs, and unfollows all others.
    pub(super) fn follow(&mut self, missing: &BTreeSet<Digest>) {
        let done: Vec<Digest> = self.followed.difference(missing).copied().collect();
        for blob in done {
            self.followed.remove(&blob);
            self.send(Frame::Unfollow { blob });
        }
        let room = BLOBS_FOLLOWED_MAX.saturating_sub(self.followed.len());
        let more: Vec<Digest> = missing.difference(&self.followed).copied().take(room).collect();
        for blob in more {
            self.followed.insert(blob);
            self.send(Frame::Follow { blob });
        }
    }

    /// Tells whether at least [`HEARD_BYTES`] of pieces have come since it last said so.
    pub(super) fn is_heard(&mut self) -> bool {
        self.heard.is_more()
    }

    /// Returns how many pieces the peer sends beside each other, if that has changed.
    pub(super) fn news_of_ways(&mut self) -> Option<u32> {
        let ways = self.ways.load(Ordering::Relaxed).max(1);
        (std::mem::replace(&mut self.told_ways, ways) != ways).then_some(ways)
    }

    /// Does not count so many bytes as heard: nobody has asked for them.
    pub(super) fn ignore(&mut self, bytes: u64) {
        self.heard.ignore(bytes);
    }

    /// Tells whether the peer has had time to say what it holds, and has named no wanted piece.
    pub(super) fn is_useless(&self) -> bool {
        !self.holds_any && self.opened.elapsed() > SAY_SOMETHING
    }

    /// Queues a small frame for the peer. Returns false if the queue of [`FRAMES_TO_SEND_MAX`] frames is full or closed.
    pub(super) fn send(&self, frame: Frame) -> bool {
        self.frames.try_send(frame).is_ok()
    }
}

/// Counts the bytes that a source has sent.
#[derive(Debug, Default)]
pub(super) struct Heard {
    bytes: Arc<AtomicU64>,
    /// The count when the source was last found to be heard.
    seen: u64,
}

impl Heard {
    pub(super) const fn of(bytes: Arc<AtomicU64>) -> Self {
        Self { bytes, seen: 0 }
    }

    fn ignore(&mut self, bytes: u64) {
        self.seen = self.seen.saturating_add(bytes);
    }

    /// Tells whether at least [`HEARD_BYTES`] have come since it last said so.
    pub(super) fn is_more(&mut self) -> bool {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let is_more = bytes.saturating_sub(self.seen) >= HEARD_BYTES;
        if is_more {
            self.seen = bytes;
        }
        is_more
    }
}

async fn read(mut reader: FrameReader, answers: mpsc::Sender<Answer>, deliver: Deliver) {
    let Deliver { peer, pool, events, .. } = &deliver;
    let (peer, wait) = (*peer, |bytes: usize| deliver.wait(bytes));
    loop {
        let event = match reader.receive(pool, Pace::Kept(&wait)).await {
            Ok(Some(Received::Piece { id, piece, bytes })) => {
                SourceEvent::Piece { peer, id, piece, bytes, way: Way::Stream }
            }
            Ok(Some(Received::Frame(Frame::LaneOffer { ports, token }))) => {
                // The queue is full only if the peer sends more answers than it was asked for: these are dropped.
                drop(answers.try_send(Answer::Offer { ports, token }));
                continue;
            }
            Ok(Some(Received::Frame(Frame::NoLane))) => {
                drop(answers.try_send(Answer::None));
                continue;
            }
            Ok(Some(Received::Frame(frame))) => SourceEvent::Frame { peer, frame },
            Ok(None) => break,
            Err(error) => {
                debug!(%peer, %error, "a peer's stream broke");
                break;
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
    drop(events.send(SourceEvent::Gone { peer }).await);
}

async fn write(peer: PeerId, mut writer: FrameWriter, mut frames: mpsc::Receiver<Frame>) {
    while let Some(frame) = frames.recv().await {
        if let Err(error) = writer.send(&frame).await {
            debug!(%peer, %error, "a peer's stream does not take more");
            return;
        }
    }
}
