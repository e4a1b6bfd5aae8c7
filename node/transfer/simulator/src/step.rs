//! [`Step`]: what happens to one node, which touches nothing but the node: what it causes at others goes into the post.

use std::cmp::Reverse;
use std::time::Duration;

use reg_proto::digest::Digest;
use reg_proto::piece::PieceSet;
use reg_transfer::{Input, Instant, Output, PIECES_IN_FLIGHT_PER_PEER, RequestId};

use super::event::{Sent, What};
use super::news::News;
use super::node::{Edge, Node};
use super::outcome::Tally;
use super::plan::{Manner, Plan};
use super::post::{Post, Told};
use super::uplink::Waiting;

/// Windows after which every node is told the time.
const TOLD_EVERY: u64 = 12;

/// The blob that every node wants.
pub(super) const BLOB: Digest = Digest::from_bytes([7; 32]);

/// What is the same for all nodes during a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) plan: &'a Plan,
    pub(super) news: &'a News,
    /// Pieces that some node beside the seed had when the window began.
    pub(super) spread: &'a PieceSet,
}

/// A node to which something happens.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) around: Surroundings<'a>,
    pub(super) node: &'a mut Node,
    pub(super) post: &'a mut Post,
    pub(super) tally: &'a mut Tally,
    pub(super) now: u64,
}

