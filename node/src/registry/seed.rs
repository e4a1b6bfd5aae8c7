//! Serving: what is here and verified goes to whoever asks for it on a blob stream.
//!
//! One task reads a stream's frames and one answers them, so that a puller which does not read its pieces can still
//! cancel. Partial blobs are served as far as they are verified.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use reg_proto::digest::Digest;
use reg_proto::limits::{BLOBS_FOLLOWED_MAX, REQUEST_PIECES_MAX, REQUESTS_WAITING_MAX};
use reg_proto::peer::PeerId;
use reg_proto::piece::{BlobLayout, PieceIndex, PieceSet};
use reg_proto::wire::{Frame, Held, Rejection};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::Inner;
use super::limits::{BUSY_RETRY_MS, NEWS_INTERVAL};
use crate::net::{FrameError, FrameReader, FrameWriter, InboundStream};
use crate::store::{BlobFile, Partial, ReadError};

/// Frames read and not yet answered: what a stream may have waiting, and its small frames.
const FRAMES_WAITING_MAX: usize = REQUESTS_WAITING_MAX + BLOBS_FOLLOWED_MAX;
/// Blob files one stream keeps open: a sharded model's files are asked for one after another.
const OPEN_BLOBS_MAX: usize = 8;

/// A request that waits for its turn.
struct Waiting {
    id: u32,
    blob: Digest,
    first: u32,
    count: u32,
}

/// Where a blob's bytes are served from.
#[derive(Clone)]
enum Serving {
    Whole(Arc<BlobFile>),
    Part(Partial),
}

/// What one stream has asked for.
struct Server {
    inner: Arc<Inner>,
    peer: PeerId,
    writer: FrameWriter,
    queue: VecDeque<Waiting>,
    /// What was last said of each blob that is followed.
    followed: BTreeMap<Digest, Held>,
    open: BTreeMap<Digest, Serving>,
}

/// Serves one stream until the peer closes it, or says something that nobody may say.
pub(super) async fn serve(inner: Arc<Inner>, stream: InboundStream) {
    let InboundStream { peer, reader, writer } = stream;
    let (frames, received) = mpsc::channel(FRAMES_WAITING_MAX);
    let reading = tokio::spawn(read(peer, reader, frames));
    let server = Server {
        inner,
        peer,
        writer,
        queue: VecDeque::new(),
        followed: BTreeMap::new(),
        open: BTreeMap::new(),
    };
    if let Err(error) = server.run(received).await {
        debug!(%peer, %error, "a stream that was served broke");
    }
    reading.abort();
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

impl Server {
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
                _ = news.tick() => self.tell_news().await?,
                () = std::future::ready(()), if !self.queue.is_empty() => self.serve_next().await?,
            }
        }
    }

    async fn on_frame(&mut self, frame: Frame) -> Result<(), FrameError> {
        match frame {
            Frame::Follow { blob } => self.follow(blob).await,
            Frame::Unfollow { blob } => {
                self.followed.remove(&blob);
                Ok(())
            }
            Frame::Request { id, blob, first, count } => {
                self.enqueue(Waiting { id, blob, first, count }).await
            }
            Frame::Cancel { id } => {
                self.queue.retain(|it| it.id != id);
                Ok(())
            }
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
        let pieces = self.inner.held(&blob);
        self.followed.insert(blob, pieces.clone());
        self.writer.send(&Frame::Holds { blob, pieces }).await
    }

    /// Tells of pieces that have come, or gone, since it was last told.
    async fn tell_news(&mut self) -> Result<(), FrameError> {
        let changed: Vec<(Digest, Held)> = self
            .followed
            .iter()
            .map(|(blob, told)| (*blob, told, self.inner.held(blob)))
            .filter(|(_, told, held)| *told != held)
            .map(|(blob, _, held)| (blob, held))
            .collect();
        for (blob, pieces) in changed {
            self.open.remove(&blob);
            self.followed.insert(blob, pieces.clone());
            self.writer.send(&Frame::Holds { blob, pieces }).await?;
        }
        Ok(())
    }

    async fn enqueue(&mut self, request: Waiting) -> Result<(), FrameError> {
        let Waiting { id, count, .. } = request;
        if count == 0 || count > REQUEST_PIECES_MAX {
            return self.reject(id, Rejection::Malformed).await;
        }
        if self.queue.len() >= REQUESTS_WAITING_MAX {
            return self.reject(id, Rejection::Busy { retry_ms: BUSY_RETRY_MS }).await;
        }
        self.queue.push_back(request);
        Ok(())
    }

    async fn reject(&mut self, id: u32, reason: Rejection) -> Result<(), FrameError> {
        self.writer.send(&Frame::Reject { id, reason }).await
    }

    /// Rejects a request for a blob that is not as it was thought to be: what is held of it next will be news.
    async fn refuse(&mut self, id: u32, blob: Digest, reason: Rejection) -> Result<(), FrameError> {
        self.open.remove(&blob);
        if let Some(told) = self.followed.get_mut(&blob) {
            *told = Held::None;
        }
        self.reject(id, reason).await
    }

    /// Sends one piece of the request whose turn it is, so that frames are looked at between pieces.
    async fn serve_next(&mut self) -> Result<(), FrameError> {
        let Some(Waiting { id, blob, first, count }) = self.queue.pop_front() else { return Ok(()) };
        let serving = match self.serving(blob).await {
            Ok(serving) => serving,
            Err(reason) => return self.refuse(id, blob, reason).await,
        };
        let Some(piece) = serving.layout().piece(first) else {
            return self.reject(id, Rejection::Malformed).await;
        };
        match serving.read(piece).await {
            Ok(bytes) => {
                self.inner.traffic.count_served(self.peer, bytes.len() as u64);
                self.writer.send_piece(id, first, &bytes).await?;
                if count > 1 {
                    self.queue.push_front(Waiting {
                        id,
                        blob,
                        first: first.saturating_add(1),
                        count: count - 1,
                    });
                }
                Ok(())
            }
            Err(error) => {
                let reason = self.inner.on_read_error(blob, &error);
                self.refuse(id, blob, reason).await
            }
        }
    }

    async fn serving(&mut self, blob: Digest) -> Result<Serving, Rejection> {
        if let Some(serving) = self.open.get(&blob) {
            return Ok(serving.clone());
        }
        let inner = self.inner.clone();
        let serving = tokio::task::spawn_blocking(move || inner.open_serving(blob))
            .await
            .unwrap_or(Err(Rejection::NotHere))?;
        if self.open.len() >= OPEN_BLOBS_MAX {
            self.open.pop_first();
        }
        self.open.insert(blob, serving.clone());
        Ok(serving)
    }

    async fn send_states(&mut self, blob: Digest) -> Result<(), FrameError> {
        let store = self.inner.store.clone();
        let states = tokio::task::spawn_blocking(move || store.states(&blob)).await;
        match states {
            Ok(Ok(states)) => self.writer.send(&Frame::States { blob, bytes: states.to_bytes() }).await,
            _ => self.writer.send(&Frame::NoStates { blob }).await,
        }
    }

    /// A peer says that a piece does not match: look, once at a time, off this task.
    fn look_at(&self, blob: Digest, piece: u32) {
        let size = self.inner.store.blob_size(&blob).and_then(|size| BlobLayout::new(size).ok());
        let Some(piece) = size.and_then(|layout| layout.piece(piece)) else { return };
        self.inner.recheck_later(blob, Some(piece));
    }
}

