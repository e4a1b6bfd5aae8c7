//! [`Peer`]: the pieces that one peer owes, its speed, and its behaviour.

use std::time::Duration;

use reg_proto::digest::Digest;

use super::limits::{
    BUSY_MIN, GAIN, HEARD_MAX, PIECES_IN_FLIGHT_PER_PEER, QUICK_DRIFT, RATE_UNKNOWN, SILENCE, SLACK, STALL,
    START_PIECES, STREAK_MIN, WINDOW_UNITS_MIN,
};
use super::rate::Rate;
use super::time::Instant;

/// Where a peer is, in the order in which peers are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Nearness {
    /// On this machine.
    Host,
    /// In a private network, or in the zone that the user has named.
    Zone,
    /// Anywhere else.
    #[default]
    Far,
    /// An HTTP server, which serves many clients and counts requests: as far as [`Self::Far`], and asked where peers are
    /// slow.
    Web,
}

impl Nearness {
    /// Tells whether pieces that this peer holds are not fetched from farther away.
    pub const fn is_near(self) -> bool {
        matches!(self, Self::Host | Self::Zone)
    }
}

/// What a peer has brought of the blob that it was asked for last. Pieces of other blobs may be much smaller.
#[derive(Debug, Clone, Copy)]
struct Streak {
    blob: Digest,
    since: Instant,
    last: Instant,
    brought: u32,
}

/// A source that can be asked for pieces.
#[derive(Debug)]
pub(super) struct Peer<P> {
    pub(super) id: P,
    pub(super) nearness: Nearness,
    /// Pieces that it owes: asked of it and not yet stored.
    pub(super) in_flight: u32,
    /// When it last delivered a piece, or was asked for one while it owed none.
    pub(super) last_progress: Instant,
    /// When bytes of a piece last came from it, whole or not.
    pub(super) last_heard: Instant,
    /// How long it has been heard since it last delivered a piece.
    dripped: Duration,
    /// When it may be asked again.
    pub(super) busy_until: Instant,
    /// How often it has answered "busy" since it last delivered.
    pub(super) refusals: u32,
    /// Since when it has answered every request with "busy".
    pub(super) refused_since: Option<Instant>,
    /// It has answered "busy" for so long that it does not count as a source.
    pub(super) is_refusing: bool,
    /// How often it was silent since it last delivered. If it was, it is asked after the others, for one piece at a
    /// time.
    pub(super) trouble: u32,
    /// It is not asked before `busy_until` because it was silent, and not because it asked for a pause.
    is_silenced: bool,
    /// It owes pieces and has been quiet for too long: its pieces do not count as under way.
    pub(super) is_late: bool,
    /// How many pieces it sends beside each other.
    pub(super) ways: u32,
    /// Since when it has owed fewer pieces than it has ways: some way is idle.
    spare_since: Option<Instant>,
    streak: Option<Streak>,
    /// Most pieces that it may owe.
    window: u32,
    rate: Rate,
    /// How long a request takes that waits behind no other of this node.
    quick: Option<Duration>,
}

/// Returns the quickest recent time: a slower one moves it up a little.
pub(super) fn quickest(known: Option<Duration>, seen: Duration) -> Duration {
    known.map_or(seen, |known| known.min(seen) + seen.saturating_sub(known) / QUICK_DRIFT)
}

/// Returns how many pieces are under way in this time at this rate, times [`GAIN`].
pub(super) fn under_way(rate: Option<f32>, time: Duration) -> u32 {
    rate.map_or(0, |rate| 1 + (GAIN * rate * (time + SLACK).as_secs_f32()) as u32)
}

impl<P> Peer<P> {
    /// Returns a peer that has not been asked for anything.
    pub(super) fn new(id: P, now: Instant) -> Self {
        Self {
            id,
            nearness: Nearness::default(),
            in_flight: 0,
            last_progress: now,
            last_heard: now,
            dripped: Duration::ZERO,
            busy_until: now,
            refusals: 0,
            refused_since: None,
            is_refusing: false,
            trouble: 0,
            is_silenced: false,
            is_late: false,
            ways: 1,
            spare_since: None,
            streak: None,
            window: START_PIECES,
            rate: Rate::default(),
            quick: None,
        }
    }

    /// Returns how many more pieces it may be asked for. A unit has `unit` pieces.
    pub(super) fn room(&self, now: Instant, unit: u32) -> u32 {
        if now < self.busy_until || self.is_late {
            return 0;
        }
        if self.trouble > 0 {
            return 1u32.saturating_sub(self.in_flight);
        }
        let floor = if self.quick.is_some() { unit * WINDOW_UNITS_MIN } else { unit };
        self.window.max(floor).saturating_sub(self.in_flight)
    }

    /// Returns how many seconds another request for `pieces` would take; almost 0 where its rate is not known yet.
    pub(super) fn wait_for(&self, pieces: u32) -> f32 {
        let queued = (self.in_flight + pieces) as f32;
        let quick = self.quick.map_or(0.0, |it| it.as_secs_f32());
        quick + queued / self.rate()
    }

