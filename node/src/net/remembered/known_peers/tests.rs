//! Tests the known peers: what is remembered, what makes room, and that no order of events breaks its bounds.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::net::limits::FORGET_FAILURES;
use crate::net::remembered::written;

const NOW: u64 = 20_000 * DAY;

fn peer(number: u64) -> PeerId {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    PeerId::from_public_key(key)
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn private(number: u64) -> Address {
    address(&format!("/ip4/10.{}.{}.1/tcp/4600", number / 256, number % 256))
}

#[test]
fn a_peer_is_remembered_where_it_was_reached_and_the_last_address_is_the_first() {
    let mut known = KnownPeers::default();
    assert!(known.reached(peer(1), private(1), None, NOW));
    assert!(!known.reached(peer(1), private(1), None, NOW + 5), "nothing has changed that is worth writing");
    assert!(known.reached(peer(1), private(2), None, NOW + 5));
    assert_eq!(known.peers()[&peer(1)].addresses, [private(2), private(1)]);
    for number in 3..10 {
        known.reached(peer(1), private(number), None, NOW + DAY);
    }
    let met = &known.peers()[&peer(1)];
    assert_eq!((met.addresses.len(), met.days), (ADDRESSES_REMEMBERED_MAX, 2));
    assert!(known.reached(peer(1), private(9), None, NOW + 2 * DAY), "the time of the last success is news");
}

#[test]
fn a_claim_counts_only_of_a_peer_that_was_of_use_and_ends_where_the_peer_was_reached() {
    let mut known = KnownPeers::default();
    assert!(!known.was_of_use(peer(1), &[], NOW), "it says nowhere that it listens");
    assert!(known.was_of_use(peer(1), &[private(1), private(2)], NOW));
    assert!(known.peers()[&peer(1)].is_claimed);
    assert!(known.reached(peer(1), private(3), None, NOW));
    let met = &known.peers()[&peer(1)];
    assert!(!met.is_claimed && met.addresses == [private(3)] && met.used == Some(NOW));
    assert!(!known.was_of_use(peer(1), &[private(7)], NOW + 1));
    assert_eq!(known.peers()[&peer(1)].addresses, [private(3)], "claims add nothing to what was reached");
}

#[test]
fn claims_fill_only_their_share() {
    let mut known = KnownPeers::default();
    for number in 0..10_000 {
        known.was_of_use(peer(number), &[private(number % 60_000)], NOW);
    }
    assert_eq!(known.peers().len(), REMEMBERED_CLAIMS_MAX);
    for number in 0..10_000 {
        known.reached(peer(100_000 + number), private(number % 60_000), None, NOW);
    }
    assert_eq!(known.peers().len(), REMEMBERED_MAX);
    assert!(known.peers().values().all(|it| !it.is_claimed), "a peer that was reached displaces claims");
    assert!(!known.was_of_use(peer(1), &[private(1)], NOW), "a claim displaces no peer that was reached");
}

#[test]
fn a_crowd_of_one_network_gets_the_places_of_one_network() {
    let mut known = KnownPeers::default();
    for number in 0..250 {
        known.reached(peer(number), address(&format!("/ip4/45.1.1.{number}/tcp/4600")), None, NOW);
        let v6 = address(&format!("/ip6/2606:4700:9:{number}::1/tcp/4600"));
        known.reached(peer(1000 + number), v6, None, NOW);
        known.reached(peer(2000 + number), address(&format!("/dns4/n{number}.evil.org/tcp/4600")), None, NOW);
    }
    assert_eq!(known.peers().len(), 3 * REMEMBERED_PER_GROUP_MAX);
    assert!(
        known.reached(peer(5000), address("/ip4/45.1.2.1/tcp/4600"), None, NOW),
        "another network has room"
    );
}

#[test]
fn friends_of_many_days_and_peers_of_use_outlast_a_crowd() {
    let mut known = KnownPeers::default();
    known.reached(peer(1), private(1), None, NOW - DAY);
    known.reached(peer(1), private(1), None, NOW);
    known.reached(peer(2), private(2), None, NOW);
    known.was_of_use(peer(2), &[], NOW);
    known.reached(peer(3), private(3), None, NOW);
    for number in 10..10 + 4 * REMEMBERED_MAX as u64 {
        known.reached(peer(number), private(number), None, NOW + 5 * number);
    }
    assert_eq!(known.peers().len(), REMEMBERED_MAX);
    let stays = [1, 2, 3].map(|number| known.peers().contains_key(&peer(number)));
    assert_eq!(stays, [true, true, false]);
}

#[test]
fn a_peer_that_fails_is_forgotten_after_a_while() {
    let mut known = KnownPeers::default();
    known.reached(peer(1), private(1), None, NOW);
    known.reached(peer(2), private(2), None, NOW);
    known.was_of_use(peer(2), &[], NOW);
    for _ in 0..FORGET_FAILURES {
        assert!(known.failed(&peer(1), NOW + 10 * DAY) && known.failed(&peer(2), NOW + 10 * DAY));
    }
    assert_eq!(known.peers().keys().collect::<Vec<_>>(), [&peer(2)]);
    assert!(known.reached(peer(2), private(2), None, NOW + 11 * DAY));
    assert_eq!(known.peers()[&peer(2)].failures, 0);
}

#[test]
fn what_the_user_has_named_stays_until_it_is_removed() {
    let mut known = KnownPeers::default();
    let with_id = address(&format!("/ip4/10.0.0.1/tcp/1/p2p/{}", peer(1)));
    assert_eq!(known.name(with_id.clone()), Ok(true));
    assert_eq!(known.name(with_id.clone()), Ok(false));
    assert_eq!(known.name(private(2)), Ok(true));
    known.reached(peer(1), address("/ip4/10.0.0.1/tcp/1"), None, NOW);
    known.reached(peer(2), private(2), None, NOW);
    assert_eq!(known.forget_peer(&peer(1)), (true, vec![with_id]));
    assert_eq!(known.forget_address(&private(2)), (vec![peer(2)], vec![private(2)]));
    assert_eq!(known, KnownPeers::default());
    known.reached(peer(3), private(3), None, NOW);
    assert!(known.drop_met(&peer(3)) && !known.drop_met(&peer(3)), "a peer that has lied");
    assert_eq!(known.forget_peer(&peer(9)), (false, Vec::new()));
    // The same address, once with the peer's id and once without it, and a peer that was met there.
    let with_id = address(&format!("{}/p2p/{}", private(4), peer(4)));
    for named in [&private(4), &with_id] {
        assert_eq!(known.name(named.clone()), Ok(true));
    }
    known.reached(peer(4), private(4), None, NOW);
    assert!(known.unname(&with_id) && !known.unname(&with_id));
    assert_eq!(
        (known.named(), known.peers().len()),
        (&[private(4)][..], 1),
        "only what was added is taken back"
    );
    assert_eq!(known.forget_address(&private(4)), (vec![peer(4)], vec![private(4)]));
    for number in 0..NAMED_PEERS_MAX as u64 {
        assert_eq!(known.name(private(number)), Ok(true));
    }
    assert_eq!(known.name(private(9999)), Err(NoRoom));
}

#[derive(Debug, Clone)]
enum Event {
    Reached(u64, Address),
    OfUse(u64, Vec<Address>),
    Failed(u64),
}

fn any_address() -> impl Strategy<Value = Address> {
    prop_oneof![
        (0..4_u8, 0..4_u8, 0..200_u8).prop_map(|(b, c, d)| address(&format!("/ip4/45.{b}.{c}.{d}/tcp/1"))),
        (0..2000_u64).prop_map(private),
        (0..50_u16).prop_map(|d| address(&format!("/ip6/2606:4700:{}:{d}::1/tcp/1", d % 3))),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..600_u64, any_address()).prop_map(|(peer, address)| Event::Reached(peer, address)),
        3 => (0..600_u64, prop::collection::vec(any_address(), 0..8)).prop_map(|(peer, it)| Event::OfUse(peer, it)),
        2 => (0..600_u64).prop_map(Event::Failed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever happens in whatever order, the bounds hold, and the file reads back.
    #[test]
    fn the_bounds_hold_and_the_file_reads_back(
        events in prop::collection::vec((any_event(), 0..DAY), 0..1500)
    ) {
        let (mut known, mut now) = (KnownPeers::default(), NOW);
        for (event, later) in events {
            now += later;
            match event {
                Event::Reached(number, address) => known.reached(peer(number), address, None, now),
                Event::OfUse(number, claimed) => known.was_of_use(peer(number), &claimed, now),
                Event::Failed(number) => known.failed(&peer(number), now),
            };
        }
        let (mut claims, mut groups) = (0, BTreeMap::<Group, usize>::new());
        for met in known.peers().values() {
            prop_assert!(!met.addresses.is_empty() && met.addresses.len() <= ADDRESSES_REMEMBERED_MAX);
            claims += usize::from(met.is_claimed);
            let own: std::collections::BTreeSet<Group> = met.addresses.iter().filter_map(rank::group).collect();
            own.into_iter().for_each(|group| *groups.entry(group).or_default() += 1);
        }
        prop_assert!(known.peers().len() <= REMEMBERED_MAX && claims <= REMEMBERED_CLAIMS_MAX);
        prop_assert!(groups.values().all(|count| *count <= REMEMBERED_PER_GROUP_MAX), "{groups:?}");
        prop_assert_eq!(known.best().len(), known.peers().len());
        let bytes = written::to_bytes(&known);
        prop_assert_eq!(written::read(&bytes, now).ok(), Some(known));
    }
}
