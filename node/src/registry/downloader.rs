//! [`Downloader`]: the one loop that joins the scheduler to the network and the store.
//!
//! It names what happened, lets the scheduler decide, and executes: every piece is verified and written before it counts.
//! What a peer sends that was not asked of it is thrown away; who sends wrong bytes is not asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::piece::PieceIndex;
use reg_proto::states::PieceStates;
use reg_proto::wire::{Frame, Held, Rejection};
use reg_transfer::{Input, Nearness, Output, RequestId, Scheduler};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info};

use super::Reporter;
use super::calls::Calls;
use super::dispute::{self, Dispute, Ruling};
use super::finder::{Finder, Search};
use super::lanes::Deliver;
use super::limits::{
    DISPUTE_TIMEOUT, FRAMES_WAITING_MAX, LIMIT_PER_SOURCE, NOBODY_TIMEOUT, RELAY_LOOK_ANEW, SOURCES_MAX,
    STARVED_TIMEOUT, WRITES_AT_ONCE,
};
use super::nearness;
use super::pulls::Pull;
use super::relay::Relay;
use super::report::Progress;
use super::source::{Source, SourceEvent, SourceId};
use super::throttle::Throttle;
use super::traffic::Way;
use super::web::{WebSeeds, WebSources};
use super::{Inner, bans::Bans};
use crate::net::{OpenStreamError, PieceBytes, PoolUse};
use crate::store::{Partial, WritePieceError};

/// Why a download ends without its blobs. What was fetched stays, and is not fetched again.
#[derive(Debug, Error)]
pub enum DownloadError {
    #[error("no peer has sent anything for {seconds} s; {missing} of {total} bytes are missing")]
    Starved { seconds: u64, missing: u64, total: u64 },
    #[error(
        "every peer that was found ({peers}) is behind a NAT that cannot be got through; {missing} of {total} bytes \
         are missing"
    )]
    BehindNat { peers: usize, missing: u64, total: u64 },
    #[error("{seed} asks to be left alone for {seconds} s; {missing} of {total} bytes are missing")]
    LeftAlone { seed: String, seconds: u64, missing: u64, total: u64 },
    #[error("everybody who was asked ({liars} sources) sent bytes that are not what was signed")]
    OnlyWrongBytes { liars: usize },
    #[error("piece states that were signed for {blob} do not belong to it: a peer's copy proves it")]
    FalseStates { blob: Digest },
    #[error("piece {piece} of {blob} cannot be written")]
    Write { blob: Digest, piece: PieceIndex, source: WritePieceError },
}

/// What a download has brought.
#[derive(Debug, Default)]
pub(super) struct Downloaded {
    /// Bytes of verified pieces by the peer that sent them.
    pub(super) peers: BTreeMap<PeerId, u64>,
    /// Bytes of verified pieces by the web seed that sent them.
    pub(super) web: BTreeMap<String, u64>,
    /// Bytes that were taken from other models that are here.
    pub(super) reused: u64,
    /// How long pieces were verified and written, of all threads together.
    pub(super) busy: (Duration, Duration),
}

/// A piece that has been verified and written, or not.
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

/// Something that happened, named by the loop.
enum Happened {
    Found(Option<PeerId>),
    Opened(PeerId, Result<Source, OpenStreamError>),
    Source(SourceEvent),
    Written(Written),
    Placed(PeerId, Nearness),
    /// What is read through a relay has changed.
    Asked,
    Tick,
}

