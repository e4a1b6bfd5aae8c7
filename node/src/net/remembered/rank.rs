//! Ranks the remembered peers: which to dial first, which to keep where there is no room, and which to forget.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use reg_proto::peer::{Address, PeerId};

use super::known_peers::Met;
use crate::net::limits::{FORGET_FAILURES, FORGET_USEFUL_AFTER, FORGET_USELESS_AFTER, REMEMBERED_USE};
use crate::net::reach::{Range, range};

/// Addresses that one party can have many of: an IPv4 /24, an IPv6 /48, or the hosts of a domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    V4([u8; 3]),
    V6([u8; 6]),
    Domain(String),
}

/// Returns the group of a global address; `None` for private ones, where the peers of a cluster are all near each other.
pub(super) fn group(address: &Address) -> Option<Group> {
    let parsed: Multiaddr = address.as_str().parse().ok()?;
    match parsed.iter().next()? {
        Protocol::Ip4(ip) if range(&parsed) == Some(Range::Global) => {
            let [a, b, c, _] = ip.octets();
            Some(Group::V4([a, b, c]))
        }
        Protocol::Ip6(ip) if range(&parsed) == Some(Range::Global) => {
            let [a, b, c, d, e, f, ..] = ip.octets();
            Some(Group::V6([a, b, c, d, e, f]))
        }
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) | Protocol::Dnsaddr(name) => {
            let labels: Vec<&str> = name.trim_end_matches('.').rsplit('.').take(2).collect();
            Some(Group::Domain(labels.join(".").to_ascii_lowercase()))
        }
        _ => None,
    }
}

/// What a peer is worth where there is no room for all: the greater stays. That it was dialled with success counts most,
/// then that it was of use, then on how many days it was met. Nothing else of this can be had by many peers at once.
pub(super) fn worth(met: &Met, now: u64) -> (bool, bool, u32, u64) {
    let is_of_use = met.used.is_some_and(|used| now.saturating_sub(used) < REMEMBERED_USE);
    (!met.is_claimed, is_of_use, met.days, recent(met))
}

/// Returns the peers in the order in which they are dialled: first those that did not fail, one of each group before a second.
pub(super) fn dial_order(peers: &BTreeMap<PeerId, Met>) -> Vec<PeerId> {
    let mut order: Vec<(&PeerId, &Met)> = peers.iter().collect();
    order.sort_by_key(|(_, met)| (met.is_claimed, met.failures, met.used.is_none(), Reverse(recent(met))));
    let mut before: BTreeMap<Group, usize> = BTreeMap::new();
    let mut ranked: Vec<((bool, u32, usize), PeerId)> = Vec::new();
    for (peer, met) in order {
        let group = met.addresses.iter().find_map(group);
        let nth = group.map_or(0, |group| {
            let count = before.entry(group).or_default();
            *count += 1;
            *count - 1
        });
        ranked.push(((met.is_claimed, met.failures, nth), *peer));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, peer)| peer).collect()
}

/// Tells whether a peer that could not be reached is forgotten: a claim soon, others after a while without success.
pub(super) fn is_forgotten(met: &Met, now: u64) -> bool {
    let patience = match met {
        Met { is_claimed: true, .. } => 0,
        Met { used: Some(_), .. } => FORGET_USEFUL_AFTER,
        Met { used: None, .. } => FORGET_USELESS_AFTER,
    };
    met.failures >= FORGET_FAILURES && now.saturating_sub(recent(met)) >= patience
}

fn recent(met: &Met) -> u64 {
    met.success.max(met.used.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(address: &str) -> Met {
        let addresses = vec![address.parse().unwrap()];
        Met { addresses, is_claimed: false, days: 1, success: 1000, used: None, failures: 0 }
    }

    fn peer(byte: u8) -> PeerId {
        PeerId::from_public_key([byte; 32])
    }

    #[test]
    fn groups_are_those_of_global_addresses() {
        for (address, expected) in [
            ("/ip4/45.1.2.3/tcp/1", Some(Group::V4([45, 1, 2]))),
            ("/ip4/10.1.2.3/tcp/1", None),
            ("/ip4/127.0.0.1/tcp/1", None),
            ("/ip6/2606:4700:1:2::1/tcp/1", Some(Group::V6([0x26, 0x06, 0x47, 0, 0, 1]))),
            ("/ip6/fd00::1/tcp/1", None),
            ("/dns4/Seed.Example.org/tcp/1", Some(Group::Domain("org.example".into()))),
            ("/no-address", None),
        ] {
            assert_eq!(group(&address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn the_best_are_dialled_first_and_one_of_each_group() {
        let useful = Met { used: Some(2000), ..met("/ip4/45.1.1.1/tcp/1") };
        let same_group = Met { used: Some(1990), ..met("/ip4/45.1.1.2/tcp/1") };
        let recent = Met { success: 5000, ..met("/ip4/45.1.2.1/tcp/1") };
        let failing = Met { failures: 2, used: Some(5000), ..met("/ip4/45.1.3.1/tcp/1") };
        let claimed = Met { is_claimed: true, used: Some(9000), ..met("/ip4/45.1.4.1/tcp/1") };
        let all = [claimed, failing, same_group, recent, useful];
        let peers = all.into_iter().zip(1..).map(|(met, byte)| (peer(byte), met)).collect();
        assert_eq!(dial_order(&peers), [5, 4, 3, 2, 1].map(peer));
    }

    #[test]
    fn what_is_worth_keeping() {
        let now = 10 * REMEMBERED_USE;
        let new = Met { success: now, ..met("/ip4/45.1.1.1/tcp/1") };
        let old_friend = Met { days: 9, ..new.clone() };
        let useful = Met { used: Some(now - 5), success: now - 5, ..new.clone() };
        let claimed = Met { is_claimed: true, used: Some(now), days: 30, ..new.clone() };
        let once_useful = Met { used: Some(now - REMEMBERED_USE), ..new.clone() };
        assert!(worth(&useful, now) > worth(&old_friend, now));
        assert!(worth(&old_friend, now) > worth(&new, now));
        assert!(worth(&new, now) > worth(&claimed, now));
        assert_eq!(worth(&once_useful, now), worth(&new, now));
    }

    #[test]
    fn peers_of_no_use_are_forgotten_sooner() {
        const DAY: u64 = 86_400;
        let now = 1000 * DAY;
        let at = |days: u64, failures: u32| Met {
            success: now - days * DAY,
            failures,
            ..met("/ip4/45.1.1.1/tcp/1")
        };
        let useful = |met: Met| Met { used: Some(met.success), ..met };
        let claimed = |met: Met| Met { is_claimed: true, ..met };
        for (met, expected) in [
            (at(0, FORGET_FAILURES), false),
            (at(3, FORGET_FAILURES), true),
            (at(900, FORGET_FAILURES - 1), false),
            (useful(at(3, FORGET_FAILURES)), false),
            (useful(at(30, FORGET_FAILURES)), true),
            (claimed(at(0, FORGET_FAILURES - 1)), false),
            (claimed(at(0, FORGET_FAILURES)), true),
        ] {
            assert_eq!(is_forgotten(&met, now), expected, "{met:?}");
        }
    }
}
