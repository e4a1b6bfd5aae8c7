//! The world: time, and which nodes come and go.
//!
//! Nothing that a node does is felt by another in less than the delay between them. So the nodes are dealt out to the
//! processors, each of which takes its own through a window of one delay, one node after another, and hands over what that
//! causes at others; a node comes or goes between two windows. Which processor has a node makes no difference to it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::time::Duration;

use reg_proto::piece::PieceSet;
use reg_transfer::{Chance, Input, Nearness, Scheduler};

use super::event::Event;
use super::graph;
use super::news::News;
use super::node::{Edge, Node};
use super::outcome::{Outcome, Tally};
use super::plan::{Manner, Plan};
use super::post::{ByNode, Post, Told};
use super::step::{BLOB, Step, Surroundings, micros};

/// Fewer nodes than these are not worth a thread of their own.
const NODES_IN_A_PART_MIN: usize = 500;

/// A simulation that takes this many times the bound has come to a standstill.
const STANDSTILL: u32 = 40;

/// A node comes or goes.
#[derive(Debug, Clone, Copy)]
enum Change {
    Leaves,
    Returns,
}

/// All nodes, and what is between them.
struct World<'a> {
    plan: &'a Plan,
    nodes: Vec<Node>,
    /// For each part of the nodes: what is to happen to each, and what each is told when the next window begins.
    events: Vec<ByNode<Event>>,
    told: Vec<ByNode<Told>>,
    /// What each part of the nodes has caused in the window before, and what it causes in this one.
    before: Vec<Post>,
    post: Vec<Post>,
    nodes_in_a_part: usize,
    news: News,
    changes: BTreeMap<(u64, u32), Change>,
    now: u64,
    windows: u64,
    chance: Chance,
    /// Pieces that some node beside the seed has got.
    spread: PieceSet,
    /// Nodes that are up and have not got everything.
    left: u32,
    outcome: Outcome,
}

/// Runs a plan to its end.
///
/// # Panics
/// An invariant is broken, or nothing goes on; the message names the seed. The plan has no delay.
pub fn run(plan: &Plan) -> Outcome {
    assert!(!plan.delay.is_zero(), "a window is one delay");
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    run_in_parts_of((plan.nodes as usize).div_ceil(processors).max(NODES_IN_A_PART_MIN), plan)
}

fn run_in_parts_of(nodes: usize, plan: &Plan) -> Outcome {
    let mut world = World::new(nodes, plan);
    world.connect();
    while world.left > 0 {
        assert!(
            world.now < micros(plan.bound() * STANDSTILL),
            "seed {}: {} nodes have come to a standstill",
            plan.seed,
            world.left
        );
        world.change();
        world.window();
    }
    world.outcome.completions.sort_unstable();
    world.outcome.trace = world.nodes.iter().map(|node| node.trace).collect();
    world.outcome
}

impl<'a> World<'a> {
    fn new(nodes_in_a_part: usize, plan: &'a Plan) -> Self {
        let mut chance = Chance::new(plan.seed);
        let nodes = (0..plan.nodes).map(|id| {
            let has = if id == 0 { PieceSet::full(plan.pieces) } else { PieceSet::new(plan.pieces) };
            let slow = id > 0 && chance.below(100) < plan.slow_percent;
            let piece_time = micros(plan.piece_time) * if slow { 4 } else { 1 };
            Node::new(id, plan.manner(id), has, piece_time, &mut chance)
        });
        let nodes: Vec<Node> = nodes.collect();
        let left = nodes.iter().filter(|node| node.fetches()).count() as u32;
        let parts = nodes.len().div_ceil(nodes_in_a_part);
        let post = || (0..parts).map(|_| Post::new(nodes_in_a_part, parts)).collect();
        Self {
            plan,
            events: nodes.chunks(nodes_in_a_part).map(|part| ByNode::new(part.len())).collect(),
            told: nodes.chunks(nodes_in_a_part).map(|part| ByNode::new(part.len())).collect(),
            nodes,
            before: post(),
            post: post(),
            nodes_in_a_part,
            news: News::new(plan),
            changes: BTreeMap::new(),
            now: 0,
            windows: 0,
            chance,
            spread: PieceSet::new(plan.pieces),
            left,
            outcome: Outcome::new(plan),
        }
    }