/// One download of one or more blobs.
pub(super) struct Downloader<'a> {
    pub(super) inner: &'a Inner,
    pub(super) scheduler: Scheduler<SourceId>,
    pub(super) start: Instant,
    pub(super) partials: BTreeMap<Digest, Partial>,
    /// Blobs that are not complete yet.
    pub(super) missing: BTreeSet<Digest>,
    pub(super) sources: BTreeMap<PeerId, Source>,
    calls: Calls,
    opening: JoinSet<(PeerId, Result<Source, OpenStreamError>)>,
    /// Sources that are being looked at for how near they are.
    placing: JoinSet<(PeerId, Nearness)>,
    pub(super) web: WebSources,
    pub(super) events: (mpsc::Sender<SourceEvent>, mpsc::Receiver<SourceEvent>),
    written: (mpsc::Sender<Written>, mpsc::Receiver<Written>),
    /// Pieces that are being verified and written.
    writing: usize,
    disputes: BTreeMap<(PeerId, Digest), (Dispute, Instant)>,
    /// Requests whose answer settles a dispute, apart from those of the scheduler.
    next_dispute_request: u32,
    dispute_requests: BTreeMap<u32, (PeerId, Digest)>,
    /// Those of them that a busy peer has refused, and that are sent again at the next look.
    dispute_refused: BTreeSet<u32>,
    pub(super) last_progress: Instant,
    /// Peers that have sent wrong bytes.
    pub(super) liars: usize,
    /// Peers that are reached through relays only.
    behind_nat: usize,
    downloaded: Downloaded,
    /// Says whether it may go on; `None` for one that always may.
    pull: Option<Pull>,
    /// Whether it has hung up because it may not.
    pub(super) is_held: bool,
    /// The limit of this download alone.
    throttle: Option<Arc<Throttle>>,
    /// Keeps the buffers that pieces come in for as long as this runs.
    _buffers: PoolUse,
    pub(super) total: u64,
    done: u64,
    /// The pieces that are wanted and not stored, where only some are.
    only: Option<BTreeSet<(Digest, u32)>>,
    /// Who reads what while it is fetched; `None` where all of it is wanted.
    pub(super) relay: Option<Arc<Relay>>,
    /// Bytes of piece states that one peer may send at once.
    states_max: usize,
    /// How to look for peers anew once all are gone, and when that was done last.
    search: Option<(Search, Instant)>,
}

/// Requests above this number settle disputes; the scheduler counts from 1 and never gets here.
const DISPUTE_REQUESTS_FROM: u32 = 1 << 31;

impl<'a> Downloader<'a> {
    /// Prepares the download of what is missing in `partials`.
    pub(super) fn new(inner: &'a Inner, partials: Vec<Partial>) -> Self {
        let mut scheduler = Scheduler::new(seed_of(inner.network.peer_id()));
        let (mut total, mut done) = (0, 0);
        for partial in &partials {
            let (layout, have) = (partial.states().layout(), partial.have());
            total += layout.size();
            done += have.iter().map(|piece| layout.piece_len(piece) as u64).sum::<u64>();
            scheduler.handle(
                reg_transfer::Instant::default(),
                Input::Want { blob: partial.digest(), stored: have },
            );
        }
        let now = Instant::now();
        let states_max =
            partials.iter().map(|it| PieceStates::byte_len(it.states().layout())).max().unwrap_or(0);
        Self {
            inner,
            scheduler,
            start: now,
            missing: partials.iter().map(Partial::digest).collect(),
            partials: partials.into_iter().map(|partial| (partial.digest(), partial)).collect(),
            sources: BTreeMap::new(),
            calls: Calls::default(),
            opening: JoinSet::new(),
            placing: JoinSet::new(),
            web: WebSources::new(WebSeeds::default()),
            events: mpsc::channel(FRAMES_WAITING_MAX),
            written: mpsc::channel(WRITES_AT_ONCE),
            writing: 0,
            disputes: BTreeMap::new(),
            next_dispute_request: DISPUTE_REQUESTS_FROM,
            dispute_requests: BTreeMap::new(),
            dispute_refused: BTreeSet::new(),
            last_progress: now,
            liars: 0,
            behind_nat: 0,
            downloaded: Downloaded::default(),
            pull: None,
            is_held: false,
            throttle: None,
            _buffers: inner.pool.enter(),
            total,
            done,
            only: None,
            relay: None,
            states_max,
            search: None,
        }
    }

    /// Makes it fetch these runs of pieces and no others, and end with them.
    pub(super) fn only(mut self, runs: BTreeMap<Digest, Vec<Range<u32>>>) -> Self {
        let mut left = BTreeSet::new();
        (self.total, self.done) = (0, 0);
        for blob in self.partials.keys().copied().collect::<Vec<_>>() {
            let (partial, runs) = (&self.partials[&blob], runs.get(&blob).cloned().unwrap_or_default());
            let (layout, have) = (partial.states().layout(), partial.have());
            for piece in runs.iter().cloned().flatten().filter_map(|index| layout.piece(index)) {
                if !have.contains(piece) && left.insert((blob, piece.get())) {
                    self.total += layout.piece_len(piece) as u64;
                }
            }
            self.feed(Input::Focus { blob, runs });
        }
        self.only = Some(left);
        self
    }

