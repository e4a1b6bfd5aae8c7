//! [`Tries`]: the trie of each publisher that a node keeps.

use std::collections::BTreeMap;

use super::trie::Trie;
use crate::name::PublisherId;

/// Bytes of an id, of a root and of a trie's hash that a page of roots carries. See [`super::sync`] for why they suffice.
pub(super) const SHORT_LEN: usize = 16;
/// The first bytes of an id or a root.
pub(super) type Short = [u8; SHORT_LEN];

/// What a node lists, by publisher.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tries(BTreeMap<PublisherId, Trie>);

impl Tries {
    /// Returns no tries.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Returns the publisher's trie; `None` if the node keeps nothing of it.
    pub fn get(&self, publisher: &PublisherId) -> Option<&Trie> {
        self.0.get(publisher)
    }

    /// Returns the publisher's trie to change, and makes an empty one where there is none.
    pub fn of(&mut self, publisher: PublisherId) -> &mut Trie {
        self.0.entry(publisher).or_default()
    }

    /// Removes a publisher.
    pub fn remove(&mut self, publisher: &PublisherId) -> Option<Trie> {
        self.0.remove(publisher)
    }

    /// Returns each publisher with its trie, in the order of the ids.
    pub fn iter(&self) -> impl Iterator<Item = (&PublisherId, &Trie)> {
        self.0.iter()
    }

    /// Returns the first publisher with an id that begins with these bytes.
    pub(super) fn find(&self, id: &Short) -> Option<(&PublisherId, &Trie)> {
        let mut first = [0; 32];
        first[..SHORT_LEN].copy_from_slice(id);
        let (publisher, trie) = self.0.range(PublisherId::from_bytes(first)..).next()?;
        (short(publisher.as_bytes()) == *id).then_some((publisher, trie))
    }
}

/// Returns the first 16 of 32 bytes.
pub(super) fn short(bytes: &[u8; 32]) -> Short {
    first_of(bytes)
}

/// Returns the first `N` of 32 bytes; `N` is at most 32.
pub(super) fn first_of<const N: usize>(bytes: &[u8; 32]) -> [u8; N] {
    std::array::from_fn(|at| bytes[at % 32])
}
