//! [`Trie`]: what a node lists of one publisher, with one hash for all of it and one for each part.
//!
//! Two nodes list the same if their roots are equal. Where roots differ, hashes of parts lead to what differs.
//!
//! A trie of SHA-256 is used, and no sum of fingerprints: keys are free, so a publisher could choose records with which a
//! sum is that of other records, and hide them.

use sha2::{Digest as _, Sha256};

use super::entry::{ListingKey, ListingValue};
use super::prefix::Prefix;

/// Items of a subtree up to which it is a leaf. A leaf of 16 items is hashed at once: 1 KiB.
pub const LEAF_MAX: usize = 16;
/// Children of a branch: one for each nibble.
pub const CHILDREN: usize = 16;

/// Begins what is hashed for a leaf.
const LEAF_DOMAIN: &[u8] = b"reg trie leaf v1\0";
/// Begins what is hashed for a branch.
const BRANCH_DOMAIN: &[u8] = b"reg trie branch v1\0";

/// A key and its value.
pub type Item = (ListingKey, ListingValue);

/// A map from keys to values with a canonical root: equal items give equal roots, in whatever order they came.
///
/// A subtree of at most [`LEAF_MAX`] items is a leaf. Its hash is the SHA-256 of `reg trie leaf v1`, a zero byte, the count
/// as eight big-endian bytes, and each item in the order of the keys, key before value. A larger subtree is a branch. Its hash is
/// the SHA-256 of `reg trie branch v1`, a zero byte, the count, and the hashes of its 16 children, the empty leaf's for an
/// empty child.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trie {
    root: Node,
}

/// A part of a trie, by its hash and the number of its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtree {
    pub count: usize,
    pub hash: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    /// At most [`LEAF_MAX`] items, sorted by key. The hash is computed where it is asked for.
    Leaf(Vec<Item>),
    Branch(Box<Branch>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Branch {
    count: usize,
    hash: [u8; 32],
    /// The hashes of the children, so that a change costs one hash on each level.
    hashes: [[u8; 32]; CHILDREN],
    children: [Node; CHILDREN],
}

impl Default for Node {
    fn default() -> Self {
        Self::Leaf(Vec::new())
    }
}

impl Trie {
    /// Returns the trie without items.
    pub const fn new() -> Self {
        Self { root: Node::Leaf(Vec::new()) }
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.root.count()
    }

    /// Returns whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the hash of all items.
    pub fn root(&self) -> [u8; 32] {
        self.root.hash()
    }

    /// Returns the value of `key`.
    pub fn get(&self, key: &ListingKey) -> Option<ListingValue> {
        let items = self.root.leaf_of(key);
        find(items, key).ok().map(|at| items[at].1)
    }

    /// Sets the value of `key`, and returns the earlier one.
    pub fn insert(&mut self, key: ListingKey, value: ListingValue) -> Option<ListingValue> {
        self.root.insert(0, key, value)
    }

    /// Removes `key`, and returns its value.
    pub fn remove(&mut self, key: &ListingKey) -> Option<ListingValue> {
        self.root.remove(0, key)
    }

    /// Returns the part with this prefix. It does not matter where this trie has its branches.
    pub fn subtree(&self, prefix: &Prefix) -> Subtree {
        match self.root.at(prefix) {
            At::Node(node) => Subtree { count: node.count(), hash: node.hash() },
            At::Items(items) => Subtree { count: items.len(), hash: leaf_hash(items) },
        }
    }

    /// Returns the 16 parts of the part with this prefix; `None` if the prefix is as long as a key.
    pub fn branch(&self, prefix: &Prefix) -> Option<[Subtree; CHILDREN]> {
        let nibbles = std::array::from_fn(|nibble| nibble);
        prefix.child(0)?;
        Some(nibbles.map(|nibble| {
            let child = prefix.child(u8::try_from(nibble).unwrap_or(0)).unwrap_or_default();
            self.subtree(&child)
        }))
    }

    /// Returns the items with this prefix, in the order of their keys.
    pub fn items(&self, prefix: &Prefix) -> impl Iterator<Item = Item> + '_ {
        let (mut nodes, mut items) = (Vec::new(), [].iter());
        match self.root.at(prefix) {
            At::Node(node) => nodes.push(node),
            At::Items(found) => items = found.iter(),
        }
        std::iter::from_fn(move || {
            loop {
                if let Some(item) = items.next() {
                    return Some(*item);
                }
                match nodes.pop()? {
                    Node::Leaf(found) => items = found.iter(),
                    Node::Branch(branch) => nodes.extend(branch.children.iter().rev()),
                }
            }
        })
    }
}

impl FromIterator<Item> for Trie {
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Self {
        let mut trie = Self::new();
        for (key, value) in items {
            trie.insert(key, value);
        }
        trie
    }
}

