//! Tests that a node comes back into the network by the peers that it has met, with real processes and no other way to find them.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use reg_testnet::process::{Daemon, Home, text, until};
use reg_testnet::{model, tree};
use serde_json::Value;

const MIB: u64 = 1 << 20;
/// No way to find peers but addresses and memory: daemons of the tests have no mDNS.
const ALONE: [&str; 3] = ["--dht", "off", "--no-gossip"];

fn daemon(home: &Home, flags: &[&str]) -> Daemon {
    Daemon::start(home, ALONE.iter().chain(flags))
}

fn known(home: &Home) -> Vec<Value> {
    home.json(["peers", "--known"]).as_array().expect("a list").clone()
}

fn is_known(home: &Home, peer: &str) -> bool {
    known(home).iter().any(|it| it["peer"] == peer)
}

fn peers(home: &Home) -> u64 {
    home.json(["status"])["peers"].as_u64().expect("a number")
}

/// Publishes a model of its own; returns its reference.
fn publish(home: &Home, name: &str, seed: u64) -> (PathBuf, String) {
    let dir = home.path().join(name);
    model::generate(&dir, MIB, seed);
    let reference = home.publish(&dir, name, "me");
    (dir, reference)
}

fn pull(home: &Home, (dir, reference): &(PathBuf, String)) {
    let out = home.path().join("out");
    drop(fs::remove_dir_all(&out));
    home.pull(reference, &[], &ALONE).ok();
    tree::assert_equal(dir, &out);
}

/// Returns the files of remembered peers in a home.
fn files(home: &Home) -> Vec<String> {
    let names = fs::read_dir(home.path()).expect("a home").flatten();
    let names = names.map(|it| it.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|it| it.starts_with("peers")).collect();
    names.sort();
    names
}

#[test]
fn a_node_that_was_in_the_network_comes_back_with_no_address() {
    let [a, b] = ["A", "B"].map(Home::remembering);
    a.key("me");
    let daemon_a = daemon(&a, &[]);
    let models = [("one", 1), ("two", 2), ("three", 3)].map(|(name, seed)| publish(&a, name, seed));
    let first = daemon(&b, &["--bootstrap", &daemon_a.address()]);
    pull(&b, &models[0]);
    let entry =
        known(&b).into_iter().find(|it| it["peer"] == daemon_a.peer_id().as_str()).expect("A is known");
    assert!(entry["used"].is_u64() && entry["success"].is_u64() && entry["claimed"] == false, "{entry}");
    first.stop();
    assert_eq!(files(&b), ["peers.json"]);
    let start = Instant::now();
    let again = daemon(&b, &[]);
    until("B has peers", || peers(&b) > 0);
    println!("a restarted node with no address has peers {:.2?} after its start", start.elapsed());
    assert_eq!(b.json(["status"])["known_peers"], 1);
    pull(&b, &models[1]);
    println!("... and has pulled {:.2?} after its start", start.elapsed());
    again.stop();
    // A command without a daemon knows the same peers.
    pull(&b, &models[2]);
}

#[test]
fn a_bootstrap_peer_that_is_gone_for_good_is_replaced_by_others_that_were_met() {
    let [led, holder, b] = ["led", "holder", "B"].map(Home::remembering);
    holder.key("me");
    let leader = daemon(&led, &[]);
    let bootstrap = leader.address();
    let daemon_holder = daemon(&holder, &["--bootstrap", &bootstrap]);
    let models = [("one", 4), ("two", 5), ("three", 6)].map(|(name, seed)| publish(&holder, name, seed));
    // B meets the holder, because the bootstrap peer introduces it.
    let first = daemon(&b, &["--bootstrap", &bootstrap]);
    pull(&b, &models[0]);
    assert!(is_known(&b, &daemon_holder.peer_id()) && is_known(&b, &leader.peer_id()));
    first.stop();
    leader.kill();
    let again = daemon(&b, &["--bootstrap", &bootstrap]);
    pull(&b, &models[1]);
    again.stop();
    let without = daemon(&b, &[]);
    pull(&b, &models[2]);
    drop(without);
}

#[test]
fn a_node_that_is_killed_has_lost_at_most_the_last_news() {
    let [a, b] = ["A", "B"].map(Home::remembering);
    a.key("me");
    let daemon_a = daemon(&a, &[]);
    let model = publish(&a, "one", 7);
    let first = daemon(&b, &["--bootstrap", &daemon_a.address()]);
    let file = b.path().join("peers.json");
    let id = daemon_a.peer_id();
    until("the first news is written", || fs::read_to_string(&file).is_ok_and(|it| it.contains(&id)));
    first.kill();
    let again = daemon(&b, &[]);
    pull(&b, &model);
    drop(again);
}

