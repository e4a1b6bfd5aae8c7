//! The part of a download that has to do with web seeds: when they are asked, and what becomes of their answers.

use std::sync::Arc;
use std::time::Duration;

use reg_api::reporter::Reporter;
use reg_proto::digest::Digest;
use reg_proto::piece::{PieceIndex, PieceSet};
use reg_transfer::{Input, Nearness, RequestId};
use tracing::{info, warn};

use super::downloader::{DownloadError, Downloader};
use super::event::{SourceId, WebId, WebNews};
use super::web_server::{Order, Sink};
use crate::registry::limits::{WEB_HEAD_START, WEB_PATIENCE, WEB_WAIT_MAX};

impl Downloader<'_> {
    /// Begins to ask web seeds once peers have had their time, or at once where there is none.
    pub fn begin_web(&mut self, reporter: &Reporter) {
        let is_due = self.start.elapsed() >= WEB_HEAD_START || self.has_no_peer();
        if self.permit.is_held || !is_due || !self.web.are_waiting() {
            return;
        }
        match self.web.begin(reporter.clone()) {
            Ok(()) => self.hold_web(false),
            Err(error) => reporter.note(format_args!("no web seed is asked: {error}")),
        }
    }

    /// Hangs up on web seeds, or calls them again.
    pub fn hold_web(&mut self, is_held: bool) {
        for id in self.web.alive().collect::<Vec<_>>() {
            if is_held {
                self.feed(Input::PeerLeft { peer: SourceId::Web(id) });
            } else {
                self.feed(Input::PeerIs { peer: SourceId::Web(id), nearness: Nearness::Web });
                for blob in self.missing.clone() {
                    self.tell_what_a_seed_has(id, blob);
                }
            }
        }
        if is_held {
            self.web.hang_up();
        }
    }

    /// Tells the scheduler who of the web seeds has a blob.
    pub fn tell_what_web_has(&mut self, blob: Digest) {
        for id in self.web.alive().collect::<Vec<_>>() {
            self.tell_what_a_seed_has(id, blob);
        }
    }

    fn tell_what_a_seed_has(&mut self, id: WebId, blob: Digest) {
        let Some(partial) = self.partials.get(&blob) else { return };
        if self.permit.is_held || !self.web.has(id, &blob) {
            return;
        }
        let pieces = PieceSet::full(partial.states().layout().piece_count());
        self.feed(Input::PeerHolds { peer: SourceId::Web(id), blob, pieces });
    }

    /// Counts the web seeds that have something of what is missing, as far as is known.
    pub fn web_seeds(&self) -> usize {
        let is_of_use = |id: &WebId| self.missing.iter().any(|blob| self.web.has(*id, blob));
        self.web.alive().filter(is_of_use).count()
    }

    /// Asks a web seed for pieces.
    pub fn ask_web(&mut self, id: WebId, request: u32, blob: Digest, first: PieceIndex, count: u32) {
        let Some(partial) = self.partials.get(&blob) else { return };
        let layout = partial.states().layout();
        let is_free = self.web.is_near(id) && !self.fetching.limits.local;
        let throttles = if is_free { Arc::default() } else { self.throttles().cloned().collect() };
        let sink = Sink { pool: self.fetching.pool.clone(), events: self.events.0.clone(), throttles };
        self.web.ask(id, Order { request, blob, layout, first, count }, sink);
    }

    /// A web seed does not answer a request to its end.
    pub fn on_web(&mut self, id: WebId, news: WebNews) {
        let (request, busy) = match &news {
            WebNews::Later { request, wait, .. } => (RequestId(*request), Some(*wait)),
            WebNews::Never { request, blob, error } => {
                if self.web.lose(id, *blob) {
                    self.web.note(format_args!("web seed {}: {error}", self.web.name(id)));
                }
                if let Some(partial) = self.partials.get(blob) {
                    let pieces = PieceSet::new(partial.states().layout().piece_count());
                    self.feed(Input::PeerHolds { peer: SourceId::Web(id), blob: *blob, pieces });
                }
                (RequestId(*request), None)
            }
        };
        if self.scheduler.request(request).is_some_and(|(of, _)| of == SourceId::Web(id)) {
            self.feed(Input::Rejected { request, busy });
        }
        if let WebNews::Later { error: Some(error), .. } = news
            && self.web.is_failing(id)
        {
            self.web.note(format_args!("web seed {} is not asked any more: {error}", self.web.name(id)));
            self.web.give_up(id);
            self.feed(Input::PeerLeft { peer: SourceId::Web(id) });
        }
    }

    /// A piece of a web seed did not match: it is asked for nothing more. No dispute: it knows no states.
    pub fn on_web_mismatch(&mut self, id: WebId, blob: Digest, piece: PieceIndex) {
        let name = self.web.name(id);
        warn!(seed = %name, %blob, %piece, "a web seed sent wrong bytes and is not asked again");
        self.web.note(format_args!(
            "web seed {name} sent wrong bytes (piece {piece} of {blob}) and is not asked again"
        ));
        self.tally.liars += 1;
        self.web.give_up(id);
    }

    /// How long nothing may come because web seeds have asked for a pause; `None` where none has.
    ///
    /// # Errors
    /// Nobody else is there, and all of them ask for a longer pause than a pull waits.
    pub fn patience_with_web(&self, missing: u64) -> Result<Option<Duration>, DownloadError> {
        let Some((id, pause)) = self.web.shortest_pause() else { return Ok(None) };
        let quiet = self.tally.last_progress.elapsed();
        if self.has_no_peer() && (pause > WEB_WAIT_MAX || (!pause.is_zero() && quiet > WEB_PATIENCE)) {
            info!(seed = %self.web.name(id), ?pause, "all that is left to ask wants to be left alone");
            return Err(DownloadError::LeftAlone {
                seed: self.web.name(id),
                seconds: pause.as_secs(),
                missing,
                total: self.tally.total,
            });
        }
        Ok(self.web.has_paused_lately().then_some(WEB_PATIENCE))
    }
}
