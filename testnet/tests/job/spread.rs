//! Tests that the nodes of a private swarm keep N copies of each model, with real processes on loopback: copies come into different
//! zones, a lost one is made anew by one node, a node that joins moves nothing, a drained node leaves nothing behind, and a member
//! that lies about its copies does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reg_proto::bounded::Bounded;
use reg_proto::digest::Digest;
use reg_proto::swarm_state::{
    SWARM_STATE_VERSION, Standing, SwarmModel, SwarmQuestion, SwarmState, ZoneText, list_digest,
};
use reg_proto::wire::{Request, Response};
use reg_testnet::asker::Asker;
use reg_testnet::chance::Chance;
use reg_testnet::evil::{Liars, Manner, Script};
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, is_full, text, until};
use serde_json::Value;

const MIB: u64 = 1 << 20;
const KEY: &str = "our lab";
/// Times of the swarms of these tests, in seconds: members are asked every two seconds.
const REPAIR_AFTER: u64 = 8;
const SHRINK_AFTER: u64 = 8;

/// A node of a swarm, in a zone. Its daemon may be off.
struct Node {
    home: Home,
    zone: String,
    daemon: Option<Daemon>,
}

/// A private swarm with three copies of each model.
struct Swarm {
    nodes: Vec<Node>,
    /// Where a node that starts finds one that runs.
    bootstrap: Vec<String>,
}

impl Node {
    fn new(place: usize, zone: &str) -> Self {
        let home = Home::new(&format!("N{place}"));
        let config = format!(
            "[swarm]\nkey = '{KEY}'\nreplicas = 3\nrepair_after = '{REPAIR_AFTER}s'\n\
             shrink_after = '{SHRINK_AFTER}s'\nzone = '{zone}'\n[cache]\nmin_free = '1 MiB'\n"
        );
        fs::write(home.path().join("config.toml"), config).expect("written");
        Self { home, zone: zone.to_owned(), daemon: None }
    }

    fn is_up(&self) -> bool {
        self.daemon.is_some()
    }

    /// Returns what it knows of the swarm.
    fn report(&self) -> Value {
        self.home.json(["swarm", "status"])
    }

    /// Returns what it knows of a model; `None` if it knows nothing of it.
    fn knows(&self, manifest: &str) -> Option<Value> {
        let report = self.report();
        let models = report["models"].as_array().expect("a list");
        models.iter().find(|it| it["manifest"] == manifest).cloned()
    }

    fn has(&self, manifest: &str) -> bool {
        let models = self.home.json(["ls"]);
        models.as_array().expect("a list").iter().any(|it| it["manifest"] == manifest && it["here"] == true)
    }

    /// Returns how many bytes of pieces it has fetched since it started.
    fn fetched(&self) -> u64 {
        self.home.json(["status"])["bytes_fetched"].as_u64().expect("a number")
    }
}

impl Swarm {
    fn start(zones: &[&str]) -> Self {
        let mut swarm = Self { nodes: Vec::new(), bootstrap: Vec::new() };
        zones.iter().for_each(|zone| swarm.join(zone));
        swarm.meet();
        swarm
    }

    fn join(&mut self, zone: &str) {
        self.nodes.push(Node::new(self.nodes.len(), zone));
        self.up(self.nodes.len() - 1);
    }

    /// Starts the daemon of a node.
    fn up(&mut self, place: usize) {
        let running = self.nodes.iter().filter_map(|it| it.daemon.as_ref()).map(Daemon::address);
        let known: Vec<String> = running.take(1).chain(self.bootstrap.iter().cloned()).collect();
        let bootstrap: Vec<&str> = known.iter().flat_map(|it| ["--bootstrap", it]).collect();
        let flags = [&bootstrap[..], &["--dht", "off"]].concat();
        self.nodes[place].daemon = Some(Daemon::start(&self.nodes[place].home, flags));
    }

