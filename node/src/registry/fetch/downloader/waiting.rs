//! How a download waits: it notices bytes, its own sleep and sources that come back, and tells the pulls how long nothing came.

use std::time::Duration;

use reg_api::reporter::Reporter;
use reg_transfer::Input;
use tokio::time::Instant;
use tracing::debug;

use super::super::demand::Stall;
use super::super::event::SourceId;
use super::super::patience::Facts;
use super::super::web_source::AllPaused;
use super::{DownloadError, Downloader};
use crate::registry::limits::{REFUSED_LATELY, SLEPT, WAIT_TOLD};

impl Downloader<'_> {
    /// Shifts the clocks of the download where its process was stopped, or its machine slept, so that no source counts as
    /// silent for that time.
    pub(super) fn notice_sleep(&mut self) {
        let now = Instant::now();
        let slept = now.duration_since(std::mem::replace(&mut self.tally.awake, now));
        if slept >= SLEPT {
            debug!(?slept, "the download was stopped for a while");
            self.start += slept;
            self.tally.last_progress += slept;
            self.tally.last_verified += slept;
            self.demand.slept(slept);
        }
    }

    /// Tells the scheduler which sources have sent bytes, and how many connections carry their pieces.
    ///
    /// Bytes are progress within a bound, because a piece takes 8 s at 1 Mbit/s.
    pub(super) fn listen(&mut self) {
        let peers = self.peers.heard().into_iter().map(SourceId::Peer);
        let heard: Vec<SourceId> = peers.chain(self.web.heard()).collect();
        if heard.iter().any(|source| self.scheduler.in_flight(source) > 0) {
            self.tally.last_progress = Instant::now();
        }
        self.feed_all(heard.into_iter().map(|peer| Input::PeerHeard { peer }).collect());
        let ways = self.peers.ways().into_iter();
        let tell = |(peer, ways)| Input::PeerWays { peer: SourceId::Peer(peer), ways };
        self.feed_all(ways.map(tell).collect());
    }

    /// Dials the peers again that this download has lost its streams to.
    pub(super) fn go_back(&mut self) {
        if self.permit.is_held {
            return;
        }
        for peer in self.peers.returning.due(Instant::now()) {
            if !self.peers.contains(&peer) {
                self.peers.dialling.dial_again(peer);
            }
        }
        self.open_waiting();
    }

    /// Tells the pulls how long no byte has come, which end after that when their patience does, and says what is waited for.
    /// `web` is the number of web seeds.
    pub(super) fn wait_on(&mut self, web: usize, reporter: &Reporter) {
        let (total, missing) = (self.tally.total, self.tally.total.saturating_sub(self.tally.done));
        // What the download says and how long it waits for paused web seeds begins anew with each wish. Each pull has a patience
        // of its own.
        let quiet = self.tally.last_progress.elapsed();
        let unverified = self.tally.last_verified.elapsed();
        let since_wish = quiet.min(self.tally.last_wish.elapsed());
        let paused = match self.web.patience(!self.peers.is_empty(), since_wish) {
            Ok(paused) => paused,
            Err(AllPaused { seed, pause }) => {
                let error = DownloadError::LeftAlone { seed, seconds: pause.as_secs(), missing, total };
                let stall = Stall { quiet, unverified, patience: Duration::ZERO, is_fixed: true, error };
                return self.demand.note_stall(stall);
            }
        };
        // Beside peers behind a NAT, a peer that holds nothing is not waited for.
        let is_cut_off = self.peers.behind_nat > 0 && !self.peers.any_holds();
        let has_source = web > 0 || (self.peers.has_source() && !is_cut_off);
        let lately = self.tally.refused.filter(|(at, _)| at.elapsed() < REFUSED_LATELY);
        let facts = Facts {
            quiet: since_wish,
            asked: self.demand.timeout(),
            has_source,
            known: self.peers.returning.shown(),
            has_fetched: self.tally.has_fetched,
            refused: lately.map(|(_, is_paused)| is_paused),
        };
        if let (Some(news), None, false) = (self.tally.told.news(&facts), paused, self.permit.is_held) {
            reporter.note(news);
        }
        let (liars, behind_nat) = (self.tally.liars, self.peers.behind_nat);
        let error = match has_source {
            false if liars > 0 => DownloadError::OnlyWrongBytes { liars },
            false if behind_nat > 0 => DownloadError::BehindNat { peers: behind_nat, missing, total },
            _ if unverified.saturating_sub(quiet) >= WAIT_TOLD => {
                DownloadError::Unfinished { seconds: unverified.as_secs(), missing, total }
            }
            _ if facts.refused == Some(true) => {
                DownloadError::Paused { seconds: quiet.as_secs(), missing, total }
            }
            _ => DownloadError::Starved { seconds: quiet.as_secs(), missing, total },
        };
        let usual = Facts { asked: None, ..facts }.patience();
        let patience = paused.unwrap_or(usual);
        let stall = Stall { quiet, unverified, patience, is_fixed: paused.is_some(), error };
        self.demand.note_stall(stall);
    }
}
