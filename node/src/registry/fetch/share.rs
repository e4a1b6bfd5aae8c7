//! [`Share`]: the part of one caller in the downloads that fetch its blobs.
//!
//! The caller opens its blobs, says which pieces it wants, and waits. Several callers that want the same blob share one
//! download. Each has its own progress, and one that leaves does not disturb the others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use reg_api::progress::{FileAmount, Progress, RUNNING_FILES_MAX, Transfer, Waiting};
use reg_api::reporter::Reporter;
use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::piece::PieceIndex;
use reg_proto::states::PieceStates;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Fetching;
use super::demand::{Demand, DownLimit, Joining, Membership, Sources, Wish};
use super::downloader::{DownloadError, Downloaded, next_peer};
use super::downloads::{Begin, Key, settle};
use super::error::{BeginError, ShareError};
use super::priorities::{Pull, Pulling};
use super::room::busy;
use crate::registry::limits::{LOOK_AGAIN, PROGRESS_INTERVAL};
use crate::registry::resolve::Finder;
use crate::store::{Partial, Store};

/// The caller: a pull with its limit, a reader, or an import of a blob, which neither waits nor has a limit.
#[derive(Debug)]
pub enum Caller {
    Pull(Arc<Pull>, DownLimit, Option<Duration>),
    Reader(Pulling),
    Import,
}

/// How the caller joins every download.
#[derive(Debug, Clone)]
struct Terms {
    pull: Option<Arc<Pull>>,
    is_reader: bool,
    limit: DownLimit,
    timeout: Option<Duration>,
    reporter: Reporter,
    wake: Arc<Notify>,
}

impl Terms {
    fn joining(&self) -> Joining {
        let Self { pull, is_reader, limit, timeout, reporter, wake } = self.clone();
        Joining { pull, is_reader, limit, timeout, reporter, wake }
    }
}

/// The part of one caller in downloads. Dropping it ends the part.
#[derive(Debug)]
pub struct Share {
    fetching: Arc<Fetching>,
    begin: Begin,
    /// The download of the caller's own model.
    own: Membership,
    /// Downloads of other models that fetch some of its blobs.
    others: Vec<Membership>,
    terms: Terms,
    opened: BTreeMap<Digest, Opened>,
    /// What downloads that failed have fetched.
    earlier: Sources,
    busy_before: (Duration, Duration),
    /// What the blobs are called in the caller's model.
    names: BTreeMap<Digest, String>,
}

/// A blob that the caller has opened.
#[derive(Debug)]
struct Opened {
    demand: Arc<Demand>,
    states: PieceStates,
    /// `None` if the blob was whole in the store.
    partial: Option<Partial>,
    /// The bytes that were fetched before this caller came.
    before: Sources,
    /// Bytes that the store had when this caller opened the blob.
    here: u64,
}

/// A wish that is not fulfilled yet.
enum Pending {
    Whole(Digest),
    Pieces(Partial, VecDeque<PieceIndex>),
}

impl Fetching {
    /// Takes part in the download of a model, which begins with the first blob that is opened.
    pub fn share(self: &Arc<Self>, begin: Begin, caller: Caller, reporter: &Reporter) -> Share {
        let wake = Arc::new(Notify::new());
        let mut terms = None;
        let own = self.downloads.join(begin.model, |demand| {
            let (reporter, wake) = (reporter.clone(), wake.clone());
            let mut new = Terms {
                pull: None,
                is_reader: false,
                limit: DownLimit::default(),
                timeout: None,
                reporter,
                wake,
            };
            match &caller {
                Caller::Reader(pulling) => {
                    let enter = || self.priorities.enter_reading(pulling.clone());
                    (new.pull, new.is_reader) = (Some(demand.reading(enter)), true);
                }
                Caller::Pull(pull, limit, timeout) => {
                    (new.pull, new.limit, new.timeout) = (Some(pull.clone()), *limit, *timeout);
                }
                Caller::Import => {}
            }
            terms.insert(new).joining()
        });
        own.demand().add_web(begin.web.clone());
        Share {
            fetching: self.clone(),
            begin,
            own,
            others: Vec::new(),
            terms: terms.expect("joining has set it"),
            opened: BTreeMap::new(),
            earlier: Sources::default(),
            busy_before: Default::default(),
            names: BTreeMap::new(),
        }
    }
}

impl Share {
    /// Returns the download of the caller's own model.
    pub fn own(&self) -> &Arc<Demand> {
        self.own.demand()
    }

