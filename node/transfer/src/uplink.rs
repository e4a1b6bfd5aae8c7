//! [`Uplink`]: decides which piece to send next, and to which puller.
//!
//! Pullers take turns by deficit round robin: in a round, each that waits is sent as many bytes as any other, however
//! many requests, streams and lanes it has. Within a round, the piece that was sent least goes first. So a sole holder
//! sends every requested piece once before it sends any twice, and the swarm passes them on. A slot that its puller
//! does not empty is lent to another, so a slow puller delays only itself.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use reg_proto::digest::Digest;
use reg_proto::limits::REQUESTS_WAITING_MAX;
use reg_proto::peer::PeerId;
use reg_proto::piece::PIECE_LEN;

use super::promised::Promised;
use super::rate::Rate;
use super::spread::Spread;
use super::time::Instant;

/// Pieces that are sent at once: enough to keep several connections full, and few enough that turns have an effect.
pub const UPLOAD_SLOTS: usize = 8;
/// Pieces of at most this many seconds at a rate are sent at once: with more, each would take longer, and no peer can
/// pass a piece on before it is whole.
const SLOTS_SECONDS: f64 = 0.25;
/// How long a piece may occupy its slot before another is sent beside it: then the puller holds it up, not this uplink.
pub const SLOT_HOLD: Duration = Duration::from_millis(500);
/// Bytes that a puller may be sent in a round: those of the largest piece.
const QUANTUM: u64 = PIECE_LEN;
/// Requests of one stream that are compared before one is chosen; those behind them wait.
const COMPARED_MAX: usize = 16;
/// Later requests of a stream that may go before one: a reader may be waiting for it.
const PASSED_OVER_MAX: u8 = 8;

/// Returns how many pieces to send at once at `rate` bytes per second; `None` is no limit.
pub fn slots_at(rate: Option<u64>) -> usize {
    let at = |rate: u64| (rate as f64 * SLOTS_SECONDS / PIECE_LEN as f64) as usize;
    rate.map_or(UPLOAD_SLOTS, |rate| at(rate).clamp(1, UPLOAD_SLOTS))
}

/// Pieces of so many seconds may wait; more are refused. Requests that wait long were chosen with stale rarity, and an
/// idle peer could have served them.
const WAITING_SECONDS: f32 = 0.25;
/// Pieces that may wait even at the slowest rate. In simulation (300 nodes), 3 take 1.07 of the bound and 6 take 1.16.
const WAITING_MIN: u32 = 3;
/// Pieces that may wait before the rate of this node is known, and at any rate while a single puller is here: no other
/// puller waits behind them, and the first pieces over a long line say little about its rate.
const WAITING_AT_FIRST: u32 = 16;
/// Shortest time after which a refused puller may ask again; usually it is the time that a piece takes.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// Longest time after which a refused puller may ask again, so that this uplink does not stand idle.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// The number of a piece that is being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// The number of one stream of a puller: a line of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line(u64);

/// A request for a run of pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub id: u32,
    pub blob: Digest,
    pub first: u32,
    pub count: u32,
}

/// A piece of a request that may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    pub ticket: Ticket,
    pub line: Line,
    pub id: u32,
    pub blob: Digest,
    pub piece: u32,
    /// Whether it has never been sent before, as far as this node remembers.
    pub is_first: bool,
}

#[derive(Debug)]
struct Waiting {
    asked: Asked,
    /// Its place among all requests, by arrival.
    order: u64,
    /// Whether a piece of it has been sent: the rest of the run follows, because a part of a unit is of little use to
    /// others.
    is_begun: bool,
    /// How many later requests of its line have gone before it.
    passed_over: u8,
}

#[derive(Debug)]
struct Puller<P> {
    peer: P,
    waiting: VecDeque<Waiting>,
    /// Tasks and threads that could send a piece of this line now.
    senders: usize,
}

impl<P> Puller<P> {
    /// Pieces that wait on this line.
    fn pieces(&self) -> u64 {
        self.waiting.iter().map(|it| u64::from(it.asked.count)).sum()
    }
}

#[derive(Debug)]
struct Sending<P> {
    peer: P,
    since: Instant,
    turn: Turn,
}

