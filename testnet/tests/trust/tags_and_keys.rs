//! Tests tags and keys over time, between real nodes: what a peer, or a thief of the key, replays is refused.

use std::path::Path;
use std::time::SystemTime;

use reg_proto::bounded::Bounded;
use reg_proto::digest::Digest;
use reg_proto::limits::{SEQ_JUMP_MAX, SEQ_MAX};
use reg_proto::tag::TagRecord;
use reg_proto::wire::{Request, Response};
use reg_testnet::author::{Author, ISSUED, Version};
use reg_testnet::evil::{Liars, Script};
use reg_testnet::process::{Daemon, Home, Ran, is_full, left_out, text, until};
use serde_json::Value;

fn pull(home: &Home, reference: &str, from: &[&str]) -> Ran {
    pull_with(home, reference, from, &["--dht", "off", "--no-gossip"])
}

fn pull_with(home: &Home, reference: &str, from: &[&str], flags: &[&str]) -> Ran {
    home.pull(reference, from, &[flags, &["--overwrite"]].concat())
}

/// A model of one file in a folder.
fn model(home: &Home, content: &str) -> std::path::PathBuf {
    let dir = home.path().join(format!("model-{content}"));
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{content}\"}}")).expect("written");
    dir
}

fn publish(home: &Home, content: &str, name: &str, flags: &[&str]) -> Ran {
    let path = model(home, content).to_string_lossy().into_owned();
    home.run(["publish", &path, name, "--key", "me", "--json"].iter().chain(flags))
}

fn pulled_content(home: &Home) -> String {
    std::fs::read_to_string(home.path().join("out/config.json")).unwrap_or_default()
}

/// Records 1 to `count` of one tag, each naming the one before.
fn chain(author: &Author, count: u64) -> Vec<(TagRecord, Version)> {
    let mut records: Vec<(TagRecord, Version)> = Vec::new();
    for seq in 1..=count {
        let prev = records.last().map(|(record, _)| Digest::of(&record.to_payload()));
        let version = author.version("tale", &format!("v{seq}"));
        records.push((author.record(&version, "latest", seq, prev), version));
    }
    records
}

/// A peer that tells of this record alone, returned by its address.
fn tell(liars: &mut Liars, author: &Author, (record, version): &(TagRecord, Version)) -> String {
    liars.tell(author.script(&version.model, "latest", &[author.sign(record)], &[version]))
}

#[test]
fn rollback_no_old_record_becomes_the_head_again() {
    let author = Author::new(11);
    let count = if is_full() { 40 } else { 6 };
    let records = chain(&author, count);
    let mut liars = Liars::default();
    let home = Home::new("P");
    let reference = format!("{}/tale", author.id);
    let mut tell = |index: usize| tell(&mut liars, &author, &records[index]);
    let newest = tell(records.len() - 1);
    pull(&home, &reference, &[&newest]).ok();
    // The model is removed, so that nothing here hides what a peer offers; what was seen stays.
    home.run(["rm", &reference]).ok();
    for old in 0..records.len() - 1 {
        let from = tell(old);
        let flags = ["--dht", "off", "--no-gossip", "--newest"];
        pull_with(&home, &reference, &[&from], &flags).failed(6, "newest version");
        // Without the flag, what the peer has is used in place of the newest, which is named.
        let pulled = pull(&home, &reference, &[&from]).ok().json();
        assert_eq!(
            (&pulled["behind"]["head"], &pulled["behind"]["used"]),
            (&count.into(), &(old + 1).into())
        );
        assert!(pulled_content(&home).contains(&format!("v{}", old + 1)));
    }
    let pulled = pull(&home, &reference, &[&newest]).ok().json();
    assert!(pulled["behind"].is_null(), "{pulled}");
    assert!(pulled_content(&home).contains(&format!("v{count}")));
}

