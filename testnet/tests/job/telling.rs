//! Tests that what a command says is so, and that what it shows can be named: interrupted pulls, licences, refused files, claims that
//! a new version drops, versions that were withdrawn, and errors that say where and what to do.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text, until};
use reg_testnet::tree;
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

fn small(home: &Home, dir: &str, content: &str) -> String {
    let dir = home.path().join(dir);
    fs::create_dir_all(&dir).expect("made");
    fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{content}\"}}")).expect("written");
    dir.to_string_lossy().into_owned()
}

/// Starts a pull that is slow enough to be killed.
fn slow_pull(home: &Home, reference: &str, from: &str) -> Child {
    home.command(["pull", reference, "--cache-only", "--from", from])
        .args(["--limit-down", "2 MB/s", "--limit-local"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("reg runs")
}

/// How much of the only model is in the store.
fn here(home: &Home) -> u64 {
    home.json(["ls"])[0]["bytes_here"].as_u64().unwrap_or(0)
}

#[test]
fn an_interrupted_pull_is_listed_and_goes_on_and_is_removed_by_its_name() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let model = a.path().join("model");
    model::generate(&model, 24 * MIB, 5);
    let daemon = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "long:v1", "me");
    let interrupt = || {
        let puller = Daemon::start(&b, [""; 0]);
        let mut child = slow_pull(&b, &reference, &daemon.address());
        until("some pieces are here", || here(&b) >= 4 * MIB);
        puller.kill();
        child.wait().expect("it has ended");
    };
    interrupt();
    let listed = b.json(["ls"]);
    let row = &listed[0];
    assert_eq!((&row["pulling"], &row["complete"]), (&json!("v1"), &json!(false)), "{listed}");
    let here = row["bytes_here"].as_u64().expect("a number");
    assert!(here < 24 * MIB, "{here}");
    // At 80 columns the last cell may go on in the next line.
    let shown = b.run(["ls"]).ok().stdout().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("v1") && shown.contains("incomplete: ") && shown.contains(" of 24"), "{shown}");
    b.run(["info", &reference]).ok();
    // It is removed by its name, and nothing of it is left.
    b.run(["rm", &reference]).ok();
    assert_eq!((b.json(["ls"]), &b.json(["status"])["partial_bytes"]), (json!([]), &json!(0)));
    // It goes on by its name, and fetches what is missing.
    interrupt();
    let ended = b.pull(&reference, &[&daemon.address()], &[]).ok().json();
    let fetched = ended["bytes_fetched"].as_u64().expect("a number");
    // What was written and not recorded before it was killed is found again.
    assert!(fetched <= 22 * MIB, "{fetched}: what was here is fetched again");
    assert_eq!(b.json(["ls"])[0]["pulling"], Value::Null);
}

#[test]
fn every_row_of_a_list_can_be_named_after_a_withdrawal_too() {
    let home = Home::new("A");
    home.key("me");
    let mut published = Vec::new();
    for number in 1..=2 {
        let dir = small(&home, &format!("v{number}"), &format!("v{number}"));
        published.push(home.run(["publish", &dir, "tale", "--key", "me", "--json"]).ok().json());
    }
    let [reference, second] = [&published[1]["reference"], &published[1]["manifest"]].map(text);
    home.run(["key", "revoke", "me", "--manifest", &second, "--reason", "a mistake", "--yes"]).ok();
    let rows = home.json(["ls"]);
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.len(), 2);
    let (publisher, model) = reference.split_once('/').expect("a name");
    let model = model.split(':').next().expect("a name");
    let named = |row: &Value| format!("{publisher}/{model}@{}", text(&row["manifest"]));
    for row in rows {
        for tag in row["tags"].as_array().expect("tags") {
            home.run(["info", &format!("{publisher}/{model}:{}", text(tag)), "--local"]).ok();
        }
        home.run(["info", &named(row), "--local"]).ok();
        home.run(["verify", &named(row)]).ok();
    }
    // What was withdrawn is said by all that pass it on or check it.
    let withdrawn = format!("{publisher}/{model}@{second}");
    assert!(home.run(["verify", &withdrawn]).ok().stdout().contains("withdrawn: "));
    let archive = home.path().join("x.tar").to_string_lossy().into_owned();
    let exported = home.run(["export", &withdrawn, "-o", &archive]).ok();
    assert!(exported.stderr().contains("was withdrawn by its publisher: a mistake"), "{}", exported.stderr());
    let shared = home.run(["share", &withdrawn, "--lan"]).ok();
    assert!(shared.stderr().contains("has withdrawn this version: a mistake"), "{}", shared.stderr());
    for row in rows {
        home.run(["rm", &named(row)]).ok();
    }
    assert_eq!(home.json(["ls"]), json!([]));
}