/// Decides which piece to send next. `P` is the driver's name for a puller.
#[derive(Debug)]
pub struct Uplink<P = PeerId> {
    slots: usize,
    lines: BTreeMap<Line, Puller<P>>,
    /// Pieces that wait on all lines together.
    waiting: u64,
    /// Bytes that each puller may still be sent in this round; a piece counts as a whole one until it has been sent.
    credits: BTreeMap<P, u64>,
    sending: BTreeMap<Ticket, Sending<P>>,
    spread: Spread,
    promised: Promised<P>,
    /// The rate at which pieces are sent, and when the last one was sent or the first begun.
    rate: Rate,
    last_sent: Instant,
    last: u64,
}

impl<P: Copy + Ord> Uplink<P> {
    /// Returns an uplink that sends `slots` pieces at once.
    pub fn new(slots: usize) -> Self {
        Self {
            slots,
            lines: BTreeMap::new(),
            waiting: 0,
            credits: BTreeMap::new(),
            sending: BTreeMap::new(),
            spread: Spread::default(),
            promised: Promised::default(),
            rate: Rate::default(),
            last_sent: Instant::default(),
            last: 0,
        }
    }

    /// Sets how many pieces are sent at once.
    pub const fn set_slots(&mut self, slots: usize) {
        self.slots = slots;
    }

    /// Adds a stream of `peer`, and returns its number.
    pub fn join(&mut self, peer: P) -> Line {
        let line = Line(self.next_number());
        self.lines.insert(line, Puller { peer, waiting: VecDeque::new(), senders: 0 });
        line
    }

    /// Removes a stream and all its requests.
    pub fn leave(&mut self, line: Line) {
        let gone = self.lines.remove(&line);
        self.waiting -= gone.map_or(0, |it| it.pieces());
    }

    /// Queues a request. Refuses it where enough pieces wait already. Also refuses it where its pieces are on their way
    /// to another puller, which can pass them on, while pieces wait that no peer was sent.
    ///
    /// # Errors
    /// Returns the time after which the puller may ask again.
    pub fn admit(&mut self, now: Instant, line: Line, asked: Asked) -> Result<(), Duration> {
        let peer = self.lines.get(&line).map(|it| it.peer).ok_or(RETRY_MAX)?;
        if let Some(retry) = self.is_full(peer) {
            return Err(retry);
        }
        let Asked { blob, first, .. } = asked;
        if self.promised.to_another(now, peer, blob, first) && self.has_unsent() {
            return Err(RETRY_MIN);
        }
        if !self.ask(line, asked) {
            return Err(RETRY_MAX);
        }
        self.promised.note(now, peer, blob, first);
        Ok(())
    }

    /// Tells whether a piece waits that was never sent.
    fn has_unsent(&self) -> bool {
        let mut waiting = self.lines.values().flat_map(|it| &it.waiting);
        waiting.any(|it| self.spread.times(&it.asked.blob, it.asked.first) == 0)
    }

    /// Returns the time after which `peer` may ask again, where enough pieces wait already; `None` where there is room.
    fn is_full(&self, peer: P) -> Option<Duration> {
        let Some(per_second) = self.rate.per_second() else {
            return (self.waiting >= WAITING_AT_FIRST.into()).then_some(RETRY_MIN);
        };
        let is_alone = self.lines.values().all(|it| it.peer == peer);
        let least = if is_alone { WAITING_AT_FIRST } else { WAITING_MIN };
        let most = ((per_second * WAITING_SECONDS) as u32).max(least);
        let a_piece = Duration::from_secs_f32(per_second.recip().min(RETRY_MAX.as_secs_f32()));
        (self.waiting >= most.into()).then(|| a_piece.max(RETRY_MIN))
    }

    /// Queues a request, and tells whether there was room.
    fn ask(&mut self, line: Line, asked: Asked) -> bool {
        let order = self.next_number();
        let Some(puller) = self.lines.get_mut(&line) else { return false };
        if puller.waiting.len() >= REQUESTS_WAITING_MAX || asked.count == 0 {
            return false;
        }
        puller.waiting.push_back(Waiting { asked, order, is_begun: false, passed_over: 0 });
        self.waiting += u64::from(asked.count);
        true
    }

    /// Removes a request.
    pub fn cancel(&mut self, line: Line, id: u32) {
        if let Some(puller) = self.lines.get_mut(&line) {
            let before = puller.pieces();
            puller.waiting.retain(|it| it.asked.id != id);
            self.waiting -= before - puller.pieces();
        }
    }