    /// Returns how many pieces it delivers in a second: many, where that is not known yet.
    pub(super) fn rate(&self) -> f32 {
        self.rate.per_second().unwrap_or(RATE_UNKNOWN)
    }

    /// Tells whether it has delivered pieces, so that its rate is known.
    pub(super) fn has_brought(&self) -> bool {
        self.rate.per_second().is_some()
    }

    /// Tells whether it owes pieces and has been quiet for `time`.
    pub(super) fn is_quiet(&self, now: Instant, time: Duration) -> bool {
        self.in_flight > 0 && now.since(self.last_progress.max(self.last_heard)) >= time
    }

    /// Records that it has been asked for pieces.
    pub(super) fn asked(&mut self, now: Instant, pieces: u32) {
        if self.in_flight == 0 {
            self.last_progress = now;
        }
        self.in_flight += pieces;
        if self.in_flight >= self.ways {
            self.spare_since = None;
        }
    }

    /// Records of which blob it was asked for pieces.
    pub(super) fn asked_of(&mut self, now: Instant, blob: Digest) {
        if self.streak.is_none_or(|it| it.blob != blob) {
            self.streak = Some(Streak { blob, since: now, last: now, brought: 0 });
        }
    }

    /// Records of which blob it has delivered a piece.
    pub(super) fn brought_of(&mut self, now: Instant, blob: &Digest) {
        if let Some(streak) = self.streak.as_mut().filter(|it| it.blob == *blob) {
            (streak.last, streak.brought) = (now, streak.brought + 1);
        }
    }

    /// Finds out whether one of its ways is idle while another carries a piece.
    pub(super) fn look_for_spare(&mut self, now: Instant) {
        let is_spare = (1..self.ways).contains(&self.in_flight);
        self.spare_since = if is_spare { self.spare_since.or(Some(now)) } else { None };
    }

    /// Tells whether one of its ways has been idle for as long as a way takes to bring a piece, while another one still carries
    /// what it was asked for before. Where all ways share one slow line, the last pieces come sooner than that.
    pub(super) fn has_slow_way(&self, now: Instant, blob: &Digest) -> bool {
        let streak = self.streak.filter(|it| it.blob == *blob && it.brought >= STREAK_MIN);
        let usual = streak.map(|it| it.last.since(it.since) / it.brought * self.ways);
        let spare = self.spare_since.map(|since| now.since(since));
        spare.zip(usual).is_some_and(|(spare, usual)| spare >= usual)
    }

    /// Records that it has delivered a piece. `quick` is how long the first piece of a request took that waited behind
    /// no other.
    pub(super) fn delivered(&mut self, now: Instant, quick: Option<Duration>) {
        self.rate.came(1, now.since(self.last_progress));
        self.last_progress = now;
        self.dripped = Duration::ZERO;
        self.heard(now, true);
        self.trouble = 0;
        self.refusals = 0;
        (self.refused_since, self.is_refusing) = (None, false);
        if let Some(quick) = quick {
            self.quick = Some(quickest(self.quick, quick));
        }
        let window = self.quick.map_or(0, |quick| under_way(self.rate.per_second(), quick));
        self.window = window.clamp(START_PIECES, PIECES_IN_FLIGHT_PER_PEER);
    }

    /// Records that bytes of a piece have come from it: it is silent no more, until it has brought no whole piece for too long.
    /// A peer that is not `trusted` any more keeps its pieces and gets no more.
    pub(super) fn heard(&mut self, now: Instant, trusted: bool) {
        if self.in_flight == 0 && !self.is_silenced {
            return;
        }
        let quiet = now.since(self.last_progress.max(self.last_heard));
        self.dripped += quiet.min(STALL);
        if self.dripped >= HEARD_MAX {
            return;
        }
        self.last_heard = now;
        if trusted && std::mem::take(&mut self.is_silenced) {
            (self.trouble, self.busy_until) = (0, now);
        }
    }

    /// Tells whether it has been heard for `time` without bringing a whole piece.
    pub(super) fn has_dripped(&self, time: Duration) -> bool {
        self.dripped >= time
    }

    /// Finds out whether it has answered "busy" for too long, and tells whether that has changed.
    pub(super) fn look_for_refusing(&mut self, now: Instant) -> bool {
        let refuses = self.refused_since.is_some_and(|since| now.since(since) >= STALL);
        refuses && !std::mem::replace(&mut self.is_refusing, true)
    }

    /// Records that it has been silent, and does not ask it for a while.
    pub(super) fn was_silent(&mut self, now: Instant, since_long: bool) {
        self.trouble = self.trouble.saturating_add(1);
        self.is_silenced = true;
        self.busy_until = now + if since_long { BUSY_MIN } else { SILENCE - STALL };
        (self.last_progress, self.last_heard) = (now, now);
    }
}
