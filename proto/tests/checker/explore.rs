//! The explorations: configurations in which every property holds, and mutations that each break one.

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, UniformChooser};

use crate::config::{Author, Config, Forgery, Statement};
use crate::model::{Action, Naming};
use crate::mutations::{self, Mutation};
use crate::rules::Rules;

const FORGERIES: &[Forgery] = &[
    Forgery::Same,
    Forgery::After,
    Forgery::Gap,
    Forgery::Settling,
    Forgery::HalfSettling,
    Forgery::Forbidding,
    Forgery::First,
];

/// The thief withdraws a release, lends the name and revokes the stolen key; the publisher revokes the key and withdraws.
const STATEMENTS: &[(Author, Statement)] = &[
    (Author::Thief, Statement::Withdraw { record: 0, by: 1 }),
    (Author::Thief, Statement::RevokeKey { of: 1, by: 1 }),
    (Author::Thief, Statement::Delegate { by: 1 }),
    (Author::Owner, Statement::RevokeKey { of: 1, by: 2 }),
    (Author::Owner, Statement::Withdraw { record: 1, by: 2 }),
];

/// Explored completely by every run of the tests.
fn small() -> Vec<Config> {
    let thief = Config { documents: 2, stolen: Some(1), forks: true, ..Config::SMALL };
    vec![
        Config { name: "one machine", records: 3, crashes: 2, abandons: 2, ..Config::SMALL },
        Config { name: "two machines", machines: 2, records: 3, crashes: 1, settles: true, ..Config::SMALL },
        Config {
            name: "two machines, two followers",
            machines: 2,
            followers: 2,
            crashes: 1,
            settles: true,
            ..Config::SMALL
        },
        Config { name: "current key stolen", forgeries: FORGERIES, acts: 1, ..thief },
        Config { name: "floor", forgeries: FORGERIES, acts: 1, floor: Some(2), ..thief },
        Config { name: "statements", statements: STATEMENTS, ..thief },
        Config {
            name: "three documents",
            documents: 3,
            may_drop: true,
            strips_lists: true,
            forgeries: &[Forgery::After, Forgery::Same],
            acts: 1,
            ..thief
        },
        Config { name: "lowest usable", records: 3, forbidding: Some(1), ..Config::SMALL },
        Config {
            name: "two followers",
            followers: 2,
            has_newcomer: true,
            strips_lists: true,
            forgeries: &[Forgery::Same],
            acts: 1,
            ..thief
        },
        Config {
            name: "two machines and a thief",
            machines: 2,
            documents: 1,
            settles: true,
            forgeries: &[Forgery::Same, Forgery::Settling],
            acts: 1,
            ..thief
        },
        Config {
            name: "no commitment",
            is_committed: false,
            followers: 2,
            has_newcomer: true,
            records: 1,
            statements: &[(Author::Owner, Statement::RevokeKey { of: 1, by: 1 })],
            ..thief
        },
    ]
}

/// Explored by `REG_FULL=1`.
fn large() -> Vec<Config> {
    let thief = Config { documents: 2, stolen: Some(1), forks: true, forgeries: FORGERIES, ..Config::SMALL };
    vec![
        Config { name: "one machine, four records", records: 4, crashes: 2, abandons: 3, ..Config::SMALL },
        Config {
            name: "two machines, a thief, a rotation",
            machines: 2,
            settles: true,
            forgeries: &[Forgery::Same, Forgery::Settling],
            acts: 1,
            ..thief
        },
        Config { name: "two forged records", acts: 2, statements: STATEMENTS, depth: Some(12), ..thief },
        Config {
            name: "everything",
            machines: 2,
            followers: 2,
            has_newcomer: true,
            documents: 3,
            crashes: 1,
            abandons: 1,
            settles: true,
            may_drop: true,
            strips_lists: true,
            acts: 1,
            statements: STATEMENTS,
            depth: Some(10),
            ..thief
        },
    ]
}

/// A property that does not hold, and the actions that lead there.
struct Broken {
    property: &'static str,
    actions: Vec<Action>,
}

/// Explores a configuration until it is `done` or no state is left. Prints what it took.
fn explore(name: &str, config: Config, rules: Rules, done: HasDiscoveries) -> Vec<Broken> {
    // One thread: then a path to a fault is a shortest one.
    let builder = Naming::new(config, rules).checker().finish_when(done);
    let builder = match config.depth {
        Some(depth) => builder.target_max_depth(depth),
        None => builder,
    };
    let extent = config.depth.map_or("complete", |_| "to this depth");
    finish(name, extent, || builder.spawn_bfs().join())
}

