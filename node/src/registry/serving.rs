//! What one puller has asked for and not been sent: taken piece by piece by its stream's task, or by the lanes it has.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use reg_proto::digest::Digest;
use reg_proto::limits::REQUESTS_WAITING_MAX;
use reg_proto::wire::Rejection;

use super::Inner;
use crate::store::{BlobFile, Partial, ReadError};

/// Blob files one stream or lane keeps open: a sharded model's files are asked for one after another.
const OPEN_BLOBS_MAX: usize = 8;

/// A request that waits for its turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) id: u32,
    pub(super) blob: Digest,
    pub(super) first: u32,
    pub(super) count: u32,
}

/// One piece of a request, whose turn it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) id: u32,
    pub(super) blob: Digest,
    pub(super) piece: u32,
}

/// The requests of one puller.
#[derive(Debug, Default)]
pub(super) struct Requests {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    is_over: bool,
    /// Counts changes of what is held: what was opened before may be another file now.
    changes: u64,
}

impl Requests {
    /// Takes a request in, and tells whether there was room.
    pub(super) fn add(&self, request: Waiting) -> bool {
        let mut state = self.state();
        if state.waiting.len() >= REQUESTS_WAITING_MAX {
            return false;
        }
        state.waiting.push_back(request);
        self.news.notify_one();
        true
    }

    /// Forgets a request.
    pub(super) fn cancel(&self, id: u32) {
        self.state().waiting.retain(|it| it.id != id);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().waiting.is_empty()
    }

    /// Takes the next piece, if any waits.
    pub(super) fn take(&self) -> Option<Turn> {
        self.state().take()
    }

    /// Waits for the next piece, on a thread of its own; `None` when there will be none.
    pub(super) fn wait(&self) -> Option<Turn> {
        let mut state = self.state();
        loop {
            if state.is_over {
                return None;
            }
            if let Some(turn) = state.take() {
                if !state.waiting.is_empty() {
                    self.news.notify_one();
                }
                return Some(turn);
            }
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Puts a piece back that could not be sent, before all others.
    pub(super) fn give_back(&self, Turn { id, blob, piece }: Turn) {
        self.state().waiting.push_front(Waiting { id, blob, first: piece, count: 1 });
        self.news.notify_one();
    }

    /// Notes that what is held has changed.
    pub(super) fn change(&self) {
        self.state().changes += 1;
    }

    fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Ends whoever waits.
    pub(super) fn end(&self) {
        self.state().is_over = true;
        self.news.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Option<Turn> {
        let request = self.waiting.front_mut()?;
        let turn = Turn { id: request.id, blob: request.blob, piece: request.first };
        request.first = request.first.saturating_add(1);
        request.count -= 1;
        if request.count == 0 {
            self.waiting.pop_front();
        }
        Some(turn)
    }
}

/// Where a blob's bytes are served from.
#[derive(Debug)]
pub(super) enum Serving {
    Whole(BlobFile),
    Part(Partial),
}

/// Reads pieces for one stream or lane, into one buffer that is used again. It blocks.
#[derive(Debug)]
pub(super) struct PieceReader {
    inner: Arc<Inner>,
    requests: Arc<Requests>,
    open: BTreeMap<Digest, Serving>,
    changes: u64,
    buffer: Vec<u8>,
}

impl PieceReader {
    pub(super) fn new(inner: Arc<Inner>, requests: Arc<Requests>) -> Self {
        Self { inner, requests, open: BTreeMap::new(), changes: 0, buffer: Vec::new() }
    }

    /// Reads the piece whose turn it is.
    ///
    /// # Errors
    /// Why it is not served.
    pub(super) fn read(&mut self, turn: &Turn) -> Result<&[u8], Rejection> {
        let changes = self.requests.changes();
        if std::mem::replace(&mut self.changes, changes) != changes {
            self.open.clear();
        }
        let serving = match self.open.remove(&turn.blob) {
            Some(serving) => serving,
            None => self.inner.open_serving(turn.blob)?,
        };
        let layout = match &serving {
            Serving::Whole(file) => file.layout(),
            Serving::Part(partial) => partial.states().layout(),
        };
        let piece = layout.piece(turn.piece).ok_or(Rejection::Malformed)?;
        match &serving {
            Serving::Whole(file) => file.read_piece(piece, &mut self.buffer),
            Serving::Part(partial) => partial.read_piece(piece, &mut self.buffer),
        }
        .map_err(|error| self.inner.on_read_error(turn.blob, &error))?;
        if self.open.len() >= OPEN_BLOBS_MAX {
            self.open.pop_first();
        }
        self.open.insert(turn.blob, serving);
        Ok(&self.buffer)
    }

    /// Returns what was read last.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }
}

impl Inner {
    fn open_serving(&self, blob: Digest) -> Result<Serving, Rejection> {
        if !self.gives_blob(&blob) {
            return Err(Rejection::NotHere);
        }
        if self.is_suspect(&blob) {
            return Err(Rejection::Unverified);
        }
        if self.is_unserved(&blob) {
            return Err(Rejection::NotHere);
        }
        match self.store.open_blob(&blob) {
            Ok(file) => return Ok(Serving::Whole(file)),
            Err(ReadError::NotHere { .. }) => {}
            Err(error) => return Err(self.on_read_error(blob, &error)),
        }
        let partials = self.store.open_partial(&blob);
        let best = partials.into_iter().max_by_key(|partial| partial.have().count());
        best.map(Serving::Part).ok_or(Rejection::NotHere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: u32, first: u32, count: u32) -> Waiting {
        Waiting { id, blob: Digest::of(b""), first, count }
    }

    fn next(requests: &Requests) -> Option<(u32, u32)> {
        requests.take().map(|turn| (turn.id, turn.piece))
    }

    #[test]
    fn pieces_go_in_order_and_one_that_failed_goes_first() {
        let requests = Requests::default();
        assert!(
            requests.add(request(1, 5, 2))
                && requests.add(request(2, 0, 1))
                && requests.add(request(3, 9, 1))
        );
        let first = requests.take().unwrap();
        assert_eq!((first.id, first.piece), (1, 5));
        requests.give_back(first);
        assert_eq!([next(&requests), next(&requests)], [Some((1, 5)), Some((1, 6))]);
        requests.cancel(2);
        assert_eq!([next(&requests), next(&requests)], [Some((3, 9)), None]);
        assert!(requests.is_empty());
    }

    #[test]
    fn requests_are_bounded_and_whoever_waits_is_let_go() {
        let requests = Arc::new(Requests::default());
        assert_eq!((0..1000).filter(|id| requests.add(request(*id, 0, 16))).count(), REQUESTS_WAITING_MAX);
        let idle = Arc::new(Requests::default());
        let waiting = std::thread::spawn({
            let idle = idle.clone();
            move || idle.wait().is_none()
        });
        idle.end();
        assert!(waiting.join().unwrap());
    }
}