#[test]
fn rollback_is_seen_after_the_index_was_lost_too() {
    let author = Author::new(12);
    let records = chain(&author, 3);
    let mut liars = Liars::default();
    let home = Home::new("P");
    let reference = format!("{}/tale", author.id);
    let mut tell = |index: usize| tell(&mut liars, &author, &records[index]);
    let newest = tell(2);
    pull(&home, &reference, &[&newest]).ok();
    home.run(["rm", &reference]).ok();
    std::fs::remove_dir_all(home.path().join("store/index")).expect("the index");
    let old = tell(0);
    let flags = ["--dht", "off", "--no-gossip", "--newest"];
    pull_with(&home, &reference, &[&old], &flags).failed(6, "newest version");
    assert_eq!(pull(&home, &reference, &[&old]).ok().json()["behind"]["head"], 3);
}

#[test]
fn freeze_is_told_by_age_and_an_expired_tag_is_refused() {
    let author = Author::new(13);
    let version = author.version("tale", "old");
    let mut liars = Liars::default();
    let reference = format!("{}/tale", author.id);
    let fresh = TagRecord { fresh_until: Some(ISSUED + 60), ..author.record(&version, "latest", 1, None) };
    let stale = liars.tell(author.script(&version.model, "latest", &[author.sign(&fresh)], &[&version]));
    let home = Home::new("P");
    let pulled = pull(&home, &reference, &[&stale]).ok().json();
    assert!(pulled["notes"].to_string().contains("past its freshness"), "{pulled}");
    assert!(pulled["notes"].to_string().contains("days old"), "{pulled}");
    let age = &pulled["tag_age"];
    assert_eq!((&age["issued"], &age["fresh_until"]), (&ISSUED.into(), &(ISSUED + 60).into()), "{pulled}");
    assert_eq!(age["fresh_seconds"], 0);
    let ended = TagRecord { expires: Some(ISSUED + 60), ..author.record(&version, "latest", 1, None) };
    let ended = liars.tell(author.script(&version.model, "latest", &[author.sign(&ended)], &[&version]));
    let home = Home::new("Q");
    let refused = pull(&home, &reference, &[&ended]).failed(6, "the clock of this machine says 20");
    assert!(refused.stderr().contains("timedatectl"), "{}", refused.stderr());
    pull_with(&home, &reference, &[&ended], &["--dht", "off", "--no-gossip", "--allow-expired"]).ok();
    // The clock of this machine is behind.
    let later = TagRecord { issued: 4_000_000_000, ..author.record(&version, "latest", 1, None) };
    let later = liars.tell(author.script(&version.model, "latest", &[author.sign(&later)], &[&version]));
    let notes = pull(&Home::new("L"), &reference, &[&later]).ok().json()["notes"].to_string();
    assert!(notes.contains("was signed at 2096-10-02 07:06 UTC") && notes.contains("timedatectl"), "{notes}");
    // Of one peer that holds back and one that does not, the newer record counts.
    let new = author.version("tale", "new");
    let prev = Digest::of(&fresh.to_payload());
    let second = author.record(&new, "latest", 2, Some(prev));
    let honest = liars.tell(author.script(&new.model, "latest", &[author.sign(&second)], &[&new]));
    let home = Home::new("R");
    pull(&home, &reference, &[&stale, &honest]).ok();
    assert!(pulled_content(&home).contains("new"));
}

#[test]
fn mix_and_match_of_two_versions_is_refused() {
    let author = Author::new(14);
    let (one, two) = (author.version("tale", "one"), author.version("tale", "two"));
    let mut liars = Liars::default();
    let reference = format!("{}/tale", author.id);
    let tag = author.sign(&author.record(&two, "latest", 2, None));
    // The newest tag record, beside the provenance of an older version.
    let mut script = author.script(&two.model, "latest", std::slice::from_ref(&tag), &[]);
    author.tell(&two, &one, &mut script);
    let liar = liars.tell(script);
    let home = Home::new("P");
    pull(&home, &reference, &[&liar]).failed(4, "provenance");
    // The newest tag record, with the digest of an older version asked for by name.
    let both = author.script(&two.model, "latest", &[tag], &[&one, &two]);
    let liar = liars.tell(both);
    let home = Home::new("Q");
    pull(&home, &format!("{reference}:latest@{}", one.digest), &[&liar]).failed(4, "says manifest");
}