#[test]
fn the_licence_that_is_shown_is_the_one_that_rules_judge() {
    let home = Home::new("A");
    let id = home.key("me");
    let dir = small(&home, "m", "tiny");
    fs::write(Path::new(&dir).join("README.md"), "---\nlicense: mit\n---\n").expect("written");
    let publish = |tag: &str, flags: &[&str]| {
        let args = ["publish", &dir, &format!("tiny:{tag}"), "--key", "me"];
        home.run(args.iter().chain(flags)).ok()
    };
    let judged = |tag: &str| {
        let info = home.json(["info", &format!("{id}/tiny:{tag}")]);
        let rule =
            info["checks"].as_array().expect("checks").iter().find(|it| it["check"] == "licence").cloned();
        (info["licence"].clone(), rule.expect("a rule about licences")["result"].clone())
    };
    publish("card", &[]);
    fs::write(Path::new(&dir).join("more.json"), "{}").expect("written");
    publish("stated", &["--license", "apache-2.0", "--title", "Tiny", "--task", "ocr"]);
    home.run(["trust", "require", &format!("{id}/tiny"), "--license", "apache-2.0"]).ok();
    assert_eq!(judged("card"), (json!({"licenses": ["mit"], "from": "files"}), json!("deny")));
    assert_eq!(judged("stated"), (json!({"licenses": ["apache-2.0"], "from": "publisher"}), json!("pass")));
    let shown = home.run(["info", &format!("{id}/tiny:card")]).ok().stdout();
    assert!(shown.contains("mit, as the model card in the files claims"), "{shown}");
    // The next version says less: that is said, with the flags that say it again.
    fs::write(Path::new(&dir).join("more.json"), "{\"a\":1}").expect("written");
    let less = publish("stated", &[]).stderr();
    assert!(less.contains("the version before had a licence, a title, a task"), "{less}");
    assert!(less.contains("--license, --title, --task"), "{less}");
    let same = publish("stated", &["--license", "mit"]).stderr();
    assert!(!same.contains("the version before had"), "{same}");
}

#[test]
fn all_files_to_which_consent_is_missing_are_named_at_once() {
    let home = Home::new("A");
    home.key("me");
    let dir = small(&home, "m", "tiny");
    for name in ["one.py", "two.py", "three.bin"] {
        fs::write(Path::new(&dir).join(name), b"\x80\x04import os\0\xff").expect("written");
    }
    let refused = home.run(["publish", &dir, "tiny", "--key", "me"]).failed(6, "one.py");
    let said = refused.stderr();
    assert!(["two.py", "three.bin", "--allow "].iter().all(|it| said.contains(it)), "{said}");
    let kinds = said.split("--allow ").nth(1).and_then(|it| it.split(',').next()).map(str::to_owned);
    assert!(kinds.is_some(), "{said}");
}

