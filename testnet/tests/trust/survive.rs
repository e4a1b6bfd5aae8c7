//! Tests that a name survives: a version that is gone, two publications at once, and every step of a key's life.
//!
//! `REG_TEST_BEFORE=1 cargo test --workspace --test trust survive` runs them with the binary of before: all fail but the one
//! with keys on three machines.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use reg_testnet::author::Author;
use reg_testnet::http;
use reg_testnet::process::{Daemon, Home, PATIENCE, Ran, text, until, wait_until};
use serde_json::Value;

const QUIET: [&str; 2] = ["--dht", "off"];

/// Longest time until a fallback to an older version: 5 s are promised, and other tests use the machine. A search for what is
/// gone takes 30 s.
const FALLBACK_MAX: Duration = Duration::from_secs(25);

fn pull_with(home: &Home, reference: &str, from: &[&str], flags: &[&str]) -> Ran {
    let flags = [&["--dht", "off", "--no-gossip", "--overwrite"], flags].concat();
    home.pull(reference, from, &flags)
}

fn pull(home: &Home, reference: &str, from: &[&str]) -> Ran {
    pull_with(home, reference, from, &[])
}

fn pulled_content(home: &Home) -> String {
    fs::read_to_string(home.path().join("out/config.json")).unwrap_or_default()
}

/// Pulls a model that must be had; returns the report.
fn pulls(home: &Home, reference: &str, from: &[&str], content: &str) -> Value {
    let pulled = pull(home, reference, from).ok().json();
    assert!(pulled_content(home).contains(content), "{content} is not what was pulled: {pulled}");
    pulled
}

fn model(home: &Home, content: &str) -> String {
    let dir = home.path().join("models").join(content);
    fs::create_dir_all(&dir).expect("a folder");
    fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{content}\"}}")).expect("written");
    dir.to_string_lossy().into_owned()
}

fn publish(home: &Home, content: &str, name: &str, flags: &[&str]) -> Ran {
    let path = model(home, content);
    home.run(["publish", &path, name, "--key", "me", "--json"].iter().chain(flags))
}

fn log(home: &Home, reference: &str) -> Value {
    let ran = home.run(["log", reference, "--json"]);
    if ran.code() == 0 { ran.json() } else { Value::Null }
}

/// Returns whether the node has heard of record `seq` of a tag.
fn has_heard(home: &Home, reference: &str, seq: u64) -> bool {
    let log = log(home, reference);
    log["records"].as_array().is_some_and(|all| all.iter().any(|it| it["record"]["seq"] == seq))
}

fn public_key(home: &Home) -> String {
    text(&home.json(["key", "show", "me"])["public_key"])
}

fn rotate(home: &Home) {
    home.run(["key", "rotate", "me", "--yes"]).ok();
}

/// Returns a home with the key of `owner` and its key documents of this moment, and nothing else: no next key.
fn thief(owner: &Home) -> Home {
    let thief = Home::new("thief");
    let keys = thief.path().join("keys");
    fs::create_dir_all(&keys).expect("a folder");
    fs::set_permissions(&keys, Permissions::from_mode(0o700)).expect("ours");
    for name in ["me.pem", "me.json"] {
        let from = owner.path().join("keys").join(name);
        if from.is_file() {
            fs::copy(from, keys.join(name)).expect("a key");
        }
    }
    thief
}

/// Publishers of both kinds: one that commits to its next keys as `reg key new` does, and one that has never done so.
fn publishers() -> [(Home, String); 2] {
    let (committed, plain) = (Home::new("committed"), Home::new("plain"));
    let author = Author::new(61);
    author.give_key(plain.path(), "me");
    let id = committed.key("me");
    [(committed, id), (plain, author.id.to_string())]
}

// --- a version that is gone

