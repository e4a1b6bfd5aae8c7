//! Tests how long a name is looked for: no longer than the peers that are asked take to answer. An answer that comes late is
//! used all the same: at once where no file was placed yet, else the next time.

use std::time::{Duration, Instant};

use reg_proto::digest::Digest;
use reg_proto::tag::TagRecord;
use reg_testnet::author::{Author, Version};
use reg_testnet::evil::{Liars, Manner, Script};
use reg_testnet::http;
use reg_testnet::measure::one_is_quicker;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, until};
use rustix::process::Signal;

/// Later than every wait for other answers, and sooner than the first byte of a peer that tarries.
const LATE: Duration = Duration::from_secs(1);
/// Less than a search waits for peers that have not answered (`ANSWERS_PATIENCE`, 700 ms).
const NO_WAIT: Duration = Duration::from_millis(650);

const ALONE: [&str; 4] = ["--dht", "off", "--no-gossip", "--overwrite"];

/// Two versions of a tag, the second after the first.
fn two_versions(author: &Author) -> [(TagRecord, Version); 2] {
    let [one, two] = ["one", "two"].map(|content| author.version("tale", content));
    let first = author.record(&one, "latest", 1, None);
    let second = author.record(&two, "latest", 2, Some(Digest::of(&first.to_payload())));
    [(first, one), (second, two)]
}

fn script(author: &Author, of: &[&(TagRecord, Version)]) -> Script {
    let tags: Vec<String> = of.iter().map(|(record, _)| author.sign(record)).collect();
    let versions: Vec<&Version> = of.iter().map(|(_, version)| version).collect();
    author.script(&versions[0].model, "latest", &tags, &versions)
}

fn content(home: &Home) -> String {
    std::fs::read_to_string(home.path().join("out/config.json")).unwrap_or_default()
}

/// Pulls until a pull finds the model without a wait for other answers.
fn finds_at_once(what: &str, mut pull: impl FnMut() -> serde_json::Value) {
    let mut finding = || pull()["pace"]["finding_seconds"].as_f64().expect("a time");
    one_is_quicker(what, NO_WAIT, || Duration::from_secs_f64(finding()));
}

#[test]
fn a_name_takes_no_longer_than_the_answers_of_the_peers_that_are_asked() {
    let [a, b, p] = ["A", "B", "P"].map(Home::new);
    a.key("me");
    let seed = Daemon::start(&a, ["--dht", "off"]);
    let dir = a.path().join("model");
    model::generate(&dir, 2 << 20, 1);
    let reference = a.publish(&dir, "tale", "me");
    let other = Daemon::start(&b, ["--bootstrap", &seed.address(), "--dht", "off"]);
    let with_daemon = Home::new("D");
    let addresses = [seed.address(), other.address()];
    let bootstrap = ["--bootstrap", &addresses[0], "--bootstrap", &addresses[1], "--dht", "off"];
    let _daemon = Daemon::start(&with_daemon, bootstrap);
    until("both are connected", || with_daemon.json(["peers"]).as_array().is_some_and(|it| it.len() >= 2));
    finds_at_once("a daemon with two peers that answer at once finds a model", || {
        with_daemon.pull(&reference, &[], &["--overwrite"]).ok().json()
    });
    let from = [addresses[0].as_str(), &addresses[1]];
    finds_at_once("a command that names two peers finds a model", || {
        p.pull(&reference, &from, &ALONE).ok().json()
    });
}

#[test]
fn a_newer_version_that_is_told_late_is_pulled_before_anything_is_placed() {
    let author = Author::new(81);
    let [one, two] = two_versions(&author);
    let reference = format!("{}/tale", author.id);
    let mut liars = Liars::default();
    let first = liars.tell(script(&author, &[&one]));
    let stale = liars.tell(Script { manner: Manner::Tarries, ..script(&author, &[&one]) });
    let late = liars.tell(Script { records_after: LATE, ..script(&author, &[&two]) });
    // Neither one that has never heard of the publisher nor one that follows it takes the version that was told first.
    for follows in [false, true] {
        let home = Home::new("P");
        if follows {
            home.pull(&reference, &[&first], &ALONE).ok();
            home.run(["rm", &reference]).ok();
        }
        let ran = home.pull(&reference, &[&stale, &late], &ALONE).ok();
        assert!(content(&home).contains("two"), "{} {}", content(&home), ran.stderr());
        assert!(ran.json()["behind"].is_null(), "{}", ran.json());
    }
}

