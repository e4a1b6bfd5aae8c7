//! Tests that a failing disk never makes wrong bytes, loses no acknowledged model and hangs no command, while models are
//! pulled, published and collected; and that the same command succeeds once the fault is gone.
//!
//! `REG_FULL=1` runs them as often as the promise says.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use reg_testnet::chance::Chance;
use reg_testnet::faulty_fs::{self, Fault, Op};
use reg_testnet::power::{self, FileSystem};
use reg_testnet::process::is_full;
use rustix::io::Errno;

use crate::content::{Act, Content, Ready};
use crate::disks::{CutDisk, FailingDisk};
use crate::source::Source;
use crate::tally::{Found, Tally};

/// Rounds until a new node begins, so that its folder stays small.
const ROUNDS_PER_NODE: u64 = 25;

/// Rounds in a row with a daemon, and then without one.
const ROUNDS_IN_A_ROW: u64 = 6;

/// Cuts until a new disk begins: it is small.
const CUTS_PER_DISK: u64 = 10;

/// Returns how often to strike. `REG_ROUNDS` sets another number, for a part of the whole run.
fn rounds(short: u64, full: u64) -> u64 {
    let set = std::env::var("REG_ROUNDS").ok().and_then(|it| it.parse().ok());
    set.unwrap_or(if is_full() { full } else { short })
}

/// A node with its files behind a file system that fails. The node ends first.
pub(super) struct FaultyContent {
    pub(super) content: Content,
    pub(super) disk: FailingDisk,
}

impl FaultyContent {
    pub(super) fn new(source: &Rc<Source>) -> Self {
        let disk = FailingDisk::new();
        let content = Content::new(disk.home("node"), disk.backing().join("store"), source);
        Self { content, disk }
    }
}

/// How many operations of each kind an act does.
type Operations = BTreeMap<Act, BTreeMap<Op, u64>>;

/// Counts the operations of each act, once for all tests.
fn operations(source: &Rc<Source>) -> &'static Operations {
    static COUNTED: OnceLock<Operations> = OnceLock::new();
    COUNTED.get_or_init(|| {
        let mut faulty = FaultyContent::new(source);
        let mut found = BTreeMap::new();
        for act in Act::ALL {
            let ready = faulty.content.prepare(act).unwrap_or_else(|found| panic!("no fault yet: {found}"));
            let before = Op::ALL.map(|op| faulty.disk.files.count(op));
            faulty.content.begin(&ready).ok();
            let counted = Op::ALL.into_iter().zip(before);
            found.insert(
                act,
                counted.map(|(op, before)| (op, faulty.disk.files.count(op) - before)).collect(),
            );
        }
        println!("operations of each act: {found:?}");
        found
    })
}

#[test]
fn failed_reads_make_no_wrong_byte_and_lose_no_model() {
    operations_fail("failed reads", &[Op::Read]);
}

#[test]
fn failed_writes_make_no_wrong_byte_and_lose_no_model() {
    operations_fail("failed writes", &[Op::Write]);
}

/// A sync of a folder counts as one too.
#[test]
fn failed_syncs_make_no_wrong_byte_and_lose_no_model() {
    operations_fail("failed syncs", &[Op::Fsync, Op::FsyncDir]);
}

#[test]
fn failed_renames_make_no_wrong_byte_and_lose_no_model() {
    operations_fail("failed renames", &[Op::Rename]);
}

/// What makes a file counts as `open`.
#[test]
fn failed_opens_make_no_wrong_byte_and_lose_no_model() {
    operations_fail("failed opens", &[Op::Open, Op::Create]);
}

