//! [`Demand`]: the pieces of a model that readers wait for, shared by the readers and by the download that serves them.
//!
//! A reader registers which pieces of which blob it reads; the download fetches those in the order of reading, and tells of
//! every piece that has been verified and written.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use reg_proto::digest::Digest;
use tokio::sync::{Notify, watch};
use tracing::warn;

use crate::registry::limits::{DESERTED_PATIENCE, ON_DEMAND_LINGER};
use crate::store::{Lease, Partial};

/// The pieces of one model that readers wait for.
#[derive(Debug)]
pub struct Demand {
    readings: Mutex<Readings>,
    opened: Mutex<BTreeMap<Digest, Opened>>,
    asked: Notify,
    news: watch::Sender<u64>,
    /// Since when no source has anything, `None` while one has.
    deserted: Mutex<Option<Instant>>,
    when_whole: WhenWhole,
}

/// What is called when a blob has come whole.
struct WhenWhole(Box<dyn Fn() + Send + Sync>);

#[derive(Debug)]
struct Readings {
    next: u64,
    active: BTreeMap<u64, (Digest, Range<u32>)>,
    /// Readers that have joined, whether they read already or not.
    joined: usize,
    /// Since when none has.
    idle_since: Instant,
    is_over: bool,
}

/// A blob that is on its way, and the room that is reserved for it.
#[derive(Debug)]
struct Opened {
    partial: Partial,
    _lease: Lease,
}

/// Pieces that are read, for as long as it lives.
#[derive(Debug)]
pub struct Read {
    demand: Arc<Demand>,
    id: u64,
}

impl Demand {
    /// Returns the demand of one reader that has joined and reads nothing yet. `when_whole` is called, on a thread that may
    /// block, whenever a blob has come whole.
    pub fn new(when_whole: impl Fn() + Send + Sync + 'static) -> Self {
        let readings = Readings {
            next: 0,
            active: BTreeMap::new(),
            joined: 1,
            idle_since: Instant::now(),
            is_over: false,
        };
        Self {
            readings: Mutex::new(readings),
            opened: Mutex::default(),
            asked: Notify::new(),
            news: watch::Sender::new(0),
            deserted: Mutex::new(Some(Instant::now())),
            when_whole: WhenWhole(Box::new(when_whole)),
        }
    }

    /// Counts one reader more; returns false where the demand is over and a new one has to begin.
    pub fn join(&self) -> bool {
        let mut readings = self.readings();
        if !readings.is_over {
            readings.joined += 1;
        }
        !readings.is_over
    }

    /// Counts one reader less.
    pub fn leave(&self) {
        let mut readings = self.readings();
        readings.joined -= 1;
        readings.idle_since = Instant::now();
    }

    /// Ends it: no reader can join any more.
    pub fn end(&self) {
        self.readings().is_over = true;
    }

    /// Tells whether no reader has been there for a while; then none can join any more.
    pub fn is_over(&self) -> bool {
        let mut readings = self.readings();
        readings.is_over |= readings.joined == 0 && readings.idle_since.elapsed() >= ON_DEMAND_LINGER;
        readings.is_over
    }

    /// Registers that these pieces of a blob are read, from the first on.
    pub fn read(self: &Arc<Self>, blob: Digest, pieces: Range<u32>) -> Read {
        let mut readings = self.readings();
        let id = readings.next;
        readings.next += 1;
        readings.active.insert(id, (blob, pieces));
        drop(readings);
        self.asked.notify_one();
        Read { demand: self.clone(), id }
    }

    /// Returns which pieces of each blob are read.
    pub fn runs(&self) -> BTreeMap<Digest, Vec<Range<u32>>> {
        let mut runs: BTreeMap<Digest, Vec<Range<u32>>> = BTreeMap::new();
        for (blob, pieces) in self.readings().active.values() {
            runs.entry(*blob).or_default().push(pieces.clone());
        }
        runs
    }

    /// Waits until what is read has changed.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Adds a blob to those that are on their way.
    pub fn open(&self, partial: Partial, lease: Lease) {
        self.opened().insert(partial.digest(), Opened { partial, _lease: lease });
    }

    /// Returns a blob that is on its way.
    pub fn partial(&self, blob: &Digest) -> Option<Partial> {
        self.opened().get(blob).map(|it| it.partial.clone())
    }

    /// Returns the blobs that are on their way.
    pub fn partials(&self) -> Vec<Partial> {
        self.opened().values().map(|it| it.partial.clone()).collect()
    }

    /// Takes a blob out of those that are on their way.
    pub fn close(&self, blob: &Digest) -> Option<Partial> {
        self.opened().remove(blob).map(|it| it.partial)
    }

    /// Gives a blob that has come whole its name.
    pub fn complete(self: &Arc<Self>, blob: Digest) {
        let demand = self.clone();
        tokio::task::spawn_blocking(move || {
            let Some(partial) = demand.partial(&blob) else { return };
            match partial.finish() {
                Ok(()) => drop(demand.close(&blob)),
                Err(error) => warn!(%blob, %error, "a blob that has come whole cannot be kept"),
            }
            (demand.when_whole.0)();
        });
    }

    /// Tells readers that a piece has been verified and written, or that something has ended.
    pub fn tell(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Returns a counter that moves with every piece that comes.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Notes whether any source has something to send.
    pub fn note_sources(&self, any: bool) {
        let mut deserted = self.deserted.lock().expect("no holder of this lock panics");
        *deserted = if any { None } else { deserted.or_else(|| Some(Instant::now())) };
    }

    /// Tells whether no source has had anything for a while.
    pub fn is_deserted(&self) -> bool {
        let deserted = self.deserted.lock().expect("no holder of this lock panics");
        deserted.is_some_and(|since| since.elapsed() >= DESERTED_PATIENCE)
    }

    fn readings(&self) -> MutexGuard<'_, Readings> {
        self.readings.lock().expect("no holder of this lock panics")
    }

    fn opened(&self) -> MutexGuard<'_, BTreeMap<Digest, Opened>> {
        self.opened.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        self.demand.readings().active.remove(&self.id);
        self.demand.asked.notify_one();
    }
}

impl fmt::Debug for WhenWhole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WhenWhole")
    }
}
