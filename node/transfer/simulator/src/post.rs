//! [`Post`]: what the nodes of one part cause at others in one window. It is read in the next one, by the part that it is for.

use super::event::Event;

/// What a node is told: a neighbour's place, and the piece that it holds.
pub(super) type Told = (u32, u32);

/// What leaves one part of the nodes, by the part that it is for.
#[derive(Debug)]
pub(super) struct Post {
    nodes_in_a_part: usize,
    parts: Vec<Parcel>,
}

#[derive(Debug, Clone, Default)]
struct Parcel {
    events: Vec<(u32, Event)>,
    news: Vec<(u32, Told)>,
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
        self.parts[node as usize / self.nodes_in_a_part].news.push((node, (place, piece)));
    }

    /// Returns what is to happen to nodes of a part.
    pub(super) fn events_for(&self, part: usize) -> &[(u32, Event)] {
        &self.parts[part].events
    }

    /// Returns what nodes of a part are told.
    pub(super) fn news_for(&self, part: usize) -> &[(u32, Told)] {
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

/// What is for the nodes of one part, in one row, node by node: to write to each node itself would be to wait for memory
/// every time.
#[derive(Debug)]
pub(super) struct ByNode<T> {
    /// Where what is for each node ends.
    ends: Vec<u32>,
    row: Vec<T>,
}

impl<T: Copy> ByNode<T> {
    /// Returns nothing for so many nodes.
    pub(super) fn new(nodes: usize) -> Self {
        Self { ends: vec![0; nodes], row: Vec::new() }
    }

    /// Takes what is for so many nodes from `first` on, in place of what was here. What is for one node keeps its order.
    pub(super) fn fill<'a>(
        &mut self,
        first: u32,
        nodes: usize,
        things: impl Iterator<Item = &'a (u32, T)> + Clone,
    ) where
        T: 'a,
    {
        // A place more than there are nodes: each thing moves the next node's begin, which is this one's end.
        self.ends.clear();
        self.ends.resize(nodes + 1, 0);
        for (node, _) in things.clone() {
            self.ends[(node - first) as usize + 1] += 1;
        }
        let mut end = 0;
        for begin in &mut self.ends {
            end += *begin;
            *begin = end;
        }
        self.ends.pop();
        self.row.clear();
        self.row.extend(things.clone().map(|(_, thing)| *thing));
        for (node, thing) in things {
            let place = &mut self.ends[(node - first) as usize];
            self.row[*place as usize] = *thing;
            *place += 1;
        }
    }

    /// Returns what is for each node of the part.
    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut [T]> {
        let (mut begin, mut rest) = (0, self.row.as_mut_slice());
        self.ends.iter().map(move |end| {
            let (these, others) = std::mem::take(&mut rest).split_at_mut((end - begin) as usize);
            (begin, rest) = (*end, others);
            these
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_gets_its_own_in_the_order_it_came() {
        let mut row: ByNode<char> = ByNode::new(3);
        let each = |row: &mut ByNode<char>| row.each().map(|it| it.iter().collect()).collect::<Vec<String>>();
        assert_eq!(each(&mut row), ["", "", ""]);
        row.fill(10, 3, [(12, 'a'), (10, 'b'), (12, 'c'), (12, 'd')].iter());
        assert_eq!(each(&mut row), ["b", "", "acd"]);
        row.fill(10, 3, [(11, 'e')].iter());
        assert_eq!(each(&mut row), ["", "e", ""]);
        row.fill(10, 3, [].iter());
        assert_eq!(each(&mut row), ["", "", ""]);
    }
}