    /// Prepares a download of what is read through `relay`, for as long as somebody reads.
    pub(super) fn for_relay(inner: &'a Inner, relay: Arc<Relay>) -> Self {
        let layouts = relay.view().manifest().blobs().into_values();
        let states_max = layouts.map(PieceStates::byte_len).max().unwrap_or(0);
        Self { relay: Some(relay), states_max, ..Self::new(inner, Vec::new()) }
    }

    /// Makes it wait while `pull` may not go on, and fetch no faster than `limit` bytes per second.
    pub(super) fn on_terms(self, pull: Pull, limit: Option<u64>) -> Self {
        Self { pull: Some(pull), throttle: limit.map(Throttle::new), ..self }
    }

    /// Gives it servers of HTTP to ask beside peers.
    pub(super) fn with_web(self, seeds: WebSeeds) -> Self {
        Self { web: WebSources::new(seeds), ..self }
    }

    /// Makes it look for peers anew, by `search`, whenever all are gone.
    pub(super) fn looking_anew(self, search: Search) -> Self {
        Self { search: Some((search, Instant::now())), ..self }
    }

    /// Runs until every blob is complete.
    ///
    /// # Errors
    /// Nobody sends anything, the signed states are false, or the disk does not take more.
    pub(super) async fn run(
        mut self,
        first: Vec<PeerId>,
        mut finder: Option<Finder>,
        reporter: &Reporter,
    ) -> Result<Downloaded, DownloadError> {
        first.into_iter().for_each(|peer| self.consider(peer));
        self.execute();
        let mut report = tokio::time::interval(Duration::from_millis(200));
        while self.is_wanted() {
            let relay = self.relay.clone();
            let happened = tokio::select! {
                biased;
                Some(written) = self.written.1.recv() => Happened::Written(written),
                Some(Ok((peer, source))) = self.opening.join_next() => Happened::Opened(peer, source),
                Some(event) = self.events.1.recv(), if self.writing < WRITES_AT_ONCE => Happened::Source(event),
                Some(Ok((peer, nearness))) = self.placing.join_next() => Happened::Placed(peer, nearness),
                peer = next_peer(&mut finder) => Happened::Found(peer),
                () = asked(relay.as_deref()) => Happened::Asked,
                _ = report.tick() => Happened::Tick,
            };
            match happened {
                Happened::Found(Some(peer)) => self.consider(peer),
                Happened::Found(None) => finder = None,
                Happened::Opened(peer, source) => self.opened(peer, source, reporter),
                Happened::Source(event) => self.on_source(event)?,
                Happened::Written(written) => self.on_written(written)?,
                Happened::Placed(peer, nearness) => self.placed(peer, nearness),
                Happened::Asked => self.take_readings(),
                Happened::Tick => {
                    self.tick(reporter)?;
                    if let Some(anew) = self.look_anew() {
                        finder = Some(anew);
                    }
                }
            }
            self.execute();
        }
        Ok(self.downloaded)
    }

    /// A finder names each peer once: where all are gone, those that come back are found by a new one.
    fn look_anew(&mut self) -> Option<Finder> {
        let nobody = self.has_no_peer();
        let (search, last) =
            self.search.as_mut().filter(|(_, last)| nobody && last.elapsed() >= RELAY_LOOK_ANEW)?;
        *last = Instant::now();
        Some(Finder::start(&self.inner.network, search.clone()))
    }

    /// Tells whether no peer is asked, nor about to be.
    pub(super) fn has_no_peer(&self) -> bool {
        self.sources.is_empty() && self.calls.is_empty()
    }

    fn is_wanted(&self) -> bool {
        match (&self.relay, &self.only) {
            (Some(relay), _) => !relay.is_over() || self.writing > 0,
            (None, Some(left)) => !left.is_empty(),
            (None, None) => !self.missing.is_empty(),
        }
    }

