//! Tests the scheduler in simulated swarms: near the lower bound, among bad peers, in zones, equal for equal seeds.
//!
//! Small by default; `REG_FULL=1` runs the sizes of docs/performance.md, for which `cargo simulate` is the quicker way.

use super::{Manner, Outcome, Plan, picture, run};

fn is_full() -> bool {
    std::env::var_os("REG_FULL").is_some()
}

/// Runs a plan for some seeds, and all of them where everything is to be run.
fn outcomes(few: u64, all: u64, plan: impl Fn(u64) -> Plan) -> Vec<(u64, Outcome)> {
    let seeds = if is_full() { all } else { few };
    (1..=seeds).map(|seed| (seed, run(&plan(seed)))).collect()
}

#[test]
fn a_swarm_is_near_the_lower_bound() {
    // A small swarm spends a larger part of its time on the first copies.
    let ((nodes, pieces, degree), most) =
        if is_full() { ((1000, 1000, 40), 1.12) } else { ((60, 200, 20), 1.35) };
    for (seed, outcome) in outcomes(2, 20, |seed| Plan::new(seed, nodes, pieces, degree)) {
        assert_eq!(outcome.completions.len(), nodes as usize - 1, "seed {seed}");
        assert!(outcome.last() <= most, "seed {seed}: {:.3} of the bound", outcome.last());
        assert!(outcome.wasted_percent() <= 2.0, "seed {seed}: {:.2} % came twice", outcome.wasted_percent());
    }
}

#[test]
fn equal_seeds_give_equal_traces() {
    let plan = |seed| Plan { churn_percent: 10, ..Plan::new(seed, 30, 60, 10).with_liars(20) };
    let [one, again, other] = [1, 1, 2].map(|seed| run(&plan(seed)));
    assert_eq!((one.trace, &one.completions), (again.trace, &again.completions));
    assert_ne!(one.trace, other.trace);
}

#[test]
fn churn_and_liars_only_slow_a_swarm_down() {
    let ((nodes, pieces, degree), most) =
        if is_full() { ((1000, 1000, 40), 1.3) } else { ((60, 150, 20), 1.8) };
    let plan = |seed| Plan { churn_percent: 5, ..Plan::new(seed, nodes, pieces, degree).with_liars(10) };
    for (seed, outcome) in outcomes(2, 20, plan) {
        assert!(outcome.last() <= most, "seed {seed}: {:.3} of the bound", outcome.last());
        assert!(outcome.wrong > 0, "seed {seed}: no node met a liar");
    }
}

/// Up to seven of eight peers are bad, in every way there is. That a liar is out after one wrong piece, the simulator
/// checks at every step.
#[test]
fn one_honest_peer_of_eight_is_enough() {
    let pieces = if is_full() { 1000 } else { 64 };
    for bad in if is_full() { 1..=7 } else { 7..=7 } {
        let manners = |seed: u64| (0..bad).map(|place| Manner::BAD[(seed as usize + place) % 4]).collect();
        let plan = |seed| Plan { bad: manners(seed), ..Plan::new(seed, 2 + bad as u32, pieces, 8) };
        for (seed, outcome) in outcomes(100, 100, plan) {
            assert_eq!(outcome.completions.len(), 1, "seed {seed}");
            assert!(outcome.wrong <= bad as u64, "seed {seed}: {} wrong pieces", outcome.wrong);
        }
    }
}

/// Super-seeding: what the seed sends twice before all has been sent once is time that the whole swarm loses.
#[test]
fn a_single_seed_sends_little_twice_before_the_others_have_a_copy_among_them() {
    let ((nodes, pieces, degree), most) =
        if is_full() { ((1000, 1000, 40), 1.1) } else { ((60, 200, 20), 1.25) };
    for (seed, outcome) in outcomes(2, 20, |seed| Plan::new(seed, nodes, pieces, degree)) {
        let copies = outcome.copies_for_the_first();
        assert!((1.0..=most).contains(&copies), "seed {seed}: {copies:.3} copies");
    }
}

#[test]
fn a_blob_survives_its_seed() {
    let ((nodes, pieces, degree), enough) =
        if is_full() { ((1000, 1000, 40), 1200) } else { ((60, 200, 20), 260) };
    let plan = |sent, seed_returns| {
        move |seed| Plan {
            seed_dies_after: Some(sent),
            seed_returns,
            ..Plan::new(seed, nodes, pieces, degree)
        }
    };
    // After 1.2 copies (1.3 of a small blob) the others need it no more; after half of one they wait for it.
    for plan in [plan(enough, false), plan(pieces / 2, true)] {
        for (seed, outcome) in outcomes(2, 20, plan) {
            assert_eq!(outcome.completions.len(), nodes as usize - 1, "seed {seed}");
        }
    }
}

#[test]
fn zones_fetch_few_copies_from_each_other() {
    let ((nodes, pieces, degree, zones), most) =
        if is_full() { ((256, 1024, 32, 8), 3.0) } else { ((64, 100, 20, 4), 4.0) };
    let copies = |zones| move |seed| Plan { zones, ..Plan::new(seed, nodes, pieces, degree) };
    for (seed, outcome) in outcomes(2, 20, copies(zones)) {
        let copies = outcome.copies_into_a_zone();
        assert!((1.0 - 1e-9..=most).contains(&copies), "seed {seed}: {copies:.2} copies into a zone");
    }
}

#[test]
fn a_picture_shows_every_curve() {
    let outcome = run(&Plan::new(1, 10, 20, 9));
    let svg = picture(&[("one <of> them".to_owned(), &outcome), ("two".to_owned(), &outcome)]);
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("one &lt;of&gt; them: ") && svg.contains("lower bound"));
    assert_eq!(svg.matches("<path").count(), 4, "two axes and two curves");
}
