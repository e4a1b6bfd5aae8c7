//! Tests the verdicts of a private swarm as tables, and that no order of events loses a blob by our own decisions.

use proptest::prelude::*;

use super::*;
use crate::time::HOUR;

const START: Moment = Moment::from_seconds(1_700_000_000);
const STEP: Duration = Duration::from_secs(600);

fn at(steps: u32) -> Moment {
    START + STEP * steps
}

fn peer(n: u8) -> PeerId {
    PeerId::from_public_key([n; 32])
}

fn blob(n: u8) -> Digest {
    Digest::of(&[n])
}

fn node(n: u8, zone: u8) -> Node {
    let zone = Zone::V4([10, 0, zone]);
    Node { peer: peer(n), zone, presence: Presence::Here, is_draining: false, has_room: true }
}

/// Nodes 0 to 5 in zones of their own, by rank for blob 1.
fn six() -> Vec<Node> {
    let nodes: Vec<Node> = (0..6).map(|n| node(n, n)).collect();
    ranked(&nodes, &blob(1)).into_iter().cloned().collect()
}

/// Says that these nodes, by rank, hold the blob and were proven an hour ago.
fn held_by(nodes: &[Node], ranks: &[usize]) -> Spread {
    let holders = ranks.iter().map(|rank| (nodes[*rank].peer, Some(at(0)))).collect();
    Spread { holders, above_since: Some(START), ..Spread::default() }
}

fn verdicts(policy: &Policy, nodes: &[Node], spread: &Spread, now: Moment) -> Vec<Verdict> {
    nodes.iter().map(|it| judge(policy, &it.peer, nodes, &blob(1), spread, now)).collect()
}

const LATER: Moment = Moment::from_seconds(START.seconds() + DAY.as_secs() - 1);

fn two() -> Policy {
    Policy { shrink_after: HOUR, ..Policy::new(2) }
}

#[test]
fn the_highest_ranked_fetch_what_is_missing() {
    let nodes = six();
    let fetch = |copies| Verdict::Fetch(FetchReason::TooFew { copies, wanted: 2 });
    let keep = |copies| Verdict::Keep(KeepReason::Needed { copies });
    let all = |spread: &Spread, nodes: &[Node]| verdicts(&two(), nodes, spread, LATER);
    use Verdict::Leave;
    assert_eq!(all(&held_by(&nodes, &[]), &nodes), [fetch(0), fetch(0), Leave, Leave, Leave, Leave]);
    assert_eq!(all(&held_by(&nodes, &[4]), &nodes), [fetch(1), Leave, Leave, Leave, keep(1), Leave]);
    // What is held stays where it is.
    assert_eq!(all(&held_by(&nodes, &[4, 5]), &nodes), [Leave, Leave, Leave, Leave, keep(2), keep(2)]);
    // A node that fetches already goes on, and one without room is passed over.
    let mut fetching = held_by(&nodes, &[4]);
    fetching.fetching.insert(nodes[3].peer);
    assert_eq!(all(&fetching, &nodes)[..4], [Leave, Leave, Leave, fetch(1)]);
    let mut full = nodes.clone();
    full[0].has_room = false;
    assert_eq!(all(&held_by(&nodes, &[4]), &full)[..3], [Leave, fetch(1), Leave]);
}

#[test]
fn a_holder_may_be_away_for_a_while() {
    let mut nodes = six();
    nodes[0].presence = Presence::Away { since: START };
    let spread = held_by(&nodes, &[0, 1]);
    for (after, is_fetched) in [(0, false), (899, false), (900, true)] {
        let now = START + Duration::from_secs(after);
        let verdict = judge(&two(), &nodes[2].peer, &nodes, &blob(1), &spread, now);
        assert_eq!(matches!(verdict, Verdict::Fetch(_)), is_fetched, "{after}");
    }
}

