//! Tests following a publisher: versions come after their delay, survive their publisher, and a thief's never come.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text, until};
use serde_json::Value;

const QUIET: [&str; 2] = ["--dht", "off"];

fn publish(home: &Home, content: &str, name: &str) -> Value {
    let dir = home.path().join("models").join(content);
    fs::create_dir_all(&dir).expect("a folder");
    fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{content}\"}}")).expect("written");
    home.json(["publish", &dir.to_string_lossy(), name, "--key", "me"])
}

fn follows(home: &Home) -> Value {
    home.json(["follow", "ls"])
}

/// Returns what a node says of version `seq` of a model that it follows.
fn version(home: &Home, model: &str, seq: u64) -> Value {
    let follows = follows(home);
    let versions = follows.as_array().into_iter().flatten().flat_map(|it| it["versions"].as_array().cloned());
    let found = versions.flatten().find(|it| it["model"] == model && it["seq"] == seq);
    found.unwrap_or_default()
}

fn is(home: &Home, model: &str, seq: u64, state: &str) -> bool {
    version(home, model, seq)["state"]["is"] == state
}

fn comes(home: &Home, model: &str, seq: u64) {
    until(&format!("{model} {seq} comes"), || is(home, model, seq, "here"));
}

/// Starts a follower of all models of a publisher.
fn follower(name: &str, publisher: &str, address: &str, flags: &[&str]) -> (Home, Daemon) {
    let home = Home::new(name);
    let daemon = Daemon::start(&home, QUIET.iter().chain(&["--bootstrap", address]));
    home.run(["follow", publisher].iter().chain(flags)).ok();
    (home, daemon)
}

#[test]
fn a_new_version_reaches_every_follower_and_outlives_its_publisher() {
    let a = Home::new("publisher");
    a.key("me");
    let daemon = Daemon::start(&a, QUIET);
    let one = publish(&a, "one", "tiny");
    let (publisher, address) = (text(&one["publisher"]), daemon.address());
    let followers: Vec<(Home, Daemon)> =
        (0..5).map(|n| follower(&format!("follower {n}"), &publisher, &address, &["--delay", "0"])).collect();
    for (home, _) in &followers {
        comes(home, "tiny", 1);
    }
    let two = publish(&a, "two", "tiny");
    for (home, _) in &followers {
        comes(home, "tiny", 2);
        let here = version(home, "tiny", 2);
        assert_eq!((&here["manifest"], &here["kept"]), (&two["manifest"], &Value::Bool(true)));
        let listed = home.json(["ls"]);
        let listed = listed.as_array().expect("a list").iter().find(|it| it["manifest"] == two["manifest"]);
        assert_eq!(listed.expect("it is listed")["followed"], true, "it counts as pinned");
    }
    drop((daemon, a));
    let newcomer = Home::new("newcomer");
    let from = followers[3].1.address();
    let reference = format!("{publisher}/tiny");
    let pulled = newcomer.pull(&reference, &[&from], &["--dht", "off", "--no-gossip"]).ok().json();
    assert_eq!(pulled["manifest"], two["manifest"]);
}

/// A ticket is all that the follower has: the peers of it are met, and the model that it names is followed.
#[test]
fn a_ticket_is_followed_where_no_peer_is_known() {
    let a = Home::new("publisher");
    a.key("me");
    let daemon = Daemon::start(&a, QUIET);
    let one = publish(&a, "one", "tiny");
    let other = publish(&a, "other", "elsewhere");
    let ticket = text(&a.json(["share", &text(&one["reference"]), "--lan"])["ticket"]);
    let home = Home::new("follower");
    let _follower = Daemon::start(&home, QUIET);
    let followed = home.json(["follow", &ticket, "--delay", "0"]);
    assert_eq!((&followed["publisher"], &followed["models"]), (&one["publisher"], &"tiny".into()));
    comes(&home, "tiny", 1);
    let listed = home.json(["ls"]).to_string();
    assert!(!listed.contains(&text(&other["manifest"])), "{listed}");
    let of_node = text(&a.json(["share", "--lan"])["ticket"]);
    home.run(["follow", &of_node]).failed(2, "reg peers add");
    // Where no peer of the ticket is met, the user is told what keeps its addresses.
    let alone = Home::new("without a daemon");
    let offline = alone.json(["follow", &ticket, "--models", "--offline"]);
    assert!(text(&offline["note"]).contains("is offline; `reg peers add TICKET`"), "{offline}");
    drop(daemon);
    let late = Home::new("late");
    let _late = Daemon::start(&late, QUIET);
    let unmet = late.json(["follow", &ticket, "--models"]);
    assert!(text(&unmet["note"]).starts_with("no peer of the ticket answers"), "{unmet}");
    let said = late.run(["follow", &ticket, "--models"]).ok().stderr();
    assert!(said.contains("note: no peer of the ticket answers"), "{said}");
}

