//! [`UploadQueue`]: decides which stream sends its next piece, and when: the policy of [`Uplink`] with a clock and waiters.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reg_proto::peer::PeerId;
use reg_transfer::{Asked, Instant, Line, SLOT_HOLD, TokenBucket, Turn, Uplink, slots_at};
use tokio::sync::Notify;
use tokio::time::timeout;

/// The queue of all streams that share one uplink limit.
#[derive(Debug)]
pub(super) struct UploadQueue {
    start: std::time::Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    uplink: Uplink,
    lines: BTreeMap<Line, Mail>,
    /// The rate limit; `None` without one.
    bucket: Option<TokenBucket>,
    /// Bytes that were sent since [`UploadQueue::take_sent`] was called last.
    sent: u64,
}

/// The turns that one stream was granted and has not taken yet, and what wakes its waiter: a lane's thread, or the stream's
/// task.
#[derive(Debug)]
struct Mail {
    given: VecDeque<Turn>,
    wake: Arc<Wake>,
}

#[derive(Debug, Default)]
struct Wake {
    threads: Condvar,
    task: Notify,
}

impl Wake {
    fn all(&self) {
        self.threads.notify_all();
        self.task.notify_one();
    }
}

/// The requests of one stream in the queue. Dropping or ending it wakes all its waiters.
#[derive(Debug)]
pub(super) struct QueuedStream {
    queue: Arc<UploadQueue>,
    line: Line,
    wake: Arc<Wake>,
}

/// An upload slot with the turn to send one piece. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct Slot {
    queue: Arc<UploadQueue>,
    turn: Turn,
    /// The bytes of the piece, once it was sent.
    sent: Option<u64>,
}

impl UploadQueue {
    /// Returns a queue that sends at most `rate` bytes per second; `None` sets no limit.
    pub(super) fn new(rate: Option<u64>) -> Arc<Self> {
        let state = State {
            uplink: Uplink::new(slots_at(rate)),
            lines: BTreeMap::new(),
            bucket: rate.map(TokenBucket::new),
            sent: 0,
        };
        Arc::new(Self { start: std::time::Instant::now(), state: Mutex::new(state) })
    }

    /// Adds a stream of `peer` to the queue.
    pub(super) fn join(self: &Arc<Self>, peer: PeerId) -> QueuedStream {
        let mut state = self.state();
        let (line, wake) = (state.uplink.join(peer), Arc::<Wake>::default());
        state.lines.insert(line, Mail { given: VecDeque::new(), wake: wake.clone() });
        QueuedStream { queue: self.clone(), line, wake }
    }

    /// Changes the limit to `rate` bytes per second; `None` sets no limit.
    pub(super) fn set_rate(&self, rate: Option<u64>) {
        let mut state = self.state();
        state.uplink.set_slots(slots_at(rate));
        match (&mut state.bucket, rate) {
            (Some(bucket), Some(rate)) => bucket.set_rate(rate),
            (bucket, rate) => *bucket = rate.map(TokenBucket::new),
        }
    }

    /// Takes `bytes` bytes from the limit and returns how long to wait before sending them.
    fn pace(&self, bytes: usize) -> Duration {
        let now = self.now();
        let mut state = self.state();
        state.bucket.as_mut().map_or(Duration::ZERO, |bucket| bucket.take(now, bytes as u64))
    }

    /// Tells whether there is a rate limit.
    pub(super) fn is_limited(&self) -> bool {
        self.state().bucket.is_some()
    }

    /// Returns how many bytes were sent since the last call.
    pub(super) fn take_sent(&self) -> u64 {
        std::mem::take(&mut self.state().sent)
    }

    fn now(&self) -> Instant {
        Instant::after_start(self.start.elapsed())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Grants the free slots, and wakes the waiters that get them.
    fn give(&mut self, now: Instant) {
        while let Some(turn) = self.uplink.grant(now) {
            match self.lines.get_mut(&turn.line) {
                Some(mail) => {
                    mail.given.push_back(turn);
                    mail.wake.threads.notify_one();
                    mail.wake.task.notify_one();
                }
                None => self.uplink.unsent(turn.ticket),
            }
        }
    }

    /// Takes the next turn that was granted to a line.
    fn take(&mut self, line: Line) -> Option<Turn> {
        self.lines.get_mut(&line)?.given.pop_front()
    }

    /// Notes that a line has one waiter fewer. A turn that it was granted meanwhile goes back.
    fn leave_off(&mut self, line: Line, now: Instant) {
        if !self.uplink.unready(line)
            && let Some(turn) = self.take(line)
        {
            self.uplink.give_back(&turn);
            self.give(now);
        }
    }
}

impl QueuedStream {
    /// Adds a request.
    pub(super) fn add(&self, asked: Asked) -> Result<(), Duration> {
        let now = self.queue.now();
        let mut state = self.queue.state();
        state.uplink.admit(now, self.line, asked)?;
        state.give(now);
        Ok(())
    }