/// A publisher that has announced version 2 and is gone, and a node that holds version 1 whole and has heard of 2.
fn announced_and_gone(flags: &[&str]) -> (Home, Daemon, String, Value) {
    let [a, b] = ["publisher", "holder"].map(Home::new);
    let id = a.key("me");
    let a_daemon = Daemon::start(&a, QUIET);
    let b_daemon = Daemon::start(&b, ["--bootstrap", &a_daemon.address(), "--dht", "off"]);
    let reference = format!("{id}/tale");
    let first = publish(&a, "v1", "tale", &[]).ok().json();
    pulls(&b, &reference, &[], "v1");
    publish(&a, "v2", "tale", flags).ok();
    until("the holder has heard of record 2", || has_heard(&b, &reference, 2));
    a_daemon.kill();
    (b, b_daemon, reference, first)
}

/// Pulls version 1 in time, with the note that it is behind.
fn falls_back(home: &Home, reference: &str, from: &[&str], flags: &[&str]) {
    let start = Instant::now();
    let pulled = pull_with(home, reference, from, flags).ok().json();
    assert!(start.elapsed() < FALLBACK_MAX, "{:?}", start.elapsed());
    assert!(pulled_content(home).contains("v1"), "{pulled}");
    assert!(!pulled["behind"].is_null(), "that it is behind is reported: {pulled}");
}

#[test]
fn a_version_that_was_announced_and_is_gone_leaves_the_one_before_it_in_use() {
    let (holder, daemon, reference, first) = announced_and_gone(&[]);
    let newcomer = Home::new("newcomer");
    falls_back(&holder, &reference, &[], &[]);
    falls_back(&newcomer, &reference, &[&daemon.address()], &[]);
    for home in [&holder, &newcomer] {
        let refused = pull_with(home, &reference, &[&daemon.address()], &["--newest"]);
        let why = refused.stderr();
        assert!(![0, 2].contains(&refused.code()), "{why}");
        assert!(why.contains(&text(&first["manifest"])), "the error names what can be pulled: {why}");
    }
    let newcomer_daemon = Daemon::start(&newcomer, ["--bootstrap", &daemon.address(), "--dht", "off"]);
    for node in [&daemon, &newcomer_daemon] {
        let hub = format!("{}/{reference}/resolve/main/config.json", http::base(node));
        let oci = format!("{}/v2/{reference}/manifests/latest", http::base(node));
        let start = Instant::now();
        let file = http::get(&hub, &[]);
        assert!(file.status == 200 && file.text().contains("v1"), "{}: {}", file.status, file.text());
        let manifest = http::get(&oci, &[]);
        assert_eq!(manifest.header("docker-content-digest"), Some(text(&first["manifest"])));
        assert!(start.elapsed() < 2 * FALLBACK_MAX, "{:?}", start.elapsed());
    }
    newcomer_daemon.stop();
    daemon.stop();
    for home in [&holder, &newcomer] {
        falls_back(home, &reference, &[], &["--offline"]);
        home.run(["trust", "require", &reference, "--newest"]).ok();
        pull_with(home, &reference, &[], &["--offline"]).failed(6, "newest");
    }
}

#[test]
fn a_version_below_the_lowest_usable_one_is_never_used() {
    let (holder, daemon, reference, _) = announced_and_gone(&["--min-usable", "2"]);
    let newcomer = Home::new("newcomer");
    for home in [&holder, &newcomer] {
        let _older = fs::remove_dir_all(home.path().join("out"));
        let refused = pull(home, &reference, &[&daemon.address()]);
        assert!(![0, 2].contains(&refused.code()), "{}", refused.stderr());
        assert_eq!(pulled_content(home), "");
    }
}

// --- one writer

