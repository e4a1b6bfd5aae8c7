//! Serves one blob stream: sends verified pieces to the puller, over its lanes if it has any.
//!
//! One task reads the frames of a stream and another answers them, so that a puller which does not read its pieces can still
//! cancel. Verified pieces of partial blobs are served too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reg_proto::digest::Digest;
use reg_proto::limits::{BLOBS_FOLLOWED_MAX, REQUEST_PIECES_MAX, REQUESTS_WAITING_MAX};
use reg_proto::peer::PeerId;
use reg_proto::piece::{BlobLayout, PieceIndex, PieceSet};
use reg_proto::wire::{Frame, Held, Rejection};
use reg_transfer::{Asked, Turn};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::Serving;
use super::lane::{self, Said, ServingLane};
use super::pieces::{PieceReader, Requests};
use super::queue::Slot;
use crate::metrics::Place;
use crate::net::{FrameError, FrameReader, FrameWriter, InboundStream, Pace};
use crate::registry::fetch::Way;
use crate::registry::limits::{
    FAILED_RETRY_MS, LANE_ANSWER_TIMEOUT, LANE_ANSWERS_MAX, LANE_WARM_BYTES, NEWS_INTERVAL, PAUSED_RETRY_MS,
};
use crate::store::{Partial, ReadError};

/// Frames that were read and not answered yet: one for each waiting request and for each followed blob.
const FRAMES_WAITING_MAX: usize = REQUESTS_WAITING_MAX + BLOBS_FOLLOWED_MAX;

/// The state of one stream that is served.
struct StreamServer {
    serving: Arc<Serving>,
    peer: PeerId,
    /// Where the peer was when it opened the stream.
    place: Place,
    writer: FrameWriter,
    requests: Arc<Requests>,
    /// What the puller was last told of each blob that it follows.
    followed: BTreeMap<Digest, Held>,
    /// The reader of pieces; `None` while a blocking task uses it.
    reader: Option<PieceReader>,
    /// Lanes with a running thread, by number.
    lanes: BTreeMap<u64, ServingLane>,
    /// Lanes that have ended before this task has taken them: at most as many as are offered, because only their ends take lanes
    /// away. Where this task ends first, what it was offered is dropped, and that ends their threads.
    ended: BTreeSet<u64>,
    /// Bytes of pieces that lanes have carried.
    carried: Arc<AtomicU64>,
    /// Lanes that were offered and have not connected yet. Each begins to serve as soon as it connects.
    offered: JoinSet<Option<(u64, ServingLane)>>,
    said: (mpsc::Sender<Said>, mpsc::Receiver<Said>),
}

/// Serves one stream until the peer closes it or violates the protocol.
pub(super) async fn serve(serving: Arc<Serving>, stream: InboundStream) {
    let InboundStream { peer, reader, writer } = stream;
    let (frames, received) = mpsc::channel(FRAMES_WAITING_MAX);
    let reading = tokio::spawn(read(peer, reader, frames));
    let requests = Arc::new(Requests::new(serving.queue_of(peer).await.join(peer)));
    let place = Place::of_peer(serving.fetching.is_in_zone(peer).await);
    let server = StreamServer {
        reader: Some(PieceReader::new(serving.clone(), requests.clone())),
        serving,
        peer,
        place,
        writer,
        requests,
        followed: BTreeMap::new(),
        lanes: BTreeMap::new(),
        ended: BTreeSet::new(),
        carried: Arc::default(),
        offered: JoinSet::new(),
        said: mpsc::channel(LANE_ANSWERS_MAX),
    };
    if let Err(error) = server.run(received).await {
        debug!(%peer, %error, "a stream that was served broke");
    }
    reading.abort();
}

impl Drop for StreamServer {
    fn drop(&mut self) {
        self.requests.place.end();
        self.followed.keys().for_each(|blob| self.serving.pullers.left(blob, &self.peer));
    }
}

