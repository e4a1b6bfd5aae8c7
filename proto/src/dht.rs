//! Derives the DHT keys under which nodes store provider records.
//!
//! | kind      | provider: each node that holds                  | key                                              |
//! |-----------|-------------------------------------------------|--------------------------------------------------|
//! | publisher | any record of that publisher                    | SHA-256(`reg/dht/publisher/1` 0x00 publisher id)  |
//! | manifest  | the whole model                                 | SHA-256(`reg/dht/manifest/1` 0x00 digest)         |
//! | blob      | a whole blob over 1 GiB                         | SHA-256(`reg/dht/blob/1` 0x00 digest)             |
//!
//! Pieces have no keys: the records of all pieces would be too many for the DHT.

use crate::digest::Digest;
use crate::name::PublisherId;

/// Blobs of more than this many bytes have a key of their own, so that holders of the same blob in another model are found.
pub const BLOB_KEY_ABOVE: u64 = 1 << 30;

/// A key of the DHT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DhtKey(Digest);

impl DhtKey {
    /// Returns the key for holders of this publisher's records.
    pub fn publisher(publisher: &PublisherId) -> Self {
        Self::derive(b"reg/dht/publisher/1\0", publisher.as_bytes())
    }

    /// Returns the key for holders of the whole model.
    pub fn manifest(manifest: &Digest) -> Self {
        Self::derive(b"reg/dht/manifest/1\0", manifest.as_bytes())
    }

    /// Returns the key for holders of a large blob, or `None` if `size` is at most [`BLOB_KEY_ABOVE`] bytes.
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
