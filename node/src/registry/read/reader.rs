//! [`BlobReader`]: the verified bytes of a blob in order, from the store, or from sources as they send them.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use reg_proto::digest::Digest;
use reg_proto::piece::{BlobLayout, PIECE_LEN, PieceIndex};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::Reading;
use super::error::ReaderError;
use super::on_demand::OnDemand;
use crate::metrics::Begun;
use crate::registry::limits::{
    CLIENT_STALL, DESERTED_PATIENCE, LOOK_AGAIN, READ_AHEAD, READ_PATIENCE, READER_TURN,
};
use crate::registry::model::record::ModelRecord;
use crate::registry::resolve::ModelView;
use crate::store::{BlobFile, Partial};

/// A stream of verified bytes of a blob. Dropping it ends the fetching that was done for it.
#[derive(Debug)]
pub struct BlobReader {
    first: Option<Bytes>,
    rest: mpsc::Receiver<Result<Bytes, ReaderError>>,
    task: JoinHandle<()>,
    _turn: OwnedSemaphorePermit,
}

impl BlobReader {
    /// Returns a reader of the bytes that the task of `start` sends. It holds `turn`, its permit to read, until it is dropped.
    pub fn new(turn: OwnedSemaphorePermit, start: impl FnOnce(Sender) -> JoinHandle<()>) -> Self {
        let (sender, rest) = mpsc::channel(READ_AHEAD);
        Self { first: None, rest, task: start(sender), _turn: turn }
    }

    /// Returns the reader once its first bytes have arrived.
    ///
    /// # Errors
    /// The first bytes cannot be read or fetched.
    pub async fn begun(mut self) -> Result<Self, ReaderError> {
        self.first = self.rest.recv().await.transpose()?;
        Ok(self)
    }

    /// Returns the next bytes; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, ReaderError>> {
        match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => self.rest.recv().await,
        }
    }

    /// Returns the bytes that are left. Ends early once there are more than `max`.
    ///
    /// # Errors
    /// The bytes cannot be read or fetched.
    pub async fn to_end(mut self, max: usize) -> Result<Vec<u8>, ReaderError> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await {
            all.extend_from_slice(&bytes?);
            if all.len() > max {
                break;
            }
        }
        Ok(all)
    }
}

impl Drop for BlobReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reading {
    /// Reads `range` (in bytes) of a blob of a model for a client. It returns once the first bytes have arrived, and records how
    /// long that took.
    ///
    /// # Errors
    /// The first bytes do not arrive within 9 s, or there is no disk space for them: see [`ReaderError`].
    pub async fn read(
        self: &Arc<Self>,
        view: &Arc<ModelView>,
        blob: Digest,
        layout: BlobLayout,
        range: Range<u64>,
    ) -> Result<BlobReader, ReaderError> {
        let begun = Instant::now();
        let (reader, from) = self.begin(view, blob, layout, range).await?;
        self.fetching.metrics.first_bytes(from, begun.elapsed());
        Ok(reader)
    }