    fn kill(&mut self, place: usize) {
        self.nodes[place].daemon.take().expect("it runs").kill();
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|it| it.is_up())
    }

    /// Waits until each running node knows all others, and acts.
    fn meet(&self) {
        let count = self.running().count();
        until("all know each other", || {
            self.running().all(|node| {
                let report = node.report();
                let members = report["members"].as_array().expect("a list");
                let is_here = |it: &&Value| it["takes_part"] == true && it["away_since"].is_null();
                report["settled"] == true && members.iter().filter(is_here).count() == count - 1
            })
        });
    }

    /// Publishes a model at a node; returns the digest of its manifest.
    fn publish(&self, place: usize, name: &str, bytes: u64, seed: u64) -> String {
        let home = &self.nodes[place].home;
        let dir = home.path().join(name);
        model::generate(&dir, bytes, seed);
        let reference = home.publish(&dir, name, "me");
        text(&home.json(["info", &reference])["summary"]["manifest"])
    }

    /// Waits until all running nodes agree that a model has so many copies, none too many, and none on its way; returns how long
    /// that took.
    fn settle(&self, manifest: &str, copies: u64) -> Duration {
        let is_so = |node: &Node| {
            node.knows(manifest).is_some_and(|it| {
                it["copies"] == copies && it["fetching"].as_array().is_some_and(Vec::is_empty)
            })
        };
        until("all agree on the copies", || {
            self.running().all(is_so) && self.holders(manifest).len() as u64 == copies
        })
    }

    fn settle_all(&self, models: &[String]) {
        for manifest in models {
            self.settle(manifest, 3);
        }
    }

    /// Returns the running nodes that have a model.
    fn holders(&self, manifest: &str) -> BTreeSet<usize> {
        let all = self.nodes.iter().enumerate().filter(|(_, node)| node.is_up() && node.has(manifest));
        all.map(|(place, _)| place).collect()
    }

    fn zones(&self, places: &BTreeSet<usize>) -> BTreeSet<&str> {
        places.iter().map(|place| self.nodes[*place].zone.as_str()).collect()
    }

    /// Returns the bytes that each running node has fetched.
    fn fetched(&self) -> BTreeMap<usize, u64> {
        let all = self.nodes.iter().enumerate().filter(|(_, node)| node.is_up());
        all.map(|(place, node)| (place, node.fetched())).collect()
    }
}

/// Returns the nodes that have fetched more than before; those that have started meanwhile began at 0.
fn fetchers(before: &BTreeMap<usize, u64>, now: &BTreeMap<usize, u64>) -> BTreeSet<usize> {
    let more = now.iter().filter(|(place, bytes)| **bytes > before.get(place).copied().unwrap_or(0));
    more.map(|(place, _)| *place).collect()
}

fn is_of(bytes: u64, fetched: u64) -> bool {
    // The last pieces of a blob may be asked of two peers.
    (bytes..2 * bytes).contains(&fetched)
}

/// One node publishes, and two others fetch. One is killed for good, and one fetches in its place. It comes back, and one copy too
/// many is given up. Two are killed at once, and two fetch.
#[test]
fn copies_come_into_three_zones_and_a_lost_one_is_made_anew() {
    let bytes = 6 * MIB;
    let mut swarm = Swarm::start(&["a", "a", "b", "b", "c", "c"]);
    swarm.nodes[0].home.key("me");
    let manifest = swarm.publish(0, "wide", bytes, 1);
    let took = swarm.settle(&manifest, 3);
    println!("three copies {:.1} s after it was published", took.as_secs_f64());
    let holders = swarm.holders(&manifest);
    assert_eq!(swarm.zones(&holders).len(), 3, "{holders:?}");
    let fetched = swarm.fetched();
    let by = fetchers(&BTreeMap::new(), &fetched);
    assert_eq!(by, &holders - &BTreeSet::from([0]), "{fetched:?}");
    assert!(by.iter().all(|place| is_of(bytes, fetched[place])), "{fetched:?}");
    // A list says which copies are the swarm's, and that the publisher's own is not.
    for place in &holders {
        let home = &swarm.nodes[*place].home;
        let is_copy = *place != 0;
        assert_eq!(home.json(["ls"])[0]["spread"], is_copy, "{place}");
        let shown = home.run(["ls"]).ok().stdout();
        assert_eq!(shown.contains("a copy for the private swarm"), is_copy, "{shown}");
    }

    let lost = *by.first().expect("a copy");
    swarm.kill(lost);
    let took = swarm.settle(&manifest, 3);
    println!("three copies again {:.1} s after one was killed", took.as_secs_f64());
    let now = swarm.fetched();
    let again = fetchers(&fetched, &now);
    assert_eq!(again.len(), 1, "one node fetches: {fetched:?}, then {now:?}");
    assert!(again.iter().all(|place| is_of(bytes, now[place] - fetched[place])), "{now:?}");
    assert_eq!(swarm.zones(&swarm.holders(&manifest)).len(), 3);

    // It comes back with its copy. One of the four goes, and the publisher's stays.
    swarm.up(lost);
    swarm.meet();
    let took = swarm.settle(&manifest, 3);
    println!("three copies {:.1} s after it came back", took.as_secs_f64());
    let holders = swarm.holders(&manifest);
    assert!(holders.contains(&0), "{holders:?}");
    assert_eq!(swarm.zones(&holders).len(), 3, "{holders:?}");
    assert_eq!(fetchers(&now, &swarm.fetched()), BTreeSet::new(), "a copy that is back moves nothing");

    let fetched = swarm.fetched();
    let two: Vec<usize> = holders.iter().copied().take(2).collect();
    two.iter().for_each(|place| swarm.kill(*place));
    let took = swarm.settle(&manifest, 3);
    println!("three copies again {:.1} s after two were killed at once", took.as_secs_f64());
    assert_eq!(fetchers(&fetched, &swarm.fetched()).len(), 2);
}

