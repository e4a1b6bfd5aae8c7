//! [`PeerId`] and [`Address`]: a node's identity on the network, and an address at which it may be reached.
//!
//! This crate does not depend on libp2p: `node/src/net` converts these types from and to libp2p's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::limits::ADDRESS_BYTES_MAX;

/// A libp2p peer id with an ed25519 key, which is the only kind that this network admits.
///
/// Written as the base58 of the identity multihash of the protobuf public key (libp2p peer-ids spec): `12D3KooW…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; 32]);

/// Why some text or bytes are not the id of an ed25519 peer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PeerIdError {
    #[error("peer id is not base58")]
    Base58,
    #[error("peer id is not the identity hash of an ed25519 key")]
    NotEd25519,
}

impl PeerId {
    /// Identity multihash, 36 bytes: protobuf `{1: Ed25519, 2: 32 bytes}`.
    const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    /// Length of the multihash form in bytes.
    pub const MULTIHASH_LEN: usize = 38;

    /// Returns the id of the peer with this ed25519 public key.
    pub const fn from_public_key(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Returns the peer's ed25519 public key.
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the identity multihash, which is the peer id's binary form in libp2p.
    pub fn to_multihash_bytes(&self) -> [u8; Self::MULTIHASH_LEN] {
        let mut bytes = [0; Self::MULTIHASH_LEN];
        bytes[..6].copy_from_slice(&Self::PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        bytes
    }

    /// Parses the identity multihash.
    ///
    /// # Errors
    /// If `bytes` are not the identity multihash of an ed25519 key.
    pub fn from_multihash_bytes(bytes: &[u8]) -> Result<Self, PeerIdError> {
        let key = bytes.strip_prefix(&Self::PREFIX).ok_or(PeerIdError::NotEd25519)?;
        key.try_into().map(Self).map_err(|_| PeerIdError::NotEd25519)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.to_multihash_bytes()).into_string())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PeerId {
    type Err = PeerIdError;

    fn from_str(text: &str) -> Result<Self, PeerIdError> {
        let mut bytes = [0; Self::MULTIHASH_LEN];
        let length = bs58::decode(text).onto(&mut bytes).map_err(|_| PeerIdError::Base58)?;
        Self::from_multihash_bytes(&bytes[..length])
    }
}

impl Serialize for PeerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PeerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::json::text(deserializer)
    }
}

/// A multiaddr as text: at most [`ADDRESS_BYTES_MAX`] bytes of printable ASCII. The dialler checks its grammar.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(String);

/// Why a text cannot be a multiaddr.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    #[error("address has {length} bytes, at most {ADDRESS_BYTES_MAX} are allowed")]
    TooLong { length: usize },
    #[error("address does not start with `/`, as in /ip4/192.0.2.1/tcp/4001")]
    NoSlash,
    #[error("address has a character that is not printable ASCII")]
    NotAscii,
}

impl Address {
    /// Returns the address as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the address without the peer's id at its end, and that id. Without one, any peer might answer there.
    pub fn parts(&self) -> (&str, Option<PeerId>) {
        match self.0.rsplit_once("/p2p/") {
            Some((bare, id)) if !id.contains('/') => (bare, id.parse().ok()),
            _ => (&self.0, None),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong { length: text.len() });
        }
        if !text.starts_with('/') {
            return Err(AddressError::NoSlash);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AddressError::NotAscii);
        }
        Ok(Self(text.to_owned()))
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::json::text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From libp2p's peer-ids specification, "Test vectors": an ed25519 key.
    const KEY: &str = "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";

    #[test]
    fn reads_back_what_it_writes() {
        let key = data_encoding::HEXLOWER.decode(KEY.as_bytes()).unwrap();
        let peer = PeerId::from_public_key(key.try_into().unwrap());
        let text = peer.to_string();
        assert!(text.starts_with("12D3KooW"), "{text}");
        assert_eq!(text.parse(), Ok(peer));
    }

    #[test]
    fn refuses_other_keys_and_addresses_that_are_none() {
        assert_eq!(
            "QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC".parse::<PeerId>(),
            Err(PeerIdError::NotEd25519)
        );
        assert_eq!("not base58: 0OIl".parse::<PeerId>(), Err(PeerIdError::Base58));
        assert_eq!("127.0.0.1:4001".parse::<Address>(), Err(AddressError::NoSlash));
        assert_eq!("/ip4/1.2.3.4\n".parse::<Address>(), Err(AddressError::NotAscii));
    }

    #[test]
    fn an_address_names_its_peer_and_no_relay() {
        let peer = PeerId::from_public_key([3; 32]);
        let of = |text: &str| text.parse::<Address>().unwrap().parts().1;
        let relay = "/ip4/198.51.100.7/tcp/4600/p2p/12D3KooWRelay/p2p-circuit";
        assert_eq!(of(&format!("/ip4/198.51.100.7/tcp/4600/p2p/{peer}")), Some(peer));
        assert_eq!(of(&format!("{relay}/p2p/{peer}")), Some(peer));
        assert_eq!(of("/ip4/198.51.100.7/tcp/4600"), None);
        assert_eq!(of(&format!("/ip4/198.51.100.7/tcp/4600/p2p/{peer}/p2p-circuit")), None);
        let address: Address = format!("{relay}/p2p/{peer}").parse().unwrap();
        assert_eq!(address.parts().0, relay);
    }
}