    /// Reads as [`Self::read`] does, also for what this node looks at itself. Returns where the first bytes came from, too.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub(super) async fn begin(
        self: &Arc<Self>,
        view: &Arc<ModelView>,
        blob: Digest,
        layout: BlobLayout,
        range: Range<u64>,
    ) -> Result<(BlobReader, Begun), ReaderError> {
        let turn = self.turn().await?;
        self.store.touch(&view.digest());
        let cut = Cut { layout, range };
        let mut from = Begun::Swarm;
        let reader = match self.open_whole(blob).await? {
            Some(file) => {
                from = Begun::Store;
                BlobReader::new(turn, |sender| send_in_order(blob, file, cut, sender))
            }
            None if self.network.is_offline() => return Err(ReaderError::Offline { blob }),
            None => match self.read_on_demand(view, blob, layout).await? {
                (reader, Some(partial)) => {
                    BlobReader::new(turn, |sender| tokio::spawn(send_on_demand(reader, partial, cut, sender)))
                }
                (_, None) => {
                    let file = self.open_whole(blob).await?.ok_or(ReaderError::NoStates { blob })?;
                    BlobReader::new(turn, |sender| send_in_order(blob, file, cut, sender))
                }
            },
        };
        Ok((reader.begun().await?, from))
    }

    /// Returns the models in the store that need a blob, each with its manifest. Goes through the records of all models, for one
    /// caller after the other: any client may ask.
    ///
    /// # Errors
    /// The records cannot be read, so that a model may need it.
    pub async fn models_with(
        self: &Arc<Self>,
        blob: &Digest,
    ) -> Result<Vec<(Digest, ModelRecord)>, ReaderError> {
        let alone = self.searching.clone().lock_owned().await;
        let (store, blob) = (self.store.clone(), *blob);
        let look = move || {
            let _alone = alone;
            let all = ModelRecord::all(&store)
                .map_err(|source| ReaderError::Read { blob, source: Arc::new(source) })?;
            let needs =
                |(manifest, it): &(Digest, ModelRecord)| *manifest == blob || it.blobs.contains(&blob);
            Ok(all.into_iter().filter(needs).collect())
        };
        tokio::task::spawn_blocking(look).await.map_err(|_| ReaderError::Interrupted)?
    }

    /// Reads `range` (in bytes) of a blob that is whole in the store. It may return before the first bytes were read.
    ///
    /// # Errors
    /// The store has no such blob, or too many readers read at once: see [`ReaderError`].
    pub async fn read_whole(
        &self,
        blob: Digest,
        layout: BlobLayout,
        range: Range<u64>,
    ) -> Result<BlobReader, ReaderError> {
        let turn = self.turn().await?;
        let file = self.open_whole(blob).await?.ok_or(ReaderError::Offline { blob })?;
        Ok(BlobReader::new(turn, |sender| send_in_order(blob, file, Cut { layout, range }, sender)))
    }

    /// Waits for one of the `READERS_MAX` permits to read.
    ///
    /// # Errors
    /// No permit becomes free in time.
    pub async fn turn(&self) -> Result<OwnedSemaphorePermit, ReaderError> {
        let turn = timeout(READER_TURN, self.readers.clone().acquire_owned()).await;
        turn.map_err(|_| ReaderError::Busy)?.map_err(|_| ReaderError::Interrupted)
    }

    /// Opens a blob that is whole in the store; `None` if there is none. Rehashes it first if its file has changed.
    ///
    /// # Errors
    /// The task that opens it ended early. A blob that cannot be opened counts as one that is not there.
    pub async fn open_whole(&self, blob: Digest) -> Result<Option<BlobFile>, ReaderError> {
        let store = self.store.clone();
        let open = move || {
            let file = store.open_blob(&blob).ok();
            if file.is_none() && store.contains(&blob) {
                tracing::warn!(%blob, "a blob that the store knows cannot be read");
            }
            file
        };
        tokio::task::spawn_blocking(open).await.map_err(|_| ReaderError::Interrupted)
    }
}

/// Sends `range` (in bytes) of a blob that is whole in the store.
///
/// # Errors
/// The store has no such blob. An error of reading it is sent to the reader.
pub async fn send_from_store(
    reading: &Reading,
    blob: Digest,
    layout: BlobLayout,
    range: Range<u64>,
    sender: Sender,
) -> Result<(), ReaderError> {
    let file = reading.open_whole(blob).await?.ok_or(ReaderError::Offline { blob })?;
    send_in_order(blob, file, Cut { layout, range }, sender).await.map_err(|_| ReaderError::Interrupted)
}

/// The bytes of a blob that are read.
#[derive(Debug, Clone)]
struct Cut {
    layout: BlobLayout,
    range: Range<u64>,
}

