//! Decides which addresses this node may dial: global ones always, others only while their range is open.
//!
//! Otherwise a peer could make this node connect to machines inside the user's network. A range is opened by an address
//! that the user, the configuration or mDNS gave, and by a live connection over it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use reg_proto::peer::Address;
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::limits::NAME_PATIENCE;

/// The range that an IP address lies in (IANA's special-purpose address registries).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Range {
    Global,
    Loopback,
    /// 10.0.0.0/8, RFC 1918.
    Private10,
    /// 172.16.0.0/12, RFC 1918.
    Private172,
    /// 192.168.0.0/16, RFC 1918.
    Private192,
    /// 100.64.0.0/10, RFC 6598.
    CarrierNat,
    /// 169.254.0.0/16 but for cloud metadata, fe80::/10.
    LinkLocal,
    /// fc00::/7, RFC 4193.
    UniqueLocal,
    /// Documentation and benchmark networks, which test beds use.
    TestBed,
    /// Never dialled: unspecified, multicast, broadcast, reserved, cloud metadata.
    Never,
}

/// Returns the range of an address by its first IP address; `None` for a DNS name, which is checked once it is
/// resolved.
pub(super) fn range(address: &Multiaddr) -> Option<Range> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(range_v4(ip)),
        Protocol::Ip6(ip) => Some(range_v6(ip)),
        _ => None,
    })
}

/// Tells whether a peer that is connected over `ranges` may name an address to this node, or may be told it. A global
/// address and a DNS name always may, another address only where it lies in one of these ranges.
pub(super) fn is_fit(address: &Multiaddr, ranges: &[Range]) -> bool {
    range(address).is_none_or(|range| range == Range::Global || ranges.contains(&range))
}

/// Tells whether an address lies in a private network or on this machine, where traffic costs no uplink.
pub fn is_near(ip: IpAddr) -> bool {
    match range_of(ip) {
        Range::Loopback
        | Range::Private10
        | Range::Private172
        | Range::Private192
        | Range::LinkLocal
        | Range::UniqueLocal => true,
        // Behind a carrier's NAT are the carrier's other customers.
        Range::Global | Range::CarrierNat | Range::TestBed | Range::Never => false,
    }
}

/// Tells whether an address is global: any peer may name it, and any redirect may lead to it.
pub fn is_global(ip: IpAddr) -> bool {
    range_of(ip) == Range::Global
}

/// Tells whether an address begins with a global IP address, so that strangers may be told it. Where a name leads is not known
/// here: see [`public_of`].
pub fn is_public(address: &Address) -> bool {
    let mut parts = address.as_str().split('/').skip(1);
    let ip = matches!(parts.next(), Some("ip4" | "ip6")).then(|| parts.next()).flatten();
    ip.and_then(|it| it.parse().ok()).is_some_and(is_global)
}

/// Returns those addresses that strangers may be told: with a global IP address, or with a name that leads to such addresses alone.
/// So the name of a machine in the user's own network is not among them.
pub async fn public_of(addresses: Vec<Address>) -> Vec<Address> {
    let mut looks = JoinSet::new();
    let names: BTreeSet<String> = addresses.iter().filter_map(name_of).map(str::to_owned).collect();
    for name in names {
        looks.spawn(async move {
            let found = timeout(NAME_PATIENCE, lookup_host((name.as_str(), 0))).await;
            let ips: Vec<IpAddr> = found.ok().and_then(Result::ok)?.map(|it| it.ip()).collect();
            (!ips.is_empty() && ips.into_iter().all(is_global)).then_some(name)
        });
    }
    let public: BTreeSet<String> = looks.join_all().await.into_iter().flatten().collect();
    let is_fit = |it: &Address| is_public(it) || name_of(it).is_some_and(|name| public.contains(name));
    addresses.into_iter().filter(is_fit).collect()
}

/// Returns the name with which an address begins; `None` where it begins with an IP address.
fn name_of(address: &Address) -> Option<&str> {
    let mut parts = address.as_str().split('/').skip(1);
    matches!(parts.next(), Some("dns" | "dns4" | "dns6")).then(|| parts.next()).flatten()
}

/// Returns the name that a part of an address is; `None` for any other part.
fn dns_name(part: Protocol<'_>) -> Option<String> {
    match part {
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => Some(name.into_owned()),
        _ => None,
    }
}

fn range_of(ip: IpAddr) -> Range {
    match ip {
        IpAddr::V4(ip) => range_v4(ip),
        IpAddr::V6(ip) => range_v6(ip),
    }
}

