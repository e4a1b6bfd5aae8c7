//! Fetches small blobs many at a time: over one stream of a peer, with many requests under way, and stored in batches.
//!
//! A blob of one piece needs no states, no partial file and no schedule. So thousands of files cost a request and a part of a
//! batch each. The requests are those of every pull, so that every peer understands them. What no peer sends this way is left
//! to the download.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reg_api::progress::Progress;
use reg_api::reporter::Reporter;
use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::piece::BlobLayout;
use reg_proto::wire::{Frame, Rejection};
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::info;

use super::traffic::Way;
use super::{Fetching, Pulling};
use crate::metrics::Unwanted;
use crate::net::FrameWriter;
use crate::registry::limits::{
    BUSY_WAIT_MAX, SMALL_AGAIN, SMALL_BATCH_BLOBS, SMALL_BATCH_BYTES, SMALL_BLOB_BYTES_MAX, SMALL_PEERS_MAX,
    SMALL_REQUESTS_AT_ONCE, SMALL_STALL, SMALL_WINDOW, SMALL_WINDOW_BLOBS, SMALL_WINDOW_BYTES,
};
use crate::store::{Store, WriteError};

/// The models of which small blobs are being fetched. Of callers that want the same ones, one fetches at a time.
#[derive(Debug, Default)]
pub(super) struct SmallTurns(Mutex<BTreeMap<Digest, Arc<tokio::sync::Mutex<()>>>>);

impl SmallTurns {
    /// Waits until no other caller fetches small blobs of a model.
    async fn turn(&self, model: Digest) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(model).or_default().clone()
        };
        turn.lock_owned().await
    }
}

/// The blobs of one call that are missing, and what has come.
struct Fetch<'a> {
    fetching: &'a Fetching,
    missing: BTreeMap<Digest, BlobLayout>,
    peers: BTreeMap<PeerId, u64>,
    /// Whether the peer that is asked now is in the zone.
    is_near: bool,
    batch: Vec<Vec<u8>>,
    batch_bytes: usize,
    storing: Option<JoinHandle<Result<(), WriteError>>>,
    reporter: &'a Reporter,
    done: u64,
    total: u64,
}

/// What came of fetching small blobs.
#[derive(Debug, Default)]
pub struct Small {
    /// The blobs that no peer has sent.
    pub left: BTreeMap<Digest, BlobLayout>,
    /// The bytes that each peer has sent.
    pub peers: BTreeMap<PeerId, u64>,
}

impl Fetching {
    /// Takes the small blobs out of `missing`, if they are at least `min`. While downloads are limited, it takes none.
    pub fn split_small(
        &self,
        missing: &mut BTreeMap<Digest, BlobLayout>,
        min: usize,
    ) -> BTreeMap<Digest, BlobLayout> {
        let is_small = |layout: &BlobLayout| layout.size() <= SMALL_BLOB_BYTES_MAX;
        if missing.values().filter(|it| is_small(it)).count() < min || self.throttle.rate().is_some() {
            return BTreeMap::new();
        }
        let (small, others) = std::mem::take(missing).into_iter().partition(|(_, layout)| is_small(layout));
        *missing = others;
        small
    }