#[test]
fn replay_under_another_name_is_refused() {
    let (author, other) = (Author::new(15), Author::new(16));
    let version = author.version("tale", "x");
    let tag = author.sign(&author.record(&version, "v1", 1, None));
    let mut liars = Liars::default();
    // As the record of another model, of another tag, and of another publisher.
    let asked = "other".parse().expect("a name");
    let liar = liars.tell(author.script(&asked, "v1", std::slice::from_ref(&tag), &[&version]));
    pull(&Home::new("P"), &format!("{}/other:v1", author.id), &[&liar]).failed(3, "none has it");
    let liar = liars.tell(author.script(&version.model, "v2", std::slice::from_ref(&tag), &[&version]));
    pull(&Home::new("Q"), &format!("{}/tale:v2", author.id), &[&liar]).failed(3, "none has it");
    let liar = liars.tell(other.script(&version.model, "v1", &[tag], &[&version]));
    pull(&Home::new("R"), &format!("{}/tale:v1", other.id), &[&liar]).failed(4, "not of");
}

#[test]
fn fast_forward_is_bounded_and_a_floor_is_the_way_out() {
    let author = Author::new(17);
    let [a, seen, fresh] = ["A", "seen", "fresh"].map(Home::new);
    author.give_key(a.path(), "me");
    let daemon = Daemon::start(&a, [""; 0]);
    let reference = format!("{}/tale", author.id);
    publish(&a, "first", "tale", &[]).ok();
    pull(&seen, &reference, &[&daemon.address()]).ok();
    let mut liars = Liars::default();
    let thief = author.version("tale", "thief");
    let mut steal = |seq: u64| {
        let record = author.record(&thief, "latest", seq, None);
        liars.tell(author.script(&thief.model, "latest", &[author.sign(&record)], &[&thief]))
    };
    let highest = steal(SEQ_MAX);
    for seq in [SEQ_JUMP_MAX + 2, SEQ_MAX] {
        let from = steal(seq);
        pull(&seen, &reference, &[&from]).failed(4, "jumps from record 1");
    }
    let beyond = steal(u64::MAX);
    pull(&Home::new("other"), &reference, &[&beyond]).failed(4, "number");
    // A node that has seen nothing yet cannot know better, until the publisher rotates the stolen key away.
    pull(&fresh, &reference, &[&highest]).ok();
    assert!(pulled_content(&fresh).contains("thief"));
    a.run(["key", "rotate", "me", "--floor", "2", "--yes"]).ok();
    let published = publish(&a, "second", "tale", &[]).ok().json();
    assert_eq!(published["seq"], 2);
    for home in [&seen, &fresh] {
        pull(home, &reference, &[&daemon.address()]).ok();
        assert!(pulled_content(home).contains("second"));
        home.run(["rm", &reference]).ok();
    }
    // What the thief signed is void. The version before it is still in the first one's store, and stands in.
    let pulled = pull(&seen, &reference, &[&highest]).ok().json();
    assert_eq!(pulled["behind"]["head"], 2, "{pulled}");
    assert!(pulled_content(&seen).contains("first"));
    pull(&fresh, &reference, &[&highest]).failed(4, "");
}

fn log(home: &Home, reference: &str) -> Option<Value> {
    let ran = home.run(["log", reference, "--json"]);
    (ran.code() == 0).then(|| ran.json())
}

/// When a node has written down its proof.
fn proof_kept(home: &Home) -> SystemTime {
    let mut found = Vec::new();
    files(&home.path().join("store/documents/tag"), &mut found);
    let [proof] = &found[..] else { panic!("one document, not {found:?}") };
    proof.metadata().and_then(|it| it.modified()).expect("a file with a time")
}

