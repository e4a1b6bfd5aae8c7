//! [`Turns`]: serving one after the other and no faster than it may be; the policy of [`Uplink`] with a clock and waiters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reg_proto::peer::PeerId;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::transfer::{Instant, SLOT_HOLD, Ticket, TokenBucket, Uplink};

/// Whose piece is sent next, and when.
#[derive(Debug)]
pub(super) struct Turns {
    start: std::time::Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    uplink: Uplink,
    waiting: BTreeMap<Ticket, oneshot::Sender<()>>,
    /// `None` without a limit.
    bucket: Option<TokenBucket>,
    /// Bytes that slots were asked for since it was last asked.
    sent: u64,
}

/// A piece's slot, for as long as it lives.
#[derive(Debug)]
pub(super) struct Slot {
    turns: Arc<Turns>,
    ticket: Ticket,
}

impl Turns {
    /// Returns turns at `rate` bytes per second, `None` for any.
    pub(super) fn new(rate: Option<u64>) -> Arc<Self> {
        let state = State { bucket: rate.map(TokenBucket::new), ..State::default() };
        Arc::new(Self { start: std::time::Instant::now(), state: Mutex::new(state) })
    }

    /// Waits for a slot for a piece of `bytes` to `peer`.
    pub(super) async fn slot(self: &Arc<Self>, peer: PeerId, bytes: usize) -> Slot {
        let (slot, granted) = self.ask(peer, bytes);
        self.granted(slot, granted).await
    }

    /// The same, on a thread of its own.
    pub(super) fn slot_blocking(self: &Arc<Self>, peer: PeerId, bytes: usize, runtime: &Handle) -> Slot {
        let (slot, mut granted) = self.ask(peer, bytes);
        if granted.try_recv().is_ok() {
            return slot;
        }
        runtime.block_on(self.granted(slot, granted))
    }

    async fn granted(&self, slot: Slot, mut granted: oneshot::Receiver<()>) -> Slot {
        // Slots of slow pullers come free without anybody telling.
        while timeout(SLOT_HOLD, &mut granted).await.is_err() {
            self.grant();
        }
        slot
    }

    fn ask(self: &Arc<Self>, peer: PeerId, bytes: usize) -> (Slot, oneshot::Receiver<()>) {
        let (tell, granted) = oneshot::channel();
        let mut state = self.state();
        let ticket = state.uplink.ask(peer, bytes as u64);
        state.sent += bytes as u64;
        state.waiting.insert(ticket, tell);
        drop(state);
        self.grant();
        (Slot { turns: self.clone(), ticket }, granted)
    }

    fn grant(&self) {
        let now = self.now();
        let mut state = self.state();
        while let Some(ticket) = state.uplink.grant(now) {
            if let Some(tell) = state.waiting.remove(&ticket) {
                // Who has gone gives its slot back by itself.
                let _heard = tell.send(());
            }
        }
    }

    /// Changes the rate, `None` for any.
    pub(super) fn set_rate(&self, rate: Option<u64>) {
        let mut state = self.state();
        match (&mut state.bucket, rate) {
            (Some(bucket), Some(rate)) => bucket.set_rate(rate),
            (bucket, rate) => *bucket = rate.map(TokenBucket::new),
        }
    }

    /// Takes bytes out and returns how long to wait before they go.
    pub(super) fn pace(&self, bytes: usize) -> Duration {
        let now = self.now();
        let mut state = self.state();
        state.bucket.as_mut().map_or(Duration::ZERO, |bucket| bucket.take(now, bytes as u64))
    }

    /// Tells whether there is a limit.
    pub(super) fn is_limited(&self) -> bool {
        self.state().bucket.is_some()
    }

    /// Returns how many bytes slots were asked for since this was last asked.
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

impl Slot {
    /// Takes bytes of the piece out of the limit and returns how long to wait before they go; the slot is kept meanwhile.
    pub(super) fn pace(&self, bytes: usize) -> Duration {
        let wait = self.turns.pace(bytes);
        if !wait.is_zero() {
            let until = self.turns.now() + wait;
            self.turns.state().uplink.hold(self.ticket, until);
        }
        wait
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        state.uplink.done(self.ticket);
        state.waiting.remove(&self.ticket);
        drop(state);
        self.turns.grant();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::UPLOAD_SLOTS;

    fn peer(n: u8) -> PeerId {
        PeerId::from_public_key([n; 32])
    }

    #[tokio::test]
    async fn slots_go_round_and_come_back_when_they_are_dropped() {
        let turns = Turns::new(None);
        let mut held = Vec::new();
        for n in 0..UPLOAD_SLOTS {
            held.push(turns.slot(peer(n as u8), 1).await);
        }
        let (next, mut granted) = turns.ask(peer(99), 1);
        assert!(granted.try_recv().is_err(), "all slots are taken");
        held.pop();
        assert!(granted.try_recv().is_ok(), "one has come free");
        drop((next, held));
        let gone = turns.ask(peer(1), 1);
        drop(gone);
        assert!(turns.state().waiting.is_empty() && !turns.state().uplink.is_waiting());
    }

    #[tokio::test]
    async fn a_puller_that_does_not_take_its_piece_holds_up_nobody() {
        let turns = Turns::new(None);
        let mut stuck = Vec::new();
        for n in 0..UPLOAD_SLOTS {
            stuck.push(turns.slot(peer(n as u8), 1).await);
        }
        let other = timeout(Duration::from_secs(60), turns.slot(peer(99), 1)).await;
        assert!(other.is_ok());
        drop(stuck);
    }

    #[test]
    fn a_limit_is_kept_and_can_be_changed() {
        let turns = Turns::new(Some(1_000_000));
        assert!(turns.pace(100_000).is_zero(), "a burst");
        let waits: Duration = (0..20).map(|_| turns.pace(100_000)).max().unwrap_or_default();
        assert!(waits > Duration::from_secs(1), "{waits:?}");
        assert!(turns.is_limited());
        turns.set_rate(None);
        assert!(turns.pace(100_000_000).is_zero() && !turns.is_limited());
        drop(turns.ask(peer(1), 700));
        assert_eq!((turns.take_sent(), turns.take_sent()), (700, 0));
    }
}
