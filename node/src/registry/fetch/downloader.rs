//! [`Downloader`]: the one loop that joins the scheduler to the network and the store.
//!
//! The loop names an event, feeds it to the scheduler, and executes what the scheduler decides. Every piece is verified and
//! written before it counts. The loop drops pieces that it did not request. A source that sends wrong bytes is not asked
//! again.

mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reg_api::progress::{Progress, Transfer};
use reg_api::reporter::Reporter;
use reg_api::transfer::Source;
use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::piece::{PieceIndex, PieceSet};
use reg_proto::wire::{Frame, Held, Rejection};
use reg_transfer::{Input, Nearness, Output, RequestId, Scheduler};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info};

use super::Fetching;
use super::demand::{Changes, Demand, Sources, Wanted};
use super::dispute::Ruling;
use super::disputes::{Answered, Disputes, Question};
use super::event::{Deliver, SourceEvent, SourceId, WebId};
use super::patience::Told;
use super::peer_source::PeerSource;
use super::peers::{Met, Peers};
use super::throttle::Throttle;
use super::traffic::Way;
use super::web_server::{Order, Sink};
use super::web_source::{WebSeeds, WebSources};
use crate::metrics::Unwanted;
use crate::net::{OpenStreamError, PieceBytes, PoolUse};
use crate::registry::limits::{
    FRAMES_WAITING_MAX, LIMIT_PER_SOURCE, PAUSED_RETRY_MS, SOURCES_MAX, WEB_HEAD_START, WRITES_AT_ONCE,
};
use crate::registry::resolve::{Finder, Search};
use crate::store::{Partial, PartialError, WritePieceError};

/// Why a download ends without its blobs. Verified pieces stay in the store and are not fetched again.
#[derive(Debug, Clone, Error)]
pub enum DownloadError {
    #[error("no source has sent anything for {seconds} s; {missing} of {total} bytes are missing")]
    Starved { seconds: u64, missing: u64, total: u64 },
    #[error(
        "a peer that has the rest is paused by its owner, and no source has sent anything for {seconds} s; {missing} of \
         {total} bytes are missing"
    )]
    Paused { seconds: u64, missing: u64, total: u64 },
    #[error("no source has sent a whole piece for {seconds} s; {missing} of {total} bytes are missing")]
    Unfinished { seconds: u64, missing: u64, total: u64 },
    #[error(
        "every peer that was found ({peers}) is behind a NAT that cannot be traversed; {missing} of {total} bytes \
         are missing"
    )]
    BehindNat { peers: usize, missing: u64, total: u64 },
    #[error("{seed} asks for a pause of {seconds} s; {missing} of {total} bytes are missing")]
    LeftAlone { seed: String, seconds: u64, missing: u64, total: u64 },
    #[error("every source that was asked ({liars}) sent bytes that are not what was signed")]
    OnlyWrongBytes { liars: usize },
    #[error("piece states that were signed for {blob} do not belong to it: a peer's copy proves it")]
    FalseStates { blob: Digest },
    #[error("piece {piece} of {blob} cannot be written")]
    Write { blob: Digest, piece: PieceIndex, source: Arc<WritePieceError> },
    #[error("{blob} cannot be written to the cache")]
    Keep { blob: Digest, source: Arc<PartialError> },
    #[error("the owner of this node has cancelled it")]
    Cancelled,
    #[error("the download ended early")]
    Ended,
}

/// What a download has fetched.
#[derive(Debug, Default)]
pub struct Downloaded {
    pub sources: Sources,
    /// Bytes that were copied from other models in the store.
    pub reused: u64,
    /// How long threads verified pieces, and how long they wrote them: sums over all threads.
    pub busy: (Duration, Duration),
}

impl Downloaded {
    /// Adds what another download of the same pull has fetched.
    pub fn add(&mut self, Self { sources, reused, busy }: Self) {
        self.sources.add(sources);
        self.reused += reused;
        self.busy = (self.busy.0 + busy.0, self.busy.1 + busy.1);
    }
}

/// A piece and whether verifying and writing it succeeded.
#[derive(Debug)]
struct Written {
    source: SourceId,
    request: RequestId,
    blob: Digest,
    piece: PieceIndex,
    bytes: usize,
    way: Way,
    result: Result<(), WritePieceError>,
}