    /// Connects every node with its neighbours, which say what they hold, or what they claim to hold.
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
    }

    fn plan_churn(&mut self) {
        let (first, bound) = (1 + self.plan.bad.len() as u32, micros(self.plan.bound()));
        for node in first..self.plan.nodes {
            if self.chance.below(100) < self.plan.churn_percent {
                let leaves = self.chance.next() % bound;
                self.changes.insert((leaves, node), Change::Leaves);
                if self.chance.below(2) == 0 {
                    self.changes.insert((leaves + bound / 20, node), Change::Returns);
                }
            }
        }
    }

    /// Begins to fetch: what is here is not asked for, and every neighbour says what it holds.
    fn start(&mut self, id: u32) {
        if !self.nodes[id as usize].fetches() {
            return;
        }
        self.news.listens(id, true);
        let stored = self.nodes[id as usize].has.clone();
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

    /// Tells a node's scheduler something between two windows. What that causes happens when the next one ends, and so is
    /// handed over when it begins.
    fn feed(&mut self, id: u32, input: Input<u32>) {
        let around = Surroundings { plan: self.plan, news: &self.news, spread: &self.spread };
        let (node, post) = (&mut self.nodes[id as usize], &mut self.before[0]);
        let mut tally = Tally::new(self.plan);
        Step { around, node, post, tally: &mut tally, now: self.now }.feed(input);
        self.count(tally);
    }

    /// Takes all nodes through a window of one delay.
    fn window(&mut self) {
        let until = self.now + micros(self.plan.delay);
        let around = Surroundings { plan: self.plan, news: &self.news, spread: &self.spread };
        let (now, number, before) = (self.now, self.windows, &self.before);
        let nodes = self.nodes.chunks_mut(self.nodes_in_a_part);
        let parts = nodes.zip(&mut self.events).zip(&mut self.told).zip(&mut self.post).enumerate();
        let tallies: Vec<Tally> = std::thread::scope(|scope| {
            let mut parts = parts.map(|(place, (((nodes, events), told), post))| {
                move || {
                    let (first, count) = (nodes.first().map_or(0, |node| node.id), nodes.len());
                    events.fill(first, count, before.iter().flat_map(|post| post.events_for(place)));
                    let mut tally = Tally::new(around.plan);
                    for ((node, events), told) in nodes.iter_mut().zip(events.each()).zip(told.each()) {
                        node.events.extend(events.iter().copied().map(Reverse));
                        Step { around, node, post, tally: &mut tally, now }.window(told, number, until);
                    }
                    told.fill(first, count, before.iter().flat_map(|post| post.news_for(place)));
                    tally
                }
            });
            let own = parts.next();
            let others: Vec<_> = parts.map(|part| scope.spawn(part)).collect();
            let own = own.map(|mut part| part());
            let others = others.into_iter().map(|part| part.join().unwrap_or_else(|why| resume_unwind(why)));
            own.into_iter().chain(others).collect()
        });
        std::mem::swap(&mut self.before, &mut self.post);
        self.post.iter_mut().for_each(Post::clear);
        (self.now, self.windows) = (until, number + 1);
        tallies.into_iter().for_each(|tally| self.count(tally));
    }

    /// Counts what has come of a part of the nodes.
    fn count(&mut self, tally: Tally) {
        self.left -= tally.completed.len() as u32;
        for piece in &tally.first {
            if self.spread.insert(*piece) && self.spread.is_full() {
                let sent = self.nodes[0].uplink.sent;
                self.outcome.first_copy(sent, Duration::from_micros(self.now));
            }
        }
        if tally.seed_has_died {
            self.leaves(0);
            if self.plan.seed_returns {
                self.changes.insert((self.now + micros(self.plan.bound() / 10), 0), Change::Returns);
            }
        }
        self.outcome.count(tally);
    }

    /// Lets the nodes come and go that are due.
    fn change(&mut self) {
        while let Some(change) = self.changes.first_entry().filter(|change| change.key().0 <= self.now) {
            let (_, node) = *change.key();
            match change.remove() {
                Change::Leaves => self.leaves(node),
                Change::Returns => self.returns(node),
            }
        }
    }

    fn leaves(&mut self, id: u32) {
        let node = &mut self.nodes[id as usize];
        if node.fetches() {
            self.left -= 1;
        }
        node.is_up = false;
        node.uplink.clear();
        self.news.has_gone(id);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes come and go, lie and die at the same moments, whichever processor has them.
    #[test]
    fn on_how_many_processors_it_runs_makes_no_difference() {
        let (seed_dies_after, seed_returns) = (Some(30), true);
        let plan =
            Plan { churn_percent: 20, zones: 2, seed_dies_after, seed_returns, ..Plan::new(3, 40, 60, 10) };
        let plan = plan.with_liars(10);
        let alone = run_in_parts_of(40, &plan);
        for nodes in [20, 7, 1] {
            assert_eq!(run_in_parts_of(nodes, &plan), alone, "{nodes} to a part");
        }
    }
}