    /// Wants what is read now, from where it is read, and no more.
    fn take_readings(&mut self) {
        let Some(relay) = self.relay.clone() else { return };
        for partial in relay.partials() {
            let (blob, have) = (partial.digest(), partial.have());
            if have.is_full() || self.partials.contains_key(&blob) {
                continue;
            }
            self.missing.insert(blob);
            self.partials.insert(blob, partial);
            self.feed(Input::Want { blob, stored: have });
            self.tell_what_web_has(blob);
        }
        for source in self.sources.values_mut() {
            source.follow(&self.missing);
        }
        let runs = relay.runs();
        for blob in self.missing.clone() {
            self.feed(Input::Focus { blob, runs: runs.get(&blob).cloned().unwrap_or_default() });
        }
    }

    fn now(&self) -> reg_transfer::Instant {
        reg_transfer::Instant::after_start(self.start.elapsed())
    }

    pub(super) fn feed(&mut self, input: Input<SourceId>) {
        let now = self.now();
        self.scheduler.handle(now, input);
    }

    /// Does what the scheduler has decided.
    fn execute(&mut self) {
        while let Some(output) = self.scheduler.poll_output() {
            match output {
                Output::Request { request: RequestId(id), peer, blob, first, count } => match peer {
                    SourceId::Peer(peer) => {
                        self.send(peer, Frame::Request { id, blob, first: first.get(), count });
                    }
                    SourceId::Web(seed) => self.ask_web(seed, id, blob, first, count),
                },
                Output::Cancel { request: RequestId(id), peer } => match peer {
                    SourceId::Peer(peer) => self.send(peer, Frame::Cancel { id }),
                    SourceId::Web(seed) => self.web.cancel(seed, id),
                },
                Output::Complete { blob } => self.complete(blob),
            }
        }
    }

    fn complete(&mut self, blob: Digest) {
        self.missing.remove(&blob);
        if let Some(relay) = &self.relay {
            self.partials.remove(&blob);
            relay.complete(blob);
        }
        for source in self.sources.values_mut() {
            source.follow(&self.missing);
        }
    }

    fn send(&self, peer: PeerId, frame: Frame) {
        if let Some(source) = self.sources.get(&peer) {
            source.send(frame);
        }
    }

    /// A peer may have something: open a stream to it, now or when there is room.
    fn consider(&mut self, peer: PeerId) {
        if !self.sources.contains_key(&peer) && !self.inner.bans.is_banned(&peer) {
            self.calls.add(peer);
            self.open_waiting();
        }
    }

    fn open_waiting(&mut self) {
        while !self.is_held {
            let places = self.sources_max().saturating_sub(self.sources.len());
            let Some(peer) = self.calls.next(places) else { return };
            let (network, events) = (self.inner.network.clone(), self.events.0.clone());
            let states_max = self.states_max;
            let (pool, limits) = (self.inner.pool.clone(), self.inner.limits);
            let throttles: Arc<[Arc<Throttle>]> = self.throttles().cloned().collect();
            self.opening.spawn(async move {
                let is_free = throttles.is_empty() || (!limits.local && network.is_near(peer).await);
                let throttles = if is_free { Arc::default() } else { throttles };
                let deliver = Deliver { peer, pool, events, throttles };
                (peer, Source::open(&network, peer, states_max, deliver).await)
            });
        }
    }

    /// The limits on what is fetched.
    pub(super) fn throttles(&self) -> impl Iterator<Item = &Arc<Throttle>> {
        self.throttle.iter().chain(&self.inner.throttle)
    }

    /// Peers to fetch from at once: fewer where a limit would leave each too little to bring a piece in time.
    fn sources_max(&self) -> usize {
        let by_rate =
            self.throttles().map(|it| usize::try_from(it.rate() / LIMIT_PER_SOURCE).unwrap_or(SOURCES_MAX));
        by_rate.min().map_or(SOURCES_MAX, |most| most.clamp(1, SOURCES_MAX))
    }

