//! Tests that a failing disk never makes wrong bytes, loses no acknowledged model and hangs no command, while models are
//! pulled, published and collected; and that the same command succeeds once the fault is gone.
//!
//! `REG_FULL=1` runs them as often as the promise says.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use reg_testnet::chance::Chance;
use reg_testnet::faulty_fs::{self, Fault, FaultyFs, Op};
use reg_testnet::power::{self, Disk, FileSystem, Image};
use reg_testnet::process::{Daemon, Home, is_full};
use rustix::io::Errno;

use crate::content::{Act, Content, Ready};
use crate::tally::{Found, Tally};

/// Rounds until a new node begins, so that its folder stays small.
const ROUNDS_PER_NODE: u64 = 25;

/// Returns how often to strike. `REG_ROUNDS` sets another number, for a part of the whole run.
fn rounds(short: u64, full: u64) -> u64 {
    let set = std::env::var("REG_ROUNDS").ok().and_then(|it| it.parse().ok());
    set.unwrap_or(if is_full() { full } else { short })
}

/// A node with its files behind a file system that fails. The node ends first.
struct FaultyContent {
    content: Content,
    files: FaultyFs,
}

impl FaultyContent {
    fn new() -> Self {
        let home = Home::new("node");
        let [backing, at] = ["backing", "at"].map(|name| home.path().join(name));
        fs::create_dir(&backing).expect("a folder");
        fs::create_dir(&at).expect("a folder");
        let files = FaultyFs::mount(&backing, &at).expect("mounted");
        let content = Content::new(home.kept_at(at.join("home")), backing.join("home/store"));
        Self { content, files }
    }

    /// Counts the operations of each act.
    fn operations() -> BTreeMap<Act, BTreeMap<Op, u64>> {
        let mut faulty = Self::new();
        let mut found = BTreeMap::new();
        for act in Act::ALL {
            let ready = faulty.content.prepare(act).unwrap_or_else(|found| panic!("no fault yet: {found}"));
            let before = Op::ALL.map(|op| faulty.files.count(op));
            faulty.content.begin(&ready).ok();
            let counted = Op::ALL.into_iter().zip(before);
            found.insert(act, counted.map(|(op, before)| (op, faulty.files.count(op) - before)).collect());
        }
        found
    }
}

/// The kinds of failed operations that the promise names. What makes a file counts as `open`, and a sync of a folder as
/// `fsync`.
const KINDS: [&[Op]; 5] =
    [&[Op::Read], &[Op::Write], &[Op::Fsync, Op::FsyncDir], &[Op::Rename], &[Op::Open, Op::Create]];

#[test]
fn failed_operations_make_no_wrong_byte_and_lose_no_model() {
    if faulty_fs::is_left_out("operations that fail while models move") {
        return;
    }
    let mut chance = Chance::of_this_run("failed operations on models");
    let mut tally = Tally::new("failed operations on models");
    let operations = FaultyContent::operations();
    println!("operations of each act: {operations:?}");
    let mut faulty = FaultyContent::new();
    let mut in_node = 0;
    for kind in KINDS {
        let mut struck = 0;
        while struck < rounds(2, 300) {
            let op = *chance.one(kind);
            let acts: Vec<Act> = Act::ALL
                .into_iter()
                .filter(|act| operations[act].get(&op).is_some_and(|it| *it > 0))
                .collect();
            let act = *chance.one(&acts);
            let error = *chance.one(match op {
                Op::Read | Op::Open => &[Errno::IO, Errno::IO][..],
                _ => &[Errno::IO, Errno::NOSPC, Errno::ROFS][..],
            });
            let fault = Fault::nth(op, 1 + chance.below(operations[&act][&op]), error);
            let fault = if chance.percent(30) { fault.from_then_on() } else { fault };
            let (has_struck, ended) = operation_round(&mut faulty, act, &fault);
            struck += u64::from(has_struck);
            in_node += 1;
            let is_over = tally.note(&format!("{op:?}"), ended) || in_node >= ROUNDS_PER_NODE;
            if is_over {
                faulty = FaultyContent::new();
                in_node = 0;
            }
        }
    }
}