/// A node that joins fetches nothing. A drained one hands over its models, also after a restart, and no copy is missing when it is
/// gone.
#[test]
fn a_join_moves_nothing_and_a_drained_node_leaves_nothing_behind() {
    let mut swarm = Swarm::start(&["a", "b", "c", "d", "e"]);
    swarm.nodes[0].home.key("me");
    let models: Vec<String> = (1..=3).map(|n| swarm.publish(0, &format!("model-{n}"), 2 * MIB, n)).collect();
    swarm.settle_all(&models);
    let before: Vec<BTreeSet<usize>> = models.iter().map(|it| swarm.holders(it)).collect();
    let fetched = swarm.fetched();
    swarm.join("f");
    swarm.meet();
    swarm.settle_all(&models);
    assert_eq!(models.iter().map(|it| swarm.holders(it)).collect::<Vec<_>>(), before);
    assert_eq!(fetchers(&fetched, &swarm.fetched()), BTreeSet::new());

    let home = &swarm.nodes[0].home;
    assert_eq!(home.json(["drain", "--status"])["draining"], false);
    let ran = home.run(["drain"]).ok();
    println!("drained: {}{}", ran.stdout(), ran.stderr());
    assert!(ran.stdout().contains("done"), "{}", ran.stdout());
    let others = |swarm: &Swarm| -> Vec<usize> {
        models.iter().map(|it| swarm.holders(it).iter().filter(|place| **place != 0).count()).collect()
    };
    assert_eq!(others(&swarm), [3, 3, 3], "each model has three copies elsewhere");
    let after = swarm.fetched();
    assert_eq!(after[&0], 0, "a drained node takes nothing");
    // The wish survives a restart, and so does what is known.
    swarm.kill(0);
    swarm.up(0);
    let home = &swarm.nodes[0].home;
    assert_eq!(home.json(["drain", "--status"])["draining"], true);
    home.run(["drain", "--json"]).ok();
    swarm.kill(0);
    swarm.settle_all(&models);
    assert_eq!(others(&swarm), [3, 3, 3]);
    assert_eq!(fetchers(&after, &swarm.fetched()), BTreeSet::new(), "nothing was left behind");

    let home = &swarm.nodes[1].home;
    assert_eq!(home.json(["drain", "--cancel"])["draining"], false);
    let alone = Home::new("no swarm");
    alone.run(["drain"]).failed(2, "keeps no copies for a swarm");
}

