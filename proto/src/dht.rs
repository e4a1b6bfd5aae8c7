//! The table of DHT keys: what provider records are kept for, and how each key is derived.
//!
//! | kind      | who provides it                                | key                                              |
//! |-----------|------------------------------------------------|--------------------------------------------------|
//! | publisher | who holds any record of that publisher          | SHA-256(`reg/dht/publisher/1` 0x00 publisher id)  |
//! | manifest  | who holds the whole model                       | SHA-256(`reg/dht/manifest/1` 0x00 digest)         |
//! | blob      | who holds a whole blob over 1 GiB               | SHA-256(`reg/dht/blob/1` 0x00 digest)             |
//!
//! Never pieces: a network of pieces has more records than bytes to say them.

use crate::digest::Digest;
use crate::name::PublisherId;

/// Blobs above this many bytes have a key of their own, so that one found in another model is found here too.
pub const BLOB_KEY_ABOVE: u64 = 1 << 30;

/// A key of the DHT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DhtKey(Digest);

impl DhtKey {
    /// Returns the key under which holders of this publisher's records are found.
    pub fn publisher(publisher: &PublisherId) -> Self {
        Self::derive(b"reg/dht/publisher/1\0", publisher.as_bytes())
    }

    /// Returns the key under which holders of the whole model are found.
    pub fn manifest(manifest: &Digest) -> Self {
        Self::derive(b"reg/dht/manifest/1\0", manifest.as_bytes())
    }

    /// Returns the key under which holders of a large blob are found, `None` for one of up to [`BLOB_KEY_ABOVE`] bytes.
    pub fn blob(blob: &Digest, size: u64) -> Option<Self> {
        (size > BLOB_KEY_ABOVE).then(|| Self::derive(b"reg/dht/blob/1\0", blob.as_bytes()))
    }

    fn derive(domain: &[u8], name: &[u8; 32]) -> Self {
        Self(Digest::of(&[domain, name].concat()))
    }

    /// Returns the 32 bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_do_not_meet() {
        let (digest, publisher) = (Digest::of(b"x"), PublisherId::from_bytes(*Digest::of(b"x").as_bytes()));
        let blob = DhtKey::blob(&digest, BLOB_KEY_ABOVE + 1);
        assert_ne!(DhtKey::manifest(&digest), DhtKey::publisher(&publisher));
        assert_ne!(Some(DhtKey::manifest(&digest)), blob);
        assert_eq!(DhtKey::blob(&digest, BLOB_KEY_ABOVE), None);
    }
}