    /// Hangs up while it may not go on, and calls the same peers again once it may.
    fn obey(&mut self) {
        let may_go_on = self.pull.as_ref().is_none_or(|pull| pull.may_go_on(std::time::Instant::now()));
        if !may_go_on {
            // Waiting is no starving.
            self.last_progress = Instant::now();
        }
        if self.is_held != may_go_on {
            return;
        }
        self.is_held = !may_go_on;
        if self.is_held {
            let peers: Vec<PeerId> = self.sources.keys().copied().collect();
            for peer in peers {
                self.drop_source(peer);
                self.calls.call_again(peer);
            }
        }
        self.hold_web(self.is_held);
        self.open_waiting();
    }

    fn opened(&mut self, peer: PeerId, source: Result<Source, OpenStreamError>, reporter: &Reporter) {
        self.calls.ended(&peer);
        match source {
            Ok(_) if self.is_held => self.calls.add(peer),
            Ok(mut source) => {
                source.follow(&self.missing);
                self.sources.insert(peer, source);
                let (network, zone) = (self.inner.network.clone(), self.inner.zone.clone());
                self.placing.spawn(async move { (peer, nearness::of(&network, peer, &zone).await) });
            }
            Err(error) => {
                debug!(%peer, %error, "no stream to a peer");
                if matches!(error, OpenStreamError::BehindNat) {
                    self.behind_nat += 1;
                    reporter.note(format_args!("{peer} is not pulled from: {error}"));
                }
                self.open_waiting();
            }
        }
    }

    fn placed(&mut self, peer: PeerId, nearness: Nearness) {
        if self.sources.contains_key(&peer) {
            self.feed(Input::PeerIs { peer: SourceId::Peer(peer), nearness });
        }
    }

    fn drop_source(&mut self, peer: PeerId) {
        self.sources.remove(&peer);
        self.disputes.retain(|(of, _), _| *of != peer);
        self.dispute_requests.retain(|_, (of, _)| *of != peer);
        self.feed(Input::PeerLeft { peer: SourceId::Peer(peer) });
        self.open_waiting();
    }

