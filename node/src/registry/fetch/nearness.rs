//! Determines how near a peer is: on this machine, in the zone of this node, or farther away.
//!
//! A zone is a set of subnets between which traffic is cheap: a site, a rack, a provider's region. Only the address of a
//! connection counts, so that a peer cannot claim to be near.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reg_proto::peer::{Address, PeerId};
use reg_transfer::Nearness;
use thiserror::Error;

use crate::net::Network;

/// The subnets in which peers are near: those that the user has named, or all private networks if the user has named none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Zone(Option<Vec<Subnet>>);

/// An IP subnet: the addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// The first address of the subnet.
    first: IpAddr,
    bits: u8,
}

/// The text is no subnet.
#[derive(Debug, Error)]
#[error("{text:?} is no subnet, as in 10.1.0.0/16 or 2001:db8::/32")]
pub struct SubnetError {
    text: String,
}

impl Zone {
    /// Returns a zone of these subnets. With an empty list, only peers on this machine are near.
    pub const fn of(subnets: Vec<Subnet>) -> Self {
        Self(Some(subnets))
    }

    /// Returns the subnets that the user has named; `None` if the user has named none.
    pub fn subnets(&self) -> Option<&[Subnet]> {
        self.0.as_deref()
    }

    /// Tells how near a peer at this address is. A connection through a relay is far, wherever the relay is.
    fn nearness(&self, address: &Address) -> Nearness {
        let text = address.as_str();
        if text.contains("/p2p-circuit") {
            return Nearness::Far;
        }
        let mut parts = text.split('/').skip(1);
        let ip = match (parts.next(), parts.next()) {
            (Some("ip4" | "ip6"), Some(ip)) => ip.parse::<IpAddr>().ok().map(|ip| ip.to_canonical()),
            _ => None,
        };
        match ip {
            Some(ip) if ip.is_loopback() => Nearness::Host,
            Some(ip) if self.contains(ip) => Nearness::Zone,
            _ => Nearness::Far,
        }
    }

    /// Tells how near a peer is by the nearest of its connections; far where there is none.
    pub(super) fn nearest(&self, addresses: &[Address]) -> Nearness {
        addresses.iter().map(|address| self.nearness(address)).min().unwrap_or_default()
    }

    fn contains(&self, ip: IpAddr) -> bool {
        match (&self.0, ip) {
            (Some(subnets), ip) => subnets.iter().any(|subnet| subnet.contains(ip)),
            (None, IpAddr::V4(ip)) => ip.is_private() || ip.is_link_local(),
            (None, IpAddr::V6(ip)) => ip.is_unique_local() || ip.is_unicast_link_local(),
        }
    }
}

impl Subnet {
    /// Tells whether an address lies in the subnet.
    pub fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.first.is_ipv4() && masked(ip, self.bits) == self.first
    }
}

/// Returns the address with all bits behind the first `bits` cleared.
fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(u32::from(32 - bits.min(32))).unwrap_or(0);
            IpAddr::V4((u32::from(ip) & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(u32::from(128 - bits.min(128))).unwrap_or(0);
            IpAddr::V6((u128::from(ip) & mask).into())
        }
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    /// Parses an address with a prefix length, as in `10.1.0.0/16`. An address alone is a subnet of one address.
    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let error = || SubnetError { text: text.to_owned() };
        let (ip, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let ip: IpAddr = ip.parse().map_err(|_| error())?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse::<u8>().map_err(|_| error()))?;
        if bits > most {
            return Err(error());
        }
        Ok(Self { first: masked(ip, bits), bits })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// Returns how near a connected peer is, by the nearest of its connections.
pub(super) async fn of(network: &Network, peer: PeerId, zone: &Zone) -> Nearness {
    let peers = network.peers().await;
    let info = peers.into_iter().find(|info| info.peer == peer);
    info.map(|info| zone.nearest(&info.addresses)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_networks_are_near_and_relays_are_not() {
        for (address, nearness) in [
            ("/ip4/127.0.0.1/tcp/1", Nearness::Host),
            ("/ip6/::1/tcp/1", Nearness::Host),
            ("/ip4/192.168.1.2/udp/1/quic-v1", Nearness::Zone),
            ("/ip6/::ffff:10.0.0.1/tcp/1", Nearness::Zone),
            ("/ip6/fe80::1/tcp/1", Nearness::Zone),
            ("/ip4/1.1.1.1/tcp/1", Nearness::Far),
            ("/ip4/10.0.0.1/tcp/1/p2p/12D3KooWA/p2p-circuit", Nearness::Far),
            ("/dns4/example.org/tcp/1", Nearness::Far),
        ] {
            assert_eq!(Zone::default().nearness(&address.parse().unwrap()), nearness, "{address}");
        }
    }

    #[test]
    fn a_zone_that_is_named_is_all_that_is_near() {
        let zone =
            Zone::of(["10.1.0.0/16", "1.2.3.99/24", "2001:db8::/32"].map(|it| it.parse().unwrap()).into());
        for (address, nearness) in [
            ("/ip4/127.0.0.1/tcp/1", Nearness::Host),
            ("/ip4/10.1.255.1/tcp/1", Nearness::Zone),
            ("/ip6/::ffff:10.1.0.1/tcp/1", Nearness::Zone),
            ("/ip4/10.2.0.1/tcp/1", Nearness::Far),
            ("/ip4/1.2.3.4/tcp/1", Nearness::Zone),
            ("/ip6/2001:db8:9::1/tcp/1", Nearness::Zone),
            ("/ip6/2001:db9::1/tcp/1", Nearness::Far),
            ("/ip4/10.1.0.1/tcp/1/p2p/12D3KooWA/p2p-circuit", Nearness::Far),
        ] {
            assert_eq!(zone.nearness(&address.parse().unwrap()), nearness, "{address}");
        }
        assert_eq!(Zone::of(Vec::new()).nearness(&"/ip4/10.1.0.1/tcp/1".parse().unwrap()), Nearness::Far);
    }

    #[test]
    fn subnets_are_read_and_written() {
        for (text, shown) in [
            ("10.1.2.3/16", "10.1.0.0/16"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(text.parse::<Subnet>().unwrap().to_string(), shown);
        }
        for text in ["", "/", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/x", "lab", "10.0.0.0/-1"] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
        assert!("::/0".parse::<Subnet>().unwrap().contains("::1".parse().unwrap()));
        assert!(!"::/0".parse::<Subnet>().unwrap().contains("1.2.3.4".parse().unwrap()));
    }
}