/// A publisher's two machines say two things to two ends of a network.
#[test]
fn two_heads_at_one_number_freeze_the_tag_everywhere_until_it_is_settled() {
    let author = Author::new(18);
    let count = if is_full() { 18 } else { 4 };
    let homes: Vec<Home> = (0..count).map(|it| Home::new(&format!("N{it}"))).collect();
    let mut nodes: Vec<Daemon> = Vec::new();
    for home in &homes {
        // Two neighbours each, so that no single one is between the ends.
        let known: Vec<String> = nodes.iter().rev().take(2).map(Daemon::address).collect();
        let flags = known.iter().flat_map(|address| ["--bootstrap", address]);
        nodes.push(Daemon::start(home, flags.chain(["--dht", "off"])));
    }
    let reference = format!("{}/tale", author.id);
    let [x, y] = ["X", "Y"].map(Home::new);
    for (home, content) in [(&x, "one"), (&y, "two")] {
        author.give_key(home.path(), "me");
        publish(home, content, "tale", &["--offline"]).ok();
    }
    let first = nodes.first().expect("nodes").address();
    let last = nodes.last().expect("nodes").address();
    let x_daemon = Daemon::start(&x, ["--bootstrap", &first, "--dht", "off"]);
    let y_daemon = Daemon::start(&y, ["--bootstrap", &last, "--dht", "off"]);
    let took = until("every node holds the proof", || {
        homes.iter().chain([&x, &y]).all(|home| {
            log(home, &reference).is_some_and(|log| {
                log["frozen"] == true && log["proofs"].as_array().is_some_and(|it| it.len() == 1)
            })
        })
    });
    let mut kept: Vec<SystemTime> = homes.iter().chain([&x, &y]).map(proof_kept).collect();
    kept.sort();
    // gossipsub's heartbeat is a second: what is pushed travels faster, what was lost is asked for at the next.
    let rounds = kept[count + 1].duration_since(kept[0]).unwrap_or_default();
    println!(
        "{} nodes hold the proof {took:.1?} after the second head was shown; the last {rounds:.2?} after the first",
        count + 2
    );
    let middle = &homes[count / 2];
    for home in homes.iter().chain([&x, &y]) {
        pull_with(home, &reference, &[], &[]).failed(4, "is frozen");
    }
    pull_with(middle, &reference, &[&x_daemon.address()], &[]).failed(4, "is frozen");
    // A version that is known is pulled by its digest, a newcomer is told of the proof, and the proof survives a restart.
    let log_x = log(&x, &reference).expect("a log");
    let digest = text(&log_x["records"][0]["record"]["manifest"]["digest"]);
    pull_with(middle, &format!("{reference}@{digest}"), &[&x_daemon.address(), &y_daemon.address()], &[])
        .ok();
    pull(&Home::new("newcomer"), &reference, &[&nodes[0].address()]).failed(4, "is frozen");
    let again = nodes.remove(count / 2);
    again.stop();
    pull_with(middle, &reference, &[&x_daemon.address()], &[]).failed(4, "is frozen");
    nodes.insert(count / 2, Daemon::start(middle, ["--bootstrap", &first, "--dht", "off"]));
    // The publisher does not move it by accident, and says which holds when it means to.
    publish(&x, "three", "tale", &[]).failed(4, "is frozen");
    publish(&x, "three", "tale", &["--settle"]).ok();
    pull_with(middle, &reference, &[&x_daemon.address()], &[]).ok();
    assert!(pulled_content(middle).contains("three"));
    until("every node has thawed", || {
        homes.iter().all(|home| log(home, &reference).is_some_and(|log| log["frozen"] == false))
    });
    drop(nodes);
}

/// One of two neighbours hears of a second head from a peer that tells it when they meet, which goes no further by itself.
#[test]
fn who_finds_a_proof_tells_its_neighbours_though_they_are_connected_already() {
    let author = Author::new(20);
    let [middle, end] = ["middle", "end"].map(Home::new);
    author.give_key(middle.path(), "me");
    let middle_daemon = Daemon::start(&middle, ["--dht", "off"]);
    let _end = Daemon::start(&end, ["--bootstrap", &middle_daemon.address(), "--dht", "off"]);
    let reference = format!("{}/tale", author.id);
    publish(&middle, "one", "tale", &[]).ok();
    until("the end has heard of it", || log(&end, &reference).is_some());
    let second = author.version("tale", "two");
    let heads = Bounded::first_of([author.announcement(&author.record(&second, "latest", 1, None))]);
    let mut script = Script::default();
    script.answer(&Request::GetHeads { after: None }, Response::Heads { announcements: heads });
    let mut liars = Liars::default();
    let liar = liars.tell(script);
    // Looking for something else there is enough to meet it.
    pull_with(&middle, &format!("{reference}:other"), &[&liar], &[]);
    for home in [&middle, &end] {
        until("it holds the proof", || log(home, &reference).is_some_and(|log| log["frozen"] == true));
    }
}