    fn memberships(&self) -> impl Iterator<Item = &Membership> {
        std::iter::once(&self.own).chain(&self.others)
    }

    /// Returns the download that fetches a blob that was opened.
    pub fn demand_of(&self, blob: &Digest) -> Option<&Arc<Demand>> {
        self.opened.get(blob).map(|it| &it.demand)
    }

    /// Returns a blob that was opened; `None` if it was whole in the store.
    pub fn partial(&self, blob: &Digest) -> Option<Partial> {
        self.opened.get(blob).and_then(|it| it.partial.clone())
    }

    /// Returns the blobs of which local bytes were not looked for yet. The caller holds the lock of [`Demand::prepare`].
    pub fn unprepared(&self) -> Vec<Partial> {
        let is_new = |(blob, it): &(&Digest, &Opened)| !it.demand.is_prepared(blob);
        self.opened.iter().filter(is_new).filter_map(|(_, it)| it.partial.clone()).collect()
    }

    /// Notes that local bytes of these blobs were looked for and written.
    pub fn note_prepared(&self, blobs: &[Partial]) {
        for blob in blobs.iter().map(Partial::digest) {
            if let Some(opened) = self.opened.get(&blob) {
                opened.demand.note_prepared(&blob);
            }
        }
    }

    /// Returns the blobs that were opened and are not whole in the store yet, as far as this caller knows.
    pub fn partials(&self) -> Vec<Partial> {
        self.opened.values().filter_map(|it| it.partial.clone()).collect()
    }

    /// Opens blobs with these piece states: joins the downloads that fetch them, and adds the others to the own download.
    ///
    /// # Errors
    /// There is no room, or a partial blob cannot be created.
    pub async fn open(&mut self, states: BTreeMap<Digest, PieceStates>) -> Result<(), BeginError> {
        let mut left = states;
        while !left.is_empty() {
            let elsewhere = self.open_own(&mut left).await?;
            for (blob, demand) in elsewhere {
                let Some(states) = left.get(&blob).cloned() else { continue };
                if self.join(&demand) && self.await_opened(&(blob, states.digest()), &demand).await {
                    left.remove(&blob);
                    self.note_opened(blob, states, demand);
                }
            }
        }
        self.busy_before = busy(&self.partials());
        Ok(())
    }