    /// Fetches blobs of one model from [`Self::split_small`]. While the pull is paused, it leaves all of them. Where no peer
    /// sends one for `patience`, it leaves the rest.
    ///
    /// # Errors
    /// The store cannot keep them.
    pub async fn fetch_small(
        &self,
        pulling: &Pulling,
        holders: &[PeerId],
        mut blobs: BTreeMap<Digest, BlobLayout>,
        patience: Duration,
        reporter: &Reporter,
    ) -> Result<Small, WriteError> {
        if blobs.is_empty() {
            return Ok(Small::default());
        }
        let _turn = self.small.turn(pulling.manifest).await;
        blobs.retain(|blob, _| !self.store.contains(blob));
        let total = blobs.values().map(|layout| layout.size()).sum();
        let mut fetch = Fetch {
            fetching: self,
            missing: blobs,
            peers: BTreeMap::new(),
            is_near: false,
            batch: Vec::new(),
            batch_bytes: 0,
            storing: None,
            reporter,
            done: 0,
            total,
        };
        let mut last_taken = Instant::now();
        while last_taken.elapsed() < patience {
            let before = fetch.missing.len();
            for peer in holders.iter().take(SMALL_PEERS_MAX) {
                if !self.resolver.bans.is_banned(peer) && fetch.is_wanted(pulling) {
                    fetch.fetch_from(*peer, pulling).await?;
                }
            }
            if !fetch.is_wanted(pulling) || holders.iter().all(|it| self.resolver.bans.is_banned(it)) {
                break;
            }
            if fetch.missing.len() < before {
                last_taken = Instant::now();
            } else {
                // A peer may be busy, or on its way back.
                tokio::time::sleep(SMALL_AGAIN).await;
            }
        }
        fetch.store().await?;
        fetch.stored().await?;
        Ok(Small { left: fetch.missing, peers: fetch.peers })
    }
}

impl Fetch<'_> {
    fn is_wanted(&self, pulling: &Pulling) -> bool {
        !self.missing.is_empty() && !self.fetching.priorities.is_paused(pulling)
    }

    /// Asks one peer for every missing blob. Ends early where it sends wrong bytes, or too little for a while: frames that bring
    /// no blob do not count, and the others are asked then.
    async fn fetch_from(&mut self, peer: PeerId, pulling: &Pulling) -> Result<(), WriteError> {
        let opened = timeout(SMALL_STALL, self.fetching.network.open_stream(peer)).await;
        let Ok(Ok((mut reader, mut writer))) = opened else { return Ok(()) };
        self.is_near = self.fetching.is_in_zone(peer).await;
        let metrics = &self.fetching.metrics;
        let mut asked = Asked { left: self.missing.keys().copied().collect(), ..Asked::default() };
        let mut pace = Window::begin();
        while asked.is_any() && !self.fetching.priorities.is_paused(pulling) {
            if asked.ask(&mut writer).await.is_none() || pace.is_too_slow() {
                break;
            }
            // A pause ends only this peer's next requests: what it has begun to send is read meanwhile.
            let pause = asked.pause.filter(|it| *it > Instant::now());
            let frame = match timeout_at(pause.unwrap_or(pace.stall()).min(pace.stall()), reader.next()).await
            {
                Ok(Ok(Some(frame))) => frame,
                Err(_) if Instant::now() < pace.stall() => continue,
                _ => break,
            };
            match frame {
                Frame::Piece { id, piece: 0, bytes } => {
                    let Some(blob) = asked.under_way.remove(&id) else {
                        metrics.piece_rejected(Unwanted::Unasked);
                        continue;
                    };
                    if Digest::of(&bytes) != blob {
                        metrics.piece_rejected(Unwanted::Mismatch);
                        info!(%peer, %blob, "a peer sent wrong bytes and is not asked again");
                        self.fetching.resolver.ban(peer);
                        break;
                    }
                    pace.count(bytes.len());
                    let before = Instant::now();
                    self.take(peer, blob, bytes).await?;
                    // The peer does not wait for this node's disk.
                    pace.pass_over(before.elapsed());
                }
                Frame::Reject { id, reason: Rejection::Busy { retry_ms } } => {
                    asked.again(id);
                    asked.pause =
                        Some(Instant::now() + Duration::from_millis(retry_ms.into()).min(BUSY_WAIT_MAX));
                }
                Frame::Reject { id, .. } => drop(asked.under_way.remove(&id)),
                _ => {}
            }
        }
        Ok(())
    }

    async fn take(&mut self, peer: PeerId, blob: Digest, bytes: Vec<u8>) -> Result<(), WriteError> {
        let length = bytes.len() as u64;
        self.fetching.traffic.count_fetched(peer, length, Way::Stream, self.is_near);
        if !self.peers.contains_key(&peer) {
            self.fetching.network.was_of_use(peer);
        }
        *self.peers.entry(peer).or_default() += length;
        self.missing.remove(&blob);
        (self.batch_bytes, self.done) = (self.batch_bytes + bytes.len(), self.done + length);
        self.batch.push(bytes);
        if self.batch.len() >= SMALL_BATCH_BLOBS || self.batch_bytes >= SMALL_BATCH_BYTES {
            self.reporter.tell(Progress::Bytes {
                done: self.done,
                total: self.total,
                peers: self.peers.len(),
            });
            self.store().await?;
        }
        Ok(())
    }

    /// Begins to store the blobs that have come, once the batch before is stored.
    async fn store(&mut self) -> Result<(), WriteError> {
        self.stored().await?;
        let store: Store = self.fetching.store.clone();
        let batch: Vec<Vec<u8>> = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        self.storing = Some(tokio::task::spawn_blocking(move || {
            let digests = store.put_blobs(&batch)?;
            digests.iter().zip(&batch).for_each(|(it, bytes)| store.settle_leases(it, bytes.len() as u64));
            Ok(())
        }));
        Ok(())
    }

    /// Waits until the last batch is stored.
    async fn stored(&mut self) -> Result<(), WriteError> {
        match self.storing.take() {
            Some(storing) => {
                storing.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
            }
            None => Ok(()),
        }
    }
}

