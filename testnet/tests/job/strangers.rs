//! Tests that two nodes with nothing in common meet in BitTorrent's DHT, with real processes and a DHT of ten nodes on loopback.

use std::fs::{self, File};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use mainline::Testnet;
use reg_testnet::alone::alone;
use reg_testnet::domains::{DomainWorld, Page};
use reg_testnet::process::{Daemon, Home, Ran, is_full, until};
use reg_testnet::{model, tree};

/// Nodes of the DHT.
const NODES: usize = 10;
/// Times that two strangers meet.
const ROUNDS: usize = 2;
const ROUNDS_FULL: usize = 20;

fn configured(name: &str, rendezvous: &str, dht: &Testnet) -> Home {
    let home = Home::new(name);
    let nodes = &dht.bootstrap;
    let text = format!("[network]\nrendezvous = '{rendezvous}'\nrendezvous_bootstrap = {nodes:?}\n");
    fs::write(home.path().join("config.toml"), text).expect("written");
    home
}

/// Starts a daemon that says it is reached at the port it listens on.
fn reached(home: &Home) -> Daemon {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}");
    Daemon::start_at(home, &[&address], ["--external", &address, "--no-mdns"])
}

/// Publishes at one node, pulls at another that has nothing in common with it, and returns how long that took.
fn meet(round: usize) -> Duration {
    let dht = Testnet::builder(NODES).build().expect("a DHT on loopback");
    let publisher = configured("publisher", "mainline", &dht);
    // Every second time, the pull itself allows it.
    let by_flag = round % 2 == 1;
    let puller = configured("puller", if by_flag { "off" } else { "mainline" }, &dht);
    publisher.key("me");
    let files = publisher.path().join("model");
    model::generate(&files, 1 << 20, round as u64);
    let daemon = reached(&publisher);
    let reference = publisher.publish(&files, "unheard-of", "me");
    let start = Instant::now();
    puller.pull(&reference, &[], if by_flag { &["--public"] } else { &[] }).ok();
    let took = start.elapsed();
    tree::assert_equal(&files, &puller.path().join("out"));
    until("announced under both keys", || publisher.json(["status"])["rendezvous"]["announced"] == 2);
    drop(daemon);
    took
}

#[test]
fn two_nodes_with_nothing_in_common_meet_and_pull() {
    let _alone = alone();
    let rounds = if is_full() { ROUNDS_FULL } else { ROUNDS };
    let took: Vec<Duration> = (0..rounds).map(meet).collect();
    let slowest = took.iter().max().copied().unwrap_or_default();
    println!("{rounds} of {rounds} met and pulled, the slowest within {slowest:.1?}: {took:.1?}");
}

/// Nothing is looked up unless the user asks for it, and the error says how.
#[test]
fn without_consent_no_stranger_is_looked_for() {
    let dht = Testnet::builder(NODES).build().expect("a DHT on loopback");
    let [publisher, puller] = [configured("publisher", "mainline", &dht), configured("puller", "off", &dht)];
    publisher.key("me");
    let files = publisher.path().join("model");
    model::generate(&files, 1 << 20, 1);
    let _daemon = reached(&publisher);
    let reference = publisher.publish(&files, "unheard-of", "me");
    until("announced under both keys", || publisher.json(["status"])["rendezvous"]["announced"] == 2);
    let refused = puller.pull(&reference, &[], &[]).failed(5, "no peer could be reached");
    assert!(refused.stderr().contains("--public"), "{}", refused.stderr());
    // A private swarm does not tell the world where its nodes are.
    let lab = Home::new("lab");
    let text = "[network]\nrendezvous = 'mainline'\n[swarm]\nkey = 'our lab'\n";
    fs::write(lab.path().join("config.toml"), text).expect("written");
    lab.run(["status"]).failed(2, "private swarm");
}

/// A domain names a publisher and no peer of it. The profile is found as the model is, where the user allows it.
#[test]
fn a_publisher_by_its_domain_is_found_among_strangers_where_the_user_allows_it() {
    let (dht, world) = (Testnet::builder(NODES).build().expect("a DHT"), DomainWorld::new(&["acme.org"]));
    let [publisher, puller] = [configured("publisher", "mainline", &dht), configured("puller", "off", &dht)];
    let config = puller.path().join("config.toml");
    let network = fs::read_to_string(&config).expect("written");
    fs::write(&config, network + &world.settings(&["acme.org"])).expect("written");
    let id = publisher.key("me");
    let files = publisher.path().join("model");
    model::generate(&files, 1 << 20, 3);
    let _daemon = reached(&publisher);
    publisher.publish(&files, "unheard-of", "me");
    publisher.run(["publisher", "set", "--key", "me", "--domain", "acme.org"]).ok();
    world.serve("acme.org", Page::File(format!("{{\"reg\":1,\"publisher\":\"{id}\",\"peers\":[]}}")));
    until("announced under both keys", || publisher.json(["status"])["rendezvous"]["announced"] == 2);
    let refused = puller.pull("acme.org/unheard-of", &[], &[]).failed(5, "which no peer in reach knows");
    assert!(refused.stderr().contains("--public"), "{}", refused.stderr());
    puller.pull("acme.org/unheard-of", &[], &["--public"]).ok();
    tree::assert_equal(&files, &puller.path().join("out"));
}

/// Runs a command of `reg` at a terminal, where the user types this. What the command prints is the standard output.
fn at_a_terminal(home: &Home, args: &[&str], typed: &str) -> Ran {
    let command = home.command(args);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<String> = words.map(|it| format!("'{}'", it.to_string_lossy())).collect();
    let keys = home.path().join("typed");
    fs::write(&keys, typed).expect("written");
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--flush", "--command", &line.join(" "), "/dev/null"]);
    script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    home.ran(script.stdin(File::open(&keys).expect("a file")))
}

#[test]
fn a_user_at_a_terminal_is_asked_where_no_peer_could_be_reached_and_a_yes_is_enough() {
    let dht = Testnet::builder(NODES).build().expect("a DHT on loopback");
    let [publisher, puller] = [configured("publisher", "mainline", &dht), configured("puller", "off", &dht)];
    publisher.key("me");
    let files = publisher.path().join("model");
    model::generate(&files, 1 << 20, 2);
    let _daemon = reached(&publisher);
    let reference = publisher.publish(&files, "unheard-of", "me");
    until("announced under both keys", || publisher.json(["status"])["rendezvous"]["announced"] == 2);
    let out = puller.path().join("out");
    let shown = out.to_string_lossy().into_owned();
    for (answer, code) in [("n\n", 5), ("y\n", 0)] {
        let ran = at_a_terminal(&puller, &["pull", &reference, &shown, "--no-mdns"], answer);
        assert!(ran.stdout().contains("Look for strangers in BitTorrent's DHT?"), "{}", ran.stdout());
        assert_eq!((ran.code(), out.exists()), (code, code == 0), "{}", ran.stdout());
    }
    tree::assert_equal(&files, &out);
}