/// A new version that no other node takes is lost with its publisher. The copies of the version before stay.
#[test]
fn a_version_that_no_member_has_fetched_takes_the_one_before_from_nobody() {
    let mut swarm = Swarm::start(&["a", "b", "c", "d"]);
    swarm.nodes[0].home.key("me");
    let before = swarm.publish(0, "wide", 2 * MIB, 1);
    swarm.settle(&before, 3);
    // A file that runs code when it is loaded: without consent, the others refuse it.
    let dir = swarm.nodes[0].home.path().join("wide");
    fs::write(dir.join("weights.pkl"), b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.").expect("written");
    let args = ["publish", &dir.to_string_lossy(), "wide", "--key", "me", "--allow-unsafe"];
    let reference = text(&swarm.nodes[0].home.json(args)["reference"]);
    let after = text(&swarm.nodes[0].home.json(["info", &reference])["summary"]["manifest"]);
    let is_refused = |node: &Node| node.knows(&after).is_some_and(|it| it["refused"].is_string());
    until("another node refuses the new version", || swarm.nodes[1..].iter().any(is_refused));
    swarm.kill(0);
    until("the publisher is given up", || {
        swarm.running().all(|node| node.knows(&after).is_none_or(|it| it["copies"] == 0))
    });
    swarm.settle(&before, 3);
    assert_eq!(swarm.holders(&before), BTreeSet::from([1, 2, 3]));
}

/// Says that a peer keeps a model of which it has nothing.
fn false_claim(manifest: &str, publisher: &str, files: &Path) -> Script {
    let models = [SwarmModel {
        manifest: manifest.parse().expect("a digest"),
        publisher: publisher.parse().expect("an id"),
        model: "wide".parse().expect("a name"),
        tag: None,
        bytes: 6 * MIB,
        standing: Standing::Kept,
    }];
    let state = SwarmState {
        version: SWARM_STATE_VERSION,
        zone: ZoneText::new("z".to_owned()),
        replicas: 3,
        draining: false,
        room: 1 << 40,
        list: list_digest(&models),
        total: 1,
        models: Bounded::first_of(models.clone()),
    };
    let read = |entry: fs::DirEntry| {
        let bytes = fs::read(entry.path()).expect("read");
        (Digest::of(&bytes), Arc::new(bytes))
    };
    let blobs = fs::read_dir(files).expect("a folder").map(|entry| read(entry.expect("a file")));
    let mut script = Script {
        blobs: blobs.collect(),
        manner: Manner::Boasts,
        swarm_key: Some(KEY.to_owned()),
        ..Script::default()
    };
    let question = SwarmQuestion { version: SWARM_STATE_VERSION, ..SwarmQuestion::default() };
    script.answer(&Request::GetSwarmState(question), Response::SwarmState(state));
    script
}

/// A member says that it keeps a model, and sends no piece of it: its copy does not count, and nothing is expected of it.
#[test]
fn a_member_that_lies_about_a_copy_does_not_count() {
    let mut swarm = Swarm { nodes: vec![Node::new(0, "a")], bootstrap: Vec::new() };
    let publisher = swarm.nodes[0].home.key("me");
    let manifest = swarm.publish(0, "wide", 6 * MIB, 7);
    let mut liars = Liars::default();
    swarm.bootstrap.push(liars.tell(false_claim(
        &manifest,
        &publisher,
        &swarm.nodes[0].home.path().join("wide"),
    )));
    swarm.up(0);
    ["b", "c", "d"].iter().for_each(|zone| swarm.join(zone));
    swarm.settle(&manifest, 3);
    let holders = swarm.holders(&manifest);
    assert_eq!((holders.len(), swarm.zones(&holders).len()), (3, 3), "{holders:?}");
    let known = swarm.nodes[0].knows(&manifest).expect("it has it");
    assert_eq!(known["refuted"].as_array().map(Vec::len), Some(1), "{known}");
    assert!(liars.requests().iter().sum::<usize>() > 0, "a piece was asked for");
}

/// A node outside a private swarm, or without `replicas`, says nothing of its copies.
#[test]
fn only_members_are_told_of_copies() {
    let home = Home::new("A");
    let daemon = Daemon::start(&home, [""; 0]);
    let question = SwarmQuestion { version: SWARM_STATE_VERSION, ..SwarmQuestion::default() };
    let answer = Asker::meet(&daemon.address()).ask(Request::GetSwarmState(question));
    assert_eq!(answer, Response::NotFound);
    home.run(["swarm", "status"]).failed(2, "keeps no copies for a swarm");
    drop(daemon);
    fs::write(home.path().join("config.toml"), "[swarm]\nreplicas = 3\n").expect("written");
    let refused = Daemon::try_start(&home, &[]).expect_err("it is refused");
    assert!(refused.contains("only for a private swarm"), "{refused}");
}

/// Nodes die and come back, one at a time, and models are published meanwhile: in the end each has three copies.
#[test]
fn many_steps_lose_nothing() {
    let steps = if is_full() { 24 } else { 2 };
    let seed = 11;
    let mut dice = Chance::new(seed);
    let mut swarm = Swarm::start(&["a", "b", "c", "a", "b", "c"]);
    swarm.nodes.iter().for_each(|it| drop(it.home.key("me")));
    let mut models: Vec<String> = vec![swarm.publish(0, "model-0", MIB, 100)];
    let start = Instant::now();
    for step in 0..steps {
        swarm.settle_all(&models);
        let up: Vec<usize> = (0..swarm.nodes.len()).filter(|it| swarm.nodes[*it].is_up()).collect();
        let down: Vec<usize> = (0..swarm.nodes.len()).filter(|it| !swarm.nodes[*it].is_up()).collect();
        let one = *dice.one(&up);
        match dice.below(4) {
            0 | 1 if up.len() > 4 => swarm.kill(one),
            2 if !down.is_empty() => {
                swarm.up(*dice.one(&down));
                swarm.meet();
            }
            _ => models.push(swarm.publish(one, &format!("model-{}", step + 1), MIB, 101 + step)),
        }
        println!("seed {seed}, step {step}: {:.0} s", start.elapsed().as_secs_f64());
    }
    swarm.settle_all(&models);
    for manifest in &models {
        assert_eq!(swarm.holders(manifest).len(), 3, "seed {seed}: {manifest}");
    }
}