    /// Returns the id of a waiting request of this line; `None` where none waits.
    pub fn any(&self, line: Line) -> Option<u32> {
        self.lines.get(&line)?.waiting.front().map(|it| it.asked.id)
    }

    /// Counts one more task or thread that could send a piece of this line now.
    pub fn ready(&mut self, line: Line) {
        if let Some(puller) = self.lines.get_mut(&line) {
            puller.senders += 1;
        }
    }

    /// Counts one sender of this line less, and tells whether it was still waiting; else a piece was granted to it.
    pub fn unready(&mut self, line: Line) -> bool {
        let puller = self.lines.get_mut(&line).filter(|puller| puller.senders > 0);
        puller.map(|puller| puller.senders -= 1).is_some()
    }

    /// Returns the next piece to send, if a slot is free; it takes one of its line's senders.
    pub fn grant(&mut self, now: Instant) -> Option<Turn> {
        let taken = self.sending.values().filter(|it| now.since(it.since) < SLOT_HOLD).count();
        if taken >= self.slots {
            return None;
        }
        let (line, place) = match self.choose() {
            Some(chosen) => chosen,
            None => {
                self.next_round();
                self.choose()?
            }
        };
        let ticket = Ticket(self.next_number());
        let puller = self.lines.get_mut(&line)?;
        let Waiting { asked: Asked { id, blob, first: piece, count }, order, .. } =
            puller.waiting.remove(place)?;
        for before in puller.waiting.iter_mut().take(place) {
            before.passed_over = before.passed_over.saturating_add(1);
        }
        if count > 1 {
            let asked = Asked { id, blob, first: piece.saturating_add(1), count: count - 1 };
            puller.waiting.push_front(Waiting { asked, order, is_begun: true, passed_over: 0 });
        }
        puller.senders -= 1;
        self.waiting -= 1;
        let is_first = self.spread.times(&blob, piece) == 0;
        let (peer, turn) = (puller.peer, Turn { ticket, line, id, blob, piece, is_first });
        let credit = self.credits.entry(peer).or_insert(QUANTUM);
        *credit = credit.saturating_sub(QUANTUM);
        self.spread.sent(blob, piece);
        if self.sending.is_empty() {
            self.last_sent = now;
        }
        self.sending.insert(ticket, Sending { peer, since: now, turn });
        Some(turn)
    }

    /// Records that this node, not the puller, still holds a piece up: the piece keeps its slot for longer.
    pub fn hold(&mut self, ticket: Ticket, now: Instant) {
        if let Some(sending) = self.sending.get_mut(&ticket) {
            sending.since = now;
        }
    }

    /// Records that a piece of `bytes` bytes has been sent, and frees its slot.
    pub fn sent(&mut self, now: Instant, ticket: Ticket, bytes: u64) {
        if let Some(Sending { peer, .. }) = self.sending.remove(&ticket) {
            self.rate.came(1, now.since(self.last_sent));
            self.last_sent = now;
            self.refund(peer, QUANTUM.saturating_sub(bytes));
        }
    }

    /// Records that a piece was not sent, and frees its slot.
    pub fn unsent(&mut self, ticket: Ticket) {
        if let Some(Sending { peer, turn, .. }) = self.sending.remove(&ticket) {
            self.spread.unsent(&turn.blob, turn.piece);
            self.refund(peer, QUANTUM);
        }
    }

    /// Puts a piece that was not sent back at the head of its line.
    pub fn give_back(&mut self, turn: &Turn) {
        self.unsent(turn.ticket);
        let order = self.next_number();
        if let Some(puller) = self.lines.get_mut(&turn.line) {
            let asked = Asked { id: turn.id, blob: turn.blob, first: turn.piece, count: 1 };
            puller.waiting.push_front(Waiting { asked, order, is_begun: true, passed_over: 0 });
            self.waiting += 1;
        }
    }

    /// Tells whether any piece waits.
    pub fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Returns how often a piece has been sent.
    pub fn times_sent(&self, blob: &Digest, piece: u32) -> u16 {
        self.spread.times(blob, piece)
    }