#[test]
fn two_records_that_contradict_each_other_freeze_the_tag_where_one_is_told_late() {
    let author = Author::new(82);
    let [one, two] = two_versions(&author);
    let other = author.version("tale", "other");
    let prev = Digest::of(&one.0.to_payload());
    let other = (author.record(&other, "latest", 2, Some(prev)), other);
    let reference = format!("{}/tale", author.id);
    let mut liars = Liars::default();
    let soon = Script { manner: Manner::Tarries, ..script(&author, &[&two]) };
    let soon = liars.tell(soon);
    let late = liars.tell(Script { records_after: LATE, ..script(&author, &[&other]) });
    let home = Home::new("P");
    let ran = home.pull(&reference, &[&soon, &late], &ALONE).failed(4, "contradict");
    assert!(content(&home).is_empty(), "{} {}", content(&home), ran.stderr());
}

#[test]
fn a_gateway_gives_the_newer_version_to_the_request_after_it_was_told() {
    let author = Author::new(83);
    let [one, two] = two_versions(&author);
    let mut liars = Liars::default();
    let stale = liars.tell(script(&author, &[&one]));
    let late = liars.tell(Script { records_after: LATE, ..script(&author, &[&two, &one]) });
    let home = Home::new("P");
    let flags = ["--bootstrap", &stale, "--bootstrap", &late, "--dht", "off", "--no-gossip"];
    let daemon = Daemon::start(&home, flags);
    until("both are connected", || home.json(["peers"]).as_array().is_some_and(|it| it.len() >= 2));
    let url = format!("{}/{}/tale/resolve/main/config.json", http::base(&daemon), author.id);
    let first = http::get(&url, &[]);
    assert_eq!(first.status, 200, "{}", first.text());
    until("the newer version is given", || http::get(&url, &[]).text().contains("two"));
}

#[test]
fn a_peer_that_never_answers_is_not_waited_for_again() {
    let author = Author::new(84);
    let [one, _] = two_versions(&author);
    let reference = format!("{}/tale", author.id);
    let mut liars = Liars::default();
    let seed = liars.tell(script(&author, &[&one]));
    let silent = liars.tell(Script { records_after: Duration::from_secs(3600), ..Script::default() });
    let home = Home::new("P");
    let flags = ["--bootstrap", &seed, "--bootstrap", &silent, "--dht", "off", "--no-gossip"];
    let _daemon = Daemon::start(&home, flags);
    until("both are connected", || home.json(["peers"]).as_array().is_some_and(|it| it.len() >= 2));
    home.pull(&reference, &[], &["--overwrite"]).ok();
    finds_at_once("a pull beside a peer that never answers finds its model", || {
        home.pull(&reference, &[], &["--overwrite"]).ok().json()
    });
}

#[test]
fn a_name_that_no_peer_has_is_not_looked_for_once_all_have_answered() {
    let nobody = "w3wvhlx6okxgeref7vz7cfr7y3m5wm5paa6xejkogaqe2j3bj5gq/none";
    let a = Home::new("A");
    let seed = Daemon::start(&a, [""; 0]);
    let with_daemon = Home::new("D");
    let _daemon = Daemon::start(&with_daemon, ["--bootstrap", &seed.address()]);
    until("it is connected", || with_daemon.json(["peers"]).as_array().is_some_and(|it| !it.is_empty()));
    // A search ends after 30 s at the latest (`FIND_TIMEOUT`), and where peers may still turn up it waits for 2.5 s.
    let (at_once, soon) = (Duration::from_millis(2400), Duration::from_secs(25));
    let fails = |home: &Home, from: &[&str], flags: &[&str], (code, what): (i32, &str), bound| {
        let took = one_is_quicker(what, bound, || {
            let start = Instant::now();
            let ran = home.pull(nobody, from, flags).failed(code, what);
            assert!(ran.stderr().contains("hint"), "{}", ran.stderr());
            start.elapsed()
        });
        println!("{what} {flags:?}: {took:.1?}");
    };
    fails(&with_daemon, &[], &[], (3, "1 peer was asked"), soon);
    fails(&Home::new("P"), &[&seed.address()], &[], (3, "asked and none has it"), soon);
    fails(&Home::new("Q"), &[], &["--dht", "off"], (5, "no peer could be reached"), at_once);
    fails(&Home::new("R"), &[], &[], (5, "no peer could be reached"), at_once);
    // A peer that cannot be reached is not asked, and the others have answered.
    let stopped = Home::new("S");
    let gone = Daemon::start(&stopped, ["--dht", "off"]);
    let address = gone.address();
    reg_testnet::process::signal(gone.pid(), Signal::STOP);
    let both = [seed.address(), address];
    let both = both.each_ref().map(String::as_str);
    fails(&Home::new("T"), &both, &["--dht", "off"], (3, "asked and none has it"), soon);
    reg_testnet::process::signal(gone.pid(), Signal::CONT);
}
