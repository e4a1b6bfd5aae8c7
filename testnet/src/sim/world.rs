//! The world: what happens to whom, and when.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::panic::resume_unwind;
use std::time::Duration;

use reg_node::transfer::{
    Chance, Input, Instant, Nearness, Output, PIECES_IN_FLIGHT_PER_PEER, RequestId, Scheduler,
};
use reg_proto::digest::Digest;
use reg_proto::piece::PieceSet;

use super::graph;
use super::news::{News, Told};
use super::node::{Edge, Node};
use super::outcome::Outcome;
use super::plan::{Manner, Plan};
use super::uplink::Waiting;

/// Ticks of one delay after which every node is told the time.
const TOLD_EVERY: u64 = 12;

/// Fewer nodes than these are not worth a thread of their own.
const NODES_IN_A_PART: usize = 500;

/// A simulation that takes this many times the bound has come to a standstill.
const STANDSTILL: u32 = 40;

/// An event and when it happens; those of one moment in the order in which they were scheduled.
#[derive(Debug)]
struct Scheduled {
    at: u64,
    order: u64,
    event: Event,
}

impl Scheduled {
    const fn key(&self) -> u128 {
        (self.at as u128) << 64 | self.order as u128
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        // The earliest is the greatest: the heap gives it first.
        other.key().cmp(&self.key())
    }
}

/// Something that is to happen.
#[derive(Debug, Clone, Copy)]
enum Event {
    Asked { node: u32, slot: u32, life: u32, request: u32, piece: u32, count: u32 },
    Cancelled { node: u32, slot: u32, request: u32 },
    Sent { node: u32, life: u32 },
    Came { node: u32, slot: u32, life: u32, request: u32, piece: u32, good: bool },
    Refused { node: u32, slot: u32, life: u32, request: u32, busy: Option<Duration> },
    Leaves { node: u32 },
    Returns { node: u32 },
    Tick,
}

struct World<'a> {
    plan: &'a Plan,
    nodes: Vec<Node>,
    events: BinaryHeap<Scheduled>,
    /// Those of them that happen one delay after they were scheduled, which most do: they happen in their order.
    soon: VecDeque<Scheduled>,
    news: News,
    now: u64,
    /// Events that were scheduled: those of one moment happen in this order.
    scheduled: u64,
    ticks: u64,
    chance: Chance,
    /// Pieces that some node beside the seed has got.
    spread: PieceSet,
    /// Nodes that are up and have not got everything.
    left: u32,
    outcome: Outcome,
    processors: usize,
}

const BLOB: Digest = Digest::from_bytes([7; 32]);