#[test]
fn keys_rotate_and_what_was_revoked_is_refused_everywhere() {
    let author = Author::new(19);
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    author.give_key(a.path(), "me");
    let a_daemon = Daemon::start(&a, ["--dht", "off"]);
    let b_daemon = Daemon::start(&b, ["--bootstrap", &a_daemon.address(), "--dht", "off"]);
    let reference = format!("{}/tale", author.id);
    let first = publish(&a, "first", "tale", &[]).ok().json();
    pull_with(&b, &reference, &[], &[]).ok();
    a.run(["key", "rotate", "me", "--yes"]).ok();
    let second = publish(&a, "second", "tale", &[]).ok().json();
    assert_eq!(second["publisher"], first["publisher"], "the name stays");
    pull_with(&b, &reference, &[], &[]).ok();
    assert!(pulled_content(&b).contains("second"));
    // The holder of the old key moves nothing any more, whatever number it takes.
    let thief = author.version("tale", "thief");
    let mut liars = Liars::default();
    for seq in [2, 3, 1000] {
        let record = author.record(&thief, "latest", seq, None);
        let script = author.script(&thief.model, "latest", &[author.sign(&record)], &[&thief]);
        let liar = liars.tell(script);
        pull_with(&b, &reference, &[&liar], &[]).ok();
        assert!(pulled_content(&b).contains("second"));
    }
    // What the old key signed before stays valid, because the new key takes it over; also once the old key is revoked.
    let old = format!("{reference}@{}", text(&first["manifest"]));
    pull_with(&b, &old, &[], &[]).ok();
    a.run(["key", "revoke", "me", "--key", "me", "--reason", "stolen", "--yes"]).ok();
    until("the revocation is told", || {
        log(&b, &reference).is_some_and(|log| log["revocations"].to_string().contains("stolen"))
    });
    pull_with(&b, &old, &[], &[]).ok();
    pull(&c, &old, &[&b_daemon.address()]).ok();
    pull_with(&b, &reference, &[], &[]).ok();
    // A manifest that is withdrawn is not pulled, by whichever name, from whomsoever; and it is not forgotten.
    a.run([
        "key",
        "revoke",
        "me",
        "--manifest",
        &text(&second["manifest"]),
        "--reason",
        "wrong set",
        "--yes",
    ])
    .ok();
    until("the withdrawal is told", || {
        log(&b, &reference).is_some_and(|log| log["revocations"].to_string().contains("wrong set"))
    });
    pull_with(&b, &reference, &[], &[]).failed(6, "wrong set");
    a_daemon.stop();
    pull(&c, &format!("{reference}@{}", text(&second["manifest"])), &[&b_daemon.address()])
        .failed(6, "withdrawn");
    b_daemon.stop();
    pull_with(&b, &reference, &[], &["--offline"]).failed(6, "withdrawn");
}