fn start_publishing(home: &Home, content: &str) -> Child {
    let path = model(home, content);
    let mut command = home.command(["publish", &path, "tale", "--key", "me"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

#[test]
fn two_publications_of_one_tag_at_once_are_one_after_the_other() {
    const ROUNDS: u64 = 6;
    let (home, follower) = (Home::new("A"), Home::new("B"));
    let reference = format!("{}/tale", home.key("me"));
    let daemon = Daemon::start(&home, QUIET);
    for round in 0..ROUNDS {
        let both = ["x", "y"].map(|it| start_publishing(&home, &format!("{it}{round}")));
        let deadline = Instant::now() + 2 * PATIENCE;
        let ended = both.map(|mut child| wait_until(&mut child, deadline));
        assert!(ended.iter().all(|it| it.is_some_and(|it| it.success())), "round {round}: {ended:?}");
        let log = log(&home, &reference);
        assert_eq!(log["frozen"], false, "round {round}: {log}");
        assert!(has_heard(&home, &reference, 2 * round + 2), "round {round}: {log}");
    }
    pulls(&follower, &reference, &[&daemon.address()], &(ROUNDS - 1).to_string());
}

#[test]
fn a_prepared_file_holds_its_tag_until_it_is_signed_or_given_up() {
    let home = Home::new("A");
    let reference = format!("{}/tale", home.key("me"));
    let file = |content: &str| home.path().join(format!("{content}.sign")).to_string_lossy().into_owned();
    let prepare = |content: &str| {
        let path = model(&home, content);
        let out = file(content);
        home.command(["publish", &path, "tale", "--key", "me", "--offline", "--prepare", &out])
    };
    let is_frozen = || log(&home, &reference)["frozen"] == true;
    home.ran(&mut prepare("x")).ok();
    // The second one waits, or is refused; either way it says what to do.
    let said = home.path().join("said");
    let mut second =
        prepare("y").stderr(fs::File::create(&said).expect("a file")).spawn().expect("it starts");
    until("it says what to do", || fs::read_to_string(&said).expect("a file").contains("--abandon"));
    let ended = wait_until(&mut second, Instant::now() + Duration::from_secs(2));
    assert!(ended.is_none_or(|it| !it.success()), "two files are prepared for one tag");
    home.run(["sign", &file("x"), "--key", "me"]).ok();
    home.run(["publish", "--signed", &file("x"), "--offline"]).ok();
    assert!(!is_frozen());
    home.ran(&mut prepare("y")).ok();
    home.run(["publish", "--abandon", &reference]).ok();
    publish(&home, "z", "tale", &["--offline"]).ok();
    // What was given up is published no more, also if it was signed.
    home.run(["sign", &file("y"), "--key", "me"]).ok();
    assert_ne!(home.run(["publish", "--signed", &file("y"), "--offline"]).code(), 0);
    assert!(!is_frozen());
    pull_with(&home, &reference, &[], &["--offline"]).ok();
    assert!(pulled_content(&home).contains('z'));
}

// --- the life of a key

/// The README's lines about keys, in their order.
#[test]
fn rotating_and_revoking_a_key_locks_out_no_follower() {
    for (a, id) in publishers() {
        let [follower, listener] = ["follower", "listener"].map(Home::new);
        let old = public_key(&a);
        let daemon = Daemon::start(&a, QUIET);
        let address = daemon.address();
        let _listening = Daemon::start(&listener, ["--bootstrap", &address, "--dht", "off"]);
        let reference = format!("{id}/tale");
        let first = publish(&a, "v1", "tale:v1", &[]).ok().json();
        publish(&a, "v1", "tale", &[]).ok();
        for home in [&follower, &listener] {
            pulls(home, &reference, &[&address], "v1");
        }
        rotate(&a);
        a.run(["key", "revoke", "me", "--key", &old, "--reason", "stolen", "--yes"]).ok();
        let newcomer = Home::new("newcomer");
        let everything = |content: &str| {
            for home in [&follower, &listener, &newcomer] {
                pulls(home, &reference, &[&address], content);
                pulls(home, &format!("{reference}:v1"), &[&address], "v1");
                pulls(home, &format!("{reference}@{}", text(&first["manifest"])), &[&address], "v1");
            }
        };
        everything("v1");
        publish(&a, "v2", "tale", &[]).ok();
        everything("v2");
        daemon.stop();
        for home in [&follower, &newcomer] {
            pull_with(home, &reference, &[], &["--offline"]).ok();
        }
    }
}

#[test]
fn what_a_retired_key_signs_counts_for_no_follower() {
    for (a, id) in publishers() {
        let [follower, stranger] = ["follower", "stranger"].map(Home::new);
        let stranger_id = stranger.key("me");
        let daemon = Daemon::start(&a, QUIET);
        let reference = format!("{id}/tale");
        publish(&a, "v1", "tale", &[]).ok();
        let thief = thief(&a);
        rotate(&a);
        let current = publish(&a, "v2", "tale", &[]).ok().json();
        pulls(&follower, &reference, &[&daemon.address()], "v2");
        // The thief has the old key and the documents of before, and signs by itself.
        publish(&thief, "stolen", "new", &["--offline"]).ok();
        publish(&thief, "stolen", "tale:new", &["--offline"]).ok();
        thief.run(["key", "delegate", "me", "*", &stranger_id, "--expires", "30"]).ok();
        let manifest = text(&current["manifest"]);
        thief.run(["key", "revoke", "me", "--manifest", &manifest, "--reason", "theft", "--yes"]).ok();
        publish(&stranger, "stolen", "foreign", &["--offline"]).ok();
        let [thief_daemon, stranger_daemon] = [&thief, &stranger].map(|home| Daemon::start(home, QUIET));
        let from = [&thief_daemon.address()[..], &stranger_daemon.address()];
        for name in ["new", "tale:new", "foreign"] {
            let _earlier = fs::remove_dir_all(follower.path().join("out"));
            let refused = pull(&follower, &format!("{id}/{name}"), &from);
            assert!(![0, 2].contains(&refused.code()), "{name}: {}", refused.stdout());
            assert_eq!(pulled_content(&follower), "", "{name}");
        }
        let honest = daemon.address();
        pulls(&follower, &reference, &[from[0], from[1], &honest], "v2");
        assert!(!log(&follower, &reference)["revocations"].to_string().contains("theft"));
    }
}

/// The thief makes a second document 2 with the only key, so that two histories begin alike.
#[test]
fn a_fork_is_refused_by_newcomers_and_shown_to_the_captured_node() {
    let author = Author::new(62);
    let (a, id) = (Home::new("owner"), author.id.to_string());
    author.give_key(a.path(), "me");
    let old = public_key(&a);
    publish(&a, "v1", "tale", &["--offline"]).ok();
    let thief = thief(&a);
    for (home, content) in [(&a, "owner"), (&thief, "theft")] {
        rotate(home);
        publish(home, content, "tale", &["--offline"]).ok();
    }
    a.run(["key", "revoke", "me", "--key", &old, "--reason", "stolen", "--yes"]).ok();
    let [daemon, thief_daemon] = [&a, &thief].map(|home| Daemon::start(home, QUIET));
    let (owner, theft) = (daemon.address(), thief_daemon.address());
    let [follower, captured, newcomer] = ["follower", "captured", "newcomer"].map(Home::new);
    let reference = format!("{id}/tale");
    // Each follows the branch that it has seen first.
    pulls(&follower, &reference, &[&owner], "owner");
    pulls(&captured, &reference, &[&theft], "theft");
    pulls(&follower, &reference, &[&owner, &theft], "owner");
    let why = pull(&captured, &reference, &[&owner, &theft]).stderr();
    assert!(why.contains("reg trust accept"), "{why}");
    pull(&newcomer, &reference, &[&owner, &theft]).failed(4, "reg trust accept");
}

/// A publisher that commits to its next keys: a thief of the key in use can make no document 2.
#[test]
fn a_thief_of_the_key_in_use_can_not_rotate_where_the_next_keys_are_elsewhere() {
    let a = Home::new("owner");
    let id = a.key("me");
    publish(&a, "v1", "tale", &["--offline"]).ok();
    let thief = thief(&a);
    let refused = thief.run(["key", "rotate", "me", "--yes"]);
    assert!(![0, 2].contains(&refused.code()), "{}", refused.stdout());
    rotate(&a);
    publish(&a, "v2", "tale", &["--offline"]).ok();
    let daemon = Daemon::start(&a, QUIET);
    pulls(&Home::new("newcomer"), &format!("{id}/tale"), &[&daemon.address()], "v2");
}

#[test]
fn a_manifest_is_revoked_and_then_the_key_that_signed_it() {
    for (a, id) in publishers() {
        let (follower, old) = (Home::new("follower"), public_key(&a));
        let daemon = Daemon::start(&a, QUIET);
        let reference = format!("{id}/tale");
        let bad = publish(&a, "bad", "tale", &[]).ok().json();
        pulls(&follower, &reference, &[&daemon.address()], "bad");
        a.run(["key", "revoke", "me", "--manifest", &text(&bad["manifest"]), "--yes"]).ok();
        rotate(&a);
        a.run(["key", "revoke", "me", "--key", &old, "--yes"]).ok();
        publish(&a, "good", "tale", &[]).ok();
        for home in [&follower, &Home::new("newcomer")] {
            pulls(home, &reference, &[&daemon.address()], "good");
            pull(home, &format!("{reference}@{}", text(&bad["manifest"])), &[&daemon.address()])
                .failed(6, "withdrawn");
        }
    }
}

#[test]
fn a_rotation_that_was_interrupted_is_repeated() {
    for (a, id) in publishers() {
        publish(&a, "v1", "tale", &["--offline"]).ok();
        // A key file that no document names, as an interrupted rotation of before left it.
        let other = Home::new("other");
        other.key("me");
        fs::copy(other.path().join("keys/me.pem"), a.path().join("keys/me.2.pem")).expect("a key");
        // Cut off sooner or later, wherever it is by then.
        for millis in [5, 10, 20, 40, 80, 160] {
            let mut command = a.command(["key", "rotate", "me", "--yes"]);
            let mut rotating = command.stdout(Stdio::null()).spawn().expect("it starts");
            wait_until(&mut rotating, Instant::now() + Duration::from_millis(millis));
        }
        rotate(&a);
        publish(&a, "v2", "tale", &["--offline"]).ok();
        let daemon = Daemon::start(&a, QUIET);
        pulls(&Home::new("newcomer"), &format!("{id}/tale"), &[&daemon.address()], "v2");
    }
}

#[test]
fn what_cannot_be_undone_is_asked_for() {
    let a = Home::new("A");
    a.key("me");
    let old = public_key(&a);
    a.run(["key", "rotate", "me"]).failed(2, "--yes");
    a.run(["key", "revoke", "me", "--key", &old]).failed(2, "--yes");
    assert_eq!(a.json(["key", "show", "me"])["documents"], 1, "nothing was done");
}

// --- several machines

fn send(from: &Path, to: &Home) -> String {
    let copy = to.path().join(from.file_name().expect("a file"));
    if copy != from {
        fs::copy(from, &copy).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }
    copy.to_string_lossy().into_owned()
}

/// Three keys on three machines, two of which must sign: the machine that holds one of them writes the file for another.
#[test]
fn a_publisher_with_keys_on_three_machines_signs_by_files() {
    let [alice, bob, carol, friend] = ["alice", "bob", "carol", "friend"].map(Home::new);
    let friend_id = friend.key("me");
    let [bobs, carols] = [&bob, &carol].map(|home| {
        home.key("own");
        text(&home.json(["key", "show", "own"])["public_key"])
    });
    let at_alice = |name: &str| alice.path().join(name).to_string_lossy().into_owned();
    // Takes a file to another machine, signs it there, and brings it back.
    let signed_by = |other: &Home, file: &str| {
        assert!(Path::new(file).is_file(), "{file} was not written");
        let there = send(Path::new(file), other);
        other.run(["sign", &there, "--key", "own"]).ok();
        let back = send(Path::new(&there), &alice);
        // The first machine's own signature may be in it already.
        alice.run(["sign", &back, "--key", "board"]);
        back
    };
    let board = at_alice("board.sign");
    let with = ["--with", &bobs, "--with", &carols, "--out", &board];
    alice.run(["key", "new", "board", "--threshold", "2"].iter().chain(&with)).ok();
    alice.run(["key", "finish", &signed_by(&bob, &board), "--name", "board"]).ok();
    let nothing = format!("sha256:{}", "0".repeat(64));
    for (name, other, args) in [
        ("delegation", &bob, &["key", "delegate", "board", "x-*", &friend_id, "--expires", "30"][..]),
        ("revocation", &carol, &["key", "revoke", "board", "--manifest", &nothing, "--yes"]),
    ] {
        let out = at_alice(&format!("{name}.sign"));
        alice.run(args.iter().copied().chain(["--out", &out])).ok();
        alice.run(["key", "finish", &signed_by(other, &out)]).ok();
    }
    let (path, out) = (model(&alice, "v1"), at_alice("v1.sign"));
    alice.run(["publish", &path, "tale", "--key", "board", "--offline", "--prepare", &out]).ok();
    alice.run(["publish", "--offline", "--signed", &signed_by(&carol, &out)]).ok();
    let id = text(&alice.json(["key", "show", "board"])["publisher"]);
    let daemon = Daemon::start(&alice, QUIET);
    pulls(&Home::new("newcomer"), &format!("{id}/tale"), &[&daemon.address()], "v1");
}

/// The machine could sign alone. The user has asked for a file all the same.
#[test]
fn a_machine_that_holds_enough_keys_writes_the_file_that_it_was_asked_for() {
    let (alice, bob) = (Home::new("alice"), Home::new("bob"));
    alice.key("alice");
    bob.key("bob");
    let bobs = text(&bob.json(["key", "show", "bob"])["public_key"]);
    let out = alice.path().join("board.sign").to_string_lossy().into_owned();
    let with = ["--with", "alice", "--with", &bobs, "--out", &out];
    alice.run(["key", "new", "board", "--threshold", "2"].iter().chain(&with)).ok();
    assert!(Path::new(&out).is_file(), "{out} was not written");
    bob.run(["sign", &send(Path::new(&out), &bob), "--key", "bob"]).ok();
}

#[test]
fn preparing_where_the_key_is_not_says_what_it_needs() {
    let home = Home::new("A");
    let (path, out) = (model(&home, "x"), home.path().join("x.sign").to_string_lossy().into_owned());
    let ran = home.run(["publish", &path, "tale", "--key", "board", "--offline", "--prepare", &out]);
    let why = ran.stderr();
    assert_ne!(ran.code(), 0, "{why}");
    assert!(why.contains("reg key documents board"), "{why}");
    assert!(why.contains("reg key import board --documents"), "{why}");
}

/// A publisher has lost everything: the user names the one that goes on for it.
#[test]
fn an_alias_of_the_users_leads_on_to_another_publisher() {
    let [a, b, user] = ["lost", "successor", "user"].map(Home::new);
    for (home, name) in [(&a, "acme"), (&b, "other")] {
        let id = home.key("me");
        user.run(["trust", "add", name, &id]).ok();
    }
    publish(&b, "theirs", "tale", &["--offline"]).ok();
    let daemon = Daemon::start(&b, QUIET);
    assert_ne!(pull(&user, "acme/tale", &[&daemon.address()]).code(), 0);
    user.run(["trust", "alias", "acme/tale", "other/tale"]).ok();
    let pulled = pulls(&user, "acme/tale", &[&daemon.address()], "theirs");
    assert_eq!(pulled["publisher"], user.json(["trust", "show", "other"])["petnames"][0]["publisher"]);
}