/// An event of the loop.
enum Happened {
    Found(Option<PeerId>),
    Met(Met),
    Source(SourceEvent),
    Written(Written),
    /// The demand of the members has changed.
    Asked,
    Tick,
}

/// One download of one or more blobs, for all pulls and readers that want them. Its 14 fields are the states of one loop: each
/// part has a type of its own.
pub(super) struct Downloader<'a> {
    fetching: &'a Fetching,
    scheduler: Scheduler<SourceId>,
    start: Instant,
    partials: BTreeMap<Digest, Partial>,
    /// Blobs that are not complete yet.
    missing: BTreeSet<Digest>,
    demand: Arc<Demand>,
    peers: Peers,
    web: WebSources,
    events: (mpsc::Sender<SourceEvent>, mpsc::Receiver<SourceEvent>),
    writes: Writes,
    disputes: Disputes,
    tally: Tally,
    permit: Permit,
    /// Keeps the pool's buffers allocated while this download runs.
    _buffers: PoolUse,
}

/// The pieces that are being verified and written.
struct Writes {
    written: (mpsc::Sender<Written>, mpsc::Receiver<Written>),
    count: usize,
}

/// The progress of a download.
struct Tally {
    /// Bytes that pulls and readers want; `done` counts those that are stored.
    total: u64,
    done: u64,
    last_progress: Instant,
    /// When a piece was last verified and written. Bytes that are heard are progress within a bound only.
    last_verified: Instant,
    /// When a member last came or wanted something else.
    last_wish: Instant,
    /// When the loop last did anything.
    awake: Instant,
    /// When a source last asked for a pause, and whether because it is paused.
    refused: Option<(Instant, bool)>,
    told: Told,
    /// How many sources have sent wrong bytes.
    liars: usize,
    has_fetched: bool,
}

/// Whether a download may go on, and how fast.
struct Permit {
    /// Whether the download has closed its streams because it may not go on.
    is_held: bool,
    /// The limit of this download alone, and that for peers in private networks.
    far: Arc<Throttle>,
    near: Arc<Throttle>,
}

impl<'a> Downloader<'a> {
    /// Prepares a download of what the members of `demand` want. It runs until the last member has left. A peer may send at
    /// most `states_max` bytes of piece states in one frame.
    pub(super) fn new(fetching: &'a Fetching, demand: Arc<Demand>, states_max: usize) -> Self {
        let now = Instant::now();
        Self {
            fetching,
            scheduler: Scheduler::new(seed_of(fetching.network.peer_id())),
            start: now,
            missing: BTreeSet::new(),
            partials: BTreeMap::new(),
            demand,
            peers: Peers::new(states_max),
            web: WebSources::new(WebSeeds::default()),
            events: mpsc::channel(FRAMES_WAITING_MAX),
            writes: Writes { written: mpsc::channel(WRITES_AT_ONCE), count: 0 },
            disputes: Disputes::default(),
            tally: Tally {
                total: 0,
                done: 0,
                last_progress: now,
                last_verified: now,
                last_wish: now,
                awake: now,
                refused: None,
                told: Told::default(),
                liars: 0,
                has_fetched: false,
            },
            permit: Permit { is_held: false, far: Throttle::new(None), near: Throttle::new(None) },
            _buffers: fetching.pool.enter(),
        }
    }

    /// Makes it ask these web seeds beside peers.
    pub(super) fn with_web(self, seeds: WebSeeds) -> Self {
        Self { web: WebSources::new(seeds), ..self }
    }

    /// Makes it search for peers again, by `search`, whenever no peer is left.
    pub(super) fn looking_anew(mut self, search: Search) -> Self {
        self.peers.search = Some((search, Instant::now()));
        self
    }