#[test]
fn a_delegate_speaks_for_some_models_and_a_hidden_record_lets_nobody_in() {
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let (lab, friend) = (a.key("me"), b.key("me"));
    let a_daemon = Daemon::start(&a, ["--dht", "off"]);
    let b_daemon = Daemon::start(&b, ["--bootstrap", &a_daemon.address(), "--dht", "off"]);
    publish(&a, "own", "own", &[]).ok();
    publish(&b, "theirs", "llama-1", &[]).ok();
    publish(&b, "theirs", "mistral", &[]).ok();
    let from = [&a_daemon.address()[..], &b_daemon.address()[..]];
    pull(&c, &format!("{lab}/llama-1"), &from).failed(3, "none has it");
    a.run(["key", "delegate", "me", "llama-*", &friend, "--expires", "30"]).ok();
    let pulled = pull(&c, &format!("{lab}/llama-1"), &from).ok().json();
    assert_eq!(pulled["publisher"], friend.as_str(), "the signer is reported");
    assert!(pulled["notes"].to_string().contains("speak for llama-*"), "{pulled}");
    pull(&c, &format!("{lab}/mistral"), &from).failed(3, "none has it");
    // Once it was seen that the publisher has the tag itself, no delegate brings in another one by hiding it.
    publish(&a, "mine", "llama-1", &[]).ok();
    pull(&c, &format!("{lab}/llama-1"), &from).ok();
    assert!(pulled_content(&c).contains("mine"));
    c.run(["rm", &format!("{lab}/llama-1")]).ok();
    a.run(["rm", &format!("{lab}/llama-1")]).ok();
    let ran = pull(&c, &format!("{lab}/llama-1"), &[&b_daemon.address()]);
    assert_ne!((ran.code(), pulled_content(&c).contains("theirs")), (0, true));
    let other = Home::new("D");
    let log = log(&a, &format!("{lab}/own")).expect("a log");
    a.run(["key", "revoke", "me", "--delegation", &text(&log["delegations"][0]["payload"]), "--yes"]).ok();
    pull(&other, &format!("{lab}/llama-2"), &from).failed(3, "none has it");
}

/// Every file below a folder but the keys themselves.
fn files(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_none_or(|it| it != "pem") {
            found.push(path);
        }
    }
}

/// Looks for some bytes in very many: std looks for the first of them quickly, also where this is not optimised.
fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let mut rest = bytes;
    while let Ok(read) = std::io::BufRead::skip_until(&mut rest, needle[0]) {
        let at = bytes.len() - rest.len();
        if read == 0 {
            return false;
        }
        if bytes[at - 1..].starts_with(needle) {
            return true;
        }
    }
    false
}

#[test]
fn no_byte_of_a_key_is_in_logs_the_store_or_a_core() {
    let home = Home::new("A");
    // A key of bytes that do not come up by chance.
    let seed: Vec<u8> = (0..32).map(|it| (it * 37 + 11) as u8).collect();
    let key = ed25519_dalek::SigningKey::from_bytes(&seed[..].try_into().expect("32 bytes"));
    Author::of(key).give_key(home.path(), "me");
    let command = |args: &[&str]| {
        let mut command = home.command(args);
        command.env("RUST_LOG", "trace").current_dir(home.path());
        command
    };
    let start = |log: &str, flags: &[&str]| {
        let path = home.path().join(log);
        let file = std::fs::File::create(&path).expect("a file");
        let mut daemon = command(&["daemon", "--json", "--no-mdns", "--http", "127.0.0.1:0"]);
        daemon.args(["--listen", "/ip4/127.0.0.1/tcp/0"]).args(flags);
        let daemon = daemon.stdout(file.try_clone().expect("a file")).stderr(file).spawn();
        until("the daemon is ready", || {
            std::fs::read_to_string(&path).is_ok_and(|it| it.contains("peer_id"))
        });
        daemon.expect("it starts")
    };
    let mut daemon = start("with.log", &["--publish-key", "me"]);
    let path = model(&home, "x").to_string_lossy().into_owned();
    let said = sign_in_every_way(&path, command);
    crash(&mut daemon);
    assert_eq!(cores(home.path()), 0, "a process that holds a publisher's key leaves no core");
    let mut without = start("without.log", &[]);
    publish(&home, "y", "tale", &[]).ok();
    // A crash leaves nothing of it either, for it has the node's own key: a debugger sees whether it has more.
    let core = home.path().join("seen");
    let gcore =
        std::process::Command::new("gcore").arg("-o").arg(&core).arg(without.id().to_string()).output();
    let has_core = gcore.is_ok_and(|it| it.status.success());
    crash(&mut without);
    assert_eq!(cores(home.path()), 0, "a node leaves no core");
    // That none is left means nothing where the system keeps none of anybody.
    let other = Home::new("control");
    let mut sleep = std::process::Command::new("sleep");
    crash(&mut sleep.arg("1000").current_dir(other.path()).spawn().expect("it starts"));
    if cores(other.path()) == 0 {
        let how = "set kernel.core_pattern to core by sysctl";
        left_out("that a crash leaves no core", "this system leaves none of any process", how);
    }
    let mut all = Vec::new();
    files(home.path(), &mut all);
    assert!(has_core == all.iter().any(|it| it.to_string_lossy().contains("/seen.")), "{all:?}");
    println!("{} files looked through, a core among them: {has_core}", all.len());
    if !has_core {
        let (what, why) = ("a search for keys in a core", "gcore is not here, or may not take one");
        left_out(what, why, "install gdb and run the tests as root");
    }
    let publisher = needles(&seed);
    let pem = std::fs::read(home.path().join("keys/me.pem")).expect("the key");
    assert!(publisher.iter().any(|needle| contains(&pem, needle)), "the needles find a key");
    let identity = std::fs::read(home.path().join("node.key")).expect("the node's own key");
    let own = needles(&data_encoding::HEXLOWER.decode(&identity).expect("hex"));
    assert!(own.iter().any(|needle| contains(&identity, needle)), "the needles find a key");
    let find = |needles: &[Vec<u8>], bytes: &[u8], of: &str| {
        for needle in needles {
            assert!(!contains(bytes, needle), "a part of a key is in {of}");
        }
    };
    find(&publisher, &said, "what was printed");
    find(&own, &said, "what was printed");
    for path in all {
        let (bytes, of) = (std::fs::read(&path).unwrap_or_default(), path.display().to_string());
        find(&publisher, &bytes, &of);
        // The node's own key is in the memory of the node, which only a debugger of its user's sees.
        if !path.ends_with("node.key") && !of.contains("/seen.") {
            find(&own, &bytes, &of);
        }
    }
}