    /// Removes a request.
    pub(super) fn cancel(&self, id: u32) {
        self.queue.state().uplink.cancel(self.line, id);
    }

    /// Returns the id of any request that waits; `None` if none does.
    pub(super) fn any(&self) -> Option<u32> {
        self.queue.state().uplink.any(self.line)
    }

    /// Waits for the next turn in a task. Dropping the future loses no turn.
    pub(super) async fn turn(&self) -> Slot {
        let mut waits = Waits::begin(self);
        loop {
            if let Some(slot) = waits.take() {
                return slot;
            }
            // A slot that a slow puller holds for too long becomes free without a wake-up.
            drop(timeout(SLOT_HOLD, self.wake.task.notified()).await);
        }
    }

    /// Waits for the next turn and blocks the thread; `None` once the stream has ended.
    pub(super) fn turn_blocking(&self) -> Option<Slot> {
        let mut state = self.queue.state();
        state.uplink.ready(self.line);
        loop {
            state.give(self.queue.now());
            if let Some(turn) = state.take(self.line) {
                return Some(self.slot(turn));
            }
            if !state.lines.contains_key(&self.line) {
                return None;
            }
            let threads = &self.wake.threads;
            state = match state.uplink.any(self.line) {
                Some(_) => threads.wait_timeout(state, SLOT_HOLD).unwrap_or_else(PoisonError::into_inner).0,
                None => threads.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Puts back a piece that could not be sent, ahead of all other pieces of this stream.
    pub(super) fn give_back(&self, slot: Slot) {
        let now = self.queue.now();
        let mut state = self.queue.state();
        state.uplink.give_back(&slot.turn);
        state.give(now);
    }

    /// Removes the stream from the queue and wakes its waiters, which get no turn.
    pub(super) fn end(&self) {
        let now = self.queue.now();
        let mut state = self.queue.state();
        state.uplink.leave(self.line);
        if let Some(mail) = state.lines.remove(&self.line) {
            mail.given.iter().for_each(|turn| state.uplink.unsent(turn.ticket));
        }
        state.give(now);
        drop(state);
        self.wake.all();
    }

    /// Tells whether there is a rate limit.
    pub(super) fn is_limited(&self) -> bool {
        self.queue.is_limited()
    }

    fn slot(&self, turn: Turn) -> Slot {
        Slot { queue: self.queue.clone(), turn, sent: None }
    }
}

impl Drop for QueuedStream {
    fn drop(&mut self) {
        self.end();
    }
}

/// A task that waits for a turn. Dropping it gives back a turn that it was granted meanwhile.
struct Waits<'a> {
    place: &'a QueuedStream,
    is_over: bool,
}

impl<'a> Waits<'a> {
    fn begin(place: &'a QueuedStream) -> Self {
        place.queue.state().uplink.ready(place.line);
        Self { place, is_over: false }
    }

    fn take(&mut self) -> Option<Slot> {
        let place = self.place;
        let now = place.queue.now();
        let mut state = place.queue.state();
        state.give(now);
        let turn = state.take(place.line)?;
        self.is_over = true;
        Some(place.slot(turn))
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let now = self.place.queue.now();
            self.place.queue.state().leave_off(self.place.line, now);
        }
    }
}

impl Slot {
    /// Returns the turn that this slot was granted for.
    pub(super) const fn turn(&self) -> Turn {
        self.turn
    }

    /// Takes `bytes` bytes from the limit and returns how long to wait before sending them. The slot is kept meanwhile.
    pub(super) fn pace(&self, bytes: usize) -> Duration {
        let wait = self.queue.pace(bytes);
        if !wait.is_zero() {
            let until = self.queue.now() + wait;
            self.queue.state().uplink.hold(self.turn.ticket, until);
        }
        wait
    }