    /// Returns the line, and the place of the request in it, that goes next, among pullers with bytes left in this
    /// round. A run that is begun goes first, then the piece that was sent least, then the oldest request.
    fn choose(&self) -> Option<(Line, usize)> {
        let able = self.lines.iter().filter(|(_, puller)| {
            puller.senders > 0 && self.credits.get(&puller.peer).is_none_or(|credit| *credit >= QUANTUM)
        });
        let requests = able.flat_map(|(line, puller)| {
            let begun = puller.waiting.front().is_some_and(|it| it.is_begun);
            let compared = if begun { 1 } else { COMPARED_MAX };
            puller.waiting.iter().take(compared).enumerate().map(|(place, it)| (*line, place, it))
        });
        let times = |it: &Waiting| match it.is_begun || it.passed_over >= PASSED_OVER_MAX {
            true => 0,
            false => self.spread.times(&it.asked.blob, it.asked.first),
        };
        let next = requests.min_by_key(|(_, _, it)| (times(it), it.order))?;
        Some((next.0, next.1))
    }

    /// Begins a round: each puller that waits may be sent a piece's bytes again. A puller without requests saves
    /// nothing up.
    fn next_round(&mut self) {
        let mut before = std::mem::take(&mut self.credits);
        let waiting = self.lines.values().filter(|puller| !puller.waiting.is_empty());
        for puller in waiting {
            let left = before.remove(&puller.peer);
            if let Some(left) = left {
                self.credits.insert(puller.peer, left.min(QUANTUM - 1) + QUANTUM);
            }
        }
    }

    fn refund(&mut self, peer: P, bytes: u64) {
        if let Some(credit) = self.credits.get_mut(&peer) {
            *credit += bytes;
        }
    }