/// Lets an operation fail in an act; returns whether it did.
fn operation_round(faulty: &mut FaultyContent, act: Act, fault: &Fault) -> (bool, Result<(), Found>) {
    let ready = match faulty.content.prepare(act) {
        Ok(ready) => ready,
        Err(found) => return (false, Err(found)),
    };
    faulty.files.fail(fault.clone());
    let start = Instant::now();
    let ran = faulty.content.begin(&ready);
    let took = start.elapsed();
    let struck = faulty.files.heal();
    let judged = faulty.content.judge(&ready, &ran).and_then(|()| faulty.content.goes_on(&ready));
    let shown = || {
        let first = struck.first().map_or("nothing failed", String::as_str);
        format!("{act:?} with {fault:?}: {first}; ended with {} after {took:?}: {}", ran.code(), ran.stderr())
    };
    (!struck.is_empty(), judged.map_err(|found| found.after(&shown())))
}

/// A node with its files on a disk that can be cut, and can refuse writes. The node ends first.
struct DiskContent {
    content: Content,
    disk: Option<Disk>,
    kind: FileSystem,
}

impl DiskContent {
    fn new(kind: FileSystem) -> Self {
        let home = Home::new("node");
        let dir = home.path().join("disk");
        let disk = Image::new(&dir, kind).and_then(Image::power_on);
        let disk = disk.unwrap_or_else(|error| panic!("{}: {error}", kind.name()));
        let kept_at = disk.path().join("home");
        // The disk is smaller than what a node leaves free by default.
        let config = kept_at.join("config.toml");
        fs::create_dir(&kept_at).expect("a folder");
        fs::write(&config, "[cache]\nmin_free = \"0 B\"\n").expect("written");
        let content = Content::new(home.kept_at(kept_at.clone()), kept_at.join("store"));
        Content::sync(&[&config, &kept_at, &disk.path()]);
        Self { content, disk: Some(disk), kind }
    }

    fn disk(&mut self) -> &mut Disk {
        self.disk.as_mut().expect("the disk has power")
    }

