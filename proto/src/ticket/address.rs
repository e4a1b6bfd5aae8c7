//! [`TicketAddress`]: an address in few bytes. A ticket has those that nodes listen on; other forms of multiaddrs have no place.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::TicketError;
use super::read::Reader;
use crate::limits::TICKET_HOST_CHARS_MAX;
use crate::peer::{Address, PeerId};

/// The machine of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    Ip4(Ipv4Addr),
    Ip6(Ipv6Addr),
    /// A DNS name, as in `/dns/`.
    Dns(String),
    /// One with IPv4 addresses, as in `/dns4/`.
    Dns4(String),
    /// One with IPv6 addresses, as in `/dns6/`.
    Dns6(String),
}

/// How a node is spoken to, and at which port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp(u16),
    /// QUIC version 1 over UDP.
    Quic(u16),
}

/// An address of a peer: that of a machine, or that of a relay which leads to the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketAddress {
    pub host: Host,
    pub transport: Transport,
    /// The relay that listens there, if it is not the peer itself.
    pub relay: Option<PeerId>,
}

/// Bits of an address's first byte, above the kind of its host.
const IS_QUIC: u8 = 0x10;
const IS_RELAYED: u8 = 0x20;

fn is_dns(name: &str) -> bool {
    let is_fine = |it: u8| it.is_ascii_alphanumeric() || b".-_".contains(&it);
    !name.is_empty() && name.len() <= TICKET_HOST_CHARS_MAX && name.bytes().all(is_fine)
}

impl TicketAddress {
    /// Reads a multiaddr of `peer`; `None` where it has a form that no ticket has, or names another peer.
    pub fn of(address: &Address, peer: PeerId) -> Option<Self> {
        let mut parts = address.as_str().strip_prefix('/')?.split('/');
        let host = match (parts.next()?, parts.next()?) {
            ("ip4", ip) => Host::Ip4(ip.parse().ok()?),
            ("ip6", ip) => Host::Ip6(ip.parse().ok()?),
            ("dns", name) if is_dns(name) => Host::Dns(name.to_owned()),
            ("dns4", name) if is_dns(name) => Host::Dns4(name.to_owned()),
            ("dns6", name) if is_dns(name) => Host::Dns6(name.to_owned()),
            _ => return None,
        };
        let transport = match (parts.next()?, parts.next()?.parse().ok()?) {
            ("tcp", port) => Transport::Tcp(port),
            ("udp", port) => (parts.next()? == "quic-v1").then_some(Transport::Quic(port))?,
            _ => return None,
        };
        let rest: Vec<&str> = parts.collect();
        let is_peer = |id: &str| id.parse() == Ok(peer);
        let relay = match rest[..] {
            [] => None,
            ["p2p", id] if is_peer(id) => None,
            ["p2p", relay, "p2p-circuit"] => Some(relay.parse().ok()?),
            ["p2p", relay, "p2p-circuit", "p2p", id] if is_peer(id) => Some(relay.parse().ok()?),
            _ => return None,
        };
        Some(Self { host, transport, relay })
    }

    /// Returns the multiaddr of `peer`.
    pub fn to_address(&self, peer: PeerId) -> Address {
        let host = match &self.host {
            Host::Ip4(ip) => format!("/ip4/{ip}"),
            Host::Ip6(ip) => format!("/ip6/{ip}"),
            Host::Dns(name) => format!("/dns/{name}"),
            Host::Dns4(name) => format!("/dns4/{name}"),
            Host::Dns6(name) => format!("/dns6/{name}"),
        };
        let transport = match self.transport {
            Transport::Tcp(port) => format!("/tcp/{port}"),
            Transport::Quic(port) => format!("/udp/{port}/quic-v1"),
        };
        let relay = self.relay.map_or_else(String::new, |relay| format!("/p2p/{relay}/p2p-circuit"));
        format!("{host}{transport}{relay}/p2p/{peer}").parse().expect("the parts have no room for 256 bytes")
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let (kind, name) = match &self.host {
            Host::Ip4(_) => (0, None),
            Host::Ip6(_) => (1, None),
            Host::Dns(name) => (2, Some(name)),
            Host::Dns4(name) => (3, Some(name)),
            Host::Dns6(name) => (4, Some(name)),
        };
        let (quic, port) = match self.transport {
            Transport::Tcp(port) => (0, port),
            Transport::Quic(port) => (IS_QUIC, port),
        };
        bytes.push(kind | quic | self.relay.map_or(0, |_| IS_RELAYED));
        match &self.host {
            Host::Ip4(ip) => bytes.extend(ip.octets()),
            Host::Ip6(ip) => bytes.extend(ip.octets()),
            Host::Dns(_) | Host::Dns4(_) | Host::Dns6(_) => {
                let name = name.map_or("", String::as_str);
                bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
                bytes.extend(name.as_bytes());
            }
        }
        bytes.extend(port.to_be_bytes());
        self.relay.iter().for_each(|relay| bytes.extend(relay.public_key()));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, TicketError> {
        const FIELD: &str = "an address";
        let malformed = TicketError::Malformed { field: FIELD };
        let form = reader.byte(FIELD)?;
        let mut name = || {
            let name = reader.text(FIELD)?;
            if is_dns(name) { Ok(name.to_owned()) } else { Err(malformed.clone()) }
        };
        let host = match form & !(IS_QUIC | IS_RELAYED) {
            0 => Host::Ip4(reader.array::<4>(FIELD)?.into()),
            1 => Host::Ip6(reader.array::<16>(FIELD)?.into()),
            2 => Host::Dns(name()?),
            3 => Host::Dns4(name()?),
            4 => Host::Dns6(name()?),
            _ => return Err(malformed),
        };
        let port = u16::from_be_bytes(reader.array(FIELD)?);
        let transport = if form & IS_QUIC == 0 { Transport::Tcp(port) } else { Transport::Quic(port) };
        let relay = match form & IS_RELAYED {
            0 => None,
            _ => Some(PeerId::from_public_key(reader.array(FIELD)?)),
        };
        Ok(Self { host, transport, relay })
    }
}