impl Cut {
    fn pieces(&self) -> Range<u32> {
        let index = |at: u64| u32::try_from(at).unwrap_or(u32::MAX);
        if self.range.is_empty() {
            return 0..0;
        }
        index(self.range.start / PIECE_LEN)..index(self.range.end.div_ceil(PIECE_LEN))
    }

    /// Returns the part of a piece that is read.
    fn part(&self, piece: PieceIndex, bytes: Bytes) -> Bytes {
        let offset = self.layout.offset(piece);
        let within =
            |at: u64| usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
        bytes.slice(within(self.range.start)..within(self.range.end))
    }
}

/// The buffers of one reader. A buffer is used again once its bytes were sent to the client, because touching new memory costs
/// more than reading a piece into it. There are as many buffers as pieces that are read ahead or being sent.
#[derive(Debug, Default)]
struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer that goes back to the pool when its last reader drops it.
struct Lent {
    bytes: Vec<u8>,
    home: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Buffers {
    /// Reads into a buffer of the pool.
    fn read<E>(&self, read: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Bytes, E> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut lent = Lent { bytes: free.unwrap_or_default(), home: self.0.clone() };
        read(&mut lent.bytes)?;
        Ok(Bytes::from_owner(lent))
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.home.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

/// The channel through which the bytes of a reader come.
pub type Sender = mpsc::Sender<Result<Bytes, ReaderError>>;

fn send_in_order(blob: Digest, file: BlobFile, cut: Cut, sender: Sender) -> JoinHandle<()> {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || send_whole(&runtime, blob, &file, &cut, &sender))
}

fn send_whole(runtime: &Handle, blob: Digest, file: &BlobFile, cut: &Cut, sender: &Sender) {
    let buffers = Buffers::default();
    for piece in cut.pieces().filter_map(|index| cut.layout.piece(index)) {
        let read = buffers.read(|buffer| file.read_piece(piece, buffer));
        let part = read
            .map(|bytes| cut.part(piece, bytes))
            .map_err(|source| ReaderError::Read { blob, source: Arc::new(source) });
        let failed = part.is_err();
        if runtime.block_on(sender.send_timeout(part, CLIENT_STALL)).is_err() || failed {
            return;
        }
    }
}

async fn send_on_demand(on_demand: OnDemand, partial: Partial, cut: Cut, sender: Sender) {
    let blob = partial.digest();
    on_demand.read(blob, cut.pieces());
    let mut news = on_demand.news(&blob);
    for piece in cut.pieces().filter_map(|index| cut.layout.piece(index)) {
        let mut last_news = Instant::now();
        while !partial.has(piece) {
            let starved = ReaderError::Starved { seconds: READ_PATIENCE.as_secs() };
            let why = match on_demand.failure(&blob) {
                None if on_demand.is_paused() => Some(ReaderError::Paused { blob }),
                None if on_demand.is_deserted(&blob) && last_news.elapsed() >= DESERTED_PATIENCE => {
                    Some(ReaderError::Deserted { blob })
                }
                None => (last_news.elapsed() >= READ_PATIENCE).then_some(starved),
                failure => failure,
            };
            if let Some(why) = why {
                drop(sender.send(Err(why)).await);
                return;
            }
            if timeout(LOOK_AGAIN, news.changed()).await.is_ok() {
                last_news = Instant::now();
            }
        }
        let partial = partial.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            partial.read_piece(piece, &mut bytes).map(|()| bytes)
        });
        let part = match read.await {
            Ok(Ok(bytes)) => Ok(cut.part(piece, Bytes::from(bytes))),
            Ok(Err(source)) => Err(ReaderError::Read { blob, source: Arc::new(source) }),
            Err(_) => Err(ReaderError::Interrupted),
        };
        let failed = part.is_err();
        if sender.send_timeout(part, CLIENT_STALL).await.is_err() || failed {
            return;
        }
    }
}
