//! Tests how pieces travel between real processes: over lanes or streams, at a limit, paused and resumed.

use std::process::Stdio;
use std::time::{Duration, Instant};

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, wait_until};
use reg_testnet::tree;
use serde_json::Value;

const MIB: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(120);
/// A limit with which the pulls of these tests take four seconds.
const LIMIT: &str = "700kB/s";
/// Bytes per second at most where [`LIMIT`] holds. A burst of a quarter of a second comes on top of it; without a limit, it is
/// several times as much.
const RATE_MAX: f64 = 700_000.0 * 1.5;

/// A publisher's home, its running daemon, and the reference of a model of this size.
fn seed(name: &str, bytes: u64, flags: &[&str]) -> (Home, Daemon, String) {
    let home = Home::new(name);
    home.key("me");
    let model = home.path().join("model");
    model::generate(&model, bytes, 11);
    let daemon = Daemon::start(&home, flags);
    let reference = home.publish(&model, "m", "me");
    (home, daemon, reference)
}

fn pull_args<'a>(reference: &'a str, dest: &'a str, from: &'a str) -> Vec<&'a str> {
    vec!["pull", reference, dest, "--from", from, "--no-mdns", "--dht", "off", "--no-gossip", "--json"]
}

fn fetched(home: &Home) -> u64 {
    home.json(["status"])["bytes_fetched"].as_u64().expect("a number")
}

/// Waits until a home's daemon says so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn peer_of(home: &Home, peer: &str) -> Value {
    let peers = home.json(["peers"]);
    let found = peers.as_array().expect("a list").iter().find(|it| it["peer"] == peer).cloned();
    found.unwrap_or_else(|| panic!("{peer} is not among {peers}"))
}

#[test]
fn pieces_go_over_a_lane_and_over_the_stream_where_there_is_none() {
    let (a, daemon_a, reference) = seed("A", 24 * MIB, &[]);
    let from = daemon_a.address();
    for (flags, by_lane) in [(&[][..], true), (&["--no-lanes"][..], false)] {
        let b = Home::new("B");
        let daemon_b = Daemon::start(&b, flags);
        let dest = b.path().join("out").to_string_lossy().into_owned();
        b.run(pull_args(&reference, &dest, &from)).ok();
        tree::assert_equal(&a.path().join("model"), &b.path().join("out"));
        let (peer, bytes) = (peer_of(&b, &daemon_a.peer_id()), fetched(&b));
        assert_eq!(peer["bytes_fetched"].as_u64(), Some(bytes));
        let lane = peer["bytes_by_lane"].as_u64().expect("a number");
        // What came before the lane was open came over the stream.
        assert_eq!(lane > 0, by_lane, "{peer}");
        assert!(lane <= bytes);
        let shown = b.run(["peers"]).ok().stdout();
        assert!(shown.contains("BULK") && shown.contains(if by_lane { "lane" } else { "stream" }), "{shown}");
        let why = peer["no_lane"].as_str();
        assert!(by_lane || why == Some("this node has no lanes"), "{peer}");
        daemon_b.stop();
    }
}

#[test]
fn a_lane_that_does_not_connect_is_done_without() {
    let (a, daemon_a, reference) = seed("A", 6 * MIB, &["--no-lanes"]);
    let b = Home::new("B");
    let _daemon_b = Daemon::start(&b, [""; 0]);
    let dest = b.path().join("out").to_string_lossy().into_owned();
    b.run(pull_args(&reference, &dest, &daemon_a.address())).ok();
    tree::assert_equal(&a.path().join("model"), &b.path().join("out"));
    let peer = peer_of(&b, &daemon_a.peer_id());
    assert_eq!(peer["no_lane"].as_str(), Some("the peer offers no lane"), "{peer}");
    let said = b.run(["peers"]).ok().stderr();
    assert!(said.contains("not a lane: the peer offers no lane"), "{said}");
}

/// How many bytes per second a pull of so many MiB brings.
fn rate_with(size: u64, up: &[&str], down: &[&str]) -> f64 {
    let (a, daemon_a, reference) = seed("A", size * MIB, up);
    let b = Home::new("B");
    let (dest, from) = (b.path().join("out").to_string_lossy().into_owned(), daemon_a.address());
    let start = Instant::now();
    let args: Vec<&str> =
        pull_args(&reference, &dest, &from).into_iter().chain(down.iter().copied()).collect();
    let pulled = b.run(args).ok().json();
    tree::assert_equal(&a.path().join("model"), &b.path().join("out"));
    pulled["bytes_fetched"].as_u64().expect("a number") as f64 / start.elapsed().as_secs_f64()
}

#[test]
fn limits_hold_on_both_sides_and_over_both_ways() {
    for way in [&["--limit-local"][..], &["--limit-local", "--no-lanes"][..]] {
        let limited = |flag| [&[flag, LIMIT], way].concat();
        let up = rate_with(3, &limited("--limit-up"), &[]);
        assert!(up < RATE_MAX, "{way:?}: sent {up} bytes per second");
        let down = rate_with(3, &[], &limited("--limit-down"));
        assert!(down < RATE_MAX, "{way:?}: fetched {down} bytes per second");
    }
}

#[test]
fn peers_of_one_s_own_network_are_exempt_unless_asked() {
    // At the limit it would take four minutes.
    let rate = rate_with(16, &["--limit-up", "64kB/s"], &["--limit-down", "64kB/s"]);
    assert!(rate > 64_000.0 * 1.5, "{rate} bytes per second");
}

