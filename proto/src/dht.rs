//! Derives the DHT keys under which nodes store provider records.
//!
//! | kind      | provider: each node that holds                  | key                                              |
//! |-----------|-------------------------------------------------|--------------------------------------------------|
//! | publisher | any record of that publisher                    | SHA-256(`reg/dht/publisher/1` 0x00 publisher id)  |
//! | model     | a whole version of that model                   | SHA-256(`reg/dht/model/1` 0x00 publisher id, name in lower case) |
//! | manifest  | the whole model                                 | SHA-256(`reg/dht/manifest/1` 0x00 digest)         |
//! | blob      | a whole blob over 1 GiB                         | SHA-256(`reg/dht/blob/1` 0x00 digest)             |
//!
//! Pieces have no keys: the records of all pieces would be too many for the DHT.
//!
//! In BitTorrent's DHT, where strangers meet, keys have 20 bytes: the first ones of these. The version is that of the protocol
//! between nodes, so that nodes that could not talk do not meet. That DHT shows a key to the nodes that are asked for it. None of
//! them learns the publisher from the key, unless it knows the publisher's id.
//!
//! | kind      | announced by                                    | key                                              |
//! |-----------|-------------------------------------------------|--------------------------------------------------|
//! | network   | each node that is reached                       | SHA-256(`reg/rendezvous/network/1` 0x00 protocol) |
//! | publisher | each of them that stands up for the publisher   | SHA-256(`reg/rendezvous/publisher/1` 0x00 protocol 0x00 publisher id) |

use crate::digest::Digest;
use crate::name::{ModelName, PublisherId};
use crate::swarm::Protocols;

/// Blobs of more than this many bytes have a key of their own, so that holders of the same blob in another model are found.
pub const BLOB_KEY_ABOVE: u64 = 1 << 30;

/// What the providers of a key hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DhtKind {
    /// Any record of a publisher.
    Publisher,
    /// A whole version of a model, whichever it is.
    Model,
    /// The whole model that a manifest describes.
    Manifest,
    /// A large blob.
    Blob,
}

impl DhtKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Publisher, Self::Model, Self::Manifest, Self::Blob];
}

/// A key of the DHT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DhtKey {
    kind: DhtKind,
    digest: Digest,
}

impl DhtKey {
    /// Returns the key for holders of this publisher's records.
    pub fn publisher(publisher: &PublisherId) -> Self {
        Self::derive(DhtKind::Publisher, b"reg/dht/publisher/1\0", publisher.as_bytes())
    }

    /// Returns the key for holders of a version of this model. A name counts without its case.
    pub fn model(publisher: &PublisherId, model: &ModelName) -> Self {
        let name = [publisher.as_bytes(), model.folded().as_bytes()].concat();
        Self::derive(DhtKind::Model, b"reg/dht/model/1\0", &name)
    }

    /// Returns the key for holders of the whole model.
    pub fn manifest(manifest: &Digest) -> Self {
        Self::derive(DhtKind::Manifest, b"reg/dht/manifest/1\0", manifest.as_bytes())
    }

    /// Returns the key for holders of a large blob, or `None` if `size` is at most [`BLOB_KEY_ABOVE`] bytes.
    pub fn blob(blob: &Digest, size: u64) -> Option<Self> {
        (size > BLOB_KEY_ABOVE).then(|| Self::derive(DhtKind::Blob, b"reg/dht/blob/1\0", blob.as_bytes()))
    }

    fn derive(kind: DhtKind, domain: &[u8], name: &[u8]) -> Self {
        Self { kind, digest: Digest::of(&[domain, name].concat()) }
    }

    /// Returns what the providers of the key hold.
    pub const fn kind(&self) -> DhtKind {
        self.kind
    }

    /// Returns the 32 bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.digest.as_bytes()
    }
}

/// Length of a key of BitTorrent's DHT.
pub const RENDEZVOUS_KEY_BYTES: usize = 20;

/// A key of BitTorrent's DHT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RendezvousKey([u8; RENDEZVOUS_KEY_BYTES]);

impl RendezvousKey {
    /// Returns the key under which nodes with these protocols meet.
    pub fn network(names: &Protocols) -> Self {
        Self::derive(&[b"reg/rendezvous/network/1\0", names.records.as_bytes()])
    }

    /// Returns the key under which holders of this publisher's models meet.
    pub fn publisher(names: &Protocols, publisher: &PublisherId) -> Self {
        Self::derive(&[
            b"reg/rendezvous/publisher/1\0",
            names.records.as_bytes(),
            b"\0",
            publisher.as_bytes(),
        ])
    }

    fn derive(parts: &[&[u8]]) -> Self {
        let digest = Digest::of(&parts.concat());
        Self(std::array::from_fn(|at| digest.as_bytes()[at]))
    }

    /// Returns the bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; RENDEZVOUS_KEY_BYTES] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_rendezvous_stay_what_they_are_and_swarms_do_not_meet() {
        let (names, publisher) = (Protocols::public(), PublisherId::from_bytes([7; 32]));
        let network = Digest::of(b"reg/rendezvous/network/1\0/reg/records/2");
        assert_eq!(RendezvousKey::network(&names).as_bytes()[..], network.as_bytes()[..20]);
        let text = [b"reg/rendezvous/publisher/1\0/reg/records/2\0".as_slice(), &[7; 32]].concat();
        let of_publisher = RendezvousKey::publisher(&names, &publisher);
        assert_eq!(of_publisher.as_bytes()[..], Digest::of(&text).as_bytes()[..20]);
        assert_ne!(of_publisher, RendezvousKey::publisher(&names, &PublisherId::from_bytes([8; 32])));
        assert_ne!(RendezvousKey::network(&Protocols::of_swarm("lab")), RendezvousKey::network(&names));
    }

    #[test]
    fn kinds_do_not_meet() {
        let (digest, publisher) = (Digest::of(b"x"), PublisherId::from_bytes(*Digest::of(b"x").as_bytes()));
        let blob = DhtKey::blob(&digest, BLOB_KEY_ABOVE + 1).expect("it is large");
        let all = [DhtKey::manifest(&digest), DhtKey::publisher(&publisher), blob];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| one.as_bytes() != other.as_bytes()));
        }
        assert_eq!(DhtKey::blob(&digest, BLOB_KEY_ABOVE), None);
    }

    /// Nodes of other versions look under the same keys.
    #[test]
    fn keys_stay_what_they_are() {
        let publisher = PublisherId::from_bytes([7; 32]);
        let of = |name: &str| DhtKey::model(&publisher, &name.parse().expect("a name"));
        let expected = Digest::of(&[b"reg/dht/model/1\0".as_slice(), &[7; 32], b"llama-3-8b"].concat());
        assert_eq!(of("Llama-3-8B").as_bytes(), expected.as_bytes());
        assert_eq!(of("Llama-3-8B"), of("llama-3-8b"));
        assert_ne!(of("llama-3-8b"), of("llama-3-8c"));
    }
}
