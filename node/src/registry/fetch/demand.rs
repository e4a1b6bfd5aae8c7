//! [`Demand`]: what pulls and readers want of the blobs that one download fetches for all of them.
//!
//! Each pull and each reader is a member, with its wishes, its priority and its limit. The download fetches what the members
//! that may go on wish for, and wakes them for every piece that has been verified and written. It ends when the last member
//! has left.

mod blobs;
mod meter;
mod origins;
mod parts;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use reg_api::progress::Progress;
use reg_api::reporter::Reporter;
use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::piece::BlobLayout;
use tokio::sync::{Notify, watch};

use super::downloader::DownloadError;
use super::priorities::Pull;
use super::room::Room;
use super::web_source::WebSeeds;
use crate::registry::limits::{
    DESERTED_PATIENCE, INTRODUCED_MAX, ON_DEMAND_LINGER, UNVERIFIED_FACTOR, UNVERIFIED_MAX, UNVERIFIED_MIN,
};
use crate::store::{Lease, Partial, PartialError};

use self::meter::Meter;
use self::origins::Origins;
pub(super) use self::parts::Part;
pub use self::parts::pieces_at_rest;

/// What a member wants of one blob.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Every piece, in the order that suits the swarm, and then the whole blob in the store.
    Whole,
    /// These runs of pieces, each from its first piece on.
    Runs(Vec<Range<u32>>),
}

/// A limit that a member sets on the download, in bytes per second; `None` without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DownLimit {
    pub far: Option<u64>,
    /// The limit for peers on this machine and in private networks.
    pub near: Option<u64>,
}

/// How a member joins.
#[derive(Debug)]
pub struct Joining {
    /// The registration among the pulls that run; one without may always go on.
    pub pull: Option<Arc<Pull>>,
    /// Whether a gateway's client reads. It has a patience of its own, and others like it often come soon after.
    pub is_reader: bool,
    pub limit: DownLimit,
    /// How long the user waits for a byte; `None` where the user has not said.
    pub timeout: Option<Duration>,
    /// Is told what the user should know.
    pub reporter: Reporter,
    /// Is woken by news of the download.
    pub wake: Arc<Notify>,
}

/// Why no byte comes, and for how long a pull goes on nevertheless.
#[derive(Debug, Clone)]
pub(super) struct Stall {
    /// How long no byte has come.
    pub quiet: Duration,
    /// How long no verified piece has come.
    pub unverified: Duration,
    /// How long a pull goes on where its user has not said.
    pub patience: Duration,
    /// Whether that holds whatever the user has said.
    pub is_fixed: bool,
    pub error: DownloadError,
}

impl Stall {
    /// Returns why a pull with this `timeout` of its user ends, which has waited for `waited`; `None` while it goes on. Bytes
    /// that are not verified postpone the end within a bound.
    pub(super) fn end(&self, timeout: Option<Duration>, waited: Duration) -> Option<DownloadError> {
        let patience = timeout.filter(|_| !self.is_fixed).unwrap_or(self.patience);
        let bound = (patience * UNVERIFIED_FACTOR).clamp(UNVERIFIED_MIN, UNVERIFIED_MAX).max(patience);
        let is_over = self.quiet.min(waited) >= patience || self.unverified.min(waited) >= bound;
        is_over.then(|| self.error.clone())
    }
}

/// The bytes of verified pieces by the source that sent them.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub peers: BTreeMap<PeerId, u64>,
    pub web: BTreeMap<String, u64>,
}

impl Sources {
    /// Adds bytes to those of the same sources.
    pub fn add(&mut self, Self { peers, web }: Self) {
        for (peer, bytes) in peers {
            *self.peers.entry(peer).or_default() += bytes;
        }
        for (seed, bytes) in web {
            *self.web.entry(seed).or_default() += bytes;
        }
    }

    /// Returns the sum over all sources.
    pub fn bytes(&self) -> u64 {
        self.peers.values().chain(self.web.values()).sum()
    }
}

/// What the members of one download want.
#[derive(Debug)]
pub struct Demand {
    state: Mutex<State>,
    asked: Notify,
    news: watch::Sender<u64>,
    /// Since when no source holds a wanted piece; `None` while one does.
    deserted: Mutex<Option<Instant>>,
    /// Locked while blobs are opened, so that each is opened once, also where the caller leaves meanwhile.
    pub(super) opening: Arc<tokio::sync::Mutex<()>>,
    /// Locked while disk space is set aside, so that it is done once for each blob.
    setting_aside: Mutex<()>,
    /// Locked while local bytes are looked for, so that it is done once.
    preparing: tokio::sync::Mutex<()>,
}