#[test]
fn a_limit_that_does_not_hold_for_a_near_peer_says_so() {
    let (_a, daemon_a, reference) = seed("A", 2 * MIB, &[]);
    let b = Home::new("B");
    let (dest, from) = (b.path().join("out").to_string_lossy().into_owned(), daemon_a.address());
    let said = |flags: &[&str]| {
        let args: Vec<&str> =
            pull_args(&reference, &dest, &from).into_iter().chain(flags.iter().copied()).collect();
        let text = b.run(args).ok().stderr();
        b.run(["rm", &reference]).ok();
        b.run(["gc"]).ok();
        std::fs::remove_dir_all(&dest).expect("it was pulled");
        text.contains("does not hold for peers on this machine")
    };
    assert!(said(&["--limit-down", "50MB/s"]));
    assert!(!said(&["--limit-down", "50MB/s", "--limit-local"]), "it holds");
    assert!(!said(&[]), "there is none");
}

#[test]
fn a_running_daemon_takes_another_limit_on_both_sides() {
    for (key, is_sender) in [("transfer.limit_up", true), ("transfer.limit_down", false)] {
        let (a, b) = (Home::new("A"), Home::new("B"));
        a.key("me");
        model::generate(&a.path().join("model"), 3 * MIB, 11);
        for home in [&a, &b] {
            home.run(["config", "set", "transfer.limit_local", "true"]).ok();
        }
        let (daemon_a, _daemon_b) = (Daemon::start(&a, [""; 0]), Daemon::start(&b, [""; 0]));
        let reference = a.publish(&a.path().join("model"), "m", "me");
        let limited = if is_sender { &a } else { &b };
        limited.run(["config", "set", key, LIMIT]).ok();
        let reloaded = limited.json(["reload"]);
        assert_eq!(reloaded["taken"][0]["key"], key, "{reloaded}");
        let (dest, from) = (b.path().join("out").to_string_lossy().into_owned(), daemon_a.address());
        let start = Instant::now();
        let pulled = b.run(["pull", &reference, &dest, "--from", &from, "--json"]).ok().json();
        let rate = pulled["bytes_fetched"].as_u64().expect("a number") as f64 / start.elapsed().as_secs_f64();
        assert!(rate < RATE_MAX, "{key}: {rate} bytes per second");
        tree::assert_equal(&a.path().join("model"), &b.path().join("out"));
    }
}

#[test]
fn a_pull_is_paused_and_goes_on_where_it_was() {
    const BYTES: u64 = 32 * MIB;
    const BEFORE: u64 = 4 * MIB;
    let (a, daemon_a, reference) = seed("A", BYTES, &[]);
    let b = Home::new("B");
    // A minute for the whole, so that a busy machine does not end it before it is paused.
    for (key, value) in [("transfer.limit_down", "500kB/s"), ("transfer.limit_local", "true")] {
        b.run(["config", "set", key, value]).ok();
    }
    let daemon_b = Daemon::start(&b, [""; 0]);
    let (dest, from) = (b.path().join("out").to_string_lossy().into_owned(), daemon_a.address());
    let mut pull =
        b.command(pull_args(&reference, &dest, &from)).stdout(Stdio::null()).spawn().expect("it runs");
    until("the first piece", || fetched(&b) > 0);
    b.run(["pause", "--quiet", "w3wvhlx6okxgeref7vz7cfr7y3m5wm5paa6xejkogaqe2j3bj5gq/other"])
        .failed(3, "is not being pulled");
    let paused = b.json(["pause", &reference]);
    assert_eq!((paused["pulls"].as_u64(), paused["all"].as_bool()), (Some(1), Some(false)));
    let quiet = |home: &Home| {
        // What was under way when it was paused still comes. At the limit a piece takes two seconds, so that a pull which is not
        // paused is never quiet for longer before its end.
        let (mut last, mut since) = (fetched(home), Instant::now());
        until("silence", || {
            if std::mem::replace(&mut last, fetched(home)) != last {
                since = Instant::now();
            }
            since.elapsed() > Duration::from_secs(7)
        });
        assert!(last < BYTES, "it is paused before its end");
    };
    quiet(&b);
    b.run(["resume", &reference]).ok();
    let before = fetched(&b);
    until("more pieces", || fetched(&b) > before.max(BEFORE));
    // The other end pauses everything, what it serves included.
    assert_eq!(a.json(["pause"])["all"], true);
    assert_eq!(a.json(["status"])["paused"], true);
    quiet(&b);
    b.run(["config", "set", "transfer.limit_down", "none"]).ok();
    b.run(["reload"]).ok();
    a.run(["resume"]).ok();
    let ended = wait_until(&mut pull, Instant::now() + PATIENCE);
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}\n{}", daemon_b.log());
    tree::assert_equal(&a.path().join("model"), &b.path().join("out"));
    assert!(fetched(&b) < BYTES + BEFORE, "what was fetched before is not fetched again");
}

#[test]
fn a_pull_that_waited_for_a_paused_peer_says_so_at_its_end() {
    let (a, daemon, reference) = seed("A", 4 * MIB, &[]);
    a.run(["pause"]).ok();
    let b = Home::new("B");
    let (dest, from) = (b.path().join("out").to_string_lossy().into_owned(), daemon.address());
    let args = [pull_args(&reference, &dest, &from), vec!["--timeout", "12"]].concat();
    let ended = b.run(args).failed(5, "is paused by its owner");
    assert!(ended.stderr().contains("reg resume"), "{}", ended.stderr());
}

#[test]
fn there_is_nothing_to_pause_without_a_daemon() {
    Home::new("A").run(["pause"]).failed(5, "no daemon runs");
}
