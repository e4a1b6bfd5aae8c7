//! Tests the catalogue of a node that is killed, or loses its power, while it compares its catalogue with a peer's and commits the
//! index: it is whole or made anew, and nothing else is lost.

use std::fs;
use std::path::Path;
use std::time::Duration;

use reg_testnet::chance::Chance;
use reg_testnet::power::{self, FileSystem};
use reg_testnet::process::{Daemon, Home, is_full, until};

use crate::disks::CutDisk;

/// Tags of the publisher: each is an entry of the catalogue.
const TAGS: u64 = 24;
/// A kill or cut comes within this time after the start of the node. A comparison and the commit after it take about a second.
const WITHIN: Duration = Duration::from_millis(2500);
const FLAGS: [&str; 2] = ["--dht", "off"];

fn rounds(short: u64, full: u64) -> u64 {
    if is_full() { full } else { short }
}

fn write(dir: &Path, text: &str) {
    fs::create_dir_all(dir).expect("a folder");
    fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{text}\"}}")).expect("written");
}

/// A publisher with a daemon, and the tags that another node is to list.
struct Publisher {
    home: Home,
    id: String,
    daemon: Daemon,
    versions: u64,
}

impl Publisher {
    fn start() -> Self {
        let home = Home::new("publisher");
        let id = home.key("me");
        let daemon = Daemon::start(&home, ["--dht", "off"]);
        let mut publisher = Self { home, id, daemon, versions: 0 };
        (0..TAGS).for_each(|tag| publisher.publish(tag));
        publisher
    }

    /// Publishes another version of a tag.
    fn publish(&mut self, tag: u64) {
        self.versions += 1;
        let dir = self.home.path().join("model");
        write(&dir, &format!("version{}", self.versions));
        self.home.publish(&dir, &format!("story:t{tag}"), "me");
    }
}

/// Prepares a node with a model of its own.
fn prepare(home: &Home, publisher: &Publisher) {
    home.key("own");
    let dir = home.path().join("own-model");
    write(&dir, "own");
    home.publish(&dir, "own", "own");
    home.run(["trust", "add", "acme", &publisher.id]).ok();
}

fn start(home: &Home, publisher: &Publisher) -> Daemon {
    let address = publisher.daemon.address();
    Daemon::start(home, FLAGS.iter().copied().chain(["--bootstrap", &address]))
}

/// Begins a round: a tag of the publisher changes, and in some rounds the node has no catalogue. Returns the node at work.
fn begin(home: &Home, publisher: &mut Publisher, chance: &mut Chance) -> Daemon {
    publisher.publish(chance.below(TAGS));
    if chance.percent(50) {
        drop(fs::remove_dir_all(home.path().join("catalogue")));
    }
    start(home, publisher)
}

/// Starts the node again, and checks that it lists everything and has lost nothing.
fn goes_on(home: &Home, publisher: &Publisher, what: &str) {
    let daemon = start(home, publisher);
    let found = |args: &[&str]| home.json(["search", "--limit", "1"].iter().chain(args))["found"].as_u64();
    let is_listed = || found(&["--publisher", "acme"]) == Some(TAGS) && found(&["own"]) >= Some(1);
    until(&format!("everything is listed after {what}"), is_listed);
    let owned = home.json(["ls"]);
    assert!(owned.as_array().is_some_and(|it| it.iter().any(|row| row["model"] == "own")), "{what}: {owned}");
    home.run(["verify"]).ok();
    assert!(!daemon.log().contains("panicked"), "{what}: {}", daemon.log());
    daemon.kill();
}

#[test]
fn a_kill_in_a_comparison_or_a_commit_loses_nothing_but_time() {
    let mut chance = Chance::of_this_run("kills while catalogues are compared");
    let (mut publisher, home) = (Publisher::start(), Home::new("node"));
    prepare(&home, &publisher);
    let kills = rounds(3, 100);
    for _kill in 0..kills {
        let daemon = begin(&home, &mut publisher, &mut chance);
        let time = chance.time(WITHIN);
        std::thread::sleep(time);
        daemon.kill();
        goes_on(&home, &publisher, &format!("a kill after {time:?}"));
    }
    println!("{kills} kills: everything was listed each time");
}

#[test]
fn a_power_cut_in_a_comparison_or_a_commit_loses_nothing_but_time() {
    if power::is_left_out("power cuts while catalogues are compared") {
        return;
    }
    let mut chance = Chance::of_this_run("power cuts while catalogues are compared");
    let mut publisher = Publisher::start();
    let kinds = FileSystem::all();
    let cuts = rounds(1, 50);
    for kind in kinds {
        let mut disk = CutDisk::new(kind);
        let home = disk.home("node");
        prepare(&home, &publisher);
        for _cut in 0..cuts {
            let daemon = begin(&home, &mut publisher, &mut chance);
            let time = chance.time(WITHIN);
            std::thread::sleep(time);
            disk.with_power().cut();
            daemon.kill();
            let fate = disk.power_on(&mut chance);
            goes_on(&home, &publisher, &format!("a cut after {time:?} on {}: {fate}", kind.name()));
        }
        println!("{cuts} power cuts on {}: everything was listed each time", kind.name());
    }
}
