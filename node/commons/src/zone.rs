//! [`Zone`]: which peers may be lost together, and so count as one.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;
use std::str::FromStr;

use reg_proto::peer::Address;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Longest name of a zone in bytes: a label of a host name, so that any rack or site can keep its name.
pub const ZONE_NAME_BYTES_MAX: usize = 63;

/// A name that the user has given to a zone: 1 to [`ZONE_NAME_BYTES_MAX`] letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneName(String);

/// Why a text is not the name of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ZoneNameError {
    #[error("name of a zone has {length} bytes, 1 to {ZONE_NAME_BYTES_MAX} are allowed")]
    Length { length: usize },
    #[error("name of a zone has `{found}`, only letters, digits, `-`, `_` and `.` are allowed")]
    Character { found: char },
}

/// Peers that may be lost together: in one room, behind one line, or of one owner. A model has one replica in a zone,
/// however many peers of the zone hold it, because it costs little to run many nodes in one network.
///
/// The owner of a large network has many zones: an IPv6 allocation of /32 has 65,536. The count is a measure of luck, not
/// of honesty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Zone {
    /// The user's own name for it.
    Named(ZoneName),
    /// An IPv4 network of /24.
    V4([u8; 3]),
    /// An IPv6 network of /48.
    V6([u8; 6]),
    /// All peers with no address of their own: relayed ones, and those behind a name or a tunnel. Where they are is
    /// their own claim, so they are one zone together.
    Unplaced,
}

/// Why a text is not a zone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ZoneError {
    #[error("zone is none of `name:…`, `v4:` with 6 hex digits, `v6:` with 12 hex digits and `unplaced`")]
    Form,
    #[error("zone has no allowed name")]
    Name(#[from] ZoneNameError),
}

impl Zone {
    /// Returns the zone of a peer that was reached at an address. A configured name comes first.
    pub fn of(configured: Option<&ZoneName>, reached_at: &Address) -> Self {
        configured.map_or_else(|| Self::of_address(reached_at), |name| Self::Named(name.clone()))
    }

    fn of_address(reached_at: &Address) -> Self {
        let mut words = reached_at.as_str().split('/').skip(1);
        let (protocol, host) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if words.any(|it| it == "p2p-circuit") {
            return Self::Unplaced;
        }
        match protocol {
            "ip4" => host.parse().map_or(Self::Unplaced, Self::of_v4),
            "ip6" => host.parse().map_or(Self::Unplaced, Self::of_v6),
            _ => Self::Unplaced,
        }
    }

    /// Returns the zone of an IP address. Loopback and private addresses are no exception.
    pub fn of_ip(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    const fn of_v4(address: Ipv4Addr) -> Self {
        let [a, b, c, _] = address.octets();
        Self::V4([a, b, c])
    }

    /// IPv4 inside IPv6 is the zone of the IPv4 address: 6to4 would make a /48 of every single one.
    const fn of_v6(address: Ipv6Addr) -> Self {
        match address.octets() {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, _] => Self::V4([a, b, c]),
            [0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, _] => Self::V4([a, b, c]),
            [0x20, 0x02, a, b, c, ..] => Self::V4([a, b, c]),
            // Teredo: the network is the tunnel's, not the peer's.
            [0x20, 0x01, 0, 0, ..] => Self::Unplaced,
            [a, b, c, d, e, f, ..] => Self::V6([a, b, c, d, e, f]),
        }
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ZoneName {
    type Err = ZoneNameError;

    fn from_str(text: &str) -> Result<Self, ZoneNameError> {
        if text.is_empty() || text.len() > ZONE_NAME_BYTES_MAX {
            return Err(ZoneNameError::Length { length: text.len() });
        }
        match text.chars().find(|it| !it.is_ascii_alphanumeric() && !"-_.".contains(*it)) {
            Some(found) => Err(ZoneNameError::Character { found }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = |kind: &str, bytes: &[u8]| {
            f.write_str(kind)?;
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        match self {
            Self::Named(name) => write!(f, "name:{name}"),
            Self::V4(bytes) => hex("v4:", bytes),
            Self::V6(bytes) => hex("v6:", bytes),
            Self::Unplaced => f.write_str("unplaced"),
        }
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        match text.split_once(':') {
            None if text == "unplaced" => Ok(Self::Unplaced),
            Some(("name", name)) => Ok(Self::Named(name.parse()?)),
            Some(("v4", digits)) => hex(digits).map(Self::V4).ok_or(ZoneError::Form),
            Some(("v6", digits)) => hex(digits).map(Self::V6).ok_or(ZoneError::Form),
            _ => Err(ZoneError::Form),
        }
    }
}

fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let is_hex = digits.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it));
    if digits.len() != 2 * N || !is_hex {
        return None;
    }
    let mut bytes = [0; N];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zone(address: &str) -> String {
        Zone::of(None, &address.parse().unwrap()).to_string()
    }

    #[test]
    fn a_zone_follows_from_the_address() {
        for (address, expected) in [
            ("/ip4/192.0.2.77/tcp/4001", "v4:c00002"),
            ("/ip4/127.0.0.1/udp/1/quic-v1", "v4:7f0000"),
            ("/ip4/10.1.2.3/tcp/1", "v4:0a0102"),
            ("/ip6/2001:db8:1:2::3/tcp/1", "v6:20010db80001"),
            ("/ip6/::1/tcp/1", "v6:000000000000"),
            ("/ip6/::ffff:192.0.2.77/tcp/1", "v4:c00002"),
            ("/ip6/64:ff9b::c000:24d/tcp/1", "v4:c00002"),
            ("/ip6/2002:c000:24d::1/tcp/1", "v4:c00002"),
            ("/ip6/2001:0:1234::1/tcp/1", "unplaced"),
            ("/dns4/acme.org/tcp/1", "unplaced"),
            ("/ip4/192.0.2.77/tcp/1/p2p/12D3/p2p-circuit", "unplaced"),
            ("/ip4/300.0.2.77/tcp/1", "unplaced"),
            ("/", "unplaced"),
        ] {
            assert_eq!(zone(address), expected, "{address}");
        }
    }

    #[test]
    fn a_configured_name_comes_first_and_is_checked() {
        let name: ZoneName = "rack-7.east".parse().unwrap();
        let zone = Zone::of(Some(&name), &"/ip4/192.0.2.1/tcp/1".parse().unwrap());
        assert_eq!(zone.to_string(), "name:rack-7.east");
        assert_eq!("".parse::<ZoneName>(), Err(ZoneNameError::Length { length: 0 }));
        assert_eq!("a b".parse::<ZoneName>(), Err(ZoneNameError::Character { found: ' ' }));
        assert_eq!("é".repeat(40).parse::<ZoneName>(), Err(ZoneNameError::Length { length: 80 }));
        for text in ["v4:c0000", "v4:C00002", "v6:c00002", "v4:+1+1+1", "place", "name:"] {
            assert!(text.parse::<Zone>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_zone_reads_back_what_it_writes(bytes in any::<[u8; 16]>(), short in any::<[u8; 4]>()) {
            for zone in [Zone::of_ip(IpAddr::V6(bytes.into())), Zone::of_ip(IpAddr::V4(short.into()))] {
                prop_assert_eq!(zone.to_string().parse(), Ok(zone));
            }
        }

        #[test]
        fn no_address_is_too_strange(text in "/[ -~]{0,40}") {
            if let Ok(address) = text.parse() {
                Zone::of(None, &address);
            }
        }
    }
}
