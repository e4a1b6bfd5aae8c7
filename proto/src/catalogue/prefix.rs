//! [`Prefix`]: the first nibbles of a key, which name a part of a trie.

use super::entry::ListingKey;

/// Nibbles of a key.
const KEY_NIBBLES: usize = 64;

/// The first nibbles of some keys. The default names all keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Prefix {
    /// The nibbles from the first byte's high half on. The others are zero.
    bytes: [u8; 32],
    length: u8,
}

impl Prefix {
    /// Returns the prefix with one more nibble; `None` if it is as long as a key.
    pub fn child(&self, nibble: u8) -> Option<Self> {
        let length = usize::from(self.length);
        if length >= KEY_NIBBLES {
            return None;
        }
        let mut child = Self { length: self.length + 1, ..*self };
        child.bytes[length / 2] |= if length.is_multiple_of(2) { nibble << 4 } else { nibble & 15 };
        Some(child)
    }

    /// Returns the number of nibbles.
    pub const fn len(&self) -> usize {
        self.length as usize
    }

    /// Returns whether the prefix names all keys.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns the nibbles, the first one first.
    pub fn nibbles(&self) -> impl Iterator<Item = u8> + '_ {
        (0..self.len()).map(|depth| nibble(&self.bytes, depth))
    }

    /// Returns the bytes of the lowest key with this prefix.
    pub const fn first(&self) -> [u8; 32] {
        self.bytes
    }

    /// Returns whether `key` begins with these nibbles.
    pub fn covers(&self, key: &ListingKey) -> bool {
        self.nibbles().enumerate().all(|(depth, own)| nibble(key.as_bytes(), depth) == own)
    }

    /// Returns whether every key with this prefix is below every key with `other`.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        self.bytes < other.bytes && !self.covers(&ListingKey::from_bytes(other.bytes))
    }

    /// Adds the prefix to a message: its number of nibbles, and then the bytes with them.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(self.length);
        bytes.extend(&self.bytes[..self.len().div_ceil(2)]);
    }

    /// Reads what [`Self::write`] wrote from the front of `bytes`. A half byte at the end is zero.
    pub(super) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first()?;
        let length = usize::from(*length);
        let (own, rest) = rest.split_at_checked(length.div_ceil(2))?;
        let mut prefix = Self { bytes: [0; 32], length: u8::try_from(length).ok()? };
        prefix.bytes.get_mut(..own.len())?.copy_from_slice(own);
        let is_whole = length.is_multiple_of(2) || own.last().is_some_and(|last| last & 15 == 0);
        *bytes = rest;
        is_whole.then_some(prefix)
    }
}

/// Returns the nibble of 32 bytes at this depth, which is below [`KEY_NIBBLES`].
pub(super) fn nibble(bytes: &[u8; 32], depth: usize) -> u8 {
    let byte = bytes[depth / 2 % 32];
    if depth.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes_and_covers_its_keys() {
        let key = ListingKey::from_bytes(std::array::from_fn(|it| (it * 37) as u8));
        let (mut prefix, mut lengths) = (Prefix::default(), 0);
        loop {
            let mut bytes = Vec::new();
            prefix.write(&mut bytes);
            bytes.push(9);
            let mut rest = bytes.as_slice();
            assert_eq!(Prefix::read(&mut rest), Some(prefix));
            assert_eq!(rest, [9]);
            assert!(prefix.covers(&key));
            let own = nibble(key.as_bytes(), prefix.len());
            if let Some(other) = prefix.child(own ^ 1) {
                assert!(!other.covers(&key));
            }
            lengths += 1;
            match prefix.child(own) {
                Some(child) => prefix = child,
                None => break,
            }
        }
        assert_eq!((lengths, prefix.first()), (KEY_NIBBLES + 1, *key.as_bytes()));
        for wrong in [&[][..], &[1], &[1, 0x11], &[3, 0x11], &[66, 0x11], &[255]] {
            assert_eq!(Prefix::read(&mut { wrong }), None, "{wrong:?}");
        }
    }
}