/// Runs a plan to its end.
///
/// # Panics
/// An invariant is broken, or nothing goes on; the message names the seed.
pub fn run(plan: &Plan) -> Outcome {
    let mut world = World::new(plan);
    world.connect();
    while world.left > 0 {
        let Some(Scheduled { at, order, event }) = world.next() else {
            panic!("seed {}: nothing more happens, {} nodes want something", plan.seed, world.left)
        };
        world.now = at;
        world.outcome.trace(at, order);
        assert!(
            at < micros(plan.bound() * STANDSTILL),
            "seed {}: {} nodes have come to a standstill",
            plan.seed,
            world.left
        );
        world.happen(event);
    }
    world.outcome
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan) -> Self {
        let mut chance = Chance::new(plan.seed);
        let nodes = (0..plan.nodes).map(|id| {
            let has = if id == 0 { PieceSet::full(plan.pieces) } else { PieceSet::new(plan.pieces) };
            let slow = id > 0 && chance.below(100) < plan.slow_percent;
            let piece_time = micros(plan.piece_time) * if slow { 4 } else { 1 };
            let mut node = Node::new(plan.manner(id), has, piece_time, &mut chance);
            node.done_at = (id == 0).then(Instant::default);
            node
        });
        let nodes: Vec<Node> = nodes.collect();
        let left = nodes.iter().filter(|node| node.fetches()).count() as u32;
        let events = BinaryHeap::new();
        let outcome = Outcome::new(plan);
        let news = News::new(plan);
        let spread = PieceSet::new(plan.pieces);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            plan,
            nodes,
            events,
            soon: VecDeque::new(),
            news,
            now: 0,
            scheduled: 0,
            ticks: 0,
            chance,
            spread,
            left,
            outcome,
            processors,
        }
    }

    /// Everybody meets, and says what it holds, or what it wants to be taken for.
    fn connect(&mut self) {
        let neighbours = graph::neighbours(self.plan, &mut self.chance);
        for (one, others) in (0u32..).zip(&neighbours) {
            for two in others {
                let back = neighbours[*two as usize].iter().position(|it| *it == one).unwrap_or(0) as u32;
                let is_near = self.plan.zones > 1 && self.plan.zone(one) == self.plan.zone(*two);
                self.nodes[one as usize].edges.push(Edge { node: *two, back, is_near, is_out: false });
            }
        }
        for node in 0..self.plan.nodes {
            self.start(node);
        }
        self.plan_churn();
        self.at(self.plan.delay, Event::Tick);
    }

    fn plan_churn(&mut self) {
        let (first, bound) = (1 + self.plan.bad.len() as u32, micros(self.plan.bound()));
        for node in first..self.plan.nodes {
            if self.chance.below(100) < self.plan.churn_percent {
                let leaves = Duration::from_micros(self.chance.next() % bound);
                self.at(leaves, Event::Leaves { node });
                if self.chance.below(2) == 0 {
                    self.at(leaves + self.plan.bound() / 20, Event::Returns { node });
                }
            }
        }
    }

    /// Begins to fetch: what is here is not asked for, and everybody around says what it holds.
    fn start(&mut self, id: u32) {
        if !self.nodes[id as usize].fetches() {
            return;
        }
        let stored = self.nodes[id as usize].has.clone();
        self.news.start(id);
        self.feed(id, Input::Want { blob: BLOB, stored });
        for slot in 0..self.nodes[id as usize].edges.len() {
            self.meet(id, slot as u32);
        }
    }

    /// A node hears what a neighbour holds.
    fn meet(&mut self, id: u32, slot: u32) {
        let edge = self.nodes[id as usize].edges[slot as usize];
        let other = &self.nodes[edge.node as usize];
        if !other.is_up || edge.is_out || !self.nodes[id as usize].fetches() {
            return;
        }
        let pieces = match other.manner {
            Manner::Honest => other.has.clone(),
            _ => PieceSet::full(self.plan.pieces),
        };
        if edge.is_near {
            self.feed(id, Input::PeerIs { peer: slot, nearness: Nearness::Zone });
        }
        self.feed(id, Input::PeerHolds { peer: slot, blob: BLOB, pieces });
    }

    fn at(&mut self, wait: Duration, event: Event) {
        if wait == self.plan.delay {
            self.scheduled += 1;
            self.soon.push_back(Scheduled { at: self.now + micros(wait), order: self.scheduled, event });
        } else {
            self.at_moment(self.now + micros(wait), event);
        }
    }

    fn at_moment(&mut self, moment: u64, event: Event) {
        self.scheduled += 1;
        self.events.push(Scheduled { at: moment, order: self.scheduled, event });
    }

    /// Takes the next event out.
    fn next(&mut self) -> Option<Scheduled> {
        match (self.soon.front(), self.events.peek()) {
            (Some(soon), Some(later)) if later.key() < soon.key() => self.events.pop(),
            (Some(_), _) => self.soon.pop_front(),
            (None, _) => self.events.pop(),
        }
    }

    fn instant(&self) -> Instant {
        Instant::after_start(Duration::from_micros(self.now))
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Asked { node, slot, life, request, piece, count } => {
                let request = RequestId(request);
                self.asked(node, Waiting { slot, life, request, piece, count });
            }
            Event::Cancelled { node, slot, request } => {
                self.nodes[node as usize].uplink.cancel(slot, Some(RequestId(request)));
            }
            Event::Sent { node, life } => self.sent(node, life),
            Event::Came { node, slot, life, request, piece, good } => {
                if self.nodes[node as usize].life == life && self.nodes[node as usize].fetches() {
                    self.came(node, slot, RequestId(request), piece, good);
                }
            }
            Event::Refused { node, slot, life, request, busy } => {
                self.refused(node, slot, life, RequestId(request), busy);
            }
            Event::Leaves { node } => self.leaves(node),
            Event::Returns { node } => self.returns(node),
            Event::Tick => self.tick(),
        }
    }

    /// Tells a node's scheduler something, and does what it decides.
    fn feed(&mut self, id: u32, input: Input<u32>) {
        let now = self.instant();
        self.nodes[id as usize].scheduler.handle(now, input);
        while let Some(output) = self.nodes[id as usize].scheduler.poll_output() {
            self.execute(id, output);
        }
    }

    /// Does what a node's scheduler has decided.
    fn execute(&mut self, id: u32, output: Output<u32>) {
        let node = &self.nodes[id as usize];
        match output {
            Output::Request { request, peer, first, count, .. } => {
                let Edge { node: to, back, is_out, .. } = node.edges[peer as usize];
                assert!(!is_out, "seed {}: node {id} asks {to}, which is out", self.plan.seed);
                let owed = node.scheduler.in_flight(&peer);
                assert!(owed <= PIECES_IN_FLIGHT_PER_PEER, "seed {}: {owed} in flight", self.plan.seed);
                let (life, request, piece) = (node.life, request.0, first.get());
                self.at(self.plan.delay, Event::Asked { node: to, slot: back, life, request, piece, count });
            }
            Output::Cancel { request: RequestId(request), peer } => {
                let Edge { node: to, back, .. } = node.edges[peer as usize];
                self.at(self.plan.delay, Event::Cancelled { node: to, slot: back, request });
            }
            Output::Complete { .. } => self.complete(id, self.instant()),
        }
    }

    fn complete(&mut self, id: u32, now: Instant) {
        let node = &mut self.nodes[id as usize];
        assert!(node.has.is_full(), "seed {}: node {id} is complete without all pieces", self.plan.seed);
        node.done_at = Some(now);
        self.news.stop(id);
        self.left -= 1;
        self.outcome.completed(Duration::from_micros(self.now));
    }

    fn asked(&mut self, id: u32, waiting: Waiting) {
        let node = &mut self.nodes[id as usize];
        let edge = node.edges[waiting.slot as usize];
        if !node.is_up || self.nodes[edge.node as usize].life != waiting.life {
            return;
        }
        let node = &mut self.nodes[id as usize];
        let holds = |piece| node.has.piece(piece).is_some_and(|it| node.has.contains(it));
        let is_served = match node.manner {
            Manner::Stalls => return,
            Manner::Honest => holds(waiting.piece),
            Manner::Lies | Manner::Truncates => true,
            Manner::Boasts => false,
        };
        let now = self.instant();
        let taken = is_served.then(|| self.nodes[id as usize].uplink.take(now, BLOB, waiting));
        let busy = match taken {
            Some(Ok(())) => return self.send_next(id),
            Some(Err(retry)) => Some(retry),
            None => None,
        };
        let (life, request) = (waiting.life, waiting.request.0);
        let refused = Event::Refused { node: edge.node, slot: edge.back, life, request, busy };
        self.at(self.plan.delay, refused);
    }

    fn send_next(&mut self, id: u32) {
        let now = self.instant();
        let node = &mut self.nodes[id as usize];
        if node.uplink.begin(now) {
            let (time, life) = (node.piece_time, node.life);
            self.at_moment(self.now + time, Event::Sent { node: id, life });
        }
    }

    /// A piece has left: it arrives after the delay, and after what is before it on the receiver's link.
    fn sent(&mut self, id: u32, life: u32) {
        if self.nodes[id as usize].life != life || !self.nodes[id as usize].is_up {
            return;
        }
        let now = self.instant();
        let Some(sent) = self.nodes[id as usize].uplink.end(now) else { return };
        let (edge, manner) = {
            let node = &self.nodes[id as usize];
            (node.edges[sent.slot as usize], node.manner)
        };
        let to = &mut self.nodes[edge.node as usize];
        let arrives = (self.now + micros(self.plan.delay)).max(to.down_free + to.piece_time);
        to.down_free = arrives;
        let (good, Waiting { life, piece, .. }) = (!manner.sends_wrong(), sent);
        let came =
            Event::Came { node: edge.node, slot: edge.back, life, request: sent.request.0, piece, good };
        self.at_moment(arrives, came);
        self.send_next(id);
        if id == 0 && self.plan.seed_dies_after.is_some_and(|pieces| self.nodes[0].uplink.sent == pieces) {
            self.leaves(0);
            if self.plan.seed_returns {
                self.at(self.plan.bound() / 10, Event::Returns { node: 0 });
            }
        }
    }

    fn came(&mut self, id: u32, slot: u32, request: RequestId, piece: u32, good: bool) {
        let node = &mut self.nodes[id as usize];
        let Some(index) = node.has.piece(piece) else { return };
        if !node.scheduler.is_owed(request, index) {
            self.outcome.wasted += 1;
            return;
        }
        let edge = &mut node.edges[slot as usize];
        assert!(
            !edge.is_out,
            "seed {}: node {id} takes a piece of {}, which is out",
            self.plan.seed, edge.node
        );
        if !good {
            edge.is_out = true;
            self.outcome.wrong += 1;
            self.feed(id, Input::Failed { request, piece: index });
            return;
        }
        let from = edge.node;
        assert!(node.has.insert(index), "seed {}: node {id} stores piece {piece} twice", self.plan.seed);
        self.outcome.stored(self.plan.zone(from), self.plan.zone(id));
        if self.spread.insert(index) && self.spread.is_full() {
            self.outcome.first_copy(self.nodes[0].uplink.sent, Duration::from_micros(self.now));
        }
        self.feed(id, Input::Stored { request, piece: index });
        self.announce(id, piece);
    }

    /// Tells all neighbours of a piece.
    fn announce(&mut self, id: u32, piece: u32) {
        self.news.has(id, piece);
        for edge in &self.nodes[id as usize].edges {
            self.news.tell(edge.node, edge.back, piece);
        }
    }

    fn refused(&mut self, id: u32, slot: u32, life: u32, request: RequestId, busy: Option<Duration>) {
        let node = &self.nodes[id as usize];
        if node.life != life
            || !node.fetches()
            || node.scheduler.request(request).is_none_or(|(of, _)| of != slot)
        {
            return;
        }
        self.outcome.refused += 1;
        self.feed(id, Input::Rejected { request, busy });
    }

    fn leaves(&mut self, id: u32) {
        let node = &mut self.nodes[id as usize];
        if node.fetches() {
            self.left -= 1;
        }
        node.is_up = false;
        node.life += 1;
        self.news.stop(id);
        node.uplink.clear();
        for place in 0..self.nodes[id as usize].edges.len() {
            let Edge { node: other, back, .. } = self.nodes[id as usize].edges[place];
            self.nodes[other as usize].uplink.cancel(back, None);
            if self.nodes[other as usize].fetches() {
                self.feed(other, Input::PeerLeft { peer: back });
            }
        }
    }

    fn returns(&mut self, id: u32) {
        let node = &mut self.nodes[id as usize];
        node.is_up = true;
        node.scheduler = Scheduler::new(self.chance.next());
        node.edges.iter_mut().for_each(|edge| edge.is_out = false);
        if self.nodes[id as usize].fetches() {
            self.left += 1;
        }
        self.start(id);
        for place in 0..self.nodes[id as usize].edges.len() {
            let Edge { node: other, back, .. } = self.nodes[id as usize].edges[place];
            self.meet(other, back);
        }
    }

    /// News arrive a delay after they were told; the time is told to everybody now and then. What a node hears concerns its
    /// own scheduler alone, so that every processor takes a part of the nodes; what they decide is done in their order.
    fn tick(&mut self) {
        self.ticks += 1;
        let (now, ticks) = (self.instant(), self.ticks);
        let arriving = self.news.arriving();
        let news = &self.news;
        let part = self.nodes.len().div_ceil(self.processors).max(NODES_IN_A_PART);
        let decided: Vec<Vec<(u32, Output<u32>)>> = std::thread::scope(|scope| {
            let parts = self.nodes.chunks_mut(part).zip(arriving.chunks(part)).zip((0u32..).step_by(part));
            let hear = |((nodes, arriving), first)| move || hear(nodes, arriving, first, news, now, ticks);
            let mut parts = parts.map(hear);
            let own = parts.next();
            let others: Vec<_> = parts.map(|part| scope.spawn(part)).collect();
            let own = own.map(|part| part());
            let others = others.into_iter().map(|part| part.join().unwrap_or_else(|why| resume_unwind(why)));
            own.into_iter().chain(others).collect()
        });
        self.news.give_back(arriving);
        for (id, output) in decided.into_iter().flatten() {
            self.execute(id, output);
        }
        self.at(self.plan.delay, Event::Tick);
    }
}

/// Tells a part of the nodes, the first of which has this number, what arrives at them; returns what they decide.
fn hear(
    nodes: &mut [Node],
    arriving: &[Told],
    first: u32,
    news: &News,
    now: Instant,
    ticks: u64,
) -> Vec<(u32, Output<u32>)> {
    let mut decided = Vec::new();
    for ((node, told), id) in nodes.iter_mut().zip(arriving).zip(first..) {
        if !news.is_told(id) {
            continue;
        }
        for (peer, piece) in told.iter().copied().filter(|(_, piece)| !news.knows(id, *piece)) {
            node.scheduler.handle(now, Input::PeerHas { peer, blob: BLOB, pieces: piece..piece + 1 });
            decided.extend(std::iter::from_fn(|| node.scheduler.poll_output()).map(|it| (id, it)));
        }
        if (u64::from(id) + ticks).is_multiple_of(TOLD_EVERY) {
            node.scheduler.handle(now, Input::Tick);
            decided.extend(std::iter::from_fn(|| node.scheduler.poll_output()).map(|it| (id, it)));
        }
    }
    decided
}