/// It has 17 fields, because they are parts of one decision: what is fetched now, and for which members.
#[derive(Debug, Default)]
struct State {
    next: u64,
    members: BTreeMap<u64, Member>,
    opened: BTreeMap<Digest, Opened>,
    leases: Vec<Lease>,
    /// News for the download.
    changes: Changes,
    /// Blobs with all pieces stored, which wait to become whole blobs of the store.
    finishing: VecDeque<Digest>,
    is_finishing: bool,
    /// Run after blobs became whole, by the manifest of the model that they complete.
    conclusions: BTreeMap<Digest, Conclusion>,
    /// The registration that all readers share.
    reading: Weak<Pull>,
    /// When the last member left, and whether a reader has ever been one.
    idle: Option<(Instant, bool)>,
    /// Whether its task was started.
    is_running: bool,
    is_over: bool,
    failure: Option<DownloadError>,
    stall: Option<Stall>,
    /// How many sources send pieces.
    sources: usize,
    /// How many of them are web seeds.
    web_sources: usize,
    /// Bytes of verified pieces that sources have sent.
    fetched: u64,
    meter: Meter,
}

/// What has changed since the download looked last.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Blobs of which members want more or less.
    pub blobs: BTreeSet<Digest>,
    /// Blobs that got pieces from elsewhere, such as another model in the store.
    pub filled: BTreeSet<Digest>,
    /// Peers that callers have named, and whether they are known to hold a wanted blob.
    pub peers: VecDeque<(PeerId, bool)>,
    pub web: Vec<WebSeeds>,
    /// Whether a member came or wants something else.
    pub is_anew: bool,
}

#[derive(Clone)]
struct Conclusion(Arc<dyn Fn() + Send + Sync>);

#[derive(Debug)]
struct Member {
    joining: Joining,
    wishes: BTreeMap<Digest, Wish>,
    may_go_on: bool,
    /// Since when it waits: since it came, wanted something else, or might go on again.
    since: Instant,
}

/// A blob that is being fetched, or was.
#[derive(Debug)]
struct Opened {
    layout: BlobLayout,
    /// `None` once the blob is whole in the store.
    partial: Option<Partial>,
    room: Option<Room>,
    fetched: Sources,
    origins: Origins,
    /// Whether local bytes were looked for.
    is_prepared: bool,
    end: Option<Result<(), Arc<PartialError>>>,
}

/// The pieces of a blob that are wanted now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub runs: Vec<Range<u32>>,
    pub is_whole: bool,
}

/// One member of a download. Dropping it ends the membership.
#[derive(Debug)]
pub struct Membership {
    demand: Arc<Demand>,
    id: u64,
}

impl Joining {
    fn may_go_on(&self, now: Instant) -> bool {
        self.pull.as_ref().is_none_or(|pull| pull.may_go_on(now))
    }
}

impl Default for Demand {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            asked: Notify::new(),
            news: watch::Sender::new(0),
            deserted: Mutex::new(Some(Instant::now())),
            opening: Arc::default(),
            setting_aside: Mutex::default(),
            preparing: tokio::sync::Mutex::default(),
        }
    }
}

impl Demand {
    /// Adds a member without wishes. Returns `None` if the download is over: then the caller must begin a new one.
    pub fn join(self: &Arc<Self>, joining: Joining) -> Option<Membership> {
        let may_go_on = joining.may_go_on(Instant::now());
        let mut state = self.state();
        // Another download may have taken the room while this one had no member.
        let live = state.leases.iter().filter(|lease| lease.set_idle(false)).count();
        state.is_over |= live < state.leases.len();
        if state.is_over {
            state.leases.iter().for_each(Lease::let_go);
            return None;
        }
        let id = state.next;
        state.next += 1;
        state.idle = Some((Instant::now(), joining.is_reader || state.idle.is_some_and(|(_, read)| read)));
        let since = Instant::now();
        state.members.insert(id, Member { joining, wishes: BTreeMap::new(), may_go_on, since });
        state.changes.is_anew = true;
        drop(state);
        self.asked.notify_one();
        Some(Membership { demand: self.clone(), id })
    }

    /// Returns the registration that the readers share, registered by `enter` for the first of them.
    pub(super) fn reading(&self, enter: impl FnOnce() -> Pull) -> Arc<Pull> {
        let mut state = self.state();
        state.reading.upgrade().unwrap_or_else(|| {
            let pull = Arc::new(enter());
            state.reading = Arc::downgrade(&pull);
            pull
        })
    }