    /// Runs until no member is left. `finder` finds more peers than the members have introduced.
    ///
    /// # Errors
    /// No source sends anything for too long, the signed states are false, or a piece cannot be written.
    pub(super) async fn run(
        mut self,
        mut finder: Option<Finder>,
        reporter: &Reporter,
    ) -> Result<(), DownloadError> {
        self.take_changes();
        self.execute();
        let mut report = tokio::time::interval(Duration::from_millis(200));
        while !self.demand.is_over() || self.writes.count > 0 {
            let happened = tokio::select! {
                biased;
                Some(written) = self.writes.written.1.recv() => Happened::Written(written),
                Some(met) = self.peers.next() => Happened::Met(met),
                Some(event) = self.events.1.recv(), if self.writes.count < WRITES_AT_ONCE => Happened::Source(event),
                peer = next_peer(&mut finder) => Happened::Found(peer),
                () = self.demand.asked() => Happened::Asked,
                _ = report.tick() => Happened::Tick,
            };
            self.notice_sleep();
            match happened {
                Happened::Found(Some(peer)) => self.consider(peer),
                Happened::Found(None) => finder = None,
                Happened::Met(Met::Opened(peer, source)) => self.opened(peer, source, reporter),
                Happened::Met(Met::Placed(peer, nearness)) => self.placed(peer, nearness),
                Happened::Source(event) => self.on_source(event)?,
                Happened::Written(written) => self.on_written(written)?,
                Happened::Asked => self.take_changes(),
                Happened::Tick => {
                    self.tick(reporter)?;
                    if let Some(anew) = self.peers.look_anew(&self.fetching.network) {
                        finder = Some(anew);
                    }
                }
            }
            self.execute();
        }
        Ok(())
    }

    /// Makes the scheduler want what the members want now: first what readers wait for, in the order of reading.
    fn take_changes(&mut self) {
        let Changes { blobs, filled, peers, web, is_anew } = self.demand.changes();
        if is_anew {
            self.tally.last_wish = Instant::now();
        }
        let limit = self.demand.limit();
        self.permit.far.set(limit.far);
        self.permit.near.set(limit.near);
        // First what is stored, so that it is not asked for.
        for blob in filled {
            if let Some(stored) = self.partials.get(&blob).map(Partial::have) {
                self.feed(Input::Want { blob, stored });
            }
        }
        let before = self.missing.len();
        for blob in blobs {
            self.begin(blob);
            let Wanted { runs, is_whole } = self.demand.wanted(&blob);
            if self.missing.contains(&blob) {
                self.feed(Input::Focus { blob, runs, others: is_whole });
            }
        }
        if self.missing.len() != before {
            self.peers.follow(&self.missing);
        }
        for (peer, is_holder) in peers {
            if is_holder {
                self.peers.returning.expect(peer);
            }
            self.consider(peer);
        }
        for seeds in web {
            let inputs = self.web.add(&seeds, &self.missing, &self.partials);
            self.feed_all(inputs);
        }
    }

    /// Begins a blob that was opened and is not complete.
    fn begin(&mut self, blob: Digest) {
        let Some(partial) = self.demand.partial(&blob).filter(|_| !self.missing.contains(&blob)) else {
            return;
        };
        let stored = partial.have();
        if stored.is_full() {
            // It became full after it was opened, by late writes of a download before.
            if self.demand.end_of(&blob).is_none() {
                self.demand.complete(blob);
            }
            return;
        }
        self.missing.insert(blob);
        self.partials.insert(blob, partial);
        self.feed(Input::Want { blob, stored });
        if !self.permit.is_held {
            let inputs = self.web.holding(blob, &self.partials);
            self.feed_all(inputs);
        }
    }

    fn now(&self) -> reg_transfer::Instant {
        reg_transfer::Instant::after_start(self.start.elapsed())
    }

    fn feed(&mut self, input: Input<SourceId>) {
        let now = self.now();
        self.scheduler.handle(now, input);
    }

    fn feed_all(&mut self, inputs: Vec<Input<SourceId>>) {
        inputs.into_iter().for_each(|input| self.feed(input));
    }

    /// Executes what the scheduler has decided.
    fn execute(&mut self) {
        while let Some(output) = self.scheduler.poll_output() {
            match output {
                Output::Request { request: RequestId(id), peer, blob, first, count } => match peer {
                    SourceId::Peer(peer) => {
                        self.peers.send(peer, Frame::Request { id, blob, first: first.get(), count });
                    }
                    SourceId::Web(seed) => self.ask_web(seed, id, blob, first, count),
                },
                Output::Cancel { request: RequestId(id), peer } => match peer {
                    SourceId::Peer(peer) => self.peers.send(peer, Frame::Cancel { id }),
                    SourceId::Web(seed) => self.web.cancel(seed, id),
                },
                Output::Complete { blob } => self.complete(blob),
            }
        }
    }