fn range_v4(ip: Ipv4Addr) -> Range {
    match ip.octets() {
        [169, 254, 169, 254] | [0, ..] | [224..=255, ..] | [192, 0, 0, _] => Range::Never,
        [127, ..] => Range::Loopback,
        [10, ..] => Range::Private10,
        [172, 16..=31, ..] => Range::Private172,
        [192, 168, ..] => Range::Private192,
        [100, 64..=127, ..] => Range::CarrierNat,
        [169, 254, ..] => Range::LinkLocal,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [198, 18..=19, ..] => Range::TestBed,
        _ => Range::Global,
    }
}

fn range_v6(ip: Ipv6Addr) -> Range {
    if let Some(ip) = ip.to_ipv4_mapped() {
        return range_v4(ip);
    }
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Range::Loopback,
        // Unspecified, and the deprecated IPv4-compatible form.
        [0, 0, 0, 0, 0, 0, _, _] => Range::Never,
        // NAT64 and 6to4 carry an IPv4 address, and its range counts.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => range_v4(embedded(high, low)),
        [0x2002, high, low, ..] => range_v4(embedded(high, low)),
        [0xfe80..=0xfebf, ..] => Range::LinkLocal,
        [0xfc00..=0xfdff, ..] => Range::UniqueLocal,
        [0xff00..=0xffff, ..] => Range::Never,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Range::TestBed,
        [0x2000..=0x3fff, ..] => Range::Global,
        _ => Range::Never,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

/// Single addresses that names may add: a name that leads elsewhere each time must not fill the memory.
const NAMED_MAX: usize = 1024;

/// The open ranges. Cheap to clone; the transport and the event loop share them.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenRanges(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    /// How much holds each range open.
    ranges: BTreeMap<Range, usize>,
    /// Single addresses that may be dialled though their range is not open, and how many dials need each.
    addresses: BTreeMap<Multiaddr, usize>,
}

impl OpenRanges {
    /// Opens for good the range of an address that the user, the configuration or mDNS gave.
    pub(super) fn open(&self, address: &Multiaddr) {
        self.connected(address);
    }

    /// Looks up the name in an address that the user or the configuration gave, in the background, and lets the addresses be
    /// dialled that it leads to. Their ranges stay closed: the user has named a host, and an answer of the DNS no consent to
    /// more. Does nothing for other addresses, and where the look-up fails.
    pub(super) fn open_named(&self, address: &Multiaddr) {
        let Some(name) = address.iter().next().and_then(dns_name) else { return };
        let (open, address) = (self.clone(), without_peer(address));
        tokio::spawn(async move {
            let found = timeout(NAME_PATIENCE, lookup_host((name.as_str(), 0))).await;
            for socket in found.ok().and_then(Result::ok).into_iter().flatten() {
                let ip = Multiaddr::from(socket.ip());
                open.allow_for_good(ip.iter().chain(address.iter().skip(1)).collect());
            }
        });
    }

    /// Opens the range of a connection's remote address until [`Self::disconnected`].
    pub(super) fn connected(&self, address: &Multiaddr) {
        if let Some(range) = range(address) {
            *self.lock().ranges.entry(range).or_default() += 1;
        }
    }

    /// Closes the range of a connection that has ended, unless something else keeps it open.
    pub(super) fn disconnected(&self, address: &Multiaddr) {
        let Some(range) = range(address) else { return };
        let mut open = self.lock();
        if let Some(count) = open.ranges.get_mut(&range) {
            *count -= 1;
            if *count == 0 {
                open.ranges.remove(&range);
            }
        }
    }

    /// Lets a single address be dialled until [`Self::disallow`], whatever range it lies in. No other address of that range may
    /// be dialled for it.
    pub(super) fn allow(&self, address: &Multiaddr) {
        *self.lock().addresses.entry(without_peer(address)).or_default() += 1;
    }

    /// Lets a single address be dialled that a name of the user leads to, unless [`NAMED_MAX`] addresses are allowed already.
    fn allow_for_good(&self, address: Multiaddr) {
        let mut open = self.lock();
        if open.addresses.len() < NAMED_MAX {
            open.addresses.entry(address).or_insert(1);
        }
    }