#[test]
fn a_damaged_file_is_set_aside_with_a_word_and_stops_no_start() {
    let [a, b] = ["A", "B"].map(Home::remembering);
    let daemon_a = daemon(&a, &[]);
    let file = b.path().join("peers.json");
    for (round, damage) in ["{\"version\":1,\"peers\":[", "\0\u{fffd}", ""].iter().enumerate() {
        fs::write(&file, damage).expect("written");
        let started = daemon(&b, &["--bootstrap", &daemon_a.address()]);
        assert_eq!(started.log().matches("set aside").count(), round + 1, "{}", started.log());
        until("A is remembered anew", || is_known(&b, &daemon_a.peer_id()));
        started.stop();
        assert_eq!(files(&b), ["peers.json", "peers.json.damaged"]);
    }
    let again = daemon(&b, &[]);
    until("B has peers", || peers(&b) > 0);
    drop(again);
}

#[test]
fn each_swarm_has_a_list_of_its_own_whose_name_does_not_give_its_key_away() {
    let [a, lab, b] = ["A", "lab", "B"].map(Home::remembering);
    let [key, other] = [["--swarm-key", "our-lab"], ["--swarm-key", "their-lab"]];
    let (daemon_a, daemon_lab) = (daemon(&a, &[]), daemon(&lab, &key));
    let bootstrap = [daemon_a.address(), daemon_lab.address()].join(",");
    for (flags, expected) in [(&[][..], &daemon_a), (&key[..], &daemon_lab)] {
        let flags: Vec<&str> = flags.iter().copied().chain(["--bootstrap", &bootstrap]).collect();
        let started = daemon(&b, &flags);
        until("a peer of the swarm is remembered", || is_known(&b, &expected.peer_id()));
        assert_eq!(known(&b).len(), 1, "{:?}", known(&b));
        started.stop();
    }
    let names = files(&b);
    assert!(names.len() == 2 && names.iter().all(|it| !it.contains("lab")), "{names:?}");
    for (flags, count) in [(&key[..], 1), (&other[..], 0), (&[][..], 1)] {
        let started = daemon(&b, flags);
        assert_eq!(known(&b).len(), count, "{flags:?}");
        started.stop();
    }
    // Another node's list of the same swarm has another name.
    assert!(files(&lab).iter().all(|it| !names.contains(it)));
}

#[test]
fn peers_that_the_user_adds_stay_until_they_are_removed() {
    let [a, b, c] = ["A", "B", "C"].map(Home::remembering);
    let (daemon_a, daemon_c) = (daemon(&a, &[]), daemon(&c, &[]));
    let (at_a, at_c) = (daemon_a.address(), daemon_c.address());
    let bare = at_c.split("/p2p/").next().expect("an address").to_owned();
    // Without a daemon, the file is edited.
    let added = b.json(["peers", "add", &at_a]);
    assert_eq!((&added[0]["is_new"], &added[0]["connected"]), (&true.into(), &false.into()), "{added}");
    let first = daemon(&b, &[]);
    until("A is connected", || peers(&b) == 1);
    // The id of a peer that answers is kept with its address.
    let added = b.json(["peers", "add", &bare]);
    assert_eq!(
        (text(&added[0]["peer"]), &added[0]["connected"]),
        (daemon_c.peer_id(), &true.into()),
        "{added}"
    );
    assert_eq!(b.json(["peers", "add", &at_c])[0]["is_new"], false);
    assert_eq!(peers(&b), 2);
    first.stop();
    let again = daemon(&b, &[]);
    until("both are connected", || peers(&b) == 2);
    b.run(["peers", "rm", &daemon_a.peer_id()]).ok();
    b.run(["peers", "rm", &bare]).ok();
    until("both are disconnected", || peers(&b) == 0);
    b.run(["peers", "rm", &bare]).failed(3, "is not remembered");
    b.run(["peers", "rm", "nonsense"]).failed(2, "neither a peer id nor an address");
    assert_eq!(known(&b).iter().filter(|it| it["added"] == true).count(), 0);
    let own = again.address();
    b.run(["peers", "add", &own]).failed(2, "this node itself");
    // One that is refused does not keep the others back.
    let ran = b.run(["peers", "add", &own, &at_c]).failed(2, "this node itself");
    assert!(ran.stdout().contains(&at_c), "{}", ran.stdout());
    assert_eq!(known(&b).iter().filter(|it| it["added"] == true).count(), 1);
    b.run(["peers", "rm", &at_c]).ok();
    again.stop();
    // One that does not answer is kept, and told.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let nowhere = format!("/ip4/127.0.0.1/tcp/{port}");
    let third = daemon(&b, &[]);
    let ran = b.run(["peers", "add", &nowhere]).ok();
    assert!(ran.stderr().contains("connection refused"), "{}", ran.stderr());
    third.stop();
    assert!(known(&b).iter().any(|it| it["addresses"][0] == nowhere.as_str()));
}
