//! [`Slots`]: the number of each peer. Peers are few and looked up all the time, so they lie in one array.

/// The numbers of peers, by their names.
#[derive(Debug)]
pub(super) struct Slots<P>(Vec<(P, u32)>);

impl<P: Copy + Ord> Slots<P> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn get(&self, peer: &P) -> Option<u32> {
        self.place(peer).ok().map(|place| self.0[place].1)
    }

    /// Gives a peer a number, replacing the one it has.
    pub(super) fn insert(&mut self, peer: P, slot: u32) {
        match self.place(&peer) {
            Ok(place) => self.0[place].1 = slot,
            Err(place) => self.0.insert(place, (peer, slot)),
        }
    }

    /// Removes a peer's number and returns it.
    pub(super) fn remove(&mut self, peer: &P) -> Option<u32> {
        self.place(peer).ok().map(|place| self.0.remove(place).1)
    }

    fn place(&self, peer: &P) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(peer))
    }
}
