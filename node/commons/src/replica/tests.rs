//! Tests the count of replicas, and the bounds of the table.

use proptest::prelude::*;
use reg_proto::json;

use super::*;
use crate::passes::{FRESH_FOR, PASSES_NEEDED};
use crate::time::HOUR;

fn at(hours: u32) -> Moment {
    Moment::from_seconds(1_700_000_000) + HOUR * hours
}

fn model(n: u16) -> Digest {
    Digest::of(&n.to_be_bytes())
}

fn peer(n: u16) -> PeerId {
    PeerId::from_public_key(*Digest::of(&n.to_le_bytes()).as_bytes())
}

fn zone(n: u8) -> Zone {
    Zone::V4([192, 0, n])
}

/// Adds a copy and lets it pass so many pieces, one an hour from an hour on.
fn prove(audits: &mut Audits, model: &Digest, number: u16, in_zone: u8, passes: u32, from: u32) {
    audits.add(*model, peer(number), zone(in_zone), at(from));
    (0..passes).for_each(|n| audits.passed(model, &peer(number), 1 << 20, at(from + n)));
}

#[test]
fn copies_of_one_zone_are_one_replica() {
    let (mut audits, model) = (Audits::default(), model(1));
    for (number, in_zone, passes) in [(1, 1, 8), (2, 1, 9), (3, 2, 8), (4, 3, 7)] {
        prove(&mut audits, &model, number, in_zone, passes, 0);
    }
    let replicas = audits.count(&model, at(10));
    assert_eq!((replicas.zones, replicas.copies), (2, 3));
    assert_eq!((replicas.oldest, replicas.newest), (Some(at(0)), Some(at(8))));
    assert_eq!(replicas.proven_bytes, 24 << 20);
    let later = at(0) + FRESH_FOR;
    assert_eq!(audits.count(&model, later).copies, 1, "only the one with a pass an hour later");
    assert_eq!(audits.count(&Digest::of(b"another"), at(10)), Replicas::default());
}

#[test]
fn a_failure_takes_the_count_away_at_once_and_is_tried_again_after_a_pause() {
    for why in [Failure::NotGiven, Failure::Wrong] {
        let (mut audits, model) = (Audits::default(), model(1));
        prove(&mut audits, &model, 1, 1, 8, 0);
        assert_eq!(audits.count(&model, at(8)).zones, 1);
        audits.failed(&model, &peer(1), why, at(8));
        assert_eq!(audits.count(&model, at(8)).zones, 0, "{why:?}");
        let due = |audits: &Audits, hour| {
            audits.copies(&model).and_then(|it| it.get(&peer(1))?.due(at(hour))).is_some()
        };
        assert!(!due(&audits, 31) && due(&audits, 32));
        // A second failure in a row costs twice as long, and a pass makes good.
        audits.failed(&model, &peer(1), why, at(32));
        assert!(!due(&audits, 79) && due(&audits, 80));
        prove(&mut audits, &model, 1, 1, 8, 80);
        assert_eq!(audits.count(&model, at(88)).zones, 1);
        audits.failed(&model, &peer(1), why, at(100));
        assert!(due(&audits, 124));
    }
    let pause = |times| Failed { at: at(0), why: Failure::Wrong, times }.pause();
    assert_eq!(pause(u32::MAX), RETRY_AFTER * 16);
}

#[test]
fn a_crowd_in_one_zone_fills_no_table() {
    let (mut audits, model) = (Audits::default(), model(1));
    prove(&mut audits, &model, 1, 1, 8, 0);
    let taken = (100..300).filter(|n| audits.add(model, peer(*n), zone(1), at(9))).count();
    assert_eq!(taken, 200, "newcomers take the place of newcomers");
    assert_eq!(audits.copies(&model).unwrap().iter().count(), PEERS_PER_ZONE_MAX);
    assert_eq!(audits.count(&model, at(9)).zones, 1, "what counts stays");
    // Neither does a crowd from everywhere push out what counts, nor does it make good what failed.
    audits.add(model, peer(2), zone(2), at(9));
    audits.failed(&model, &peer(2), Failure::Wrong, at(9));
    (300..900).for_each(|n| assert!(audits.add(model, peer(n), zone((n % 200) as u8 + 3), at(9))));
    let copies = audits.copies(&model).unwrap();
    assert_eq!(copies.iter().count(), PEERS_PER_MODEL_MAX);
    assert!(copies.get(&peer(1)).is_some() && copies.get(&peer(2)).is_some());
}