    const fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::after_start(Duration::from_millis(ms))
    }

    fn blob() -> Digest {
        Digest::from_bytes([7; 32])
    }

    fn asked(id: u32, first: u32, count: u32) -> Asked {
        Asked { id, blob: blob(), first, count }
    }

    /// Returns an uplink with a line for each of `pullers` pullers, each with a sender.
    fn lines(slots: usize, pullers: u8) -> (Uplink<u8>, Vec<Line>) {
        let mut uplink = Uplink::new(slots);
        let lines: Vec<Line> = (0..pullers).map(|n| uplink.join(n)).collect();
        for line in &lines {
            uplink.ready(*line);
        }
        (uplink, lines)
    }

    /// Asserts that the counts match the requests that wait.
    fn assert_counted(uplink: &Uplink<u8>) {
        assert_eq!(uplink.waiting, uplink.lines.values().map(Puller::pieces).sum::<u64>());
    }

    /// Sends the next piece, if any waits, and returns its line and its number.
    fn send(uplink: &mut Uplink<u8>, bytes: u64) -> Option<(Line, u32)> {
        let turn = uplink.grant(at(0))?;
        assert_counted(uplink);
        uplink.sent(at(0), turn.ticket, bytes);
        uplink.ready(turn.line);
        Some((turn.line, turn.piece))
    }

    /// Sends `pieces` pieces to pullers, each of which always has a number of requests for pieces of a size; returns
    /// the bytes that each was sent.
    fn run(pullers: &[(u64, usize)], pieces: usize) -> Vec<u64> {
        let (mut uplink, lines) = lines(1, pullers.len() as u8);
        let mut number = 0u32;
        let mut ask = |uplink: &mut Uplink<u8>, line: Line| {
            number += 1;
            assert!(uplink.ask(line, asked(number, number, 1)));
        };
        for (line, (_, depth)) in lines.iter().zip(pullers) {
            (0..*depth).for_each(|_| ask(&mut uplink, *line));
        }
        let mut sent = vec![0; pullers.len()];
        for _piece in 0..pieces {
            let turn = uplink.grant(at(0)).unwrap();
            let place = lines.iter().position(|line| *line == turn.line).unwrap();
            sent[place] += pullers[place].0;
            uplink.sent(at(0), turn.ticket, pullers[place].0);
            uplink.ready(turn.line);
            ask(&mut uplink, turn.line);
        }
        sent
    }

    #[test]
    fn a_puller_with_many_requests_gets_no_more_than_one_with_few() {
        let sent = run(&[(PIECE_LEN, 64), (PIECE_LEN, 1), (PIECE_LEN / 4, 4)], 4000);
        let (most, least) = (sent.iter().max().unwrap(), sent.iter().min().unwrap());
        assert!(most - least <= 2 * PIECE_LEN, "{sent:?}");
    }

    #[test]
    fn streams_of_one_puller_share_its_turns() {
        let mut uplink: Uplink<u8> = Uplink::new(1);
        let streams: Vec<Line> = [1, 1, 1, 2].into_iter().map(|peer| uplink.join(peer)).collect();
        for line in &streams {
            uplink.ready(*line);
            (0..40).for_each(|n| assert!(uplink.ask(*line, asked(n, n, 1))));
        }
        let to_other =
            (0..40).filter_map(|_| send(&mut uplink, PIECE_LEN)).filter(|it| it.0 == streams[3]).count();
        assert!((19..=21).contains(&to_other), "{to_other} of 40");
    }

    /// All pullers ask for the same pieces in the same order: still every piece is sent once before any is sent twice.
    #[test]
    fn everything_goes_once_before_anything_goes_twice() {
        let (mut uplink, lines) = lines(1, 4);
        for line in &lines {
            (0..COMPARED_MAX as u32).for_each(|n| assert!(uplink.ask(*line, asked(n, n, 1))));
        }
        let first: Vec<u32> =
            (0..COMPARED_MAX).filter_map(|_| Some(send(&mut uplink, PIECE_LEN)?.1)).collect();
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), COMPARED_MAX, "{first:?}");
        assert!((0..COMPARED_MAX as u32).all(|piece| uplink.times_sent(&blob(), piece) == 1));
        let mut rest = [0; COMPARED_MAX];
        while let Some((_, piece)) = send(&mut uplink, PIECE_LEN) {
            rest[piece as usize] += 1;
        }
        assert_eq!(rest, [3; COMPARED_MAX]);
    }

    #[test]
    fn a_run_that_is_begun_goes_on_and_nothing_is_passed_over_for_ever() {
        let (mut uplink, lines) = lines(1, 2);
        // The second line is sent piece 0 several times.
        for n in 0..3 {
            assert!(uplink.ask(lines[1], asked(n, 0, 1)));
            send(&mut uplink, PIECE_LEN).unwrap();
        }
        assert!(uplink.ask(lines[0], asked(1, 0, 1)));
        for n in 2..100 {
            assert!(uplink.ask(lines[0], asked(n, 10 * n, 2)));
        }
        let sent: Vec<u32> = (0..30).filter_map(|_| Some(send(&mut uplink, PIECE_LEN)?.1)).collect();
        assert_eq!(sent[..4], [20, 21, 30, 31]);
        let place = sent.iter().position(|piece| *piece == 0).unwrap();
        assert_eq!(place, 2 * usize::from(PASSED_OVER_MAX));
    }

    #[test]
    fn slots_are_few_and_a_slow_puller_keeps_none() {
        let (mut uplink, lines) = lines(UPLOAD_SLOTS, 20);
        lines.iter().for_each(|line| assert!(uplink.ask(*line, asked(1, 1, 1))));
        let held: Vec<Turn> = std::iter::from_fn(|| uplink.grant(at(0))).collect();
        assert_eq!(held.len(), UPLOAD_SLOTS);
        uplink.sent(at(0), held[0].ticket, 10);
        assert!(uplink.grant(at(1)).is_some() && uplink.grant(at(1)).is_none());
        // None of them has been sent: their pullers hold them up, except for one that waits for this node's own limit.
        let later = at(501);
        uplink.hold(held[1].ticket, later);
        let more = std::iter::from_fn(|| uplink.grant(later)).count();
        assert_eq!(more, UPLOAD_SLOTS - 1);
    }

    #[test]
    fn a_limit_that_is_low_sends_one_piece_after_the_other() {
        let at = [None, Some(1), Some(12_500_000), Some(1_000_000_000)].map(slots_at);
        assert_eq!(at, [UPLOAD_SLOTS, 1, 2, UPLOAD_SLOTS]);
    }

    #[test]
    fn who_gives_up_takes_no_turn_and_what_was_not_sent_is_sent_again() {
        let (mut uplink, lines) = lines(UPLOAD_SLOTS, 4);
        (0..4).for_each(|n| assert!(uplink.ask(lines[n], asked(1, n as u32, 1))));
        uplink.cancel(lines[0], 1);
        uplink.leave(lines[1]);
        assert_counted(&uplink);
        let turns: Vec<Turn> = std::iter::from_fn(|| uplink.grant(at(0))).collect();
        assert_eq!(turns.iter().map(|turn| turn.piece).collect::<Vec<_>>(), [2, 3]);
        assert!(!uplink.is_waiting() && !uplink.unready(lines[2]));
        uplink.give_back(&turns[0]);
        assert_counted(&uplink);
        uplink.ready(lines[2]);
        assert_eq!((uplink.times_sent(&blob(), 2), uplink.times_sent(&blob(), 3)), (0, 1));
        let again = uplink.grant(at(0)).unwrap();
        assert_eq!((again.line, again.id, again.piece), (lines[2], 1, 2));
    }

    #[test]
    fn what_waits_is_a_quarter_of_a_second_or_three_pieces() {
        // The last column: whether a second puller is here.
        for (ms, most, is_shared) in
            [(400, WAITING_MIN, true), (25, 10, true), (400, WAITING_AT_FIRST, false), (10, 25, false)]
        {
            let (mut uplink, lines) = lines(1, 1 + u8::from(is_shared));
            let fill = |uplink: &mut Uplink<u8>| {
                let mut added = 0;
                while uplink.is_full(0).is_none() {
                    assert!(uplink.ask(lines[0], asked(0, 0, 1)));
                    added += 1;
                }
                added
            };
            assert_eq!(fill(&mut uplink), WAITING_AT_FIRST);
            for n in 1..=WAITING_AT_FIRST as u64 {
                let turn = uplink.grant(at(ms * (n - 1))).unwrap();
                uplink.sent(at(ms * n), turn.ticket, PIECE_LEN);
                uplink.ready(lines[0]);
            }
            assert!(fill(&mut uplink).abs_diff(most) <= 1);
            let retry = uplink.is_full(0).unwrap();
            assert!(
                retry.abs_diff(Duration::from_millis(ms).max(RETRY_MIN)) < Duration::from_millis(5),
                "{retry:?}"
            );
        }
    }

    /// Two pullers ask for the same piece: the second one is refused while a piece waits that was never sent.
    #[test]
    fn what_is_on_its_way_to_another_waits_behind_what_nobody_has() {
        let (mut uplink, lines) = lines(1, 2);
        assert_eq!(uplink.admit(at(0), lines[0], asked(1, 7, 1)), Ok(()));
        let turn = uplink.grant(at(0)).unwrap();
        assert_eq!(uplink.admit(at(1), lines[1], asked(1, 7, 1)), Ok(()), "nothing else waits");
        uplink.cancel(lines[1], 1);
        assert_eq!(uplink.admit(at(1), lines[0], asked(2, 8, 1)), Ok(()));
        // This holds while it waits, while it is being sent, and just after.
        assert_eq!(uplink.admit(at(2), lines[1], asked(2, 8, 1)), Err(RETRY_MIN));
        uplink.sent(at(3), turn.ticket, PIECE_LEN);
        assert_eq!(uplink.admit(at(4), lines[0], asked(3, 7, 1)), Err(RETRY_MIN), "the other one asked last");
        assert_eq!(uplink.admit(at(4), lines[1], asked(3, 9, 1)), Ok(()));
        // The puller that it was promised to may have disconnected.
        assert_eq!(uplink.admit(at(4_000), lines[1], asked(4, 8, 1)), Ok(()));
    }

    #[test]
    fn requests_are_bounded() {
        let (mut uplink, lines) = lines(1, 1);
        let taken = (0..1000).filter(|n| uplink.ask(lines[0], asked(*n, 0, 16))).count();
        assert_eq!(taken, REQUESTS_WAITING_MAX);
        assert!(!uplink.ask(lines[0], asked(1, 0, 0)), "nothing is asked for");
    }

    proptest! {
        /// For any number of pullers with any number of requests of any size: no puller that always waits is sent much
        /// less than another.
        #[test]
        fn everybody_gets_the_same(pullers in prop::collection::vec((1u64..=PIECE_LEN, 1usize..20), 1..12)) {
            let smallest = pullers.iter().map(|it| it.0).min().unwrap();
            // Enough for every puller to have several turns.
            let pieces = (8 * pullers.len() as u64 * PIECE_LEN / smallest).min(20_000) as usize;
            let sent = run(&pullers, pieces);
            if sent.iter().all(|bytes| *bytes > 0) {
                let (most, least) = (sent.iter().max().unwrap(), sent.iter().min().unwrap());
                prop_assert!(most - least <= 3 * QUANTUM, "{:?}", sent);
            }
        }
    }
}
