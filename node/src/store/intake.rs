//! [`Intake`]: threads that verify pieces as they arrive, two at once, and write them.
//!
//! Hashing and writing use whole cores, so they do not run in the tasks that read sockets. A thread takes two pieces
//! and hashes them in turn on its core, in little more than the time for one. Where only one waits, it waits 3 ms for
//! another.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use reg_proto::piece::PieceIndex;

use super::error::WritePieceError;
use super::partial::Partial;

/// Pieces that wait to be verified: 64 MiB. The caller of [`Intake::submit`] waits while so many do; one that must not
/// wait keeps fewer under way.
pub const PIECES_WAITING_MAX: usize = 64;

/// Most threads: with more cores than this, the disk is slower than they are.
const THREADS_MAX: usize = 16;

/// How long a piece waits for another to be hashed with: a few times as long as hashing it takes. At 500 MB/s the next
/// one arrives within 2 ms.
const PAIR_WAIT: Duration = Duration::from_millis(3);

/// Threads that verify and write. `B` holds a piece's bytes, and is returned to the caller. When this is dropped, the
/// threads write all that waits, and end.
pub struct Intake<B>(Arc<Shared<B>>);

struct Shared<B> {
    queue: Mutex<Queue<B>>,
    /// Signals that a piece waits, or that the queue is closed.
    arrived: Condvar,
    /// Signals that the queue has room again.
    taken: Condvar,
}

struct Queue<B> {
    waiting: VecDeque<Arrived<B>>,
    is_closed: bool,
}

struct Arrived<B> {
    partial: Partial,
    piece: PieceIndex,
    bytes: B,
    done: Box<Done<B>>,
}

type Done<B> = dyn FnOnce(B, Result<(), WritePieceError>) + Send;

impl<B: AsRef<[u8]> + Send + 'static> Intake<B> {
    /// Starts a thread for each core and one more, because one may be waiting for the disk at a checkpoint.
    pub fn start() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), is_closed: false });
        let shared = Arc::new(Shared { queue, arrived: Condvar::new(), taken: Condvar::new() });
        for _ in 0..=cores.min(THREADS_MAX) {
            let shared = shared.clone();
            thread::spawn(move || work(&shared));
        }
        Self(shared)
    }

    /// Queues a piece to be verified and written. A thread calls `done` with the outcome; `done` must not block. Blocks
    /// while [`PIECES_WAITING_MAX`] pieces wait.
    pub fn submit(
        &self,
        partial: Partial,
        piece: PieceIndex,
        bytes: B,
        done: impl FnOnce(B, Result<(), WritePieceError>) + Send + 'static,
    ) {
        let mut queue = self.0.lock();
        while queue.waiting.len() >= PIECES_WAITING_MAX {
            queue = self.0.taken.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.waiting.push_back(Arrived { partial, piece, bytes, done: Box::new(done) });
        drop(queue);
        self.0.arrived.notify_one();
    }
}

impl<B> Shared<B> {
    fn lock(&self) -> MutexGuard<'_, Queue<B>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a piece, and for at most [`PAIR_WAIT`] for a second one; `None` once the queue is closed and empty.
    fn next(&self) -> Option<(Arrived<B>, Option<Arrived<B>>)> {
        let mut queue = self.lock();
        let mut alone: Option<Instant> = None;
        loop {
            let waited = alone.map_or(Duration::ZERO, |since| since.elapsed());
            match queue.waiting.len() {
                0 if queue.is_closed => return None,
                0 => {
                    alone = None;
                    queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
                1 if !queue.is_closed && waited < PAIR_WAIT => {
                    alone.get_or_insert_with(Instant::now);
                    let woken = self.arrived.wait_timeout(queue, PAIR_WAIT - waited);
                    queue = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
                _ => {
                    let first = queue.waiting.pop_front()?;
                    let second = queue.waiting.pop_front();
                    drop(queue);
                    self.taken.notify_all();
                    return Some((first, second));
                }
            }
        }
    }
}

fn work<B: AsRef<[u8]>>(shared: &Shared<B>) {
    while let Some((first, second)) = shared.next() {
        match second {
            Some(second) => {
                let [one, two] = Partial::write_two(first.parts(), second.parts());
                first.tell(one);
                second.tell(two);
            }
            None => {
                let written = first.partial.write_piece(first.piece, first.bytes.as_ref());
                first.tell(written);
            }
        }
    }
}

impl<B: AsRef<[u8]>> Arrived<B> {
    fn parts(&self) -> (&Partial, PieceIndex, &[u8]) {
        (&self.partial, self.piece, self.bytes.as_ref())
    }

    fn tell(self, outcome: Result<(), WritePieceError>) {
        (self.done)(self.bytes, outcome);
    }
}

impl<B> Drop for Intake<B> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.arrived.notify_all();
    }
}

impl<B> fmt::Debug for Intake<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("waiting", &self.0.lock().waiting.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use reg_proto::states::{Hashed, StateHasher};

    use super::*;
    use crate::store::{CacheLimits, Store};

    #[test]
    fn every_piece_has_its_own_outcome_and_only_the_right_ones_count() {
        const COUNT: usize = 40;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), CacheLimits::default()).unwrap();
        let content: Vec<u8> = (0..COUNT << 20).map(|at| (at >> 12) as u8 ^ at as u8).collect();
        let mut hasher = StateHasher::new();
        hasher.update(&content);
        let Hashed { digest, states } = hasher.finish().unwrap();
        let layout = states.layout();
        let partial = store.partial(digest, layout.size(), states).unwrap();
        let intake: Intake<Vec<u8>> = Intake::start();
        let (told, outcomes) = mpsc::sync_channel(2 * COUNT);
        for round in 0..2 {
            for piece in layout.pieces() {
                let start = layout.offset(piece) as usize;
                let mut bytes = content[start..start + layout.piece_len(piece)].to_vec();
                // Every third piece is wrong at first.
                bytes[77] ^= u8::from(round == 0 && piece.get() % 3 == 0);
                let told = told.clone();
                intake.submit(partial.clone(), piece, bytes, move |bytes, outcome| {
                    told.send((round, piece, bytes.len(), outcome.is_ok())).unwrap();
                });
            }
        }
        drop((intake, told));
        let outcomes: Vec<_> = outcomes.iter().collect();
        assert_eq!(outcomes.len(), 2 * COUNT);
        for (round, piece, length, is_ok) in outcomes {
            assert_eq!((length, is_ok), (1 << 20, round == 1 || piece.get() % 3 != 0), "{round} {piece}");
        }
        partial.finish().unwrap();
        assert_eq!(store.read_blob(&digest, layout.size()).unwrap(), content);
    }
}