async fn read(peer: PeerId, mut reader: FrameReader, frames: mpsc::Sender<Frame>) {
    loop {
        match reader.next().await {
            Ok(Some(frame)) => {
                if frames.send(frame).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                debug!(%peer, %error, "a stream that was served broke");
                return;
            }
        }
    }
}

impl StreamServer {
    async fn run(mut self, mut frames: mpsc::Receiver<Frame>) -> Result<(), FrameError> {
        let mut news = tokio::time::interval(NEWS_INTERVAL);
        news.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                frame = frames.recv() => match frame {
                    Some(frame) => self.on_frame(frame).await?,
                    None => return Ok(()),
                },
                Some(said) = self.said.1.recv() => self.on_said(said).await?,
                Some(lane) = self.offered.join_next() => self.on_lane(lane.ok().flatten()),
                _ = news.tick() => self.tell_news().await?,
                slot = self.requests.place.turn(), if self.carries_pieces() => self.serve_next(slot).await?,
            }
        }
    }

    /// Tells whether the stream sends pieces: until lanes have carried [`LANE_WARM_BYTES`], or where there is none. A new lane
    /// begins slowly, and on a long line the stream has grown fast by then.
    fn carries_pieces(&self) -> bool {
        self.lanes.is_empty() || self.carried.load(Ordering::Relaxed) < LANE_WARM_BYTES
    }

    async fn on_frame(&mut self, frame: Frame) -> Result<(), FrameError> {
        match frame {
            Frame::Follow { blob } => self.follow(blob).await,
            Frame::Unfollow { blob } => {
                if self.followed.remove(&blob).is_some() {
                    self.serving.pullers.left(&blob, &self.peer);
                }
                Ok(())
            }
            Frame::Request { id, blob, first, count } => self.enqueue(Asked { id, blob, first, count }).await,
            Frame::Cancel { id } => {
                self.requests.place.cancel(id);
                Ok(())
            }
            Frame::WantLane => self.offer_lane().await,
            Frame::GetStates { blob } => self.send_states(blob).await,
            Frame::Complain { blob, piece } => {
                self.look_at(blob, piece);
                Ok(())
            }
            frame => {
                debug!(peer = %self.peer, ?frame, "a puller sent a frame that only servers send");
                Ok(())
            }
        }
    }

    async fn follow(&mut self, blob: Digest) -> Result<(), FrameError> {
        if self.followed.len() >= BLOBS_FOLLOWED_MAX && !self.followed.contains_key(&blob) {
            return Ok(());
        }
        let pieces = self.serving.held(&blob);
        if self.followed.insert(blob, pieces.clone()).is_none() {
            self.serving.pullers.joined(blob, self.peer);
        }
        self.writer.send(&Frame::Holds { blob, pieces }).await
    }

    /// Tells the puller which pieces of followed blobs this node has got or lost since the last call.
    async fn tell_news(&mut self) -> Result<(), FrameError> {
        while self.serving.fetching.priorities.is_all_paused()
            && let Some(id) = self.requests.place.any()
        {
            self.requests.place.cancel(id);
            self.reject(id, Rejection::Busy { retry_ms: PAUSED_RETRY_MS }).await?;
        }
        let changed: Vec<(Digest, Held)> = self
            .followed
            .iter()
            .map(|(blob, told)| (*blob, told, self.serving.held(blob)))
            .filter(|(_, told, held)| *told != held)
            .map(|(blob, _, held)| (blob, held))
            .collect();
        for (blob, pieces) in changed {
            self.requests.change();
            let told = self.followed.insert(blob, pieces.clone());
            let gained = told.and_then(|told| pieces.gained_since(&told));
            let news = match gained {
                Some(runs) => Frame::Has { blob, runs },
                None => Frame::Holds { blob, pieces },
            };
            self.writer.send(&news).await?;
        }
        Ok(())
    }

    async fn enqueue(&mut self, asked: Asked) -> Result<(), FrameError> {
        let Asked { id, count, .. } = asked;
        if count == 0 || count > REQUEST_PIECES_MAX {
            return self.reject(id, Rejection::Malformed).await;
        }
        if self.serving.fetching.priorities.is_all_paused() {
            return self.reject(id, Rejection::Busy { retry_ms: PAUSED_RETRY_MS }).await;
        }
        let allowed = self.serving.donated.allow(&asked.blob, count);
        match allowed.and_then(|()| self.requests.place.add(asked)) {
            Ok(()) => Ok(()),
            Err(retry) => {
                let retry_ms = u32::try_from(retry.as_millis()).unwrap_or(u32::MAX);
                self.reject(id, Rejection::Busy { retry_ms }).await
            }
        }
    }

    async fn offer_lane(&mut self) -> Result<(), FrameError> {
        let ticket =
            self.serving.network.offer_lane(self.peer).filter(|_| self.offered.len() < LANE_ANSWERS_MAX);
        let Some(ticket) = ticket else { return self.writer.send(&Frame::NoLane).await };
        let (serving, says, number) =
            (self.serving.clone(), self.said.0.clone(), self.serving.ids.fetch_add(1, Ordering::Relaxed));
        let (peer, requests, carried) =
            ((self.peer, self.place), self.requests.clone(), self.carried.clone());
        // This task does not wait for the stream, which sends a whole piece meanwhile: over a long line that takes a second.
        self.offered.spawn(async move {
            let lane = timeout(LANE_ANSWER_TIMEOUT, ticket.lane).await.ok()?.ok()?;
            match lane::start(serving, peer, requests, lane, number, says, carried) {
                Ok(lane) => Some((number, lane)),
                Err(error) => {
                    warn!(peer = %peer.0, %error, "a lane cannot be served");
                    None
                }
            }
        });
        self.writer.send(&Frame::LaneOffer { ports: ticket.ports, token: ticket.token }).await
    }

    /// Takes a lane that serves already; `None` means that it did not connect.
    fn on_lane(&mut self, lane: Option<(u64, ServingLane)>) {
        if let Some((number, lane)) = lane.filter(|(number, _)| !self.ended.remove(number)) {
            self.lanes.insert(number, lane);
        }
    }

    async fn on_said(&mut self, said: Said) -> Result<(), FrameError> {
        match said {
            Said::Refused { id, blob, reason } => self.refuse(id, blob, reason).await,
            Said::Ended { lane } => {
                if self.lanes.remove(&lane).is_none() {
                    self.ended.insert(lane);
                }
                Ok(())
            }
        }
    }

    async fn reject(&mut self, id: u32, reason: Rejection) -> Result<(), FrameError> {
        self.serving.fetching.metrics.request_refused(&reason);
        self.writer.send(&Frame::Reject { id, reason }).await
    }

    /// Rejects a request for a blob that turned out not to be as announced, so that the puller is told again what is held.
    async fn refuse(&mut self, id: u32, blob: Digest, reason: Rejection) -> Result<(), FrameError> {
        self.requests.change();
        if let Some(told) = self.followed.get_mut(&blob) {
            *told = Held::None;
        }
        self.reject(id, reason).await
    }

    /// Sends one piece. The caller handles frames between pieces.
    async fn serve_next(&mut self, slot: Slot) -> Result<(), FrameError> {
        let turn = slot.turn();
        let Turn { id, blob, piece, is_first, .. } = turn;
        let reader = self.reader.take();
        let mut reader =
            reader.unwrap_or_else(|| PieceReader::new(self.serving.clone(), self.requests.clone()));
        let read = tokio::task::spawn_blocking(move || {
            let refused = reader.read(&turn).err();
            (reader, refused)
        });
        match read.await {
            Ok((reader, None)) => {
                let bytes = reader.bytes().len();
                let pace = |bytes: usize| slot.pace(bytes);
                let pace = if self.requests.place.is_limited() { Pace::Kept(&pace) } else { Pace::Free };
                self.writer.send_paced(id, piece, reader.bytes(), pace).await?;
                let traffic = &self.serving.fetching.traffic;
                traffic.count_served(self.peer, bytes as u64, is_first, Way::Stream, self.place);
                slot.sent(bytes);
                self.reader = Some(reader);
                Ok(())
            }
            Ok((reader, Some(reason))) => {
                self.reader = Some(reader);
                self.requests.place.cancel(id);
                drop(slot);
                self.refuse(id, blob, reason).await
            }
            Err(_) => {
                self.requests.place.cancel(id);
                drop(slot);
                self.refuse(id, blob, Rejection::NotHere).await
            }
        }
    }

    async fn send_states(&mut self, blob: Digest) -> Result<(), FrameError> {
        let serving = self.serving.clone();
        let states = tokio::task::spawn_blocking(move || {
            serving.trust.gives_blob(&blob).then(|| serving.store.states(&blob))
        })
        .await;
        match states {
            Ok(Some(Ok(states))) => self.writer.send(&Frame::States { blob, bytes: states.to_bytes() }).await,
            _ => self.writer.send(&Frame::NoStates { blob }).await,
        }
    }

    /// Rehashes a piece that the peer complains about, in another task.
    fn look_at(&self, blob: Digest, piece: u32) {
        let size = self.serving.store.blob_size(&blob).and_then(|size| BlobLayout::new(size).ok());
        let Some(piece) = size.and_then(|layout| layout.piece(piece)) else { return };
        self.serving.recheck_later(blob, Some(piece));
    }
}