    fn ask_web(&mut self, seed: WebId, request: u32, blob: Digest, first: PieceIndex, count: u32) {
        let Some(partial) = self.partials.get(&blob) else { return };
        let layout = partial.states().layout();
        let throttles = self.throttles(self.web.is_near(seed));
        let sink = Sink { pool: self.fetching.pool.clone(), events: self.events.0.clone(), throttles };
        self.web.ask(seed, Order { request, blob, layout, first, count }, sink);
    }

    fn complete(&mut self, blob: Digest) {
        self.missing.remove(&blob);
        self.partials.remove(&blob);
        self.demand.complete(blob);
        self.peers.follow(&self.missing);
    }

    /// Queues a peer that may hold pieces for dialling, unless it is connected or banned.
    fn consider(&mut self, peer: PeerId) {
        if !self.peers.contains(&peer) && !self.fetching.resolver.bans.is_banned(&peer) {
            self.peers.dialling.add(peer);
            self.open_waiting();
        }
    }

    fn open_waiting(&mut self) {
        while !self.permit.is_held {
            let free = self.sources_max().saturating_sub(self.peers.len());
            let Some(peer) = self.peers.dialling.next(free) else { return };
            let (network, events) = (self.fetching.network.clone(), self.events.0.clone());
            let (pool, near, far) = (self.fetching.pool.clone(), self.throttles(true), self.throttles(false));
            let deliver = async move {
                let throttles = if network.is_near(peer).await { near } else { far };
                Deliver { peer, pool, events, throttles, heard: Arc::default(), ways: Arc::default() }
            };
            self.peers.open(&self.fetching.network, peer, deliver);
        }
    }

    /// Returns the rate limits that hold for this download's near or far sources.
    fn throttles(&self, is_near: bool) -> Arc<[Arc<Throttle>]> {
        let own = if is_near { &self.permit.near } else { &self.permit.far };
        let of_all = (!is_near || self.fetching.limits().local).then_some(&self.fetching.throttle);
        of_all.into_iter().chain([own]).cloned().collect()
    }

    /// Returns from how many peers to fetch at once. A rate limit lowers it, so that each peer can send a piece before its
    /// request times out.
    fn sources_max(&self) -> usize {
        let throttles = self.throttles(false);
        let rates = throttles.iter().filter_map(|it| it.rate());
        let by_rate = rates.map(|rate| usize::try_from(rate / LIMIT_PER_SOURCE).unwrap_or(SOURCES_MAX));
        by_rate.min().map_or(SOURCES_MAX, |most| most.clamp(1, SOURCES_MAX))
    }

    /// Closes all streams while the download may not go on, and dials the same peers again once it may.
    fn obey(&mut self) {
        let may_go_on = self.demand.may_go_on(std::time::Instant::now());
        if !may_go_on {
            // A download that waits for its turn does not starve.
            self.progressed();
        }
        if self.permit.is_held != may_go_on {
            return;
        }
        self.permit.is_held = !may_go_on;
        if self.permit.is_held {
            for peer in self.peers.ids() {
                self.drop_source(peer);
                self.peers.dialling.dial_again(peer);
            }
        }
        let inputs = if self.permit.is_held {
            self.web.hang_up()
        } else {
            self.web.resume(&self.missing, &self.partials)
        };
        self.feed_all(inputs);
        self.open_waiting();
    }

    fn opened(&mut self, peer: PeerId, source: Result<PeerSource, OpenStreamError>, reporter: &Reporter) {
        self.peers.dialling.ended(&peer);
        match source {
            Ok(_) if self.permit.is_held => self.peers.dialling.add(peer),
            Ok(source) => {
                let Fetching { network, zone, .. } = self.fetching;
                self.peers.insert(peer, source, &self.missing, network, zone);
                self.presume(peer);
            }
            Err(error) => {
                debug!(%peer, %error, "no stream to a peer");
                if matches!(error, OpenStreamError::BehindNat) {
                    self.peers.behind_nat += 1;
                    reporter.note(format_args!("{peer} is not pulled from: {error}"));
                    self.peers.returning.forget(&peer);
                }
                self.peers.returning.lost(&peer, Instant::now());
                self.open_waiting();
            }
        }
    }

