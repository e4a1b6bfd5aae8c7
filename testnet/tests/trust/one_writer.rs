//! Tests that publications of one tag are one after the other: races, kills, and records that are signed elsewhere.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Instant;

use reg_testnet::author::Author;
use reg_testnet::process::{Daemon, Home, PATIENCE, Ran, is_full, text, wait_until};
use serde_json::Value;

/// A model of one file in a folder.
fn model(home: &Home, content: &str) -> String {
    let dir: PathBuf = home.path().join(format!("model-{content}"));
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{content}\"}}")).expect("written");
    dir.to_string_lossy().into_owned()
}

fn publish(home: &Home, content: &str, flags: &[&str]) -> Ran {
    let path = model(home, content);
    home.run(["publish", &path, "tale", "--key", "me", "--json"].iter().chain(flags))
}

fn begin(home: &Home, content: &str) -> Child {
    let path = model(home, content);
    let mut command = home.command(["publish", &path, "tale", "--key", "me", "--json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

fn log(home: &Home, reference: &str) -> Value {
    home.json(["log", reference])
}

/// Checks that a follower goes on: the tag is not frozen, and the newest version can be pulled.
fn follow(home: &Home, reference: &str, from: &str, content: &str) {
    home.pull(reference, &[from], &["--dht", "off", "--no-gossip", "--overwrite"]).ok();
    assert_eq!(log(home, reference)["frozen"], false);
    let pulled = std::fs::read_to_string(home.path().join("out/config.json")).expect("a file");
    assert!(pulled.contains(content), "{pulled}");
}

#[test]
fn two_publications_at_once_both_end_and_freeze_nothing() {
    let (home, follower) = (Home::new("A"), Home::new("F"));
    let reference = format!("{}/tale", home.key("me"));
    let daemon = Daemon::start(&home, ["--dht", "off"]);
    for round in 0..if is_full() { 100 } else { 5 } {
        let begun = ["left", "right"].map(|side| begin(&home, &format!("{side}-{round}")));
        let numbers = begun.map(|child| {
            let output = child.wait_with_output().expect("it ends");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "round {round}: {said}");
            let published: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            published["seq"].as_u64().expect("a number")
        });
        let first = 2 * round + 1;
        let mut sorted = numbers;
        sorted.sort_unstable();
        assert_eq!(sorted, [first, first + 1], "each has a number of its own");
        let last = if numbers[0] > numbers[1] { "left" } else { "right" };
        follow(&follower, &reference, &daemon.address(), &format!("{last}-{round}"));
    }
    assert_eq!(log(&home, &reference)["frozen"], false);
}

#[test]
fn a_killed_publication_never_contradicts_the_next() {
    let (home, follower) = (Home::new("A"), Home::new("F"));
    let reference = format!("{}/tale", home.key("me"));
    let mut daemon = Some(Daemon::start(&home, ["--dht", "off"]));
    publish(&home, "first", &[]).ok();
    let took = Instant::now();
    publish(&home, "second", &[]).ok();
    let took = took.elapsed();
    let rounds = if is_full() { 100 } else { 6 };
    for round in 0..rounds {
        let mut command = begin(&home, &format!("killed-{round}"));
        // A kill in each part of a publication, one after the other.
        std::thread::sleep(took * round / rounds);
        if round % 2 == 0 {
            daemon.take().expect("it runs").kill();
            let ended = wait_until(&mut command, Instant::now() + PATIENCE);
            assert!(ended.is_some(), "the command ends with its daemon");
            daemon = Some(Daemon::start(&home, ["--dht", "off"]));
        } else {
            drop(command.kill());
            drop(command.wait());
        }
        let content = format!("after-{round}");
        publish(&home, &content, &[]).ok();
        assert_eq!(log(&home, &reference)["frozen"], false, "round {round}");
        let from = daemon.as_ref().expect("it runs").address();
        follow(&follower, &reference, &from, &content);
    }
}

#[test]
fn a_prepared_record_holds_its_tag_until_it_is_published_or_abandoned() {
    let home = Home::new("A");
    let publisher = home.key("me");
    let reference = format!("{publisher}/tale");
    let file = |name: &str| home.path().join(name).to_string_lossy().into_owned();
    let payload = |name: &str| {
        let file: Value =
            serde_json::from_slice(&std::fs::read(file(name)).expect("read")).expect("a signing file");
        text(&file["publication"]["prepared"]["tag_record"])
    };
    let prepare =
        |content: &str, name: &str| publish(&home, content, &["--offline", "--prepare", &file(name)]);
    prepare("one", "a.sign").ok();
    // Two files for one content are one record. Another content, and a publication, get an error that says what holds the tag.
    prepare("one", "b.sign").ok();
    assert_eq!(payload("a.sign"), payload("b.sign"));
    for refused in [prepare("two", "c.sign"), publish(&home, "two", &["--offline"])] {
        let refused = refused.failed(6, "has been held for a signature");
        let way_out = format!("reg publish --abandon {publisher}/tale:latest");
        assert!(refused.stderr().contains(&way_out), "{}", refused.stderr());
        assert!(refused.stderr().contains("--signed FILE"), "{}", refused.stderr());
    }
    let abandoned = home.json(["publish", "--abandon", &reference]);
    assert_eq!(abandoned["seq"], 1);
    home.run(["publish", "--abandon", &reference]).failed(3, "waits for its signature");
    home.run(["sign", &file("a.sign"), "--key", "me"]).ok();
    home.run(["publish", "--signed", &file("a.sign"), "--offline"]).failed(6, "was abandoned");
    assert_eq!(publish(&home, "two", &["--offline"]).ok().json()["seq"], 2);
    // What is prepared is published, across a restart of the node.
    prepare("three", "d.sign").ok();
    home.run(["sign", &file("d.sign"), "--key", "me"]).ok();
    let daemon = Daemon::start(&home, ["--dht", "off"]);
    publish(&home, "four", &[]).failed(6, "has been held for a signature");
    assert_eq!(home.json(["publish", "--signed", &file("d.sign")])["seq"], 3);
    assert_eq!(publish(&home, "four", &["--min-usable", "this"]).ok().json()["seq"], 4);
    publish(&home, "five", &[]).ok();
    let logged = log(&home, &reference);
    assert_eq!(logged["frozen"], false, "{logged}");
    let lowest: Vec<&Value> =
        logged["records"].as_array().expect("records").iter().map(|it| &it["record"]["min_usable"]).collect();
    assert_eq!(lowest[lowest.len() - 2..], [4, 4], "a later record keeps what an earlier one forbids");
    follow(&Home::new("F"), &reference, &daemon.address(), "five");
}

#[test]
fn a_tag_that_ones_own_key_froze_is_called_that() {
    let author = Author::new(61);
    let (one, two, other) = (Home::new("one"), Home::new("two"), Home::new("other"));
    for (home, content) in [(&one, "left"), (&two, "right")] {
        author.give_key(home.path(), "me");
        publish(home, content, &["--offline"]).ok();
    }
    let reference = format!("{}/tale", author.id);
    let (first, second) = (Daemon::start(&one, ["--dht", "off"]), Daemon::start(&two, ["--dht", "off"]));
    let from = [&first.address()[..], &second.address()];
    let flags = ["--dht", "off", "--no-gossip"];
    let stranger = other.pull(&reference, &from, &flags).failed(4, "is frozen");
    assert!(!stranger.stderr().contains("thief"), "{}", stranger.stderr());
    let own = one.pull(&reference, &from[1..], &flags).failed(4, "your key me has signed both records");
    assert!(own.stderr().contains("tale:latest --key me --settle"), "{}", own.stderr());
    let refused = publish(&one, "three", &[]).failed(4, "your key me has signed both records");
    let (settle, rotate) = (refused.stderr().find("--settle"), refused.stderr().find("key rotate"));
    assert!(settle < rotate, "{}", refused.stderr());
    publish(&one, "three", &["--settle"]).ok();
    follow(&other, &reference, from[0], "three");
}