/// Lets operations of a kind fail, as often as the promise says.
fn operations_fail(what: &'static str, kind: &[Op]) {
    if faulty_fs::is_left_out(what) {
        return;
    }
    let mut chance = Chance::of_this_run(what);
    let mut tally = Tally::new(what);
    let source = Rc::new(Source::new());
    let operations = operations(&source);
    let mut faulty = FaultyContent::new(&source);
    let (mut struck, mut in_node) = (0, 0);
    let (strikes, begins) = (rounds(2, 300), chance.below(2));
    while struck < strikes {
        // To start and end the daemon takes longer than most acts, so acts with one come in a row, and those without one.
        let with_daemon = in_node / ROUNDS_IN_A_ROW % 2 == begins;
        let (act, fault) = any_fault(operations, kind, with_daemon, &mut chance);
        let (has_struck, ended) = operation_round(&mut faulty, act, &fault);
        struck += u64::from(has_struck);
        in_node += 1;
        let name = if has_struck { format!("{act:?}") } else { "nothing struck".to_owned() };
        let mut is_over = tally.note(&name, ended);
        if !is_over && (in_node == ROUNDS_PER_NODE || struck == strikes) {
            tally.note("end of a node", faulty.content.has_what_it_acknowledged());
            is_over = true;
        }
        if is_over && struck < strikes {
            faulty = FaultyContent::new(&source);
            in_node = 0;
        }
    }
}

/// Returns an act, with a daemon or without one, and an operation of it that fails.
fn any_fault(operations: &Operations, kind: &[Op], with_daemon: bool, chance: &mut Chance) -> (Act, Fault) {
    let count = |act: &Act, op: &Op| operations[act].get(op).copied().unwrap_or(0);
    let has_any = |act: &Act| kind.iter().any(|op| count(act, op) > 0);
    let is_meant = |act: &Act| act.needs_daemon() == with_daemon && has_any(act);
    let act = *chance.one(&Act::ALL.into_iter().filter(is_meant).collect::<Vec<_>>());
    let ops: Vec<Op> = kind.iter().copied().filter(|op| count(&act, op) > 0).collect();
    let op = *chance.one(&ops);
    let error = *chance.one(match op {
        Op::Read | Op::Open => &[Errno::IO][..],
        _ => &[Errno::IO, Errno::NOSPC, Errno::ROFS][..],
    });
    let fault = Fault::nth(op, 1 + chance.below(count(&act, &op)), error);
    (act, if chance.percent(30) { fault.from_then_on() } else { fault })
}

/// Lets an operation fail in an act; returns whether it did.
fn operation_round(faulty: &mut FaultyContent, act: Act, fault: &Fault) -> (bool, Result<(), Found>) {
    let FaultyContent { content, disk } = faulty;
    let ready = match content.prepare(act) {
        Ok(ready) => ready,
        Err(found) => return (false, Err(found)),
    };
    disk.files.fail(fault.clone());
    let start = Instant::now();
    let ran = content.begin(&ready);
    let took = start.elapsed();
    let struck = disk.files.heal();
    let judged = content.judge(&ready, &ran, !struck.is_empty());
    let Some(first) = struck.first() else { return (false, judged) };
    let went_on = judged
        .and_then(|()| if ran.code() == 0 { Ok(()) } else { content.goes_on(&ready) })
        .and_then(|()| content.every_byte_is_right())
        .and_then(|()| content.has_newest());
    let shown = || {
        format!("{act:?} with {fault:?}: {first}; ended with {} after {took:?}: {}", ran.code(), ran.stderr())
    };
    (true, went_on.map_err(|found| found.after(&shown())))
}

/// A node with its files on a disk that can be cut, and can refuse writes. The node ends first.
struct DiskContent {
    content: Content,
    disk: CutDisk,
}

impl DiskContent {
    fn new(kind: FileSystem, source: &Rc<Source>) -> Self {
        let disk = CutDisk::new(kind);
        Self { content: Content::new(disk.home("node"), disk.at().join("store"), source), disk }
    }

    /// Cuts the power while an act goes on, and turns it on again; returns what became of the writes.
    fn cut_during(&mut self, ready: &Ready, chance: &mut Chance, usual: Duration) -> String {
        let time = chance.time(usual.mul_f64(1.2));
        let mut child = self.content.spawn(ready);
        let deadline = Instant::now() + time;
        let mut is_done = false;
        while Instant::now() < deadline && !is_done {
            is_done = child.try_wait().expect("it runs").is_some_and(|ended| ended.success());
            std::thread::sleep(Duration::from_millis(1));
        }
        self.disk.with_power().cut();
        drop(child.kill());
        drop(child.wait());
        if is_done {
            self.content.note(ready);
        }
        self.content.node.kill();
        let fate = self.disk.power_on(chance);
        format!("cut after {time:?}, done: {is_done}: {fate}")
    }
}