/// What a later version of the program has written is neither replaced nor called damaged.
#[test]
fn a_follow_that_a_later_program_wrote_is_refused_and_stays() {
    let home = Home::new("follower");
    let id = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaq";
    home.run(["follow", id]).ok();
    let file = documents(&home.path().join("store/documents/follow")).remove(0);
    let text = fs::read_to_string(&file).expect("a document");
    let later = text.replacen("\"version\":2,", "\"version\":9,\"more\":true,", 1);
    assert_ne!(later, text);
    fs::write(&file, &later).expect("written");
    fs::remove_dir_all(home.path().join("store/index")).expect("the index is made anew");
    for line in [vec!["follow", id, "--keep", "5"], vec!["follow", "pause", id]] {
        home.run(line).failed(1, "upgrade");
    }
    assert!(home.run(["follow", "ls"]).ok().stdout().contains("a later version of this program writes"));
    assert_eq!(fs::read_to_string(&file).expect("a document"), later);
    home.run(["follow", "rm", id]).ok();
    assert!(!file.exists(), "the user may end it");
}

/// Returns the files in a folder and below.
fn documents(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a folder").map(|it| it.expect("an entry").path());
    entries.flat_map(|it| if it.is_dir() { documents(&it) } else { vec![it] }).collect()
}

#[test]
fn a_thiefs_release_is_withdrawn_within_the_delay_and_reaches_no_follower() {
    let a = Home::new("publisher");
    a.key("me");
    let daemon = Daemon::start(&a, QUIET);
    let one = publish(&a, "one", "tiny");
    let (publisher, address) = (text(&one["publisher"]), daemon.address());
    let (home, _follower) = follower("follower", &publisher, &address, &["--delay", "0"]);
    comes(&home, "tiny", 1);
    // It is passed over at once, and not when its time has come.
    home.run(["follow", &publisher, "--delay", "1h"]).ok();
    let two = publish(&a, "stolen", "tiny");
    until("the release is heard of", || is(&home, "tiny", 2, "waiting"));
    let listed = home.json(["ls"]);
    let behind = &listed[0]["behind"]["latest"];
    assert_eq!(
        (&behind["head"], &behind["reason"]),
        (&2.into(), &"heard".into()),
        "a newer one is known: {listed}"
    );
    let info = home.json(["info", &format!("{publisher}/tiny")]);
    assert_eq!(info["behind"]["manifest"], two["manifest"]);
    a.run(["key", "revoke", "me", "--manifest", &text(&two["manifest"]), "--reason", "a thief", "--yes"])
        .ok();
    until("it is passed over", || is(&home, "tiny", 2, "passed"));
    home.run(["follow", &publisher, "--delay", "5s"]).ok();
    let published = std::time::Instant::now();
    let three = publish(&a, "three", "tiny");
    comes(&home, "tiny", 3);
    // Times of versions are whole seconds.
    assert!(published.elapsed() >= Duration::from_secs(4));
    let models = home.json(["ls"]);
    let manifests: Vec<&Value> =
        models.as_array().expect("a list").iter().map(|it| &it["manifest"]).collect();
    assert!(manifests.contains(&&three["manifest"]) && !manifests.contains(&&two["manifest"]), "{models}");
    assert!(!is(&home, "tiny", 2, "here"));
}

/// A thief's release is the head of its tag while the version before it becomes due: the pull takes that one, and not the head.
#[test]
fn an_older_version_comes_while_a_newer_one_waits() {
    let a = Home::new("publisher");
    a.key("me");
    let daemon = Daemon::start(&a, QUIET);
    let one = publish(&a, "one", "tiny");
    let (publisher, address) = (text(&one["publisher"]), daemon.address());
    let (home, _follower) = follower("follower", &publisher, &address, &["--delay", "15s"]);
    until("it is heard of", || is(&home, "tiny", 1, "waiting"));
    std::thread::sleep(Duration::from_secs(10));
    let two = publish(&a, "two", "tiny");
    until("the newer one is heard of", || is(&home, "tiny", 2, "waiting"));
    // Its delay ends ten seconds after that of the first one.
    let here = || {
        let models = home.json(["ls"]);
        let manifests = models.as_array().into_iter().flatten().map(|it| it["manifest"].clone());
        manifests.collect::<Vec<Value>>()
    };
    until("a version comes", || !here().is_empty());
    assert_eq!(here()[0], one["manifest"], "the newer one is too young: {two}");
    comes(&home, "tiny", 2);
}