/// The requests to one peer.
#[derive(Default)]
struct Asked {
    left: VecDeque<Digest>,
    under_way: BTreeMap<u32, Digest>,
    last: u32,
    /// Until when a busy peer wants no more requests.
    pause: Option<Instant>,
}

/// How much a peer has sent lately.
struct Window {
    since: Instant,
    bytes: usize,
    blobs: usize,
    last: Instant,
}

impl Window {
    fn begin() -> Self {
        let now = Instant::now();
        Self { since: now, bytes: 0, blobs: 0, last: now }
    }

    fn count(&mut self, bytes: usize) {
        (self.bytes, self.blobs, self.last) = (self.bytes + bytes, self.blobs + 1, Instant::now());
    }

    /// Does not count time in which nothing was asked of the peer.
    fn pass_over(&mut self, time: Duration) {
        (self.since, self.last) = (self.since + time, self.last + time);
    }

    /// Returns when the peer counts as silent, if no blob comes before.
    fn stall(&self) -> Instant {
        self.last + SMALL_STALL
    }

    /// Tells whether the peer has sent too little in the time that has just ended.
    fn is_too_slow(&mut self) -> bool {
        if self.since.elapsed() < SMALL_WINDOW {
            return false;
        }
        let is_slow = self.bytes < SMALL_WINDOW_BYTES && self.blobs < SMALL_WINDOW_BLOBS;
        *self = Self { last: self.last, ..Self::begin() };
        is_slow
    }
}

impl Asked {
    fn is_any(&self) -> bool {
        !self.left.is_empty() || !self.under_way.is_empty()
    }

    /// Keeps [`SMALL_REQUESTS_AT_ONCE`] requests under way. Refills when half of them are answered.
    async fn ask(&mut self, writer: &mut FrameWriter) -> Option<()> {
        let is_paused = self.pause.is_some_and(|it| it > Instant::now());
        if is_paused || self.under_way.len() > SMALL_REQUESTS_AT_ONCE / 2 {
            return Some(());
        }
        while self.under_way.len() < SMALL_REQUESTS_AT_ONCE
            && let Some(blob) = self.left.pop_front()
        {
            self.last = self.last.wrapping_add(1);
            self.under_way.insert(self.last, blob);
            let request = Frame::Request { id: self.last, blob, first: 0, count: 1 };
            timeout(SMALL_STALL, writer.send(&request)).await.ok()?.ok()?;
        }
        Some(())
    }

    /// Asks for a blob again, because the peer was busy.
    fn again(&mut self, id: u32) {
        self.left.extend(self.under_way.remove(&id));
    }
}
