//! Tests that tags and keys survive failed operations, kills, races and power cuts: no tag is frozen, no acknowledged version
//! is lost by its name, and no key becomes unusable.
//!
//! `REG_FULL=1` runs them as often as the promise says. `REG_TEST_BEFORE=1 REG_COUNT_HARM=1` counts what the version before
//! this promise does.

use std::collections::BTreeMap;
use std::process::Child;
use std::time::Duration;

use reg_testnet::chance::Chance;
use reg_testnet::faulty_fs::{self, Fault, Op};
use reg_testnet::power::{self, FileSystem};
use reg_testnet::process::{Home, is_full};
use rustix::io::Errno;

use crate::acts::{Act, Prepared, succeeds};
use crate::disks::{CutDisk, FailingDisk};
use crate::tally::{Found, Harm, Tally};
use crate::world::World;

/// Rounds until a new publisher begins: a publisher has so many key documents at most.
const ROUNDS_PER_WORLD: u64 = 20;

fn rounds(short: u64, full: u64) -> u64 {
    if is_full() { full } else { short }
}

/// A world with the publisher's files behind a file system that fails. The world ends first.
struct FaultyWorld {
    world: World,
    disk: FailingDisk,
}

impl FaultyWorld {
    fn new() -> Self {
        let disk = FailingDisk::new();
        Self { world: World::new(disk.home("publisher")), disk }
    }

    /// Counts the operations of each act.
    fn operations(mut self) -> BTreeMap<Act, BTreeMap<Op, u64>> {
        let mut found = BTreeMap::new();
        for act in Act::ALL {
            let prepared =
                act.prepare(&mut self.world).unwrap_or_else(|found| panic!("no fault yet: {found}"));
            let before = Op::ALL.map(|op| self.disk.files.count(op));
            assert!(prepared.attempt(&mut self.world), "{act:?} fails without a fault");
            let counted =
                Op::ALL.into_iter().zip(before).map(|(op, before)| (op, self.disk.files.count(op) - before));
            // A name that cannot be looked up because of an I/O error is rare, and is most of all operations.
            found.insert(act, counted.filter(|(op, count)| *count > 0 && *op != Op::Stat).collect());
        }
        found
    }
}

/// Returns an operation that an act does, and how it fails.
fn any_fault(of: &BTreeMap<Op, u64>, chance: &mut Chance) -> Fault {
    let kinds: Vec<(Op, u64)> = of.iter().map(|(op, count)| (*op, *count)).collect();
    let (op, count) = *chance.one(&kinds);
    let fills =
        matches!(op, Op::Create | Op::Write | Op::Resize | Op::Fsync | Op::Rename | Op::Link | Op::MakeDir);
    let error = if fills && chance.percent(50) { Errno::NOSPC } else { Errno::IO };
    let fault = Fault::nth(op, 1 + chance.below(count), error);
    if chance.percent(30) { fault.from_then_on() } else { fault }
}

#[test]
fn failed_operations_freeze_no_tag_and_lose_no_version_and_no_key() {
    if faulty_fs::is_left_out("operations that fail while names change") {
        return;
    }
    let mut chance = Chance::of_this_run("failed operations");
    let mut tally = Tally::new("failed operations");
    let operations = FaultyWorld::new().operations();
    let mut faulty = FaultyWorld::new();
    println!("operations of each act: {operations:?}");
    let (mut struck, mut in_world) = (0, 0);
    while struck < rounds(8, 200) {
        let act = Act::any(&mut chance);
        let fault = any_fault(&operations[&act], &mut chance);
        let round = operation_round(&mut faulty, act, &fault, &mut chance);
        let (has_struck, ended) = match round {
            Ok(has_struck) => (has_struck, Ok(())),
            Err(found) => (true, Err(found.after(&format!("{act:?} with {fault:?}")))),
        };
        struck += u64::from(has_struck);
        in_world += 1;
        let is_over = tally.note(&act.name(), ended) || in_world >= ROUNDS_PER_WORLD;
        if is_over {
            faulty = FaultyWorld::new();
            in_world = 0;
        }
    }
    println!("{struck} operations failed");
}