    /// Ends what [`Self::allow`] has begun.
    pub(super) fn disallow(&self, address: &Multiaddr) {
        let (address, mut open) = (without_peer(address), self.lock());
        if let Some(count) = open.addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.addresses.remove(&address);
            }
        }
    }

    /// Tells whether an address may be dialled.
    pub(super) fn may_dial(&self, address: &Multiaddr) -> bool {
        match range(address) {
            Some(Range::Global) => true,
            Some(Range::Never) => false,
            Some(range) => {
                let open = self.lock();
                open.ranges.contains_key(&range) || open.addresses.contains_key(&without_peer(address))
            }
            // A DNS name: the transport asks again with the addresses that it resolves to.
            None => true,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns an address without the peer's id at its end.
pub(super) fn without_peer(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    if let Some(Protocol::P2p(_)) = address.iter().last() {
        address.pop();
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_told_to_strangers_only_where_it_leads_to_global_addresses() {
        let all = [
            "/dns4/localhost/tcp/1",
            "/ip4/10.0.0.1/tcp/1",
            "/dns/localhost/udp/1/quic-v1",
            "/ip4/45.1.0.1/tcp/1",
        ];
        let all = all.map(|it| it.parse::<Address>().unwrap());
        assert_eq!(public_of(all.to_vec()).await, all[3..]);
        assert_eq!(name_of(&all[0]), Some("localhost"));
        assert_eq!(name_of(&all[3]), None);
    }

    /// The forms of threat T15: each would reach an inner network, and is not dialled unless its range is open.
    #[test]
    fn private_addresses_are_not_dialled_unless_their_range_is_open() {
        let closed = OpenRanges::default();
        for ip in [
            "127.0.0.1",
            "127.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.254",
            "192.168.0.1",
            "192.168.178.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "240.0.0.1",
            "192.0.0.1",
            "198.18.0.1",
        ] {
            let address = format!("/ip4/{ip}/tcp/80").parse().unwrap();
            assert!(!closed.may_dial(&address), "{ip}");
        }
        for ip in [
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2002:c0a8:1::",
        ] {
            let address = format!("/ip6/{ip}/tcp/80").parse().unwrap();
            assert!(!closed.may_dial(&address), "{ip}");
        }
        for address in [
            "/ip4/1.1.1.1/tcp/1",
            "/ip4/172.32.0.1/tcp/1",
            "/ip6/2606:4700::1111/tcp/1",
            "/dns4/example.org/tcp/1",
        ] {
            assert!(closed.may_dial(&address.parse().unwrap()), "{address}");
        }
    }

    /// Limits do not hold for near addresses, and a host that the user has not named leads only to global addresses.
    #[test]
    fn what_is_near_and_what_is_global() {
        for (ip, near, global) in [
            ("127.0.0.1", true, false),
            ("10.1.2.3", true, false),
            ("172.16.0.1", true, false),
            ("192.168.1.1", true, false),
            ("169.254.1.1", true, false),
            ("::1", true, false),
            ("::ffff:10.0.0.1", true, false),
            ("fe80::1", true, false),
            ("fd00::1", true, false),
            ("100.64.0.1", false, false),
            ("198.51.100.1", false, false),
            ("169.254.169.254", false, false),
            ("0.0.0.0", false, false),
            ("ff02::1", false, false),
            ("1.1.1.1", false, true),
            ("172.32.0.1", false, true),
            ("2606:4700::1111", false, true),
        ] {
            let address = ip.parse().unwrap();
            assert_eq!((is_near(address), is_global(address)), (near, global), "{ip}");
        }
    }

    #[test]
    fn a_range_is_open_as_long_as_somebody_holds_it_open() {
        let ranges = OpenRanges::default();
        let (one, two): (Multiaddr, Multiaddr) =
            ("/ip4/192.168.1.1/tcp/1".parse().unwrap(), "/ip4/192.168.7.7/tcp/2".parse().unwrap());
        ranges.connected(&one);
        assert!(ranges.may_dial(&two) && !ranges.may_dial(&"/ip4/10.0.0.1/tcp/1".parse().unwrap()));
        ranges.disconnected(&one);
        assert!(!ranges.may_dial(&two));
        ranges.open(&one);
        assert!(ranges.may_dial(&two));
        assert!(!ranges.may_dial(&"/ip4/169.254.169.254/tcp/80".parse().unwrap()));
    }

    #[test]
    fn a_single_address_is_allowed_for_as_long_as_a_dial_needs_it() {
        let (ranges, peer) = (OpenRanges::default(), libp2p::PeerId::random());
        let address: Multiaddr = "/ip4/192.168.1.1/tcp/1".parse().unwrap();
        let with_peer = address.clone().with(Protocol::P2p(peer));
        ranges.allow(&with_peer);
        ranges.allow(&address);
        assert!(ranges.may_dial(&address) && ranges.may_dial(&with_peer));
        for other in ["/ip4/192.168.1.1/tcp/2", "/ip4/192.168.1.2/tcp/1", "/ip4/10.0.0.1/tcp/1"] {
            assert!(!ranges.may_dial(&other.parse().unwrap()), "{other}");
        }
        ranges.disallow(&address);
        assert!(ranges.may_dial(&address));
        ranges.disallow(&with_peer);
        assert!(!ranges.may_dial(&address));
        let metadata: Multiaddr = "/ip4/169.254.169.254/tcp/80".parse().unwrap();
        ranges.allow(&metadata);
        assert!(!ranges.may_dial(&metadata), "some addresses are never dialled");
    }
}