    /// Cuts the power while an act goes on, and turns it on again; returns what became of the writes.
    fn cut_during(&mut self, ready: &Ready, chance: &mut Chance, usual: Duration) -> String {
        let time = chance.time(usual.mul_f64(1.2));
        let disk = self.disk.take().expect("the disk has power");
        let mut child = self.content.spawn(ready);
        let deadline = Instant::now() + time;
        let mut is_done = false;
        while Instant::now() < deadline && !is_done {
            is_done = child.try_wait().expect("it runs").is_some_and(|ended| ended.success());
            std::thread::sleep(Duration::from_millis(1));
        }
        disk.cut();
        drop(child.kill());
        let ended = child.wait().expect("it has ended");
        if is_done && ended.success() {
            self.content.note(ready);
        }
        self.content.kill();
        let (image, fate) = disk.off(chance).expect("the disk is taken away");
        let disk =
            image.power_on().unwrap_or_else(|error| panic!("after a cut, {}: {error}", self.kind.name()));
        self.disk = Some(disk);
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
    let mut tally = Tally::new("failed syncs");
    for kind in FileSystem::all() {
        for act in [Act::Pull, Act::PullByDaemon, Act::PublishAlone, Act::Publish] {
            let mut faulty = DiskContent::new(kind);
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
    faulty.disk().refuse_large(Some(LARGE));
    let ran = faulty.content.begin(&ready);
    faulty.disk().refuse_large(None);
    let refused = faulty.disk().refused();
    println!("{act:?}: {refused} writes refused, exit code {}: {}", ran.code(), ran.stderr());
    assert!(refused > 0 && ran.code() != 0, "nothing has failed");
    faulty.content.judge(&ready, &ran)?;
    faulty.content.goes_on(&ready)?;
    // What only the page cache has is lost.
    faulty.content.kill();
    faulty.disk().remount().expect("mounted again");
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
    let kinds = FileSystem::all();
    for kind in &kinds {
        let cuts = rounds(2, 100).div_ceil(kinds.len() as u64);
        let mut faulty = DiskContent::new(*kind);
        let mut paces: BTreeMap<Act, Duration> = BTreeMap::new();
        for round in 1..=cuts {
            let act = *chance.one(&Act::ALL);
            let ended = cut_round(&mut faulty, act, &mut paces, &mut chance);
            if tally.note(&format!("{act:?} on {}", kind.name()), ended) || round % 10 == 0 {
                faulty = DiskContent::new(*kind);
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
    went_on.map_err(|found| found.after(&format!("{act:?} {fate}")))
}

/// The disk of a seeder fails once: the puller asks again, and does not take the model for missing.
#[test]
fn a_seeder_with_a_disk_that_fails_once_is_asked_again() {
    if faulty_fs::is_left_out("a seeder with a disk that fails") {
        return;
    }
    let mut faulty = FaultyContent::new();
    let puller = Home::new("puller");
    for (number, op) in [Op::Open, Op::Read].into_iter().enumerate() {
        let ready = faulty.content.prepare(Act::Publish).expect("no fault yet");
        faulty.content.begin(&ready).ok();
        faulty.content.note(&ready);
        let from = faulty.content.daemon.as_ref().expect("it runs").address();
        faulty.files.fail(Fault::nth(op, 1, Errno::IO).at("blobs/sha256"));
        let out = puller.path().join(number.to_string());
        let reference = faulty.content.newest();
        let flags = ["--no-mdns", "--dht", "off", "--copy"];
        let args = ["pull", &reference, &out.to_string_lossy(), "--from", &from];
        puller.run(args.iter().chain(&flags)).ok();
        assert_eq!(faulty.files.heal().len(), 1, "{op:?}");
    }
}

/// A full disk: the daemon starts, serves what it has, says what is wrong, and goes on by itself once there is room.
#[test]
fn a_daemon_starts_and_serves_on_a_full_disk() {
    if faulty_fs::is_left_out("a start on a full disk") {
        return;
    }
    let mut faulty = FaultyContent::new();
    let ready = faulty.content.prepare(Act::PullByDaemon).expect("no fault yet");
    faulty.content.begin(&ready).ok();
    faulty.content.note(&ready);
    let next = faulty.content.prepare(Act::PullByDaemon).expect("no fault yet");
    for has_index in [true, false] {
        faulty.content.kill();
        if !has_index {
            fs::remove_dir_all(faulty.content.store.join("index")).expect("removed");
        }
        for op in [Op::Write, Op::Resize, Op::MakeDir] {
            faulty.files.fail(Fault::nth(op, 1, Errno::NOSPC).from_then_on());
        }
        faulty.files.fail(Fault::nth(Op::Create, 1, Errno::NOSPC).at("store/").from_then_on());
        faulty.content.start().unwrap_or_else(|found| panic!("{found}"));
        let status = faulty.content.home.json(["status"]);
        assert!(status["index_trouble"].as_str().is_some_and(|it| it.contains("No space left")), "{status}");
        faulty.content.home.run(["ls"]).ok();
        faulty.content.begin(&next).failed(7, "No space left");
        faulty.content.home.run(["gc"]).ok();
        assert!(!faulty.files.heal().is_empty());
        faulty.content.goes_on(&next).unwrap_or_else(|found| panic!("{found}"));
    }
}

#[test]
fn a_damaged_token_and_an_empty_version_are_mended_at_the_start() {
    let home = Home::new("node");
    Daemon::start(&home, ["--dht", "off"]).stop();
    for (path, damage) in
        [("admin.token", "zz"), ("admin.token", ""), ("store/VERSION", ""), ("node.key", "")]
    {
        fs::write(home.path().join(path), damage).expect("written");
        Daemon::start(&home, ["--dht", "off"]).stop();
        assert!(!fs::read_to_string(home.path().join(path)).expect("read").trim().is_empty(), "{path}");
    }
    assert_eq!(fs::read_to_string(home.path().join("store/VERSION")).expect("read").trim(), "2");
}
