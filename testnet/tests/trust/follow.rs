//! Tests following a publisher: versions come after their delay, survive their publisher, and a thief's never come.

use std::fs;
use std::time::Duration;

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
    let _daemon = Daemon::start(&a, QUIET);
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
    let delay = Duration::from_secs(20);
    home.run(["follow", &publisher, "--delay", "20s"]).ok();
    let heard = std::time::Instant::now();
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
    let three = publish(&a, "three", "tiny");
    comes(&home, "tiny", 3);
    assert!(heard.elapsed() >= delay);
    let models = home.json(["ls"]);
    let manifests: Vec<&Value> =
        models.as_array().expect("a list").iter().map(|it| &it["manifest"]).collect();
    assert!(manifests.contains(&&three["manifest"]) && !manifests.contains(&&two["manifest"]), "{models}");
    assert!(!is(&home, "tiny", 2, "here"));
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
    home.run(["follow", "stranger"]).failed(2, "not a petname");
    home.run(["follow", &publisher, "--delay", "2w"]).failed(2, "is not a time");
    home.run(["follow", &publisher, "--keep", "0"]).failed(2, "--keep");
}