/// sled takes nothing more after one failed write. The daemon makes its index anew, and goes on.
#[test]
fn a_daemon_goes_on_after_its_index_has_failed() {
    if faulty_fs::is_left_out("an index that fails") {
        return;
    }
    let mut faulty = FaultyWorld::new();
    let version = faulty.world.next_version();
    faulty.disk.files.fail(Fault::nth(Op::Write, 1, Errno::IO).at("index/db"));
    // The index is written last, and can be rebuilt from the files: the publication may well succeed.
    faulty.world.publish(version, true);
    assert_eq!(faulty.disk.files.heal().len(), 1);
    let version = faulty.world.next_version();
    faulty.world.publish(version, true).ok();
    faulty.world.follower_has(version).expect("it is published");
    faulty.world.node.home.run(["gc"]).ok();
    // While the disk is full, the index stays in memory, and the node says so.
    faulty.disk.files.fail(Fault::nth(Op::Write, 1, Errno::NOSPC).at("index/").from_then_on());
    faulty.disk.files.fail(Fault::nth(Op::Create, 1, Errno::NOSPC).at("index/").from_then_on());
    let version = faulty.world.next_version();
    faulty.world.publish(version, true).ok();
    faulty.world.follower_has(version).expect("it is published");
    faulty.world.node.home.run(["gc"]).ok();
    assert!(!faulty.disk.files.heal().is_empty());
    let status = faulty.world.node.home.json(["status"]);
    assert!(status["index_trouble"].as_str().is_some_and(|it| it.contains("No space left")), "{status}");
    faulty.world.node.kill();
    faulty.world.node.start().expect("it starts");
    assert!(faulty.world.node.home.json(["status"])["index_trouble"].is_null());
    faulty.world.follower_has(version).expect("it is kept");
}

/// Lets one operation fail in an act; returns whether it did.
fn operation_round(
    faulty: &mut FaultyWorld,
    act: Act,
    fault: &Fault,
    chance: &mut Chance,
) -> Result<bool, Found> {
    let world = &mut faulty.world;
    let prepared = act.prepare(world)?;
    faulty.disk.files.fail(fault.clone());
    let is_done = prepared.attempt(world);
    let struck = faulty.disk.files.heal();
    let went_on = prepared.same_or_other(world, chance).goes_on(world, is_done);
    let shown = || format!("{}, done: {is_done}", struck.first().map_or("nothing failed", String::as_str));
    went_on.map_err(|found| found.after(&shown()))?;
    Ok(!struck.is_empty())
}

#[test]
fn kills_freeze_no_tag_and_lose_no_version_and_no_key() {
    let mut chance = Chance::of_this_run("kills");
    let mut tally = Tally::new("kills");
    let mut world = World::new(Home::new("publisher"));
    for round in 1..=rounds(6, 200) {
        let act = Act::any(&mut chance);
        let ended = kill_round(&mut world, act, &mut chance);
        if tally.note(&act.name(), ended) || round % ROUNDS_PER_WORLD == 0 {
            world = World::new(Home::new("publisher"));
        }
    }
    if let Err(found) = world.newcomer_has_acknowledged() {
        panic!("after the last kill: {found}");
    }
}

fn kill_round(world: &mut World, act: Act, chance: &mut Chance) -> Result<(), Found> {
    let prepared = act.prepare(world)?;
    let (kills_command, kills_daemon) = *chance.one(&[(true, false), (false, true), (true, true)]);
    let time = prepared.attempt_until(world, chance, |world, command| {
        if kills_command || world.node.daemon.is_none() {
            drop(command.kill());
        }
        if kills_daemon {
            world.node.kill();
        }
    });
    let what = format!("{act:?} struck after {time:?}: command {kills_command}, daemon {kills_daemon}");
    let again = prepared.same_or_other(world, chance);
    again.goes_on(world, false).map_err(|found| found.after(&what))
}

#[test]
fn two_publications_of_one_tag_at_once_freeze_nothing_and_lose_nothing() {
    let mut chance = Chance::of_this_run("races");
    let mut tally = Tally::new("races");
    let mut world = World::new(Home::new("publisher"));
    for round in 1..=rounds(3, 100) {
        let with_daemon = !chance.percent(25);
        let ended = race_round(&mut world, with_daemon, &mut chance);
        let act = if with_daemon { "with a daemon" } else { "without one" };
        if tally.note(act, ended) || round % ROUNDS_PER_WORLD == 0 {
            world = World::new(Home::new("publisher"));
        }
    }
    if let Err(found) = world.newcomer_has_acknowledged() {
        panic!("after the last race: {found}");
    }
}