    /// Asks a peer that is known to have held the blobs at once, while it says what it holds: that saves a round trip. It
    /// refuses what it does not hold.
    fn presume(&mut self, peer: PeerId) {
        if !self.peers.returning.knows(&peer) || self.peers.any_holds() {
            return;
        }
        for blob in self.missing.clone() {
            if let Some(partial) = self.partials.get(&blob).filter(|_| !self.disputes.is_open(peer, blob)) {
                let pieces = PieceSet::full(partial.states().layout().piece_count());
                self.feed(Input::PeerHolds { peer: SourceId::Peer(peer), blob, pieces });
            }
        }
    }

    fn placed(&mut self, peer: PeerId, nearness: Nearness) {
        if self.peers.placed(&peer, nearness) {
            self.feed(Input::PeerIs { peer: SourceId::Peer(peer), nearness });
        }
    }

    fn drop_source(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
        self.disputes.forget(peer);
        self.feed(Input::PeerLeft { peer: SourceId::Peer(peer) });
        self.open_waiting();
    }

    fn on_source(&mut self, event: SourceEvent) -> Result<(), DownloadError> {
        match event {
            SourceEvent::Gone { peer } => {
                self.drop_source(peer);
                self.peers.returning.lost(&peer, Instant::now());
            }
            SourceEvent::Piece { peer, id, piece, bytes, way } => {
                if let Some((of, blob)) = self.disputes.of_request(id) {
                    return if of == peer { self.settle_dispute(peer, blob, &bytes) } else { Ok(()) };
                }
                self.on_piece(SourceId::Peer(peer), id, piece, bytes, way);
            }
            SourceEvent::WebPiece { id, request, piece, bytes } => {
                self.on_piece(SourceId::Web(id), request, piece, bytes, Way::Stream);
            }
            SourceEvent::Web { id, news } => {
                let inputs = self.web.on_news(id, news, &self.partials);
                self.feed_all(inputs);
            }
            SourceEvent::Frame { peer, frame } => match frame {
                Frame::Holds { blob, pieces } => self.on_holds(peer, blob, &pieces),
                Frame::Has { blob, runs } => self.on_has(peer, blob, &runs),
                Frame::Reject { id, reason } => self.on_reject(peer, id, reason),
                Frame::States { blob, bytes } => self.on_states(peer, blob, &bytes),
                Frame::NoStates { blob } => self.on_states(peer, blob, b"none"),
                frame => debug!(%peer, ?frame, "a peer sent a frame that only pullers send"),
            },
        }
        Ok(())
    }

    fn on_holds(&mut self, peer: PeerId, blob: Digest, pieces: &Held) {
        let Some(partial) = self.partials.get(&blob) else { return };
        match pieces.to_set(partial.states().layout()) {
            Ok(pieces) => {
                let Some(holds_any) = self.peers.note_holds(peer, !pieces.is_empty()) else { return };
                if holds_any {
                    self.demand.note_sources(true);
                }
                if !self.disputes.is_open(peer, blob) {
                    self.feed(Input::PeerHolds { peer: SourceId::Peer(peer), blob, pieces });
                }
            }
            Err(error) => {
                debug!(%peer, %blob, %error, "a peer sent a bitmap that is none");
                self.drop_source(peer);
            }
        }
    }

    /// Takes runs of pieces that a peer has got. The scheduler cuts off runs beyond the end of the blob.
    fn on_has(&mut self, peer: PeerId, blob: Digest, runs: &[(u32, u32)]) {
        if !self.peers.contains(&peer) || self.disputes.is_open(peer, blob) {
            return;
        }
        for (first, count) in runs {
            let pieces = *first..first.saturating_add(*count);
            self.feed(Input::PeerHas { peer: SourceId::Peer(peer), blob, pieces });
        }
    }