    /// Tells whether the last member has left, and no other can join any more. Readers come back, so a download that was read
    /// waits for `ON_DEMAND_LINGER`, unless another one has taken its room.
    pub fn is_over(&self) -> bool {
        let mut state = self.state();
        let linger = |(since, read): (Instant, bool)| read && since.elapsed() < ON_DEMAND_LINGER;
        let may_stay =
            |state: &State| state.idle.is_none_or(linger) && !state.leases.iter().any(Lease::has_ended);
        state.is_over |= state.members.is_empty() && !may_stay(&state);
        state.is_over
    }

    /// Tells whether the task of the download was started.
    pub fn is_running(&self) -> bool {
        self.state().is_running
    }

    /// Returns true the first time: then the caller starts the task of the download.
    pub(super) fn begin_running(&self) -> bool {
        !std::mem::replace(&mut self.state().is_running, true)
    }

    /// Ends the download: no member can join any more. Returns what it had opened.
    pub(super) fn end(&self, failure: Option<DownloadError>) -> Vec<Partial> {
        let mut state = self.state();
        state.is_over = true;
        if state.failure.is_none() {
            state.failure = failure;
        }
        state.leases.clear();
        let opened = state.opened.values_mut().filter_map(|it| {
            drop(it.room.take());
            it.partial.clone()
        });
        let partials = opened.collect();
        drop(state);
        self.tell();
        partials
    }

    /// Returns why the download has failed; `None` while it runs.
    pub fn failure(&self) -> Option<DownloadError> {
        self.state().failure.clone()
    }

    /// Returns the pieces of a blob that the members want, as far as they may go on.
    pub(super) fn wanted(&self, blob: &Digest) -> Wanted {
        let mut wanted = Wanted::default();
        for member in self.state().members.values().filter(|it| it.may_go_on) {
            match member.wishes.get(blob) {
                Some(Wish::Whole) => wanted.is_whole = true,
                Some(Wish::Runs(runs)) => wanted.runs.extend_from_slice(runs),
                None => {}
            }
        }
        wanted
    }

    /// Looks which members may go on now, and tells whether the download may: if any of them may, or none is left.
    pub(super) fn may_go_on(&self, now: Instant) -> bool {
        let mut state = self.state();
        let State { members, changes, .. } = &mut *state;
        let mut any = members.is_empty();
        let mut is_changed = false;
        for member in members.values_mut() {
            let may_go_on = member.joining.may_go_on(now);
            any |= may_go_on;
            if std::mem::replace(&mut member.may_go_on, may_go_on) != may_go_on {
                is_changed = true;
                member.since = now;
                changes.blobs.extend(member.wishes.keys());
            }
        }
        drop(state);
        if is_changed {
            self.asked.notify_one();
        }
        any
    }

    /// Returns the limit for all members together: that of the member which allows most. Members that want nothing now
    /// count only where no other does, so that no piece comes without a limit before the first wish and after the last.
    pub(super) fn limit(&self) -> DownLimit {
        let state = self.state();
        let is_active = |it: &&Member| it.may_go_on && !it.wishes.is_empty();
        let is_any = state.members.values().any(|it| is_active(&it));
        let counting = || state.members.values().filter(|it| !is_any || is_active(it));
        let most = |of: fn(&DownLimit) -> Option<u64>| {
            let limits: Option<Vec<u64>> = counting().map(|it| of(&it.joining.limit)).collect();
            limits.and_then(|it| it.into_iter().max())
        };
        DownLimit { far: most(|it| it.far), near: most(|it| it.near) }
    }

    /// Returns the longest time that a user waits for a byte; `None` where one of them has not said.
    pub(super) fn timeout(&self) -> Option<Duration> {
        let state = self.state();
        let pulls = state.members.values().filter(|it| !it.joining.is_reader);
        let timeouts: Option<Vec<Duration>> = pulls.map(|it| it.joining.timeout).collect();
        timeouts.and_then(|it| it.into_iter().max())
    }

    /// Shifts the times since when the members wait: the process was stopped for a while.
    pub(super) fn slept(&self, slept: Duration) {
        self.state().members.values_mut().for_each(|it| it.since += slept);
    }

    /// Notes how long no byte has come, and why.
    pub(super) fn note_stall(&self, stall: Stall) {
        self.state().stall = Some(stall);
    }

    /// Returns how long no byte has come, and why, as it was noted last.
    pub(super) fn stall(&self) -> Option<Stall> {
        self.state().stall.clone()
    }

    /// Tells whether a pull waits for the download. Readers have patience of their own.
    pub(super) fn has_pulls(&self) -> bool {
        self.state().members.values().any(|it| !it.joining.is_reader && !it.wishes.is_empty())
    }