#[test]
fn a_crowd_that_fails_leaves_room_for_others() {
    let (mut audits, model) = (Audits::default(), model(1));
    for n in 0..PEERS_PER_MODEL_MAX as u16 {
        audits.add(model, peer(n), zone(n as u8), at(0));
        audits.failed(&model, &peer(n), Failure::NotGiven, at(0));
    }
    (100..108).for_each(|n| prove(&mut audits, &model, n, n as u8, 8, 1));
    assert_eq!(audits.count(&model, at(9)).zones, 8);
    let paused = audits.copies(&model).unwrap().iter().filter(|(_, it)| it.failed.is_some()).count();
    assert_eq!(paused, PEERS_PER_MODEL_MAX - 8);
}

#[test]
fn models_are_bounded_and_what_costs_least_to_prove_goes_first() {
    let mut audits = Audits::default();
    prove(&mut audits, &model(0), 1, 1, 8, 0);
    (1..=MODELS_MAX as u16 + 10).for_each(|n| assert!(audits.add(model(n), peer(1), zone(1), at(8))));
    assert_eq!(audits.models().count(), MODELS_MAX);
    assert_eq!(audits.count(&model(0), at(8)).zones, 1);
}

#[test]
fn a_node_stores_what_it_knows_of_a_model() {
    let (mut audits, model) = (Audits::default(), model(1));
    prove(&mut audits, &model, 1, 1, 9, 0);
    audits.add(model, peer(2), "name:rack-1".parse().unwrap(), at(1));
    audits.failed(&model, &peer(2), Failure::NotGiven, at(2));
    let copies = audits.copies(&model).unwrap();
    let stored = json::to_vec(copies);
    assert!(stored.len() < 40 << 10);
    let read: Copies = json::from_slice(&stored, 1 << 16).unwrap();
    assert_eq!(&read, copies);
    let mut restored = Audits::default();
    restored.restore(model, read, at(3));
    assert_eq!(restored.count(&model, at(9)), audits.count(&model, at(9)));
    let text = String::from_utf8(stored).unwrap();
    for (from, to) in [("rack-1", "rack 1"), ("not-given", "given"), ("\"at\":", "\"when\":")] {
        assert!(json::from_slice::<Copies>(text.replacen(from, to, 1).as_bytes(), 1 << 16).is_err(), "{to}");
    }
}

proptest! {
    /// Whatever happens in whatever order: no more zones are counted than have a copy with enough passes since its last
    /// failure, and none that failed last.
    #[test]
    fn the_count_is_never_too_high(steps in prop::collection::vec((0u16..5, 0u8..10, 0u32..12), 0..300)) {
        let (mut audits, model) = (Audits::default(), model(1));
        let mut passes: BTreeMap<u16, Vec<Moment>> = BTreeMap::new();
        let mut now = at(0);
        for (number, what, hours) in steps {
            now = now + HOUR * hours;
            audits.add(model, peer(number), zone(number as u8 / 2), now);
            if what == 0 {
                audits.failed(&model, &peer(number), Failure::Wrong, now);
                passes.remove(&number);
            } else {
                audits.passed(&model, &peer(number), 1, now);
                passes.entry(number).or_default().push(now);
            }
            let enough = |list: &&Vec<Moment>| {
                list.iter().filter(|at| now.since(**at) < FRESH_FOR).count() >= PASSES_NEEDED
            };
            let zones: BTreeSet<u16> =
                passes.iter().filter(|(_, list)| enough(list)).map(|(number, _)| number / 2).collect();
            prop_assert_eq!(audits.count(&model, now).zones as usize, zones.len());
        }
    }
}

#[test]
fn a_failure_of_a_document_of_before_is_read() {
    for (stored, why) in
        [("slow", Failure::NotGiven), ("not-given", Failure::NotGiven), ("wrong", Failure::Wrong)]
    {
        let read: Failure = json::from_slice(format!("{stored:?}").as_bytes(), 99).unwrap();
        assert_eq!(read, why, "{stored}");
    }
}
