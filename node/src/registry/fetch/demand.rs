//! [`Demand`]: the pieces of a model that readers wait for, shared by the readers and by the download that serves them.
//!
//! A reader registers which pieces of which blob it reads. The download fetches those in the order of reading, and notifies
//! the readers of every piece that has been verified and written.

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
    /// Since when no source holds a wanted piece; `None` while one does.
    deserted: Mutex<Option<Instant>>,
    when_whole: WhenWhole,
}

/// The callback that runs when a blob is complete.
struct WhenWhole(Box<dyn Fn() + Send + Sync>);

#[derive(Debug)]
struct Readings {
    next: u64,
    active: BTreeMap<u64, (Digest, Range<u32>)>,
    /// How many readers have joined, whether they have begun to read or not.
    joined: usize,
    /// When the last reader left.
    idle_since: Instant,
    is_over: bool,
}

/// A blob that is being fetched, and the disk space that is reserved for it.
#[derive(Debug)]
struct Opened {
    partial: Partial,
    _lease: Lease,
}

/// A registration of pieces that are read. Dropping it ends the registration.
#[derive(Debug)]
pub struct Read {
    demand: Arc<Demand>,
    id: u64,
}

impl Demand {
    /// Returns the demand of one reader that has joined and reads nothing yet. Whenever a blob is complete, `when_whole` is
    /// called on a thread that may block.
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

    /// Counts one more reader. Returns false if the demand is over: then the caller must begin a new one.
    pub fn join(&self) -> bool {
        let mut readings = self.readings();
        if !readings.is_over {
            readings.joined += 1;
        }
        !readings.is_over
    }

    /// Counts one reader fewer.
    pub fn leave(&self) {
        let mut readings = self.readings();
        readings.joined -= 1;
        readings.idle_since = Instant::now();
    }

    /// Ends the demand: no reader can join any more.
    pub fn end(&self) {
        self.readings().is_over = true;
    }

    /// Tells whether there has been no reader for `ON_DEMAND_LINGER`. From then on no reader can join.
    pub fn is_over(&self) -> bool {
        let mut readings = self.readings();
        readings.is_over |= readings.joined == 0 && readings.idle_since.elapsed() >= ON_DEMAND_LINGER;
        readings.is_over
    }

    /// Registers that a reader reads these pieces of a blob, in this order.
    pub fn read(self: &Arc<Self>, blob: Digest, pieces: Range<u32>) -> Read {
        let mut readings = self.readings();
        let id = readings.next;
        readings.next += 1;
        readings.active.insert(id, (blob, pieces));
        drop(readings);
        self.asked.notify_one();
        Read { demand: self.clone(), id }
    }

    /// Returns the runs of pieces that readers read, by blob.
    pub fn runs(&self) -> BTreeMap<Digest, Vec<Range<u32>>> {
        let mut runs: BTreeMap<Digest, Vec<Range<u32>>> = BTreeMap::new();
        for (blob, pieces) in self.readings().active.values() {
            runs.entry(*blob).or_default().push(pieces.clone());
        }
        runs
    }

    /// Waits until a reader registers or drops a registration.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Adds a blob to those that are being fetched.
    pub fn open(&self, partial: Partial, lease: Lease) {
        self.opened().insert(partial.digest(), Opened { partial, _lease: lease });
    }

    /// Returns a blob that is being fetched.
    pub fn partial(&self, blob: &Digest) -> Option<Partial> {
        self.opened().get(blob).map(|it| it.partial.clone())
    }

    /// Returns the blobs that are being fetched.
    pub fn partials(&self) -> Vec<Partial> {
        self.opened().values().map(|it| it.partial.clone()).collect()
    }

    /// Removes a blob from those that are being fetched, and returns it.
    pub fn close(&self, blob: &Digest) -> Option<Partial> {
        self.opened().remove(blob).map(|it| it.partial)
    }

    /// Finishes a blob once all its pieces are stored: it becomes a whole blob of the store.
    pub fn complete(self: &Arc<Self>, blob: Digest) {
        let demand = self.clone();
        tokio::task::spawn_blocking(move || {
            let Some(partial) = demand.partial(&blob) else { return };
            match partial.finish() {
                Ok(()) => drop(demand.close(&blob)),
                Err(error) => warn!(%blob, %error, "a complete blob cannot be kept"),
            }
            (demand.when_whole.0)();
        });
    }

    /// Wakes the readers: a piece has been verified and written, or the download has ended.
    pub fn tell(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
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
