//! [`Uplink`]: whose piece is sent next. Slots, and deficit round robin over the pullers that wait for one.
//!
//! Without it, who asks for more gets more. Here every puller that waits gets as many bytes as any other, however many
//! requests, streams and lanes it has. A slot that its puller does not empty is given to another: a slow one costs nobody
//! but itself.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use reg_proto::peer::PeerId;
use reg_proto::piece::PIECE_LEN;

use super::time::Instant;

/// Pieces that are being sent at once: enough to keep several connections full, few enough that turns mean something.
pub const UPLOAD_SLOTS: usize = 8;
/// How long a piece may take from its slot before another is let go beside it: then not our uplink is what holds it up.
pub const SLOT_HOLD: Duration = Duration::from_millis(500);
/// Bytes that a puller may send when its turn comes: the largest piece.
const QUANTUM: u64 = PIECE_LEN;

/// Names one piece that waits or is being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

#[derive(Debug, Default)]
struct Puller {
    deficit: u64,
    waiting: VecDeque<(Ticket, u64)>,
}

/// Decides whose piece goes next.
#[derive(Debug, Default)]
pub struct Uplink {
    pullers: BTreeMap<PeerId, Puller>,
    /// Pullers that wait, in the order of their turns.
    order: VecDeque<PeerId>,
    /// Whether the first of them has been given this turn's bytes.
    is_served: bool,
    /// Pieces that are being sent, and since when.
    sending: BTreeMap<Ticket, Instant>,
    last: u64,
}

impl Uplink {
    /// Asks for a slot for a piece of `bytes` to `peer`.
    pub fn ask(&mut self, peer: PeerId, bytes: u64) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        let puller = self.pullers.entry(peer).or_insert_with(|| {
            self.order.push_back(peer);
            Puller::default()
        });
        puller.waiting.push_back((ticket, bytes));
        ticket
    }

    /// Returns the next piece that may go now, if there is a slot.
    pub fn grant(&mut self, now: Instant) -> Option<Ticket> {
        let taken = self.sending.values().filter(|since| now.since(**since) < SLOT_HOLD).count();
        if taken >= UPLOAD_SLOTS {
            return None;
        }
        let ticket = self.next()?;
        self.sending.insert(ticket, now);
        Some(ticket)
    }

    /// Notes that a piece is still held up by us, not by its puller: its slot is its own for longer.
    pub fn hold(&mut self, ticket: Ticket, now: Instant) {
        if let Some(since) = self.sending.get_mut(&ticket) {
            *since = now;
        }
    }

    /// Notes that a piece has been sent, or is not to be sent.
    pub fn done(&mut self, ticket: Ticket) {
        if self.sending.remove(&ticket).is_some() {
            return;
        }
        for puller in self.pullers.values_mut() {
            puller.waiting.retain(|(waiting, _)| *waiting != ticket);
        }
    }

    /// Tells whether any piece waits.
    pub fn is_waiting(&self) -> bool {
        self.pullers.values().any(|puller| !puller.waiting.is_empty())
    }

    fn next(&mut self) -> Option<Ticket> {
        while let Some(peer) = self.order.front().copied() {
            let puller = self.pullers.get_mut(&peer)?;
            let Some((ticket, bytes)) = puller.waiting.front().copied() else {
                // Nothing is saved up by waiting for nothing.
                self.pullers.remove(&peer);
                self.order.pop_front();
                self.is_served = false;
                continue;
            };
            if !std::mem::replace(&mut self.is_served, true) {
                puller.deficit += QUANTUM;
            }
            if puller.deficit >= bytes {
                puller.deficit -= bytes;
                puller.waiting.pop_front();
                return Some(ticket);
            }
            self.order.rotate_left(1);
            self.is_served = false;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_public_key([n; 32])
    }

    fn at(ms: u64) -> Instant {
        Instant::after_start(Duration::from_millis(ms))
    }

    /// Sends pieces for `rounds` pieces' time, every puller having as many as it likes waiting; returns bytes by puller.
    fn run(pullers: &[(u8, u64, usize)], pieces: usize) -> BTreeMap<u8, u64> {
        let (mut uplink, mut owner, mut sent) = (Uplink::default(), BTreeMap::new(), BTreeMap::new());
        let ask = |uplink: &mut Uplink, owner: &mut BTreeMap<Ticket, (u8, u64)>, n, bytes| {
            owner.insert(uplink.ask(peer(n), bytes), (n, bytes));
        };
        for (n, bytes, depth) in pullers {
            (0..*depth).for_each(|_| ask(&mut uplink, &mut owner, *n, *bytes));
        }
        for _ in 0..pieces {
            let ticket = uplink.grant(at(0)).unwrap();
            let (n, bytes) = owner[&ticket];
            *sent.entry(n).or_default() += bytes;
            ask(&mut uplink, &mut owner, n, bytes);
            uplink.done(ticket);
        }
        sent
    }

    #[test]
    fn a_puller_with_many_requests_gets_no_more_than_one_with_few() {
        let sent = run(&[(1, PIECE_LEN, 64), (2, PIECE_LEN, 1), (3, PIECE_LEN / 4, 4)], 4000);
        let (most, least) = (sent.values().max().unwrap(), sent.values().min().unwrap());
        assert!(most - least <= 2 * PIECE_LEN, "{sent:?}");
    }

    #[test]
    fn slots_are_few_and_a_slow_puller_keeps_none() {
        let mut uplink = Uplink::default();
        for n in 0..20 {
            uplink.ask(peer(n), 10);
        }
        let held: Vec<Ticket> = std::iter::from_fn(|| uplink.grant(at(0))).collect();
        assert_eq!(held.len(), UPLOAD_SLOTS);
        uplink.done(held[0]);
        assert!(uplink.grant(at(1)).is_some() && uplink.grant(at(1)).is_none());
        // None of them has been sent: they are held up elsewhere, but for one that waits for our own limit.
        let later = at(501);
        uplink.hold(held[1], later);
        let more = std::iter::from_fn(|| uplink.grant(later)).count();
        assert_eq!(more, UPLOAD_SLOTS - 1);
    }

    #[test]
    fn who_gives_up_takes_no_turn() {
        let mut uplink = Uplink::default();
        let (gone, stays) = (uplink.ask(peer(1), 10), uplink.ask(peer(2), 10));
        uplink.done(gone);
        assert_eq!(uplink.grant(at(0)), Some(stays));
        assert_eq!((uplink.grant(at(0)), uplink.is_waiting()), (None, false));
    }

    proptest! {
        /// However many pullers with however many requests of whatever size: nobody who always waits gets a quantum less
        /// than another.
        #[test]
        fn everybody_gets_the_same(pullers in prop::collection::vec((1u64..=PIECE_LEN, 1usize..20), 1..12)) {
            let pullers: Vec<(u8, u64, usize)> =
                pullers.into_iter().enumerate().map(|(n, (bytes, depth))| (n as u8, bytes, depth)).collect();
            let smallest = pullers.iter().map(|it| it.1).min().unwrap();
            // Enough for every puller to have had some turns, whatever the sizes.
            let pieces = (8 * pullers.len() as u64 * PIECE_LEN / smallest).min(20_000) as usize;
            let sent = run(&pullers, pieces);
            if sent.len() == pullers.len() {
                let (most, least) = (sent.values().max().unwrap(), sent.values().min().unwrap());
                prop_assert!(most - least <= 3 * QUANTUM, "{:?}", sent);
            }
        }
    }
}