/// A disk that refuses what is written to large files makes a sync fail once. Later syncs of the same bytes succeed, and the
/// page cache shows bytes that are nowhere.
#[test]
fn a_sync_that_failed_never_becomes_a_wrong_byte() {
    if power::is_left_out("syncs that fail while models move") {
        return;
    }
    let mut tally = Tally::new("refused writes");
    let source = Rc::new(Source::new());
    for kind in FileSystem::all() {
        for act in [Act::Pull, Act::PullByDaemon, Act::PublishAlone, Act::Publish] {
            let mut faulty = DiskContent::new(kind, &source);
            tally.note(&format!("{act:?} on {}", kind.name()), sync_round(&mut faulty, act));
        }
    }
}

fn sync_round(faulty: &mut DiskContent, act: Act) -> Result<(), Found> {
    /// The journal is written in smaller parts.
    const LARGE: usize = 192 << 10;
    // The store is there before the fault, and its journal is small.
    let before = faulty.content.prepare(Act::PublishAlone)?;
    assert_eq!(faulty.content.begin(&before).code(), 0, "no fault yet");
    let ready = faulty.content.prepare(act)?;
    faulty.disk.with_power().refuse_large(Some(LARGE));
    let ran = faulty.content.begin(&ready);
    faulty.disk.with_power().refuse_large(None);
    let refused = faulty.disk.with_power().refused();
    println!("{act:?}: {refused} writes refused, exit code {}: {}", ran.code(), ran.stderr());
    assert!(refused > 0 && ran.code() != 0, "nothing has failed");
    faulty.content.judge(&ready, &ran, true)?;
    faulty.content.goes_on(&ready)?;
    faulty.content.every_byte_is_right()?;
    faulty.content.has_what_it_acknowledged()?;
    // What only the page cache has is lost.
    faulty.content.node.kill();
    faulty.disk.remount();
    let judged =
        faulty.content.every_byte_is_right().and_then(|()| faulty.content.has_what_it_acknowledged());
    judged.map_err(|found| found.after("mounted again"))
}

#[test]
fn power_cuts_make_no_wrong_byte_and_lose_no_model() {
    if power::is_left_out("power cuts while models move") {
        return;
    }
    let mut chance = Chance::of_this_run("power cuts of models");
    let mut tally = Tally::new("power cuts of models");
    let source = Rc::new(Source::new());
    let kinds = FileSystem::all();
    for kind in &kinds {
        let cuts = rounds(2, 100).div_ceil(kinds.len() as u64);
        let mut faulty = DiskContent::new(*kind, &source);
        let mut paces: BTreeMap<Act, Duration> = BTreeMap::new();
        for round in 1..=cuts {
            let act = *chance.one(&Act::ALL);
            let ended = cut_round(&mut faulty, act, &mut paces, &mut chance);
            let mut is_over = tally.note(&format!("{act:?} on {}", kind.name()), ended);
            if !is_over && (round % CUTS_PER_DISK == 0 || round == cuts) {
                tally.note("end of a disk", faulty.content.has_what_it_acknowledged());
                is_over = true;
            }
            if is_over && round < cuts {
                faulty = DiskContent::new(*kind, &source);
            }
        }
    }
}

fn cut_round(
    faulty: &mut DiskContent,
    act: Act,
    paces: &mut BTreeMap<Act, Duration>,
    chance: &mut Chance,
) -> Result<(), Found> {
    let ready = faulty.content.prepare(act)?;
    let usual = paces.get(&act).copied().unwrap_or(Duration::from_millis(500));
    let fate = faulty.cut_during(&ready, chance, usual);
    faulty.content.every_byte_is_right().map_err(|found| found.after(&fate))?;
    let start = Instant::now();
    let went_on = faulty.content.goes_on(&ready);
    paces.insert(act, start.elapsed().min(Duration::from_secs(3)));
    let judged = went_on
        .and_then(|()| faulty.content.every_byte_is_right())
        .and_then(|()| faulty.content.has_newest());
    judged.map_err(|found| found.after(&format!("{act:?} {fate}")))
}
