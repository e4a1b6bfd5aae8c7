//! [`WebServer`]: one web seed that is asked, with its pause, its redirects and its slots for requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reg_proto::digest::Digest;
use reg_proto::piece::{BlobLayout, PieceIndex};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::event::SourceEvent;
use super::peer_source::Heard;
use super::throttle::Throttle;
use crate::net::PiecePool;
use crate::registry::limits::WEB_CONNECTIONS_PER_SEED;

/// The state that all requests to one seed share.
#[derive(Debug)]
pub(super) struct WebServer {
    /// The seed is not asked before this moment.
    pub(super) not_before: Mutex<Option<Instant>>,
    /// The URL that a redirect led to, by blob.
    pub(super) locations: Mutex<BTreeMap<Digest, String>>,
    /// One permit for each request that runs at once.
    pub(super) slots: Semaphore,
    /// Failures in a row.
    pub(super) failures: AtomicUsize,
    /// Bytes that have come, before a piece is whole.
    pub(super) heard: Arc<AtomicU64>,
}

/// A seed that is asked, and its requests that run.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) server: Arc<WebServer>,
    pub(super) requests: BTreeMap<u32, AbortHandle>,
    /// Blobs that the seed turned out not to have.
    pub(super) lost: BTreeSet<Digest>,
    /// Whether the seed was given up.
    pub(super) is_out: bool,
    pub(super) heard: Heard,
}

/// Where the pieces of a request go, and the limits that slow them down.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    pub pool: PiecePool,
    pub events: mpsc::Sender<SourceEvent>,
    pub throttles: Arc<[Arc<Throttle>]>,
}

/// A request for `count` pieces of a blob from `first` on.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub request: u32,
    pub blob: Digest,
    pub layout: BlobLayout,
    pub first: PieceIndex,
    pub count: u32,
}

impl Asked {
    pub(super) fn new() -> Self {
        let server = Arc::new(WebServer {
            not_before: Mutex::default(),
            locations: Mutex::default(),
            slots: Semaphore::new(WEB_CONNECTIONS_PER_SEED),
            failures: AtomicUsize::new(0),
            heard: Arc::default(),
        });
        let heard = Heard::of(server.heard.clone());
        Self { server, requests: BTreeMap::new(), lost: BTreeSet::new(), is_out: false, heard }
    }

    pub(super) fn hang_up(&mut self) {
        std::mem::take(&mut self.requests).into_values().for_each(|task| task.abort());
    }
}

impl WebServer {
    /// Returns how long the pause of the seed still lasts; `None` if there is none.
    pub(super) fn pause(&self) -> Option<Duration> {
        let left = lock(&self.not_before).as_ref()?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Pauses requests to the seed for at least this long from now on.
    pub(super) fn leave_alone(&self, pause: Duration) {
        let until = Instant::now().checked_add(pause);
        let mut not_before = lock(&self.not_before);
        *not_before = (*not_before).max(until);
    }
}

pub(super) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
