//! [`HealthSettings`]: what the user wants of audits; [`Zones`]: the zones that the user has named.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use reg_commons::{BUDGET_PER_HOUR, Zone, ZoneName};
use reg_proto::peer::Address;

use crate::registry::fetch::Subnet;
use crate::webhook::WebhookUrl;

/// Proven replicas at other nodes that a model is to have, unless the user says otherwise: with this node's own one, as many as
/// donors keep.
pub const TARGET: u32 = reg_commons::TARGET - 1;
/// The fastest pace: a fortnight of audits takes 34 s, to try out what they do.
pub const PACE_MAX: u32 = 36_000;

/// What the user wants of audits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// Whether this node audits: only a daemon with a network does.
    pub audits: bool,
    /// The file that keeps what was counted; `None` where nothing is kept.
    pub file: Option<PathBuf>,
    /// Bytes that audits may fetch in an hour; 0 turns them off.
    pub budget: u64,
    /// Proven replicas at other nodes that each model is to have.
    pub target: u32,
    /// How many times as fast as usual replicas are proven, and as fast their proofs lapse.
    pub pace: u32,
    pub zones: Zones,
    /// Where events are sent.
    pub webhook: Option<WebhookUrl>,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            audits: false,
            file: None,
            budget: BUDGET_PER_HOUR,
            target: TARGET,
            pace: 1,
            zones: Zones::default(),
            webhook: None,
        }
    }
}

/// The zones that the user has named, with their subnets. Where subnets overlap, the first name in order counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zones(BTreeMap<ZoneName, Vec<Subnet>>);

impl Zones {
    /// Returns zones of these subnets.
    pub const fn of(named: BTreeMap<ZoneName, Vec<Subnet>>) -> Self {
        Self(named)
    }

    /// Returns the names with their subnets.
    pub fn named(&self) -> impl Iterator<Item = (&ZoneName, &[Subnet])> {
        self.0.iter().map(|(name, subnets)| (name, subnets.as_slice()))
    }

    /// Returns the zone of a peer by the addresses of its connections. A named zone comes first, and a relayed connection last.
    pub fn of_peer(&self, addresses: &[Address]) -> Zone {
        let zones = addresses.iter().map(|address| Zone::of(self.name_of(address), address));
        zones.min().unwrap_or(Zone::Unplaced)
    }

    fn name_of(&self, address: &Address) -> Option<&ZoneName> {
        let mut words = address.as_str().split('/').skip(1);
        let (protocol, host) = (words.next()?, words.next()?);
        if !matches!(protocol, "ip4" | "ip6") || words.any(|it| it == "p2p-circuit") {
            return None;
        }
        let ip = host.parse::<IpAddr>().ok()?.to_canonical();
        let mut named = self.0.iter().filter(|(_, subnets)| subnets.iter().any(|it| it.contains(ip)));
        named.next().map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_where_its_direct_connections_are() {
        let subnets = |texts: &[&str]| texts.iter().map(|it| it.parse().unwrap()).collect();
        let name = |text: &str| text.parse::<ZoneName>().unwrap();
        let zones = Zones::of(BTreeMap::from([
            (name("rack-1"), subnets(&["10.1.0.0/16", "2001:db8::/32"])),
            (name("rack-2"), subnets(&["10.1.2.0/24"])),
        ]));
        let relayed = "/ip4/10.1.2.3/tcp/1/p2p/12D3/p2p-circuit";
        for (addresses, expected) in [
            (&["/ip4/10.1.2.3/tcp/1"][..], "name:rack-1"),
            (&["/ip6/::ffff:10.1.2.3/tcp/1"], "name:rack-1"),
            (&["/ip6/2001:db8::1/udp/1/quic-v1"], "name:rack-1"),
            (&["/ip4/10.2.2.3/tcp/1"], "v4:0a0202"),
            (&["/ip4/10.2.2.3/tcp/1", "/ip4/10.1.2.3/tcp/1"], "name:rack-1"),
            (&[relayed, "/ip4/10.2.2.3/tcp/1"], "v4:0a0202"),
            (&[relayed], "unplaced"),
            (&["/dns4/acme.org/tcp/1"], "unplaced"),
            (&[], "unplaced"),
        ] {
            let addresses: Vec<Address> = addresses.iter().map(|it| it.parse().unwrap()).collect();
            assert_eq!(zones.of_peer(&addresses).to_string(), expected, "{addresses:?}");
        }
    }
}