#[test]
fn errors_say_what_is_wrong_where_and_what_to_do() {
    let [a, b] = ["A", "B"].map(Home::new);
    let id = a.key("me");
    let dir = small(&a, "m", "tiny");
    let reference = a.publish(Path::new(&dir), "tiny", "me");
    // A rule that names a stranger.
    let refused = a.run(["trust", "require", "*/*", "--attested", "scan=1:stranger"]).failed(3, "stranger");
    assert!(refused.stderr().contains("reg trust add stranger ID"), "{}", refused.stderr());
    assert!(!refused.stderr().contains("trust file"), "{}", refused.stderr());
    // An address at which no node answers.
    let dead = "/ip4/127.0.0.1/tcp/1";
    let refused =
        b.pull(&reference, &[dead], &["--dht", "off"]).failed(5, "no peer answers at /ip4/127.0.0.1/tcp/1");
    assert!(refused.stderr().contains("reg daemon"), "{}", refused.stderr());
    // A place that cannot be written to, before anything is fetched.
    let file = a.path().join("file");
    fs::write(&file, "").expect("written");
    let below = file.join("below").to_string_lossy().into_owned();
    a.run(["pull", &reference, &below, "--offline"]).failed(6, "nothing is fetched");
    // A name that is neither a folder nor a model.
    a.run(["verify", "nothere"]).failed(3, "neither a folder here nor the name of a model");
    // A follow that is not named whole.
    a.run(["follow", &format!("{id}/alpha"), "--models"]).ok();
    a.run(["follow", "pause", &format!("{id}/al")]).failed(3, &format!("{id}/alpha"));
    a.run(["follow", "rm", "al"]).failed(3, &format!("{id}/alpha"));
    // A next key signs nothing by itself, under its own name and under another.
    a.run(["publish", &dir, "tiny", "--key", "me.next-1"]).failed(6, "further key of the publisher me");
    let keys = a.path().join("keys");
    fs::copy(keys.join("me.next-1.pem"), keys.join("other.pem")).expect("copied");
    a.run(["publish", &dir, "tiny", "--key", "other"]).failed(6, "further key of the publisher me");
    fs::remove_file(keys.join("other.pem")).expect("removed");
    // Damaged files are named, with the way on.
    let pem = keys.join("me.pem");
    let kept = fs::read(&pem).expect("a key");
    fs::write(&pem, "junk").expect("written");
    let refused = a.run(["publish", &dir, "tiny", "--key", "me"]).failed(4, "me.pem");
    assert!(refused.stderr().contains("reg key rotate"), "{}", refused.stderr());
    fs::write(&pem, kept).expect("written");
    fs::write(a.path().join("node.key"), "junk").expect("written");
    a.run(["ls"]).failed(1, "node.key");
    a.run(["ls"]).failed(1, "move it away");
    fs::remove_file(a.path().join("node.key")).expect("removed");
    a.run(["publish", &dir, "tiny", "--key", "me"]).ok();
}

#[test]
fn peers_say_what_they_are_and_what_brings_them_back() {
    let [a, b, c] = ["A", "B", "C"].map(Home::remembering);
    let of_a = Daemon::start(&a, [""; 0]);
    // A node of another swarm answers, and is no peer.
    let key = "ab".repeat(32);
    let of_c = Daemon::start(&c, ["--swarm-key", &key]);
    let added = c.run(["peers", "add", &of_a.address(), "--swarm-key", &key]).ok();
    assert!(!added.stdout().contains(", connected"), "{}", added.stdout());
    assert!(added.stderr().contains("in another swarm"), "{}", added.stderr());
    of_c.stop();
    // A bootstrap peer comes back, and that is said.
    let of_b = Daemon::start(&b, ["--bootstrap", &of_a.address()]);
    until("they are connected", || b.json(["peers"]).as_array().is_some_and(|it| !it.is_empty()));
    let removed = b.run(["peers", "rm", &of_a.peer_id()]).ok();
    assert!(removed.stderr().contains("is a bootstrap peer"), "{}", removed.stderr());
    of_b.stop();
}

#[test]
fn the_numbers_of_a_search_name_models_for_every_command_that_shows_one() {
    let home = Home::new("A");
    home.key("me");
    let dir = small(&home, "m", "tiny");
    home.run(["publish", &dir, "tiny:v1", "--key", "me", "--title", "Numbered"]).ok();
    home.run(["search", "numbered"]).ok();
    for command in [&["info", "1"][..], &["log", "1"], &["share", "1", "--lan"]] {
        home.run(command).ok();
    }
    assert_eq!(home.json(["log", "1"])["records"].as_array().map(Vec::len), Some(1));
    home.run(["log", "7"]).failed(3, "no result with the number 7");
    let out = home.path().join("out");
    home.run(["pull", "1", &out.to_string_lossy(), "--offline"]).ok();
    tree::assert_equal(Path::new(&dir), &out);
}