#[test]
fn one_copy_too_many_goes_after_a_time_and_from_the_lowest_only() {
    let nodes = six();
    let spread = held_by(&nodes, &[0, 2, 4, 5]);
    let of =
        |spread: &Spread, now, rank: usize| judge(&two(), &nodes[rank].peer, &nodes, &blob(1), spread, now);
    assert_eq!(of(&spread, LATER, 5), Verdict::GiveUp { others: 3 });
    for rank in [0, 2, 4] {
        assert_eq!(of(&spread, LATER, rank), Verdict::Keep(KeepReason::RanksHigher));
    }
    let soon = START + Duration::from_secs(3599);
    assert_eq!(of(&spread, soon, 5), Verdict::Keep(KeepReason::AboveLately));
    let not_proven = |wanted_proven: usize| {
        let mut spread = spread.clone();
        let others = [0, 2, 4].map(|rank| nodes[rank].peer);
        others.iter().skip(wanted_proven).for_each(|it| *spread.holders.get_mut(it).unwrap() = None);
        of(&spread, LATER, 5)
    };
    assert_eq!(not_proven(2), Verdict::GiveUp { others: 2 });
    assert_eq!(not_proven(1), Verdict::Keep(KeepReason::OthersNotProven { proven: 1, wanted: 2 }));
    // A day later the proofs are old.
    assert!(matches!(of(&spread, LATER + HOUR, 5), Verdict::Keep(KeepReason::OthersNotProven { .. })));
}

#[test]
fn what_a_user_keeps_stays_and_the_next_lowest_gives_up() {
    let nodes = six();
    let mut spread = held_by(&nodes, &[0, 2, 4, 5]);
    spread.kept.insert(nodes[5].peer);
    let of = |rank: usize| judge(&two(), &nodes[rank].peer, &nodes, &blob(1), &spread, LATER);
    assert_eq!(of(5), Verdict::Keep(KeepReason::RanksHigher));
    assert_eq!(of(4), Verdict::GiveUp { others: 3 });
    assert_eq!(of(2), Verdict::Keep(KeepReason::RanksHigher));
}

/// A user keeps copies in a zone, beside one for the swarm: that one goes, and never the only one of another zone.
#[test]
fn what_goes_is_the_only_copy_of_no_zone_whatever_users_keep() {
    for kept in [&[0][..], &[1], &[0, 1]] {
        // Nodes 0 and 1 are in one zone, and each of the others in one of its own.
        let nodes: Vec<Node> = (0..5).map(|n| node(n, n.max(1))).collect();
        let three = Policy { copies: 3, ..two() };
        let mut spread = held_by(&nodes, &[0, 1, 2, 3]);
        spread.kept.extend(kept.iter().map(|n| nodes[*n].peer));
        let of = |n: usize| judge(&three, &nodes[n].peer, &nodes, &blob(1), &spread, LATER);
        let gone: Vec<usize> = (0..4).filter(|n| matches!(of(*n), Verdict::GiveUp { .. })).collect();
        let expected: Vec<usize> = [0, 1].into_iter().filter(|n| !kept.contains(n)).collect();
        assert_eq!(gone, expected, "{kept:?}");
    }
}

#[test]
fn counts_and_choices_agree_with_the_verdicts() {
    let nodes = six();
    for holders in [&[][..], &[4], &[4, 5], &[0, 2, 4]] {
        let spread = held_by(&nodes, holders);
        let counted = count_copies(&two(), &nodes, &blob(1), &spread, LATER);
        let copies = holders.len() as u32;
        assert_eq!(counted, Counted { copies, zones: copies, wanted: 2 });
        let chosen = chosen(&two(), &nodes, &blob(1), &spread, LATER);
        for node in &nodes {
            let verdict = judge(&two(), &node.peer, &nodes, &blob(1), &spread, LATER);
            assert_eq!(matches!(verdict, Verdict::Fetch(_)), chosen.contains(&node.peer), "{holders:?}");
        }
    }
}

#[test]
fn zones_are_kept_apart() {
    // Nodes 0 to 3 are in one zone, 4 in another, and 5 in a third one without room.
    let nodes: Vec<Node> =
        (0..6).map(|n| Node { has_room: n != 5, ..node(n, if n < 4 { 0 } else { n }) }).collect();
    let spread = |holders: &[usize]| held_by(&nodes, holders);
    let three = Policy { copies: 3, ..two() };
    let of = |spread: &Spread, n: usize| judge(&three, &nodes[n].peer, &nodes, &blob(1), spread, LATER);
    let reason = FetchReason::OtherZone { zones: 1, wanted: 3 };
    assert_eq!(of(&spread(&[0, 1, 2]), 4), Verdict::Fetch(reason));
    assert_eq!(of(&spread(&[0, 1, 2]), 3), Verdict::Leave, "no other copy in a zone that has one");
    assert_eq!(of(&spread(&[0, 1, 2, 4]), 3), Verdict::Leave);
    // Then one of the zone with three gives up, and never the only one of its zone.
    let gone: Vec<usize> = [0, 1, 2, 4]
        .into_iter()
        .filter(|n| matches!(of(&spread(&[0, 1, 2, 4]), *n), Verdict::GiveUp { .. }))
        .collect();
    assert!(gone.len() == 1 && gone[0] != 4, "{gone:?}");
}