    fn on_source(&mut self, event: SourceEvent) -> Result<(), DownloadError> {
        match event {
            SourceEvent::Gone { peer } => self.drop_source(peer),
            SourceEvent::Piece { peer, id, piece, bytes, way } => {
                if let Some((of, blob)) = self.dispute_requests.get(&id).copied() {
                    return if of == peer { self.settle_dispute(peer, blob, &bytes) } else { Ok(()) };
                }
                self.on_piece(SourceId::Peer(peer), id, piece, bytes, way);
            }
            SourceEvent::WebPiece { id, request, piece, bytes } => {
                self.on_piece(SourceId::Web(id), request, piece, bytes, Way::Stream);
            }
            SourceEvent::Web { id, news } => self.on_web(id, news),
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
                let Some(source) = self.sources.get_mut(&peer) else { return };
                source.holds_any |= !pieces.is_empty();
                if let (Some(relay), true) = (&self.relay, source.holds_any) {
                    relay.note_sources(true);
                }
                if !self.disputes.contains_key(&(peer, blob)) {
                    self.feed(Input::PeerHolds { peer: SourceId::Peer(peer), blob, pieces });
                }
            }
            Err(error) => {
                debug!(%peer, %blob, %error, "a peer sent a bitmap that is none");
                self.drop_source(peer);
            }
        }
    }

    /// Runs beyond the blob's end are cut off there.
    fn on_has(&mut self, peer: PeerId, blob: Digest, runs: &[(u32, u32)]) {
        if !self.sources.contains_key(&peer) || self.disputes.contains_key(&(peer, blob)) {
            return;
        }
        for (first, count) in runs {
            let pieces = *first..first.saturating_add(*count);
            self.feed(Input::PeerHas { peer: SourceId::Peer(peer), blob, pieces });
        }
    }

    fn on_reject(&mut self, peer: PeerId, id: u32, reason: Rejection) {
        let busy = match reason {
            Rejection::Busy { retry_ms } => Some(Duration::from_millis(retry_ms.into())),
            Rejection::NotHere | Rejection::Unverified | Rejection::Malformed => None,
        };
        if busy.is_some() && self.dispute_requests.get(&id).is_some_and(|(of, _)| *of == peer) {
            self.dispute_refused.insert(id);
            return;
        }
        let request = RequestId(id);
        if self.scheduler.request(request).is_some_and(|(of, _)| of == SourceId::Peer(peer)) {
            self.feed(Input::Rejected { request, busy });
        }
    }

    fn on_piece(&mut self, source: SourceId, id: u32, piece: u32, bytes: PieceBytes, way: Way) {
        let request = RequestId(id);
        let Some((of, blob)) = self.scheduler.request(request) else { return };
        let Some(partial) = self.partials.get(&blob) else { return };
        let Some(piece) = partial.states().layout().piece(piece) else { return };
        if of != source || !self.scheduler.is_owed(request, piece) {
            return;
        }
        let (partial, tell) = (partial.clone(), self.written.0.clone());
        self.writing += 1;
        self.inner.intake.submit(partial, piece, bytes, move |bytes, result| {
            let written = Written { source, request, blob, piece, bytes: bytes.len(), way, result };
            // The buffer is free before anybody hears of it, and there is room for as many as are being written.
            drop(bytes);
            drop(tell.try_send(written));
        });
    }

    fn on_written(&mut self, written: Written) -> Result<(), DownloadError> {
        let Written { source, request, blob, piece, bytes, way, result } = written;
        self.writing -= 1;
        match result {
            // It came twice, as the end of a blob may.
            Ok(()) if !self.scheduler.is_owed(request, piece) => Ok(()),
            Ok(()) => {
                self.last_progress = Instant::now();
                self.pull.iter().for_each(Pull::got_on);
                self.done += bytes as u64;
                self.count(source, bytes as u64, way);
                self.feed(Input::Stored { request, piece });
                if let Some(left) = &mut self.only {
                    left.remove(&(blob, piece.get()));
                }
                if let Some(relay) = &self.relay {
                    relay.tell();
                }
                Ok(())
            }
            Err(WritePieceError::Mismatch { .. }) => {
                self.feed(Input::Failed { request, piece });
                match source {
                    SourceId::Peer(peer) => self.on_mismatch(peer, blob, piece),
                    SourceId::Web(seed) => self.on_web_mismatch(seed, blob, piece),
                }
                Ok(())
            }
            Err(error) => Err(DownloadError::Write { blob, piece, source: error }),
        }
    }

    fn count(&mut self, source: SourceId, bytes: u64, way: Way) {
        match source {
            SourceId::Peer(peer) => {
                self.inner.traffic.count_fetched(peer, bytes, way);
                *self.downloaded.peers.entry(peer).or_default() += bytes;
            }
            SourceId::Web(seed) => {
                self.inner.traffic.count_web(bytes);
                *self.downloaded.web.entry(self.web.name(seed)).or_default() += bytes;
            }
        }
    }

    /// A piece did not match: the peer is asked for nothing more until it is known who is wrong.
    fn on_mismatch(&mut self, peer: PeerId, blob: Digest, piece: PieceIndex) {
        if !self.sources.contains_key(&peer) || self.disputes.contains_key(&(peer, blob)) {
            return;
        }
        info!(%peer, %blob, %piece, "a piece does not match");
        self.send(peer, Frame::Complain { blob, piece: piece.get() });
        self.feed(Input::PeerLeft { peer: SourceId::Peer(peer) });
        let single = self.partials.get(&blob).is_none_or(|it| it.states().layout().piece_count() == 1);
        if single {
            self.ban(peer);
            return;
        }
        self.send(peer, Frame::GetStates { blob });
        self.disputes.insert((peer, blob), (Dispute::AwaitingStates, Instant::now() + DISPUTE_TIMEOUT));
    }

    fn on_states(&mut self, peer: PeerId, blob: Digest, theirs: &[u8]) {
        let Some((Dispute::AwaitingStates, deadline)) = self.disputes.get(&(peer, blob)) else { return };
        let deadline = *deadline;
        let Some(partial) = self.partials.get(&blob) else { return };
        match dispute::on_states(partial.states(), theirs) {
            Ruling::Ask { piece, dispute } => {
                let id = self.next_dispute_request;
                self.next_dispute_request = id.wrapping_add(1).max(DISPUTE_REQUESTS_FROM);
                self.dispute_requests.insert(id, (peer, blob));
                self.disputes.insert((peer, blob), (dispute, deadline));
                self.send(peer, Frame::Request { id, blob, first: piece.get(), count: 1 });
            }
            Ruling::PeerLies | Ruling::ListIsFalse => self.ban(peer),
        }
    }

    /// Asks a peer that was busy again for the piece that settles a dispute; the dispute's end is where it was.
    fn ask_refused_again(&mut self) {
        for id in std::mem::take(&mut self.dispute_refused) {
            let Some((peer, blob)) = self.dispute_requests.get(&id).copied() else { continue };
            if let Some((Dispute::AwaitingPiece { piece, .. }, _)) = self.disputes.get(&(peer, blob)) {
                let first = piece.get();
                self.send(peer, Frame::Request { id, blob, first, count: 1 });
            }
        }
    }

    fn settle_dispute(&mut self, peer: PeerId, blob: Digest, bytes: &[u8]) -> Result<(), DownloadError> {
        let Some((Dispute::AwaitingPiece { theirs, piece }, _)) = self.disputes.get(&(peer, blob)) else {
            return Ok(());
        };
        let Some(partial) = self.partials.get(&blob) else { return Ok(()) };
        match dispute::on_piece(&blob, partial.states(), theirs, *piece, bytes) {
            Ruling::ListIsFalse => Err(DownloadError::FalseStates { blob }),
            Ruling::PeerLies | Ruling::Ask { .. } => {
                self.ban(peer);
                Ok(())
            }
        }
    }

    fn ban(&mut self, peer: PeerId) {
        info!(%peer, "a peer sent wrong bytes and is not asked again");
        self.liars += 1;
        Bans::ban(&self.inner.bans, peer);
        self.drop_source(peer);
    }

    fn tick(&mut self, reporter: &Reporter) -> Result<(), DownloadError> {
        self.obey();
        let now = Instant::now();
        let late: Vec<PeerId> = self
            .disputes
            .iter()
            .filter(|(_, (_, deadline))| *deadline < now)
            .map(|((peer, _), _)| *peer)
            .collect();
        late.into_iter().for_each(|peer| self.drop_source(peer));
        self.ask_refused_again();
        if self.calls.are_waiting() {
            let useless: Vec<PeerId> =
                self.sources.iter().filter(|(_, it)| it.is_useless()).map(|(peer, _)| *peer).collect();
            useless.into_iter().for_each(|peer| self.drop_source(peer));
        }
        self.begin_web(reporter);
        self.feed(Input::Tick);
        let web = self.web_seeds();
        reporter.tell(Progress::Bytes {
            done: self.done,
            total: self.total,
            peers: self.sources.len() + web,
        });
        if let Some(relay) = &self.relay {
            relay.note_sources(web > 0 || self.sources.values().any(|source| source.holds_any));
            // Who reads has a patience of its own, and peers may come back for as long as somebody does.
            return Ok(());
        }
        let missing = self.total.saturating_sub(self.done);
        let paused = self.patience_with_web(missing)?;
        let nobody = web == 0 && self.has_no_peer();
        let patience = paused.unwrap_or(if nobody { NOBODY_TIMEOUT } else { STARVED_TIMEOUT });
        let quiet = self.last_progress.elapsed();
        if quiet < patience {
            return Ok(());
        }
        if nobody && self.liars > 0 {
            return Err(DownloadError::OnlyWrongBytes { liars: self.liars });
        }
        if nobody && self.behind_nat > 0 {
            return Err(DownloadError::BehindNat { peers: self.behind_nat, missing, total: self.total });
        }
        Err(DownloadError::Starved { seconds: quiet.as_secs(), missing, total: self.total })
    }
}

/// Returns a seed of its own for each node: what is equally rare is chosen differently by each.
fn seed_of(peer: PeerId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *peer.public_key();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

async fn asked(relay: Option<&Relay>) {
    match relay {
        Some(relay) => relay.asked().await,
        None => std::future::pending().await,
    }
}

async fn next_peer(finder: &mut Option<Finder>) -> Option<PeerId> {
    match finder {
        Some(finder) => finder.next().await,
        None => std::future::pending().await,
    }
}