    /// Notes that a piece of a blob was stored.
    pub(super) fn stored(&self, blob: &Digest) {
        for member in self.state().members.values().filter(|it| it.may_go_on && it.wishes.contains_key(blob))
        {
            member.joining.pull.iter().for_each(|it| it.got_on());
        }
        self.tell();
    }

    /// Names a peer that may hold a wanted blob, or is known to. Beyond a bound, peers are ignored.
    pub(super) fn introduce(&self, peer: PeerId, is_holder: bool) {
        let mut state = self.state();
        if state.changes.peers.len() < INTRODUCED_MAX {
            state.changes.peers.push_back((peer, is_holder));
        }
        drop(state);
        self.asked.notify_one();
    }

    /// Names web seeds that may hold wanted blobs.
    pub(super) fn add_web(&self, seeds: WebSeeds) {
        if !seeds.is_empty() {
            self.state().changes.web.push(seeds);
            self.asked.notify_one();
        }
    }

    /// Waits until something changes for the download.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Returns what has changed since the last call.
    pub(super) fn changes(&self) -> Changes {
        std::mem::take(&mut self.state().changes)
    }

    /// Wakes the members: a piece has been verified and written, or the download has ended.
    pub fn tell(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
        self.state().members.values().for_each(|it| it.joining.wake.notify_one());
    }

    /// Passes news of the download on to its members.
    pub(super) fn report(&self, progress: &Progress) {
        let mut state = self.state();
        if let Progress::Bytes { peers, .. } = progress {
            state.sources = *peers;
            state.measure(Instant::now());
            return;
        }
        if let Progress::Transfer(transfer) = progress {
            state.web_sources = transfer.web;
            return;
        }
        state.members.values().for_each(|it| it.joining.reporter.tell(progress.clone()));
    }

    /// Returns how many of the sources are web seeds.
    pub(super) fn web_sources(&self) -> usize {
        self.state().web_sources
    }

    /// Returns how many sources send pieces.
    pub(super) fn sources(&self) -> usize {
        self.state().sources
    }

    /// Returns a counter that changes with every piece that is stored.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Notes whether any source holds a wanted piece.
    pub fn note_sources(&self, any: bool) {
        let mut deserted = self.deserted.lock().expect("no holder of this lock panics");
        *deserted = if any { None } else { deserted.or_else(|| Some(Instant::now())) };
    }

    /// Tells whether no source has held a wanted piece for `DESERTED_PATIENCE`.
    pub fn is_deserted(&self) -> bool {
        let deserted = self.deserted.lock().expect("no holder of this lock panics");
        deserted.is_some_and(|since| since.elapsed() >= DESERTED_PATIENCE)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl Membership {
    /// Returns the download.
    pub const fn demand(&self) -> &Arc<Demand> {
        &self.demand
    }

    /// Tells whether the member is neither paused nor waits for another pull.
    pub(super) fn may_go_on(&self) -> bool {
        self.demand.state().members.get(&self.id).is_some_and(|it| it.may_go_on)
    }

    /// Returns how long the member has waited for what it wants now, while it might go on.
    pub(super) fn waited(&self) -> Duration {
        self.demand.state().members.get(&self.id).map_or(Duration::ZERO, |it| it.since.elapsed())
    }

    /// Returns for each blob how many of the bytes that the member wants are stored, and how many it wants.
    pub(super) fn amounts(&self) -> Vec<(Digest, (u64, u64))> {
        self.demand.each_for(|id, _| id == self.id)
    }

    /// Sets what the member wants, which replaces what it wanted before.
    pub fn want(&self, wishes: BTreeMap<Digest, Wish>) {
        let mut state = self.demand.state();
        let State { members, changes, .. } = &mut *state;
        if let Some(member) = members.get_mut(&self.id) {
            changes.blobs.extend(member.wishes.keys().chain(wishes.keys()));
            changes.is_anew |= !wishes.is_empty();
            member.wishes = wishes;
            member.since = Instant::now();
        }
        drop(state);
        self.demand.asked.notify_one();
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut state = self.demand.state();
        let member = state.members.remove(&self.id);
        state.changes.blobs.extend(member.iter().flat_map(|it| it.wishes.keys()));
        state.idle = state.idle.map(|(_, read)| (Instant::now(), read));
        if state.members.is_empty() {
            state.leases.iter().for_each(Lease::let_go);
        }
        drop(state);
        self.demand.asked.notify_one();
    }
}

impl fmt::Debug for Conclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Conclusion")
    }
}

#[cfg(test)]
mod tests;