impl Serving {
    /// Returns which pieces of a blob this node serves.
    fn held(self: &Arc<Self>, blob: &Digest) -> Held {
        if self.trust.is_unserved(blob) || !self.trust.gives_blob(blob) {
            return Held::None;
        }
        if self.store.contains(blob) && !self.is_suspect(blob) {
            return Held::All;
        }
        let partials = self.store.open_partial(blob);
        let best: Option<PieceSet> = partials.iter().map(Partial::have).max_by_key(PieceSet::count);
        best.map_or(Held::None, |pieces| Held::from_set(&pieces))
    }

    /// Handles an error of reading a blob that is served, and returns the reason to reject the request.
    pub(super) fn on_read_error(&self, blob: Digest, error: &ReadError) -> Rejection {
        match error {
            ReadError::Unverified { .. } => {
                self.recheck_later(blob, None);
                Rejection::Unverified
            }
            // The disk failed, and mostly works the next time.
            ReadError::Io { .. } | ReadError::Index(_) => {
                warn!(%blob, %error, "a blob cannot be read now");
                Rejection::Busy { retry_ms: FAILED_RETRY_MS }
            }
            ReadError::NotHere { .. } | ReadError::NoPiece { .. } => Rejection::NotHere,
            error => {
                warn!(%blob, %error, "a blob cannot be served");
                Rejection::NotHere
            }
        }
    }

    /// Tells whether a blob is being rehashed.
    pub(super) fn is_suspect(&self, blob: &Digest) -> bool {
        self.suspects.lock().expect("no holder of this lock panics").contains(blob)
    }

    /// Rehashes a blob, or one piece of it, in another task. The blob is not served meanwhile.
    fn recheck_later(&self, blob: Digest, piece: Option<PieceIndex>) {
        let mut suspects = self.suspects.lock().expect("no holder of this lock panics");
        if piece.is_none() && !suspects.insert(blob) {
            return;
        }
        drop(suspects);
        let (store, suspects) = (self.store.clone(), self.suspects.clone());
        tokio::task::spawn_blocking(move || {
            let damaged = match piece {
                Some(piece) => !store.recheck_piece(&blob, piece).unwrap_or(true),
                None => true,
            };
            if damaged {
                suspects.lock().expect("no holder of this lock panics").insert(blob);
                match store.recheck(&blob, &|_| {}) {
                    Ok(outcome) => warn!(%blob, ?outcome, "a blob that may have changed was rehashed"),
                    Err(error) => warn!(%blob, %error, "a blob that may have changed cannot be rehashed"),
                }
            }
            suspects.lock().expect("no holder of this lock panics").remove(&blob);
        });
    }
}
