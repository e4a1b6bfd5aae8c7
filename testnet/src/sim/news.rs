//! [`News`]: who has been told of which pieces. Kept beside the nodes, for it is looked at more than all else together.

use super::plan::Plan;

/// News on their way: a neighbour's place, and the piece that it holds.
pub(super) type Told = Vec<(u32, u32)>;

/// What nodes hold, as their neighbours hear of it.
#[derive(Debug)]
pub(super) struct News {
    words: usize,
    /// A bit for each piece of each node.
    held: Vec<u64>,
    /// Nodes that listen.
    listens: Vec<bool>,
    /// News that arrive at the next tick, and at the one after it.
    next: Vec<Told>,
    after: Vec<Told>,
}

impl News {
    pub(super) fn new(plan: &Plan) -> Self {
        let (nodes, words) = (plan.nodes as usize, plan.pieces.div_ceil(64) as usize);
        Self {
            words,
            held: vec![0; nodes * words],
            listens: vec![false; nodes],
            next: vec![Told::new(); nodes],
            after: vec![Told::new(); nodes],
        }
    }

    /// A node listens from now on.
    pub(super) fn start(&mut self, node: u32) {
        self.listens[node as usize] = true;
    }

    /// A node does not listen any more; what was on its way to it is lost.
    pub(super) fn stop(&mut self, node: u32) {
        self.listens[node as usize] = false;
        self.next[node as usize] = Told::new();
        self.after[node as usize] = Told::new();
    }

    /// Notes that a node has a piece.
    pub(super) fn has(&mut self, node: u32, piece: u32) {
        self.held[node as usize * self.words + (piece / 64) as usize] |= 1 << (piece % 64);
    }

    /// Tells whether a node has a piece: news of it would make no difference.
    pub(super) fn knows(&self, node: u32, piece: u32) -> bool {
        self.held[node as usize * self.words + (piece / 64) as usize] >> (piece % 64) & 1 == 1
    }

    /// Tells a node, where it listens, that the neighbour at this place has a piece.
    pub(super) fn tell(&mut self, node: u32, place: u32, piece: u32) {
        if self.listens[node as usize] && !self.knows(node, piece) {
            self.after[node as usize].push((place, piece));
        }
    }

    /// Tells whether a node listens.
    pub(super) fn is_told(&self, node: u32) -> bool {
        self.listens[node as usize]
    }

    /// Returns what arrives at each node now, and lets what is under way arrive the next time.
    pub(super) fn arriving(&mut self) -> Vec<Told> {
        std::mem::replace(&mut self.next, std::mem::take(&mut self.after))
    }

    /// Takes back the vessels of what has arrived.
    pub(super) fn give_back(&mut self, mut vessels: Vec<Told>) {
        vessels.iter_mut().for_each(Told::clear);
        self.after = vessels;
    }
}