    /// Notes that the piece was sent, with its length in bytes, and frees the slot.
    pub(super) fn sent(mut self, bytes: usize) {
        self.sent = Some(bytes as u64);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let now = self.queue.now();
        let mut state = self.queue.state();
        match self.sent {
            Some(bytes) => {
                state.sent += bytes;
                state.uplink.sent(now, self.turn.ticket, bytes);
            }
            None => state.uplink.unsent(self.turn.ticket),
        }
        state.give(now);
    }
}

#[cfg(test)]
mod tests {
    use reg_proto::digest::Digest;
    use reg_transfer::UPLOAD_SLOTS;

    use super::*;

    fn place(queue: &Arc<UploadQueue>, n: u8) -> QueuedStream {
        queue.join(PeerId::from_public_key([n; 32]))
    }

    fn asked(id: u32, first: u32, count: u32) -> Asked {
        Asked { id, blob: Digest::of(b""), first, count }
    }

    /// Returns as many streams as there are slots, each with a slot.
    async fn all_taken(queue: &Arc<UploadQueue>) -> Vec<(QueuedStream, Slot)> {
        let mut taken = Vec::new();
        for n in 0..UPLOAD_SLOTS {
            let place = place(queue, n as u8);
            assert!(place.add(asked(1, n as u32, 1)).is_ok());
            let slot = place.turn().await;
            taken.push((place, slot));
        }
        taken
    }

    #[tokio::test]
    async fn slots_go_round_and_come_back_when_they_are_dropped() {
        let queue = UploadQueue::new(None);
        let mut taken = all_taken(&queue).await;
        let (next, gone) = (place(&queue, 99), place(&queue, 98));
        assert!(next.add(asked(7, 50, 2)).is_ok() && gone.add(asked(1, 60, 1)).is_ok());
        let mut waits = Waits::begin(&next);
        assert!(waits.take().is_none(), "all slots are taken");
        drop(gone);
        taken.pop();
        let slot = waits.take().expect("a slot is free");
        assert_eq!((slot.turn().id, slot.turn().piece), (7, 50));
        slot.sent(700);
        assert_eq!((queue.take_sent(), queue.take_sent()), (700, 0));
        assert_eq!(next.any(), Some(7), "the other piece waits");
    }

    #[tokio::test]
    async fn a_turn_that_is_not_taken_or_could_not_be_sent_is_granted_again() {
        let queue = UploadQueue::new(None);
        let place = place(&queue, 1);
        let waits = Waits::begin(&place);
        assert!(place.add(asked(1, 5, 1)).is_ok() && place.add(asked(2, 6, 1)).is_ok());
        drop(waits);
        let slot = place.turn().await;
        assert_eq!(slot.turn().piece, 5);
        place.give_back(slot);
        assert_eq!(place.turn().await.turn().piece, 5);
        assert_eq!(place.turn().await.turn().piece, 6);
    }

    #[tokio::test]
    async fn a_puller_that_does_not_take_its_piece_delays_no_other() {
        let queue = UploadQueue::new(None);
        let stuck = all_taken(&queue).await;
        let other = place(&queue, 99);
        assert!(other.add(asked(1, 0, 1)).is_ok());
        assert!(timeout(Duration::from_secs(60), other.turn()).await.is_ok());
        drop(stuck);
    }

    #[test]
    fn threads_get_turns_and_are_released() {
        let queue = UploadQueue::new(None);
        let place = Arc::new(place(&queue, 1));
        let thread = std::thread::spawn({
            let place = place.clone();
            move || {
                let mut pieces = Vec::new();
                while let Some(slot) = place.turn_blocking() {
                    pieces.push(slot.turn().piece);
                    slot.sent(1);
                    if pieces.len() == 3 {
                        place.end();
                    }
                }
                pieces
            }
        });
        assert!(place.add(asked(1, 4, 3)).is_ok());
        assert_eq!(thread.join().unwrap(), [4, 5, 6]);
        assert!(place.add(asked(2, 0, 1)).is_err(), "it has ended");
    }

    #[test]
    fn a_limit_is_kept_and_can_be_changed() {
        let queue = UploadQueue::new(Some(1_000_000));
        assert!(queue.pace(100_000).is_zero(), "a burst");
        let waits: Duration = (0..20).map(|_| queue.pace(100_000)).max().unwrap_or_default();
        assert!(waits > Duration::from_secs(1), "{waits:?}");
        assert!(queue.is_limited());
        queue.set_rate(None);
        assert!(queue.pace(100_000_000).is_zero() && !queue.is_limited());
    }
}