    fn on_reject(&mut self, peer: PeerId, id: u32, reason: Rejection) {
        let busy = match reason {
            Rejection::Busy { retry_ms } => {
                self.tally.refused = Some((Instant::now(), retry_ms == PAUSED_RETRY_MS));
                Some(Duration::from_millis(retry_ms.into()))
            }
            Rejection::NotHere | Rejection::Unverified | Rejection::Malformed => None,
        };
        if busy.is_some() && self.disputes.refuse(peer, id) {
            return;
        }
        let request = RequestId(id);
        if self.scheduler.request(request).is_some_and(|(of, _)| of == SourceId::Peer(peer)) {
            self.feed(Input::Rejected { request, busy });
        }
    }

    fn progressed(&mut self) {
        (self.tally.last_progress, self.tally.last_verified) = (Instant::now(), Instant::now());
    }

    fn on_piece(&mut self, source: SourceId, id: u32, piece: u32, bytes: PieceBytes, way: Way) {
        let request = RequestId(id);
        let index = piece;
        let layout = |blob: &Digest| self.partials.get(blob).map(|it| it.states().layout());
        let is_owed = self.scheduler.request(request).is_some_and(|(of, blob)| {
            let piece = layout(&blob).and_then(|it| it.piece(index));
            of == source && piece.is_some_and(|piece| self.scheduler.is_owed(request, piece))
        });
        if !is_owed {
            self.fetching.metrics.piece_rejected(Unwanted::Unasked);
            if let SourceId::Peer(peer) = source {
                self.peers.ignore(&peer, bytes.len());
            }
            return;
        }
        let Some((_, blob)) = self.scheduler.request(request) else { return };
        let Some(partial) = self.partials.get(&blob) else { return };
        let Some(piece) = partial.states().layout().piece(piece) else { return };
        let (partial, tell) = (partial.clone(), self.writes.written.0.clone());
        self.writes.count += 1;
        self.fetching.intake.submit(partial, piece, bytes, move |bytes, result| {
            let written = Written { source, request, blob, piece, bytes: bytes.len(), way, result };
            // Frees the buffer before the loop learns of the piece. The channel has room for every piece that is written.
            drop(bytes);
            drop(tell.try_send(written));
        });
    }

    fn on_written(&mut self, written: Written) -> Result<(), DownloadError> {
        let Written { source, request, blob, piece, bytes, way, result } = written;
        self.writes.count -= 1;
        match result {
            // The piece came twice: the scheduler requests the last pieces of a blob from two sources.
            Ok(()) if !self.scheduler.is_owed(request, piece) => {
                self.fetching.metrics.piece_rejected(Unwanted::Twice);
                Ok(())
            }
            Ok(()) => {
                self.progressed();
                self.count(blob, piece, source, bytes as u64, way);
                self.feed(Input::Stored { request, piece });
                self.demand.stored(&blob);
                Ok(())
            }
            Err(WritePieceError::Mismatch { .. }) => {
                self.fetching.metrics.piece_rejected(Unwanted::Mismatch);
                self.feed(Input::Failed { request, piece });
                match source {
                    SourceId::Peer(peer) => self.on_mismatch(peer, blob, piece),
                    SourceId::Web(seed) => {
                        self.tally.liars += 1;
                        self.web.on_mismatch(seed, blob, piece);
                    }
                }
                Ok(())
            }
            Err(error) => Err(DownloadError::Write { blob, piece, source: Arc::new(error) }),
        }
    }

    fn count(&mut self, blob: Digest, piece: PieceIndex, source: SourceId, bytes: u64, way: Way) {
        self.tally.has_fetched = true;
        let source = match source {
            SourceId::Peer(peer) => {
                self.peers.returning.has_sent(peer);
                self.fetching.traffic.count_fetched(peer, bytes, way, self.peers.is_near(&peer));
                self.fetching.network.was_of_use(peer);
                Source::Peer(peer)
            }
            SourceId::Web(seed) => {
                self.fetching.traffic.count_web(bytes);
                Source::Web(self.web.name(seed))
            }
        };
        self.demand.count(&blob, piece, &source, bytes);
    }