#[test]
fn a_drained_node_hands_over_first() {
    let mut nodes = six();
    nodes[0].is_draining = true;
    let of = |spread: &Spread, rank: usize| judge(&two(), &nodes[rank].peer, &nodes, &blob(1), spread, LATER);
    let before = held_by(&nodes, &[0, 1]);
    let handing = Verdict::Keep(KeepReason::HandingOver { others: 1, wanted: 2 });
    assert_eq!(of(&before, 0), handing);
    assert_eq!(of(&before, 2), Verdict::Fetch(FetchReason::TooFew { copies: 1, wanted: 2 }));
    let after = held_by(&nodes, &[0, 1, 2]);
    assert_eq!(of(&after, 0), Verdict::HandedOver { others: 2 });
    assert!(!may_leave([handing, Verdict::Leave]) && may_leave([of(&after, 0), Verdict::Leave]));
    // The last node of all has no other to hand over to.
    let alone = [Node { is_draining: true, ..node(1, 1) }];
    let spread = held_by(&alone, &[0]);
    let verdict = judge(&two(), &peer(1), &alone, &blob(1), &spread, LATER);
    assert_eq!(verdict, Verdict::Keep(KeepReason::HandingOver { others: 0, wanted: 1 }));
    // A node that the list does not name removes nothing.
    assert!(matches!(
        judge(&two(), &peer(9), &alone, &blob(1), &held_by(&[node(9, 9)], &[0]), LATER),
        Verdict::Keep(_)
    ));
}

#[test]
fn a_node_more_moves_a_share_of_the_ranks_only() {
    let nodes: Vec<Node> = (0..11).map(|n| node(n, n)).collect();
    let first = |nodes: &[Node], n: u16| ranked(nodes, &Digest::of(&n.to_be_bytes()))[0].peer;
    let moved = (0..1000).filter(|n| first(&nodes[..10], *n) != first(&nodes, *n)).count();
    assert!((60..125).contains(&moved), "about an eleventh of 1,000: {moved}");
}

/// What happens to a node from outside.
#[derive(Debug, Clone, Copy)]
enum Change {
    Leaves,
    Returns,
    Drains,
    Joins,
}

/// A small swarm with one blob, in which every present node judges at every step from the same facts.
struct World {
    policy: Policy,
    nodes: Vec<Node>,
    spread: Spread,
    step: u32,
    /// Set where events from outside took the last copy: then the rules owe nothing.
    is_lost: bool,
}

impl World {
    fn new(policy: Policy, zones: &[u8]) -> Self {
        let nodes: Vec<Node> = (0..).zip(zones).map(|(n, zone)| node(n, *zone)).collect();
        let spread = held_by(&nodes, &[0]);
        Self { policy, nodes, spread: Spread { above_since: None, ..spread }, step: 0, is_lost: false }
    }

    fn change(&mut self, place: usize, change: Change) {
        let (now, count) = (at(self.step), self.nodes.len());
        let node = &mut self.nodes[place % count];
        match change {
            Change::Leaves if node.presence == Presence::Here => {
                node.presence = Presence::Away { since: now };
            }
            Change::Returns => node.presence = Presence::Here,
            Change::Drains => node.is_draining = true,
            Change::Joins => node.is_draining = false,
            Change::Leaves => (),
        }
        self.is_lost |= self.copies_here() == 0;
    }

    fn is_here(&self, peer: &PeerId) -> bool {
        self.nodes.iter().any(|it| it.peer == *peer && it.presence == Presence::Here)
    }

    fn copies_here(&self) -> usize {
        self.spread.holders.keys().filter(|it| self.is_here(it)).count()
    }

    /// Copies at nodes that stay.
    fn copies_able(&self) -> usize {
        let able = |it: &&Node| it.presence == Presence::Here && !it.is_draining;
        self.nodes.iter().filter(able).filter(|it| self.spread.holders.contains_key(&it.peer)).count()
    }

