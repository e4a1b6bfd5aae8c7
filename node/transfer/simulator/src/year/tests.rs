//! Tests a smaller world: the order of the policies, and that equal seeds give equal years.

use super::*;

/// A network of a tenth, for half a year. The scope of its few donors is everything: with a quarter, one model of
/// eighteen would be in none.
fn small(seed: u64, policy: Policy) -> Plan {
    Plan {
        nodes: 100,
        models: 200,
        days: 180,
        warm_up_days: 60,
        uploaded_days: 30,
        scope_percent: 100,
        ..Plan::new(seed, policy)
    }
}

#[test]
fn the_scarcest_first_keeps_most() {
    let seeds = if std::env::var_os("REG_FULL").is_some() { 6 } else { 2 };
    for seed in 1..=seeds {
        let [none, random, popular, scarcest] = Policy::ALL.map(|policy| run(&small(seed, policy)).alive());
        let shown =
            format!("seed {seed}: {none} none, {random} random, {popular} popular, {scarcest} scarcest");
        assert!(scarcest > random && random > none && random > popular, "{shown}");
        assert!(popular >= none, "{shown}");
    }
}

#[test]
fn equal_seeds_give_equal_years() {
    let [one, again, other] =
        [1, 1, 2].map(|seed| run(&Plan { days: 20, ..small(seed, Policy::ScarcestFirst) }));
    assert_eq!(one, again);
    assert_ne!(one, other);
    assert_eq!(one.samples.len(), 21);
    assert!(one.samples[0].alive >= 1.0, "each model has a copy on day 0");
}

#[test]
fn donors_stay_within_their_disks_and_their_budget() {
    let plan = Plan { days: 40, donation: 20_000_000_000, ..small(1, Policy::ScarcestFirst) };
    let outcome = run(&plan);
    let donors = u64::from(plan.nodes) * u64::from(plan.donors_percent) / 100;
    assert!(outcome.donated > 0 && outcome.donated <= outcome.given_back + donors * plan.donation);
    let budget = u64::from(plan.audits_per_hour) << 20;
    assert!(outcome.audited > 0 && outcome.audited <= donors * budget * 24 * u64::from(plan.days));
    let none = run(&Plan { policy: Policy::None, ..plan });
    assert_eq!((none.donated, none.audited, none.given_back), (0, 0, 0));
    assert!(none.pulls > 0 && none.pulled > 0);
}

#[test]
fn a_picture_shows_every_policy() {
    let years = [1, 2].map(|seed| run(&Plan { days: 5, ..small(seed, Policy::None) }));
    let svg = picture(&[("none", &years), ("again", &years[..1])]);
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("none: ") && svg.contains("day 0"));
    assert_eq!(svg.matches("<path").count(), 5, "the axes, and a band and a line for each");
    let summary = Summary::of(&years).unwrap();
    assert!(summary.alive_worst <= summary.alive_mean && summary.alive_mean <= summary.alive_best);
    assert_eq!(Summary::of(&[]), None);
}
