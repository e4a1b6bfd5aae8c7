//! [`Post`]: what the nodes of one part cause at others in one window. It is read in the next one, by the part that it is for.

use super::event::Event;

/// A neighbour's place, and the piece that it holds.
pub(super) type Told = Vec<(u32, u32)>;

/// What leaves one part of the nodes, by the part that it is for.
#[derive(Debug)]
pub(super) struct Post {
    nodes_in_a_part: usize,
    parts: Vec<Parcel>,
}

#[derive(Debug, Clone, Default)]
struct Parcel {
    events: Vec<(u32, Event)>,
    news: Vec<(u32, u32, u32)>,
}

impl Post {
    pub(super) fn new(nodes_in_a_part: usize, parts: usize) -> Self {
        Self { nodes_in_a_part, parts: vec![Parcel::default(); parts] }
    }

    /// Something is to happen to a node.
    pub(super) fn send(&mut self, node: u32, event: Event) {
        self.parts[node as usize / self.nodes_in_a_part].events.push((node, event));
    }

    /// A node is told that the neighbour at this place has a piece.
    pub(super) fn tell(&mut self, node: u32, place: u32, piece: u32) {
        self.parts[node as usize / self.nodes_in_a_part].news.push((node, place, piece));
    }

    /// Returns what is to happen to nodes of a part.
    pub(super) fn events_for(&self, part: usize) -> &[(u32, Event)] {
        &self.parts[part].events
    }

    /// Returns what nodes of a part are told: the node, the place of its neighbour, the piece.
    pub(super) fn news_for(&self, part: usize) -> &[(u32, u32, u32)] {
        &self.parts[part].news
    }

    /// Forgets what has been read.
    pub(super) fn clear(&mut self) {
        for Parcel { events, news } in &mut self.parts {
            events.clear();
            news.clear();
        }
    }
}