impl Step<'_> {
    /// Lets the news that have arrived be heard, and then happen what happens before a moment.
    pub(super) fn window(&mut self, told: &mut [Told], number: u64, until: u64) {
        self.hear(told);
        if self.node.fetches() && (u64::from(self.node.id) + number).is_multiple_of(TOLD_EVERY) {
            self.feed(Input::Tick);
        }
        while let Some(event) = self.node.next_before(until) {
            self.now = event.at;
            self.happen(event.what);
        }
    }

    fn hear(&mut self, told: &mut [Told]) {
        // In the order of the neighbours' places, whichever parts they are in.
        told.sort_unstable();
        for (peer, piece) in told.iter().copied() {
            if self.node.fetches() && !self.around.news.knows(self.node.id, piece) {
                self.feed(Input::PeerHas { peer, blob: BLOB, pieces: piece..piece + 1 });
            }
        }
    }

    fn happen(&mut self, what: What) {
        let is_up = self.node.is_up;
        match what {
            What::Asked { slot, life, request, piece, count } => {
                let request = RequestId(request);
                self.asked(Waiting { slot, life, request, piece, count });
            }
            What::Cancelled { slot, request } => self.node.uplink.cancel(slot, Some(RequestId(request))),
            What::Sent { life } if is_up && life == self.life() => self.sent(),
            What::Arrives(sent) => self.arrives(sent),
            What::Came(sent) if sent.life == self.life() && self.node.fetches() => self.came(sent),
            What::Refused { slot, life, request, busy } if life == self.life() && self.node.fetches() => {
                self.refused(slot, RequestId(request), busy);
            }
            What::Sent { .. } | What::Came(_) | What::Refused { .. } => {}
        }
    }

    fn life(&self) -> u32 {
        self.around.news.life(self.node.id)
    }

    fn instant(&self) -> Instant {
        Instant::after_start(Duration::from_micros(self.now))
    }

    /// Something happens to the node itself, at a moment.
    fn later(&mut self, at: u64, what: What) {
        let event = self.node.causes(at, what);
        self.node.events.push(Reverse(event));
    }

    /// Something happens to another node, one delay from now.
    fn cause(&mut self, node: u32, what: What) {
        let event = self.node.causes(self.now + micros(self.around.plan.delay), what);
        self.post.send(node, event);
    }

    /// Tells the node's scheduler something, and does what it decides.
    pub(super) fn feed(&mut self, input: Input<u32>) {
        let now = self.instant();
        self.node.scheduler.handle(now, input);
        while let Some(output) = self.node.scheduler.poll_output() {
            self.execute(output);
        }
    }

    /// Does what the node's scheduler has decided.
    fn execute(&mut self, output: Output<u32>) {
        let (seed, id) = (self.around.plan.seed, self.node.id);
        match output {
            Output::Request { request: RequestId(request), peer, first, count, .. } => {
                let Edge { node: to, back, is_out, .. } = self.node.edges[peer as usize];
                assert!(!is_out, "seed {seed}: node {id} asks {to}, which is out");
                let owed = self.node.scheduler.in_flight(&peer);
                assert!(owed <= PIECES_IN_FLIGHT_PER_PEER, "seed {seed}: {owed} in flight");
                let (life, piece) = (self.life(), first.get());
                self.cause(to, What::Asked { slot: back, life, request, piece, count });
            }
            Output::Cancel { request: RequestId(request), peer } => {
                let Edge { node: to, back, .. } = self.node.edges[peer as usize];
                self.cause(to, What::Cancelled { slot: back, request });
            }
            Output::Complete { .. } => {
                assert!(self.node.has.is_full(), "seed {seed}: node {id} is complete without all pieces");
                self.node.is_done = true;
                self.around.news.listens(id, false);
                self.tally.completed.push(self.now);
            }
        }
    }

    fn asked(&mut self, waiting: Waiting) {
        let Edge { node: from, back, .. } = self.node.edges[waiting.slot as usize];
        if !self.node.is_up || self.around.news.life(from) != waiting.life {
            return;
        }
        let is_served = match self.node.manner {
            Manner::Stalls => return,
            Manner::Honest => self.node.has.piece(waiting.piece).is_some_and(|it| self.node.has.contains(it)),
            Manner::Lies | Manner::Truncates => true,
            Manner::Boasts => false,
        };
        let now = self.instant();
        let taken = is_served.then(|| self.node.uplink.take(now, BLOB, waiting));
        let busy = match taken {
            Some(Ok(())) => return self.send_next(),
            Some(Err(retry)) => Some(retry),
            None => None,
        };
        let (life, RequestId(request)) = (waiting.life, waiting.request);
        self.cause(from, What::Refused { slot: back, life, request, busy });
    }

    fn send_next(&mut self) {
        let now = self.instant();
        if self.node.uplink.begin(now) {
            let life = self.life();
            self.later(self.now + self.node.piece_time, What::Sent { life });
        }
    }

    /// A piece has left: it is before the receiver's way in after the delay.
    fn sent(&mut self) {
        let now = self.instant();
        let Some(Waiting { slot, life, request: RequestId(request), piece, .. }) = self.node.uplink.end(now)
        else {
            return;
        };
        let Edge { node: to, back, .. } = self.node.edges[slot as usize];
        let good = !self.node.manner.sends_wrong();
        self.cause(to, What::Arrives(Sent { slot: back, life, request, piece, good }));
        let plan = self.around.plan;
        if self.node.id == 0 && plan.seed_dies_after == Some(self.node.uplink.sent) {
            // It only falls silent here; that it has gone, the world tells the others when the window ends.
            self.node.is_up = false;
            self.tally.seed_has_died = true;
            return;
        }
        self.send_next();
    }

    /// A piece comes in after what is before it on the node's link.
    fn arrives(&mut self, sent: Sent) {
        let comes = self.now.max(self.node.down_free + self.node.piece_time);
        self.node.down_free = comes;
        self.later(comes, What::Came(sent));
    }

    fn came(&mut self, Sent { slot, request, piece, good, .. }: Sent) {
        let (seed, id, request) = (self.around.plan.seed, self.node.id, RequestId(request));
        let Some(index) = self.node.has.piece(piece) else { return };
        if !self.node.scheduler.is_owed(request, index) {
            self.tally.wasted += 1;
            return;
        }
        let edge = &mut self.node.edges[slot as usize];
        let from = edge.node;
        assert!(!edge.is_out, "seed {seed}: node {id} takes a piece of {from}, which is out");
        if !good {
            edge.is_out = true;
            self.tally.wrong += 1;
            return self.feed(Input::Failed { request, piece: index });
        }
        assert!(self.node.has.insert(index), "seed {seed}: node {id} stores piece {piece} twice");
        self.tally.stored(self.around.plan.zone(from), self.around.plan.zone(id));
        if !self.around.spread.contains(index) {
            self.tally.first.push(index);
        }
        self.feed(Input::Stored { request, piece: index });
        self.announce(piece);
    }

    /// Tells all neighbours of a piece.
    fn announce(&mut self, piece: u32) {
        let news = self.around.news;
        news.has(self.node.id, piece);
        for edge in self.node.edges.iter().filter(|edge| news.is_for(edge.node, piece)) {
            self.post.tell(edge.node, edge.back, piece);
        }
    }

    fn refused(&mut self, slot: u32, request: RequestId, busy: Option<Duration>) {
        if self.node.scheduler.request(request).is_some_and(|(of, _)| of == slot) {
            self.tally.refused += 1;
            self.feed(Input::Rejected { request, busy });
        }
    }
}

/// Returns a time in microseconds.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