    /// Opens the blobs that no other download fetches, and removes them from `left`. Returns the downloads that fetch the others.
    async fn open_own(
        &mut self,
        left: &mut BTreeMap<Digest, PieceStates>,
    ) -> Result<Vec<(Digest, Arc<Demand>)>, BeginError> {
        let own = self.own().clone();
        let one = own.opening.clone().lock_owned().await;
        let (mut mine, mut elsewhere, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for (blob, states) in left.iter() {
            let key: Key = (*blob, states.digest());
            let demand = self.fetching.downloads.claim(key, &own);
            if Arc::ptr_eq(&demand, &own) {
                keys.push(key);
                mine.push((*blob, states.clone()));
            } else {
                elsewhere.push((*blob, demand));
            }
        }
        let claims = Claims { fetching: self.fetching.clone(), own: own.clone(), keys };
        // It goes on where the caller is gone: other callers may wait for the blobs already.
        let opening = {
            let (fetching, own, mine) = (self.fetching.clone(), own.clone(), mine.clone());
            let begin = self.begin.clone();
            move || {
                let _held = (one, claims);
                let protect = (!begin.has_room).then_some(&begin.protect);
                let opened = open_all(&fetching.store, &own, mine, protect);
                // Also where a later blob cannot be opened: nothing else would ever fetch those that are open.
                if own.has_open() && own.begin_running() {
                    fetching.run(own, begin);
                }
                opened
            }
        };
        tokio::task::spawn_blocking(opening).await??;
        for (blob, states) in mine {
            left.remove(&blob);
            self.note_opened(blob, states, own.clone());
        }
        Ok(elsewhere)
    }

    fn note_opened(&mut self, blob: Digest, states: PieceStates, demand: Arc<Demand>) {
        let (partial, before) = (demand.partial(&blob), demand.fetched(&blob));
        let earlier = self.opened.get(&blob).map(|it| it.here);
        let here = earlier.unwrap_or_else(|| partial.as_ref().map_or(0, Partial::verified_bytes));
        self.opened.insert(blob, Opened { demand, states, partial, before, here });
    }

    /// Becomes a member of another download, and names its web seeds there. Returns false if the download is over.
    fn join(&mut self, demand: &Arc<Demand>) -> bool {
        if self.memberships().any(|it| Arc::ptr_eq(it.demand(), demand)) {
            return true;
        }
        let Some(membership) = demand.join(self.terms.joining()) else { return false };
        demand.add_web(self.begin.web.clone());
        self.begin.peers().for_each(|(peer, is_holder)| demand.introduce(peer, is_holder));
        self.others.push(membership);
        true
    }

    /// Waits until another caller has opened a blob in a download. Returns false if it does not come to that.
    async fn await_opened(&self, key: &Key, demand: &Arc<Demand>) -> bool {
        loop {
            match (demand.partial(&key.0), demand.end_of(&key.0)) {
                (_, Some(end)) => return end.is_ok(),
                (Some(_), None) => return true,
                (None, None) if demand.is_over() || !self.fetching.downloads.is_claimed(key, demand) => {
                    return false;
                }
                (None, None) => {}
            }
            let _woken = timeout(LOOK_AGAIN, self.terms.wake.notified()).await;
        }
    }

    /// Sets disk space aside for the missing pieces of all opened blobs.
    ///
    /// # Errors
    /// The disk is full, or the file of a partial blob cannot be used.
    pub async fn set_aside(&self) -> Result<(), BeginError> {
        let lacking: Vec<(Arc<Demand>, Partial)> = self
            .opened
            .iter()
            .filter(|(blob, it)| !it.demand.has_room(blob))
            .filter_map(|(_, it)| Some((it.demand.clone(), it.partial.clone()?)))
            .collect();
        let set_aside = tokio::task::spawn_blocking(move || {
            lacking.into_iter().try_for_each(|(demand, partial)| demand.set_aside(partial))
        });
        set_aside.await?
    }

    /// Names a peer that may hold the blobs, or is known to.
    pub fn introduce(&self, peer: PeerId, is_holder: bool) {
        self.memberships().for_each(|it| it.demand().introduce(peer, is_holder));
    }

    /// Says what the caller wants from now on, which replaces what it wanted before.
    pub fn want(&self, wishes: &BTreeMap<Digest, Wish>) {
        for membership in self.memberships() {
            let of_it = |blob: &Digest| {
                self.opened.get(blob).is_some_and(|it| Arc::ptr_eq(&it.demand, membership.demand()))
            };
            membership
                .want(wishes.iter().filter(|(blob, _)| of_it(blob)).map(|(b, w)| (*b, w.clone())).collect());
        }
    }

    /// Wants every piece of all opened blobs, and waits until they are whole in the store. `finder` finds peers meanwhile.
    ///
    /// # Errors
    /// See [`ShareError`].
    pub async fn whole(
        &mut self,
        finder: &mut Option<Finder>,
        reporter: &Reporter,
    ) -> Result<(), ShareError> {
        let wishes = self.opened.keys().map(|blob| (*blob, Wish::Whole)).collect();
        self.fetch(wishes, finder, reporter).await
    }

    /// Wants these runs of pieces, and waits until they are stored.
    ///
    /// # Errors
    /// See [`ShareError`].
    pub async fn runs(
        &mut self,
        runs: BTreeMap<Digest, Vec<Range<u32>>>,
        finder: &mut Option<Finder>,
        reporter: &Reporter,
    ) -> Result<(), ShareError> {
        let wishes = runs.into_iter().map(|(blob, runs)| (blob, Wish::Runs(runs))).collect();
        self.fetch(wishes, finder, reporter).await
    }

    async fn fetch(
        &mut self,
        wishes: BTreeMap<Digest, Wish>,
        finder: &mut Option<Finder>,
        reporter: &Reporter,
    ) -> Result<(), ShareError> {
        let mut pending = self.pending(&wishes);
        self.want(&wishes);
        let mut report = tokio::time::interval(PROGRESS_INTERVAL);
        loop {
            // Only the first one is looked at until it is fulfilled, because a pull may have thousands.
            while let Some(first) = pending.front_mut() {
                if !self.is_fulfilled(first)? {
                    break;
                }
                pending.pop_front();
            }
            if pending.is_empty() {
                break;
            }
            if let Some(lost) = self.lost()? {
                self.open_again(lost).await?;
                pending = self.pending(&wishes);
                self.want(&wishes);
                continue;
            }
            let wake = self.terms.wake.clone();
            tokio::select! {
                () = wake.notified() => {}
                peer = next_peer(finder) => match peer {
                    Some(peer) => self.introduce(peer, false),
                    None => *finder = None,
                },
                _ = report.tick() => {
                    self.report(reporter);
                    if self.terms.pull.as_ref().is_some_and(|pull| pull.is_cancelled()) {
                        return Err(DownloadError::Cancelled.into());
                    }
                    self.check_patience()?;
                }
            }
        }
        self.want(&BTreeMap::new());
        Ok(())
    }

    fn pending(&self, wishes: &BTreeMap<Digest, Wish>) -> VecDeque<Pending> {
        let each = wishes.iter().filter_map(|(blob, wish)| match wish {
            Wish::Whole => Some(Pending::Whole(*blob)),
            Wish::Runs(runs) => {
                let partial = self.opened.get(blob)?.partial.clone()?;
                let layout = partial.states().layout();
                let pieces = runs.iter().cloned().flatten().filter_map(|index| layout.piece(index)).collect();
                Some(Pending::Pieces(partial, pieces))
            }
        });
        each.collect()
    }

    /// Tells whether a wish is fulfilled.
    fn is_fulfilled(&self, pending: &mut Pending) -> Result<bool, DownloadError> {
        match pending {
            Pending::Whole(blob) => match self.opened.get(blob).and_then(|it| it.demand.end_of(blob)) {
                None => Ok(false),
                Some(Ok(())) => Ok(true),
                Some(Err(source)) => Err(DownloadError::Keep { blob: *blob, source }),
            },
            Pending::Pieces(partial, pieces) => {
                while pieces.front().is_some_and(|piece| partial.has(*piece)) {
                    pieces.pop_front();
                }
                Ok(pieces.is_empty())
            }
        }
    }

    /// Returns a download that has failed because of a blob which this caller does not want.
    ///
    /// # Errors
    /// A download has failed, which concerns this caller.
    fn lost(&self) -> Result<Option<Arc<Demand>>, DownloadError> {
        for demand in self.memberships().map(Membership::demand) {
            let Some(failure) = demand.failure() else { continue };
            let waits = |blob: &Digest| {
                let of_it = self.opened.get(blob).is_some_and(|it| Arc::ptr_eq(&it.demand, demand));
                of_it && demand.end_of(blob).is_none()
            };
            match &failure {
                _ if !self.opened.keys().any(waits) => {}
                DownloadError::FalseStates { blob } if !waits(blob) => return Ok(Some(demand.clone())),
                _ => return Err(failure),
            }
        }
        Ok(None)
    }

    /// Opens the blobs of a download that has failed in other downloads.
    async fn open_again(&mut self, failed: Arc<Demand>) -> Result<(), BeginError> {
        let lost: Vec<Digest> = self
            .opened
            .iter()
            .filter(|(blob, it)| Arc::ptr_eq(&it.demand, &failed) && failed.end_of(blob).is_none())
            .map(|(blob, _)| *blob)
            .collect();
        let mut states = BTreeMap::new();
        for blob in lost {
            if let Some(opened) = self.opened.remove(&blob) {
                self.earlier.add(since(&failed.fetched(&blob), &opened.before));
                states.insert(blob, opened.states);
            }
        }
        self.others.retain(|it| !Arc::ptr_eq(it.demand(), &failed));
        if Arc::ptr_eq(self.own.demand(), &failed) {
            self.own = self.fetching.downloads.join(self.begin.model, |_| self.terms.joining());
            self.own.demand().add_web(self.begin.web.clone());
        }
        self.open(states).await
    }

    /// Ends the wait for downloads that get no bytes, once the user's patience is over.
    fn check_patience(&self) -> Result<(), DownloadError> {
        // A pull that is paused, or waits for one of a higher priority, does not starve.
        let active = self.memberships().filter(|it| !self.terms.is_reader && it.may_go_on());
        for membership in active {
            let demand = membership.demand();
            let waits = |(blob, it): (&Digest, &Opened)| {
                Arc::ptr_eq(&it.demand, demand) && demand.end_of(blob).is_none()
            };
            let Some(stall) = demand.stall() else { continue };
            let ended =
                stall.end(self.terms.timeout, membership.waited()).filter(|_| self.opened.iter().any(waits));
            ended.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    fn report(&self, reporter: &Reporter) {
        let (mut blobs, mut peers, mut web, mut has_turn) = (Vec::new(), 0, 0, false);
        for membership in self.memberships() {
            blobs.extend(membership.amounts());
            peers = membership.demand().sources().max(peers);
            web = membership.demand().web_sources().max(web);
            has_turn |= membership.may_go_on();
        }
        let (done, total) = blobs.iter().fold((0, 0), |sum, (_, it)| (sum.0 + it.0, sum.1 + it.1));
        reporter.tell(Progress::Bytes { done, total, peers });
        let is_running = |(_, (done, total)): &&(Digest, (u64, u64))| *done > 0 && done < total;
        let file = |(blob, (done, total)): &(Digest, (u64, u64))| {
            Some(FileAmount { path: self.names.get(blob)?.clone(), done: *done, total: *total })
        };
        reporter.tell(Progress::Transfer(Transfer {
            here: self.opened.values().map(|it| it.here).sum(),
            web,
            running: blobs.iter().filter(is_running).filter_map(file).take(RUNNING_FILES_MAX).collect(),
            files_done: blobs.iter().filter(|(_, (done, total))| done >= total).count(),
            files: blobs.len(),
            waits_for: match (has_turn, peers) {
                (false, _) => Some(Waiting::Turn),
                (true, 0) => Some(Waiting::Peers),
                (true, _) => None,
            },
        }));
    }

    /// Names the blobs of the caller's model, for its progress.
    pub fn name(&mut self, names: BTreeMap<Digest, String>) {
        self.names = names;
    }

    /// Returns what was fetched of the caller's blobs since it opened them.
    pub fn downloaded(&self) -> Downloaded {
        let mut sources = self.earlier.clone();
        for (blob, opened) in &self.opened {
            sources.add(since(&opened.demand.fetched(blob), &opened.before));
        }
        let (now, before) = (busy(&self.partials()), self.busy_before);
        let busy = (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
        Downloaded { sources, reused: 0, busy }
    }

    /// Records the verified pieces of blobs that are not complete, so that they are not rehashed. Removes the blob with
    /// false states.
    pub async fn settle(&self, error: &ShareError) {
        let is_false = match error {
            ShareError::Download(DownloadError::FalseStates { blob }) => Some(*blob),
            _ => None,
        };
        let partials = self.partials();
        let settled = move || partials.iter().for_each(|it| settle(it, is_false));
        drop(tokio::task::spawn_blocking(settled).await);
    }
}

/// Claims of one caller. Dropping it gives up those to blobs that it has not opened.
struct Claims {
    fetching: Arc<Fetching>,
    own: Arc<Demand>,
    keys: Vec<Key>,
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.fetching.downloads.unclaim(&self.keys, &self.own);
    }
}

/// Opens blobs in a download, unless they are open or whole in the store. Blocks.
fn open_all(
    store: &Store,
    own: &Arc<Demand>,
    blobs: Vec<(Digest, PieceStates)>,
    protect: Option<&BTreeSet<Digest>>,
) -> Result<(), BeginError> {
    let mut new = Vec::new();
    for (blob, states) in blobs {
        match (own.partial(&blob), own.end_of(&blob)) {
            (Some(_), None) => {}
            _ if store.open_blob(&blob).is_ok() => own.is_here(blob, states.layout()),
            _ => new.push((blob, states)),
        }
    }
    if new.is_empty() {
        return Ok(());
    }
    if let Some(protect) = protect {
        own.keep_lease(store.reserve(0, protect)?);
        own.keep_lease(store.reserve_blobs(&new)?);
    }
    for (blob, states) in new {
        let failed = |source| BeginError::Partial { blob, source };
        let layout = states.layout();
        let partial = store.partial(blob, layout.size(), states).map_err(failed)?;
        // Another thread may have finished it meanwhile.
        if store.open_blob(&blob).is_ok() {
            partial.discard().map_err(failed)?;
            own.is_here(blob, layout);
        } else {
            own.open(partial);
        }
    }
    Ok(())
}

/// Returns the bytes that have come since `before`.
fn since(now: &Sources, before: &Sources) -> Sources {
    let mut more = now.clone();
    for (peer, bytes) in &mut more.peers {
        *bytes -= before.peers.get(peer).copied().unwrap_or(0).min(*bytes);
    }
    for (seed, bytes) in &mut more.web {
        *bytes -= before.web.get(seed).copied().unwrap_or(0).min(*bytes);
    }
    more.peers.retain(|_, bytes| *bytes > 0);
    more.web.retain(|_, bytes| *bytes > 0);
    more
}