/// What a trie has at a prefix.
enum At<'a> {
    Node(&'a Node),
    /// A part of a leaf.
    Items(&'a [Item]),
}

impl Node {
    fn count(&self) -> usize {
        match self {
            Self::Leaf(items) => items.len(),
            Self::Branch(branch) => branch.count,
        }
    }

    fn hash(&self) -> [u8; 32] {
        match self {
            Self::Leaf(items) => leaf_hash(items),
            Self::Branch(branch) => branch.hash,
        }
    }

    /// Returns the items of the leaf that has or would have `key`.
    fn leaf_of(&self, key: &ListingKey) -> &[Item] {
        let (mut node, mut depth) = (self, 0);
        loop {
            match node {
                Self::Leaf(items) => return items,
                Self::Branch(branch) => node = &branch.children[nibble(key, depth)],
            }
            depth += 1;
        }
    }

    fn at(&self, prefix: &Prefix) -> At<'_> {
        let mut node = self;
        for nibble in prefix.nibbles() {
            match node {
                Self::Branch(branch) => node = &branch.children[usize::from(nibble)],
                Self::Leaf(items) => {
                    let begin = items.partition_point(|(key, _)| key.as_bytes() < &prefix.first());
                    let inside = items[begin..].iter().take_while(|(key, _)| prefix.covers(key)).count();
                    return At::Items(&items[begin..begin + inside]);
                }
            }
        }
        At::Node(node)
    }

    /// Inserts below `depth` nibbles. Keys differ, so no leaf is split below the last nibble.
    fn insert(&mut self, depth: usize, key: ListingKey, value: ListingValue) -> Option<ListingValue> {
        match self {
            Self::Leaf(items) => match find(items, &key) {
                Ok(at) => Some(std::mem::replace(&mut items[at].1, value)),
                Err(at) => {
                    items.reserve_exact(1);
                    items.insert(at, (key, value));
                    if items.len() > LEAF_MAX {
                        *self = Self::split(depth, items);
                    }
                    None
                }
            },
            Self::Branch(branch) => {
                let child = nibble(&key, depth);
                let before = branch.children[child].insert(depth + 1, key, value);
                branch.count += usize::from(before.is_none());
                branch.rehash(child);
                before
            }
        }
    }

    fn remove(&mut self, depth: usize, key: &ListingKey) -> Option<ListingValue> {
        match self {
            Self::Leaf(items) => {
                let at = find(items, key).ok()?;
                let (_, value) = items.remove(at);
                items.shrink_to_fit();
                Some(value)
            }
            Self::Branch(branch) => {
                let child = nibble(key, depth);
                let value = branch.children[child].remove(depth + 1, key)?;
                branch.count -= 1;
                if branch.count > LEAF_MAX {
                    branch.rehash(child);
                } else {
                    // Every child of so small a branch is a leaf.
                    let mut items = Vec::with_capacity(branch.count);
                    for child in &branch.children {
                        if let Self::Leaf(of_child) = child {
                            items.extend_from_slice(of_child);
                        }
                    }
                    *self = Self::Leaf(items);
                }
                Some(value)
            }
        }
    }

    /// Returns the branch with these items, which are sorted and more than a leaf may have.
    fn split(depth: usize, items: &[Item]) -> Self {
        let mut children: [Self; CHILDREN] = Default::default();
        let mut rest = items;
        while let Some((first, _)) = rest.first() {
            let of = nibble(first, depth);
            let (own, after) = rest.split_at(rest.partition_point(|(key, _)| nibble(key, depth) <= of));
            children[of] =
                if own.len() > LEAF_MAX { Self::split(depth + 1, own) } else { Self::Leaf(own.to_vec()) };
            rest = after;
        }
        let hashes = std::array::from_fn(|child| children[child].hash());
        let mut branch = Branch { count: items.len(), hash: [0; 32], hashes, children };
        branch.hash = branch.hash_of_children();
        Self::Branch(Box::new(branch))
    }
}

impl Branch {
    fn rehash(&mut self, child: usize) {
        self.hashes[child] = self.children[child].hash();
        self.hash = self.hash_of_children();
    }

    fn hash_of_children(&self) -> [u8; 32] {
        let mut hasher = Sha256::new_with_prefix(BRANCH_DOMAIN);
        hasher.update((self.count as u64).to_be_bytes());
        for hash in &self.hashes {
            hasher.update(hash);
        }
        hasher.finalize().into()
    }
}

fn leaf_hash(items: &[Item]) -> [u8; 32] {
    let mut hasher = Sha256::new_with_prefix(LEAF_DOMAIN);
    hasher.update((items.len() as u64).to_be_bytes());
    for (key, value) in items {
        hasher.update(key.as_bytes());
        hasher.update(value.as_bytes());
    }
    hasher.finalize().into()
}

fn find(items: &[Item], key: &ListingKey) -> Result<usize, usize> {
    items.binary_search_by(|(it, _)| it.cmp(key))
}

/// Returns the nibble of `key` that chooses a child at this depth.
fn nibble(key: &ListingKey, depth: usize) -> usize {
    usize::from(super::prefix::nibble(key.as_bytes(), depth))
}