impl Serving {
    fn layout(&self) -> BlobLayout {
        match self {
            Self::Whole(file) => file.layout(),
            Self::Part(partial) => partial.states().layout(),
        }
    }

    async fn read(&self, piece: PieceIndex) -> Result<Vec<u8>, ReadError> {
        let serving = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            match serving {
                Self::Whole(file) => file.read_piece(piece, &mut bytes)?,
                Self::Part(partial) => partial.read_piece(piece, &mut bytes)?,
            }
            Ok(bytes)
        });
        read.await.unwrap_or(Err(ReadError::Interrupted))
    }
}

impl Inner {
    /// Returns what this node holds of a blob, as it tells peers.
    fn held(&self, blob: &Digest) -> Held {
        if self.store.contains(blob) && !self.is_suspect(blob) {
            return Held::All;
        }
        let partials = self.store.open_partial(blob);
        let best: Option<PieceSet> = partials.iter().map(Partial::have).max_by_key(PieceSet::count);
        best.map_or(Held::None, |pieces| Held::from_set(&pieces))
    }

    fn open_serving(&self, blob: Digest) -> Result<Serving, Rejection> {
        if self.is_suspect(&blob) {
            return Err(Rejection::Unverified);
        }
        match self.store.open_blob(&blob) {
            Ok(file) => return Ok(Serving::Whole(Arc::new(file))),
            Err(ReadError::NotHere { .. }) => {}
            Err(error) => return Err(self.on_read_error(blob, &error)),
        }
        let partials = self.store.open_partial(&blob);
        let best = partials.into_iter().max_by_key(|partial| partial.have().count());
        best.map(Serving::Part).ok_or(Rejection::NotHere)
    }

    fn on_read_error(&self, blob: Digest, error: &ReadError) -> Rejection {
        match error {
            ReadError::Unverified { .. } => {
                self.recheck_later(blob, None);
                Rejection::Unverified
            }
            ReadError::NotHere { .. } => Rejection::NotHere,
            error => {
                warn!(%blob, %error, "a blob cannot be served");
                Rejection::NotHere
            }
        }
    }

    fn is_suspect(&self, blob: &Digest) -> bool {
        self.suspects.lock().expect("no holder of this lock panics").contains(blob)
    }

    /// Rehashes a blob, or one piece of it, off this task; it is not served meanwhile.
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
                    Ok(outcome) => warn!(%blob, ?outcome, "a blob that had changed was looked at"),
                    Err(error) => warn!(%blob, %error, "a blob that had changed cannot be looked at"),
                }
            }
            suspects.lock().expect("no holder of this lock panics").remove(&blob);
        });
    }
}

/// The blobs that are being looked at, which are not served meanwhile.
pub(super) type Suspects = BTreeSet<Digest>;