    /// Handles a piece that did not match: opens a dispute, and asks the peer for nothing else until it is settled.
    fn on_mismatch(&mut self, peer: PeerId, blob: Digest, piece: PieceIndex) {
        if !self.peers.contains(&peer) || self.disputes.is_open(peer, blob) {
            return;
        }
        info!(%peer, %blob, %piece, "a piece does not match");
        self.peers.send(peer, Frame::Complain { blob, piece: piece.get() });
        self.feed(Input::PeerLeft { peer: SourceId::Peer(peer) });
        let single = self.partials.get(&blob).is_none_or(|it| it.states().layout().piece_count() == 1);
        if single {
            self.ban(peer);
            return;
        }
        self.peers.send(peer, Frame::GetStates { blob });
        self.disputes.begin(peer, blob, Instant::now());
    }

    fn on_states(&mut self, peer: PeerId, blob: Digest, theirs: &[u8]) {
        let Some(partial) = self.partials.get(&blob) else { return };
        match self.disputes.on_states(peer, blob, partial.states(), theirs) {
            Some(Answered::Ask(question)) => self.ask(question),
            Some(Answered::PeerLies) => self.ban(peer),
            None => {}
        }
    }

    /// Requests the piece that settles a dispute.
    fn ask(&self, question: Question) {
        let Question { peer, id, blob, piece } = question;
        self.peers.send(peer, Frame::Request { id, blob, first: piece.get(), count: 1 });
    }

    fn settle_dispute(&mut self, peer: PeerId, blob: Digest, bytes: &[u8]) -> Result<(), DownloadError> {
        let Some(partial) = self.partials.get(&blob) else { return Ok(()) };
        match self.disputes.on_piece(peer, blob, partial.states(), bytes) {
            Some(Ruling::ListIsFalse) => Err(DownloadError::FalseStates { blob }),
            Some(Ruling::PeerLies | Ruling::Ask { .. }) => {
                self.ban(peer);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn ban(&mut self, peer: PeerId) {
        info!(%peer, "a peer sent wrong bytes and is not asked again");
        self.tally.liars += 1;
        self.peers.returning.forget(&peer);
        self.fetching.resolver.ban(peer);
        self.drop_source(peer);
    }

    /// Begins to ask web seeds after the head start of the peers, or at once if there is no peer.
    fn begin_web(&mut self, reporter: &Reporter) {
        let is_due = self.start.elapsed() >= WEB_HEAD_START || self.peers.is_empty();
        if is_due && !self.permit.is_held && self.web.are_waiting() {
            let inputs = self.web.begin(reporter.clone(), &self.missing, &self.partials);
            self.feed_all(inputs);
        }
    }

    fn tick(&mut self, reporter: &Reporter) -> Result<(), DownloadError> {
        self.obey();
        self.disputes.late(Instant::now()).into_iter().for_each(|peer| self.drop_source(peer));
        for question in self.disputes.take_refused() {
            self.ask(question);
        }
        if self.peers.dialling.are_waiting() {
            self.peers.useless().into_iter().for_each(|peer| self.drop_source(peer));
        }
        self.go_back();
        self.begin_web(reporter);
        self.listen();
        self.feed(Input::Tick);
        let web = self.web.count_holders(&self.missing);
        (self.tally.done, self.tally.total) = self.demand.amounts();
        reporter.tell(Progress::Bytes {
            done: self.tally.done,
            total: self.tally.total,
            peers: self.peers.len() + web,
        });
        reporter.tell(Progress::Transfer(Transfer { web, ..Transfer::default() }));
        self.demand.note_sources(web > 0 || self.peers.any_holds());
        if !self.demand.has_pulls() {
            // Each reader has its own timeout. Peers may come back as long as a reader is left.
            return Ok(());
        }
        self.wait_on(web, reporter);
        Ok(())
    }
}

/// Returns a random seed that differs from node to node, so that nodes choose different pieces among equally rare ones.
fn seed_of(peer: PeerId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *peer.public_key();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

pub(super) async fn next_peer(finder: &mut Option<Finder>) -> Option<PeerId> {
    match finder {
        Some(finder) => finder.next().await,
        None => std::future::pending().await,
    }
}