#[test]
fn a_pull_that_runs_ends_while_its_follow_is_paused() {
    let [a, home] = ["publisher", "follower"].map(Home::new);
    a.key("me");
    let daemon = Daemon::start(&a, QUIET);
    let dir = a.path().join("large");
    model::generate(&dir, 12 << 20, 5);
    let reference = a.publish(&dir, "large", "me");
    let publisher = reference.split('/').next().expect("a publisher").to_owned();
    for (key, value) in [("transfer.limit_down", "500kB/s"), ("transfer.limit_local", "true")] {
        home.run(["config", "set", key, value]).ok();
    }
    let _follower = Daemon::start(&home, QUIET.iter().chain(&["--bootstrap", &daemon.address()]));
    home.run(["follow", &publisher, "--delay", "0"]).ok();
    // To resume what is not paused changes nothing, and tells whether it is being pulled.
    let is_pulled = || home.run(["resume", &reference]).code() == 0;
    let has = || home.json(["status"])["partial_bytes"].as_u64().unwrap_or(0);
    // Pieces that are not whole are not kept.
    let fetched = || home.json(["status"])["bytes_fetched"].as_u64().unwrap_or(0);
    until("it is being pulled", || is_pulled() && fetched() > 2 << 20);
    home.run(["follow", "pause", &publisher]).ok();
    until("its pull has ended", || !is_pulled());
    assert!(has() > 0 && !is(&home, "large", 1, "here"), "it has ended in the middle: {}", follows(&home));
    home.run(["config", "set", "transfer.limit_down", "none"]).ok();
    home.run(["reload"]).ok();
    home.run(["follow", "resume", &publisher]).ok();
    comes(&home, "large", 1);
}

#[test]
fn a_delay_that_has_begun_goes_on_after_a_kill_and_a_paused_follow_waits() {
    let a = Home::new("publisher");
    a.key("me");
    let daemon = Daemon::start(&a, QUIET);
    let one = publish(&a, "one", "tiny");
    let (publisher, address) = (text(&one["publisher"]), daemon.address());
    let (home, running) = follower("follower", &publisher, &address, &["--delay", "15s"]);
    until("it is heard of", || is(&home, "tiny", 1, "waiting"));
    let heard = version(&home, "tiny", 1)["heard"].clone();
    home.run(["follow", "pause", &publisher]).ok();
    running.kill();
    let _follower = Daemon::start(&home, QUIET.iter().chain(&["--bootstrap", &address]));
    std::thread::sleep(Duration::from_secs(20));
    assert!(is(&home, "tiny", 1, "waiting"), "it is paused");
    assert_eq!(version(&home, "tiny", 1)["heard"], heard, "it was not forgotten");
    home.run(["follow", "resume", &publisher]).ok();
    comes(&home, "tiny", 1);
    let ended = home.json(["follow", "rm", &publisher]);
    assert_eq!(ended["publisher"], publisher.as_str());
    let listed = home.json(["ls"]);
    assert_eq!((&listed[0]["manifest"], &listed[0]["followed"]), (&one["manifest"], &Value::Bool(false)));
    home.run(["follow", "rm", &publisher]).failed(3, "is not followed");
}

#[test]
fn rules_and_kinds_hold_for_followed_versions_and_the_reason_is_told() {
    let a = Home::new("publisher");
    a.key("me");
    let daemon = Daemon::start(&a, QUIET);
    let code = a.path().join("code");
    fs::create_dir_all(&code).expect("a folder");
    fs::write(code.join("config.json"), "{}").expect("written");
    fs::write(code.join("modeling.py"), "import os\n").expect("written");
    let made = a.json(["publish", &code.to_string_lossy(), "runs", "--key", "me", "--allow", "code"]);
    publish(&a, "data", "data");
    let (publisher, address) = (text(&made["publisher"]), daemon.address());
    let (home, _follower) = follower("follower", &publisher, &address, &["--delay", "0"]);
    comes(&home, "data", 1);
    until("code needs consent", || is(&home, "runs", 1, "failed"));
    let why = text(&version(&home, "runs", 1)["state"]["why"]);
    assert!(why.contains("modeling.py") || why.contains("code"), "{why}");
    let shown = home.run(["follow", "ls"]).ok().stdout();
    assert!(shown.contains("not pulled") && shown.contains("data:latest"), "{shown}");
    home.run(["follow", &publisher, "--delay", "0", "--allow", "code"]).ok();
    until("with consent it comes", || is(&home, "runs", 1, "here"));
    home.run(["follow", &format!("{publisher}/data:v1")]).failed(2, "leave out the tag");
    home.run(["follow", "stranger"]).failed(3, "not a petname");
    home.run(["follow", &publisher, "--delay", "2w"]).failed(2, "is not a time");
    home.run(["follow", &publisher, "--keep", "0"]).failed(2, "--keep");
}