/// Runs every command that loads a key, and returns what they print.
fn sign_in_every_way(path: &str, command: impl Fn(&[&str]) -> std::process::Command) -> Vec<u8> {
    let mut said = Vec::new();
    for args in [
        &["publish", path, "tale", "--key", "me"][..],
        &["publish", path, "tale", "--key", "me", "--prepare", "to.sign"],
        &["sign", "to.sign", "--key", "me"],
        &["publish", "--signed", "to.sign"],
        &["key", "show", "me", "--json"],
        &["key", "rotate", "me", "--yes", "--json"],
        &[
            "key",
            "delegate",
            "me",
            "x-*",
            "olaj5gtfzpohiq4tvx2dri5u5qa3y2cbutpcu4lqpwgjerc7blyq",
            "--expires",
            "1",
        ],
    ] {
        let output = command(args).output().expect("it runs");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        said.extend([output.stdout, output.stderr].concat());
    }
    said
}

/// What parts of a key look like: raw, in hex, in Base64.
fn needles(seed: &[u8]) -> Vec<Vec<u8>> {
    let hex = data_encoding::HEXLOWER.encode(seed);
    // Base64 of a key inside PKCS#8 begins at its 16th byte: 15 whole bytes of it are 20 digits wherever it stands.
    let base64 = [0, 1, 2].map(|skip| data_encoding::BASE64.encode(&seed[skip..skip + 24]));
    let mut needles: Vec<Vec<u8>> = vec![seed[..16].to_vec(), seed[16..].to_vec()];
    needles.extend([hex[..24].into(), hex.to_uppercase()[..24].into()]);
    needles.extend(base64.iter().map(|it| it.as_bytes()[..20].to_vec()));
    needles
}

/// Ends a process as a crash does, where nothing limits what it leaves.
fn crash(process: &mut std::process::Child) {
    let limit = rustix::process::Rlimit { current: None, maximum: None };
    let pid = rustix::process::Pid::from_child(process);
    let _unlimited = rustix::process::prlimit(Some(pid), rustix::process::Resource::Core, limit);
    reg_testnet::process::signal(process.id(), rustix::process::Signal::ABORT);
    process.wait().expect("it has ended");
}

fn cores(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|it| it.file_name().to_string_lossy().starts_with("core")).count()
}