    /// Lets every node that is here judge, and act. A fetch takes a step.
    fn act(&mut self) -> Result<(), TestCaseError> {
        self.step += 1;
        let now = at(self.step);
        let here: Vec<PeerId> = self.nodes.iter().map(|it| it.peer).filter(|it| self.is_here(it)).collect();
        for (peer, proven) in &mut self.spread.holders {
            if here.contains(peer) {
                *proven = Some(now);
            }
        }
        let blob = blob(1);
        let facts = Facts::new(&self.policy, &self.nodes, &blob, &self.spread, now);
        let (copies, wanted) = (facts.copies(), facts.wanted);
        let zones = |nodes: &[&Node]| nodes.iter().map(|it| it.zone.clone()).collect::<BTreeSet<_>>().len();
        let all: Vec<&Node> = facts.able.iter().chain(&facts.live).copied().collect();
        let needed = (wanted.saturating_sub(copies) as usize)
            .max((wanted as usize).min(zones(&all)).saturating_sub(zones(&facts.live)));
        match copies > wanted {
            true => self.spread.above_since.get_or_insert(now),
            false => &mut self.spread.above_since.take().unwrap_or(now),
        };
        let verdicts: Vec<(PeerId, Verdict)> = here
            .iter()
            .map(|me| (*me, judge(&self.policy, me, &self.nodes, &blob, &self.spread, now)))
            .collect();
        let is = |kind: fn(&Verdict) -> bool| verdicts.iter().filter(|(_, it)| kind(it)).count();
        prop_assert!(is(|it| matches!(it, Verdict::Fetch(_))) <= needed, "{verdicts:?}");
        prop_assert!(is(|it| matches!(it, Verdict::GiveUp { .. })) <= 1, "{verdicts:?}");
        for (peer, verdict) in verdicts {
            match verdict {
                Verdict::Fetch(_) if self.spread.fetching.remove(&peer) => {
                    self.spread.holders.insert(peer, Some(now));
                }
                Verdict::Fetch(_) => _ = self.spread.fetching.insert(peer),
                Verdict::GiveUp { .. } => {
                    self.spread.holders.remove(&peer);
                    prop_assert!(self.copies_able() >= self.policy.copies as usize);
                }
                Verdict::HandedOver { .. } => {
                    // The drained node leaves for good, with its copy.
                    self.spread.holders.remove(&peer);
                    prop_assert!(self.copies_able() >= 1);
                }
                Verdict::Keep(_) | Verdict::Leave => _ = self.spread.fetching.remove(&peer),
            }
        }
        Ok(())
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![Just(Change::Leaves), Just(Change::Returns), Just(Change::Drains), Just(Change::Joins)]
}

proptest! {
    /// Whatever comes, goes and is drained in whatever order: no decision of ours takes the last copy, and once it is
    /// quiet there are N copies, in as many zones as there can be.
    #[test]
    fn no_order_of_events_loses_a_blob(
        zones in prop::collection::vec(0u8..5, 2..9),
        copies in 1u32..5,
        events in prop::collection::vec((0usize..8, change(), 0u32..8), 0..30),
    ) {
        let policy = Policy { shrink_after: HOUR, ..Policy::new(copies) };
        let mut world = World::new(policy, &zones);
        for (place, change, steps) in events {
            world.change(place, change);
            for _step in 0..steps {
                world.act()?;
            }
        }
        for _step in 0..60 {
            world.act()?;
        }
        let able: Vec<&Node> =
            world.nodes.iter().filter(|it| it.presence == Presence::Here && !it.is_draining).collect();
        if world.is_lost || able.is_empty() {
            return Ok(());
        }
        let expected = able.len().min(copies as usize);
        // A copy too many is given up only where N others are there; with fewer nodes, none is too many.
        prop_assert_eq!(world.copies_able(), expected, "{:?}", world.spread);
        let zones_able: BTreeSet<&Zone> = able.iter().map(|it| &it.zone).collect();
        let held: BTreeSet<&Zone> =
            able.iter().filter(|it| world.spread.holders.contains_key(&it.peer)).map(|it| &it.zone).collect();
        prop_assert_eq!(held.len(), zones_able.len().min(copies as usize), "{:?}", world.spread);
        // A node that was drained is free to go.
        let is_held_back = |it: &Node| {
            let is_here = it.presence == Presence::Here;
            it.is_draining && is_here && world.spread.holders.contains_key(&it.peer)
        };
        prop_assert!(!world.nodes.iter().any(is_held_back), "{:?}", world.spread);
    }
}