fn race_round(world: &mut World, with_daemon: bool, chance: &mut Chance) -> Result<(), Found> {
    if with_daemon {
        world.node.start()?;
    } else {
        world.node.kill();
    }
    let versions = [world.next_version(), world.next_version()];
    let first = world.start_publish(versions[0]);
    std::thread::sleep(chance.time(Duration::from_millis(60)));
    let second = world.start_publish(versions[1]);
    let ended = [first, second].map(|child: Child| world.node.end(child));
    let numbers = ended.each_ref().map(|ran| (ran.code() == 0).then(|| ran.json()["seq"].as_u64()).flatten());
    // Which of the two is the newer one, only their numbers say.
    let newest =
        (0..2).filter(|it| numbers[*it].is_some()).max_by_key(|it| numbers[*it]).map(|it| versions[it]);
    let shown = format!("numbers {numbers:?}, {}{}", ended[0].stderr(), ended[1].stderr());
    if numbers[0].is_some() && numbers[0] == numbers[1] {
        let evidence = format!("two different models have one number: {shown}");
        return Err(Found { harm: Harm::FrozenTag, evidence });
    }
    for ran in ended.iter().filter(|_| with_daemon) {
        succeeds("one of two publications at once", ran)?;
    }
    let Some(newest) = newest else {
        return Err(Found { harm: Harm::StillFails, evidence: format!("neither is published: {shown}") });
    };
    world.acknowledged = newest;
    let after = |found: Found| found.after(&shown);
    world.node.start()?;
    world.follower_has_exactly(newest).map_err(after)?;
    let next = world.next_version();
    succeeds("the next publication", &world.publish(next, true)).map_err(after)?;
    world.follower_has(next).map_err(after)
}

/// A world with the publisher's files on a disk that can be cut. The world ends first.
struct CutWorld {
    world: World,
    disk: CutDisk,
}

impl CutWorld {
    fn new(kind: FileSystem) -> Self {
        let disk = CutDisk::new(kind);
        Self { world: World::new(disk.home("publisher")), disk }
    }

    /// Cuts the power while an act goes on, and turns it on again; returns when, and what became of the writes.
    fn cut_during(&mut self, prepared: &Prepared, chance: &mut Chance) -> String {
        let time = prepared.attempt_until(&mut self.world, chance, |world, command| {
            self.disk.with_power().cut();
            drop(command.kill());
            world.node.kill();
        });
        let fate = self.disk.power_on(chance);
        format!("cut after {time:?}: {fate}")
    }

    /// Cuts the power while nothing goes on, and turns it on again.
    fn cut(&mut self, chance: &mut Chance) {
        self.disk.with_power().cut();
        self.world.node.kill();
        self.disk.power_on(chance);
    }
}

/// The end of a rotation reaches the disk before the command ends. Earlier, its last step came undone in a power cut, and
/// `reg key revoke` refused to sign beside a document that seemed unfinished.
#[test]
fn a_rotation_that_has_ended_stays_finished_after_a_power_cut() {
    if power::is_left_out("power cuts after a rotation") {
        return;
    }
    let mut chance = Chance::of_this_run("cuts after a rotation");
    for kind in FileSystem::all() {
        let mut cut = CutWorld::new(kind);
        let keys = cut.disk.at().join("keys");
        for with_daemon in [true, false] {
            if !with_daemon {
                cut.world.node.kill();
            }
            let old_key = cut.world.signing_key();
            cut.world.key(&["rotate", "me"]).ok();
            cut.cut(&mut chance);
            assert!(!keys.join("me.pending").exists(), "{}, daemon: {with_daemon}", kind.name());
            let revoked = cut.world.key(&["revoke", "me", "--key", &old_key]).ok();
            assert!(!revoked.stderr().contains("begun"), "{}", revoked.stderr());
        }
    }
}

#[test]
fn power_cuts_freeze_no_tag_and_lose_no_version_and_no_key() {
    if power::is_left_out("power cuts while names change") {
        return;
    }
    let mut chance = Chance::of_this_run("power cuts");
    let mut tally = Tally::new("power cuts");
    let kinds = FileSystem::all();
    let cuts = rounds(2, 60);
    let per_disk = cuts.div_ceil(kinds.len() as u64).min(ROUNDS_PER_WORLD);
    let (mut done, mut disks) = (0, kinds.iter().cycle());
    while done < cuts {
        let kind = *disks.next().expect("ext4 is always there");
        let mut cut = CutWorld::new(kind);
        for _round in 0..per_disk.min(cuts - done) {
            done += 1;
            let act = Act::any(&mut chance);
            let ended = cut_round(&mut cut, act, &mut chance);
            if tally.note(&format!("{act:?} on {}", kind.name()), ended) {
                break;
            }
        }
    }
}

fn cut_round(cut: &mut CutWorld, act: Act, chance: &mut Chance) -> Result<(), Found> {
    let prepared = act.prepare(&mut cut.world)?;
    let fate = cut.cut_during(&prepared, chance);
    let what = format!("{act:?} {fate}");
    let again = prepared.same_or_other(&mut cut.world, chance);
    again.goes_on(&mut cut.world, false).map_err(|found| found.after(&what))
}