/// Runs an exploration, prints what it took, and returns what broke.
fn finish<C: Checker<Naming>>(name: &str, extent: &str, run: impl FnOnce() -> C) -> Vec<Broken> {
    #[expect(clippy::disallowed_methods, reason = "the time that an exploration takes is printed")]
    let started = Instant::now();
    let checker = run();
    let found = checker.discoveries().into_iter();
    let broken = found.map(|(property, path)| Broken { property, actions: path.into_actions() }).collect();
    println!(
        "| {name} | {} | {} | {extent} | {:.1} |",
        checker.unique_state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f64()
    );
    broken
}

fn hold(configs: &[Config]) {
    println!("| configuration | states | depth | explored | seconds |");
    for config in configs {
        let broken = explore(config.name, *config, Rules::unchanged(), HasDiscoveries::AnyFailures);
        refuse(config, &broken);
    }
}

fn refuse(config: &Config, broken: &[Broken]) {
    if let Some(Broken { property, actions }) = broken.first() {
        let steps: Vec<String> = actions.iter().map(|it| format!("  {it:?}")).collect();
        panic!("{}: not always: {property}\n{}", config.name, steps.join("\n"));
    }
}

#[test]
fn every_property_holds_in_small_configurations() {
    hold(&small());
}

/// Explores a large configuration, where `REG_FULL=1` asks for it.
fn hold_if_full(name: &str) {
    if std::env::var_os("REG_FULL").is_none() {
        println!("skipped: {name} takes minutes; REG_FULL=1 explores it");
        return;
    }
    let config = large().into_iter().find(|it| it.name == name);
    hold(&[config.expect("a large configuration has this name")]);
}

#[test]
fn every_property_holds_with_four_records() {
    hold_if_full("one machine, four records");
}

#[test]
fn every_property_holds_with_two_machines_a_thief_and_a_rotation() {
    hold_if_full("two machines, a thief, a rotation");
}

#[test]
fn every_property_holds_with_two_forged_records() {
    hold_if_full("two forged records");
}

#[test]
fn every_property_holds_with_everything() {
    hold_if_full("everything");
}

/// All actors together, with more records than an exploration could try: paths to the end, chosen at random.
#[test]
fn every_property_holds_on_random_paths() {
    const SEED: u64 = 12;
    let states = if std::env::var_os("REG_FULL").is_some() { 2_000_000 } else { 60_000 };
    let all = Config {
        name: "random paths",
        records: 5,
        crashes: 2,
        abandons: 2,
        acts: 2,
        depth: None,
        ..*large().last().expect("the largest")
    };
    let floor = Config { name: "random paths, floor", floor: Some(3), ..all };
    let lowest = Config { name: "random paths, lowest usable", forbidding: Some(2), ..all };
    println!("| configuration | states | depth | explored | seconds |");
    for config in [all, floor, lowest] {
        println!("seed {SEED}");
        let checker = Naming::new(config, Rules::unchanged()).checker();
        let checker = checker.finish_when(HasDiscoveries::AnyFailures).target_state_count(states);
        let broken =
            finish(config.name, "at random", || checker.spawn_simulation(SEED, UniformChooser).join());
        refuse(&config, &broken);
    }
}

#[test]
fn each_mutation_is_caught_by_its_property() {
    println!("| mutation | states | depth | explored | seconds |");
    for Mutation { name, rules, config, caught_by } in mutations::all() {
        let done = HasDiscoveries::AnyOf([caught_by].into());
        let unchanged = explore("the rules unchanged", config, Rules::unchanged(), done.clone());
        assert!(unchanged.is_empty(), "{name}: the rules unchanged: {}", unchanged[0].property);
        let broken = explore(name, config, rules, done);
        let found: Vec<&str> = broken.iter().map(|it| it.property).collect();
        let caught = broken.iter().find(|it| it.property == caught_by);
        let Some(Broken { actions, .. }) = caught else {
            panic!("{name}: not caught by {caught_by}, but {found:?}")
        };
        println!("|   {caught_by}: {} steps | | | | |", actions.len());
    }
    assert!(mutations::all().len() >= 15, "the issue asks for fifteen");
}
