//! Tests the version in use: where the newest version of a tag was announced and cannot be had, nodes use the one before it,
//! say so everywhere, and refuse it where the user or the publisher wants that.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use reg_proto::digest::Digest;
use reg_proto::tag::TagRecord;
use reg_testnet::author::{Author, Version};
use reg_testnet::evil::{Liars, Script};
use reg_testnet::http::{self, Served};
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, Ran, text, until};
use serde_json::Value;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn pull(home: &Home, reference: &str, from: &[&str], flags: &[&str]) -> Ran {
    home.pull(reference, from, &[flags, &["--overwrite"]].concat())
}

fn pull_alone(home: &Home, reference: &str, from: &[&str], flags: &[&str]) -> Ran {
    pull(home, reference, from, &[flags, &["--dht", "off", "--no-gossip"]].concat())
}

fn content(home: &Home) -> String {
    std::fs::read_to_string(home.path().join("out/config.json")).unwrap_or_default()
}

/// Publishes a version with a config and a GGUF file; returns the digest of its manifest.
fn publish(home: &Home, content: &str) -> String {
    let dir = home.path().join(format!("model-{content}"));
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{content}\"}}")).expect("written");
    let size = 3000 + content.bytes().map(u64::from).sum::<u64>();
    model::gguf(&dir.join("tale.Q4_K_M.gguf"), size);
    let path = dir.to_string_lossy().into_owned();
    text(&home.run(["publish", &path, "tale", "--key", "me", "--json"]).ok().json()["manifest"])
}

fn has_heard(home: &Home, reference: &str, seq: u64) -> bool {
    let ran = home.run(["log", reference, "--json"]);
    let records = || ran.json()["records"].as_array().cloned().unwrap_or_default();
    ran.code() == 0 && records().iter().any(|it| it["record"]["seq"] == seq)
}

/// A publisher that announced version 2 and is gone, and two nodes that hold version 1.
struct Gone {
    a: Home,
    b: Home,
    c: Home,
    b_daemon: Daemon,
    c_daemon: Daemon,
    reference: String,
    one: String,
    two: String,
}

impl Gone {
    fn new(seed: u8) -> Self {
        let author = Author::new(seed);
        let [a, b, c] = ["A", "B", "C"].map(Home::new);
        author.give_key(a.path(), "me");
        let reference = format!("{}/tale", author.id);
        let a_daemon = Daemon::start(&a, ["--dht", "off"]);
        let b_daemon = Daemon::start(&b, ["--bootstrap", &a_daemon.address(), "--dht", "off"]);
        let known = [a_daemon.address(), b_daemon.address()];
        let flags = ["--bootstrap", &known[0], "--bootstrap", &known[1], "--dht", "off"];
        let c_daemon = Daemon::start(&c, flags);
        let one = publish(&a, "one");
        for home in [&b, &c] {
            pull(home, &reference, &[], &[]).ok();
        }
        let two = publish(&a, "two");
        for home in [&b, &c] {
            until("version 2 is announced", || has_heard(home, &reference, 2));
        }
        a_daemon.kill();
        Self { a, b, c, b_daemon, c_daemon, reference, one, two }
    }

    /// Checks that a pull took version 1, and said so.
    fn took_one(&self, home: &Home, ran: Ran) {
        let ran = ran.ok();
        let (pulled, said) = (ran.json(), ran.stderr());
        assert_eq!(text(&pulled["manifest"]), self.one, "{pulled}");
        assert!(content(home).contains("one"));
        let behind = &pulled["behind"];
        assert_eq!((&behind["head"], &behind["used"]), (&2.into(), &1.into()), "{pulled}");
        assert_eq!(text(&behind["manifest"]), self.two);
        assert!(said.contains("version 1 is used") && said.contains(&self.two), "{said}");
    }

    /// Checks that each gateway of a node gives version 1, and says so.
    fn gateways_give_one(&self, daemon: &Daemon) {
        let base = http::base(daemon);
        let begun = Instant::now();
        let file = http::get(&format!("{base}/{}/resolve/main/config.json", self.reference), &[]);
        let took = begun.elapsed();
        self.says_behind(&file);
        assert!(file.text().contains("one"), "{}", file.text());
        let info = http::get(&format!("{base}/api/models/{}", self.reference), &[]);
        self.says_behind(&info);
        assert!(self.one.contains(&text(&info.json()["sha"])), "{}", info.text());
        let tree = http::get(&format!("{base}/api/models/{}/tree/main", self.reference), &[]);
        self.says_behind(&tree);
        let url = format!("{base}/v2/{}/manifests/latest", self.reference);
        let manifest = http::get(&url, &[("Accept", "application/vnd.oci.image.manifest.v1+json")]);
        self.says_behind(&manifest);
        assert_eq!(manifest.header("docker-content-digest").as_ref(), Some(&self.one));
        let ollama = http::get(&url, &[("Accept", DOCKER_MANIFEST)]);
        self.says_behind(&ollama);
        println!("the first answer of a gateway took {took:.1?}, all five {:.1?}", begun.elapsed());
    }

    fn says_behind(&self, served: &Served) {
        assert_eq!(served.status, 200, "{}", served.text());
        let said = served.header("x-reg-behind").unwrap_or_default();
        assert_eq!(said, format!("head=2; manifest={}; used=1; reason=unreached", self.two));
    }
}

#[test]
fn a_version_that_was_announced_and_is_gone_leaves_the_one_before_it() {
    let gone = Gone::new(61);
    let Gone { a, b, c, b_daemon, c_daemon, reference, one, two } = &gone;
    for (name, home, from) in [("a holder", b, vec![]), ("another holder", c, vec![])] {
        let begun = Instant::now();
        gone.took_one(home, pull(home, reference, &from, &[]));
        println!("{name} had version 1 after {:.1?}", begun.elapsed());
    }
    gone.gateways_give_one(b_daemon);
    gone.gateways_give_one(c_daemon);
    let newcomer = Home::new("D");
    let begun = Instant::now();
    gone.took_one(&newcomer, pull_alone(&newcomer, reference, &[&b_daemon.address()], &[]));
    println!("a newcomer had version 1 after {:.1?}", begun.elapsed());
    let fresh = Home::new("E");
    let fresh_daemon = Daemon::start(&fresh, ["--bootstrap", &c_daemon.address(), "--dht", "off"]);
    gone.gateways_give_one(&fresh_daemon);
    // The newcomer asks again, and its peer is known to have seen version 2.
    gone.took_one(&fresh, pull(&fresh, reference, &[], &[]));
    let listed = fresh.json(["ls"]);
    assert_eq!(listed[0]["behind"]["latest"]["head"], 2, "{listed}");
    let shown = fresh.run(["info", reference, "--full"]).ok().stdout();
    assert!(shown.contains("newest record") && shown.contains(two), "{shown}");
    let shown = fresh.run(["ls"]).ok().stdout();
    assert!(shown.contains("2 is newer than 1"), "{shown}");
    // A digest means what it means, and the version in use is what is verified.
    let by_digest = pull(b, &format!("{reference}@{one}"), &[], &[]).ok().json();
    assert_eq!(by_digest["behind"], Value::Null);
    b.run(["verify", reference]).ok();
    let receipt = b.path().join("receipt.json").to_string_lossy().into_owned();
    pull(b, reference, &[], &["--receipt", &receipt]).ok();
    let receipt: Value = serde_json::from_slice(&std::fs::read(receipt).expect("a receipt")).expect("JSON");
    assert_eq!(receipt["behind"]["head"], 2, "{receipt}");
    // The head comes back, and is used.
    let again = Daemon::start(a, ["--bootstrap", &b_daemon.address(), "--dht", "off"]);
    let pulled = pull(b, reference, &[&again.address()], &[]).ok().json();
    assert_eq!((&pulled["behind"], text(&pulled["manifest"])), (&Value::Null, two.clone()));
    assert!(content(b).contains("two"));
    until("a gateway gives version 2", || {
        let url = format!("{}/{reference}/resolve/main/config.json", http::base(c_daemon));
        let served = http::get(&url, &[]);
        served.text().contains("two") && served.header("x-reg-behind").is_none()
    });
}

#[test]
fn the_newest_or_nothing_is_what_a_user_may_want() {
    let gone = Gone::new(62);
    let Gone { b, b_daemon, reference, one, two, .. } = &gone;
    let ran = pull(b, reference, &[], &["--newest"]).failed(6, one);
    assert!(ran.stderr().contains("newest"), "{}", ran.stderr());
    gone.took_one(b, pull(b, reference, &[], &[]));
    b.run(["trust", "require", "*/tale", "--newest"]).ok();
    let shown = b.run(["trust", "show"]).ok().stdout();
    assert!(shown.contains("the newest version"), "{shown}");
    let ran = pull(b, reference, &[], &[]).failed(6, "newest version");
    assert!(ran.stderr().contains(two), "{}", ran.stderr());
    let url = format!("{}/{reference}/resolve/main/config.json", http::base(b_daemon));
    assert_eq!(http::get(&url, &[]).status, 403);
    pull(b, &format!("{reference}@{one}"), &[], &[]).ok();
    b.run(["trust", "waive", "*/tale"]).ok();
    gone.took_one(b, pull(b, reference, &[], &[]));
}

#[test]
fn offline_the_newest_version_that_is_whole_is_used_after_a_restart_too() {
    let Gone { b, c, b_daemon, c_daemon, reference, one, .. } = Gone::new(63);
    pull(&b, &reference, &[], &[]).ok();
    b_daemon.stop();
    c_daemon.stop();
    let is_one = |pulled: &Value, reason: &str| {
        assert_eq!(text(&pulled["manifest"]), one, "{pulled}");
        assert_eq!(pulled["behind"]["reason"], reason, "{pulled}");
    };
    is_one(&pull(&b, &reference, &[], &["--offline"]).ok().json(), "offline");
    // The other one has not tried to pull version 2, so it does not remember that it was announced.
    let pulled = pull(&c, &reference, &[], &["--offline"]).ok().json();
    assert_eq!(text(&pulled["manifest"]), one);
    let _alone = Daemon::start(&b, ["--dht", "off"]);
    let begun = Instant::now();
    is_one(&pull(&b, &reference, &[], &[]).ok().json(), "unreached");
    println!("a node without peers had version 1 after {:.1?}", begun.elapsed());
}

#[test]
fn a_withdrawn_version_has_no_stand_in() {
    let author = Author::new(64);
    let [a, b] = ["A", "B"].map(Home::new);
    author.give_key(a.path(), "me");
    let reference = format!("{}/tale", author.id);
    let a_daemon = Daemon::start(&a, ["--dht", "off"]);
    let b_daemon = Daemon::start(&b, ["--bootstrap", &a_daemon.address(), "--dht", "off"]);
    publish(&a, "one");
    pull(&b, &reference, &[], &[]).ok();
    let two = publish(&a, "two");
    until("version 2 is announced", || has_heard(&b, &reference, 2));
    a.run(["key", "revoke", "me", "--manifest", &two, "--reason", "it lies", "--yes"]).ok();
    let listed = a.json(["ls"]);
    let of = |manifest: &str| {
        listed.as_array().into_iter().flatten().find(|it| it["manifest"] == manifest).cloned()
    };
    assert_eq!(of(&two).unwrap_or_default()["withdrawn"], "it lies", "{listed}");
    assert!(a.run(["ls"]).ok().stdout().contains("withdrawn by its publisher: it lies"));
    until("the withdrawal is announced", || b.run(["log", &reference]).stdout().contains("it lies"));
    a_daemon.kill();
    pull(&b, &reference, &[], &[]).failed(6, "withdrawn");
    pull_alone(&Home::new("D"), &reference, &[&b_daemon.address()], &[]).failed(6, "withdrawn");
    let url = format!("{}/{reference}/resolve/main/config.json", http::base(&b_daemon));
    assert_eq!(http::get(&url, &[]).status, 403);
}

/// Records 1 and 2 of one tag.
fn two_records(author: &Author) -> [(TagRecord, Version); 2] {
    let [one, two] = ["one", "two"].map(|content| author.version("tale", content));
    let first = author.record(&one, "latest", 1, None);
    let second = author.record(&two, "latest", 2, Some(Digest::of(&first.to_payload())));
    [(first, one), (second, two)]
}

fn script(author: &Author, record: &TagRecord, versions: &[&Version]) -> Script {
    author.script(&record.model, "latest", &[author.sign(record)], versions)
}

#[test]
fn a_publisher_forbids_versions_below_a_number() {
    let author = Author::new(65);
    let [(first, one), (second, two)] = two_records(&author);
    let reference = format!("{}/tale", author.id);
    let mut liars = Liars::default();
    let holder = liars.tell(script(&author, &first, &[&one]));
    for (min_usable, code) in [(None, 0), (Some(1), 0), (Some(2), 5), (Some(9), 5)] {
        let second = TagRecord { min_usable, ..second.clone() };
        let announcer = liars.tell(script(&author, &second, &[]));
        let home = Home::new("P");
        let ran = pull_alone(&home, &reference, &[&holder, &announcer], &[]);
        assert_eq!(ran.code(), code, "{min_usable:?}: {}", ran.stderr());
        let said = ran.stderr();
        match code {
            0 => assert!(content(&home).contains("one")),
            _ => assert!(said.contains("min_usable") && said.contains(&two.digest.to_string()), "{said}"),
        }
        assert!(said.contains(&two.digest.to_string()), "{said}");
    }
}

#[test]
fn a_frozen_tag_gives_the_newest_common_ancestor() {
    let author = Author::new(66);
    let [(first, one), (second, two)] = two_records(&author);
    let other = author.version("tale", "other");
    let contradicting = author.record(&other, "latest", 2, second.prev);
    let reference = format!("{}/tale", author.id);
    let mut liars = Liars::default();
    let from = [
        liars.tell(script(&author, &first, &[&one])),
        liars.tell(script(&author, &second, &[&two])),
        liars.tell(script(&author, &contradicting, &[&other])),
    ];
    let from: Vec<&str> = from.iter().map(String::as_str).collect();
    let home = Home::new("P");
    let ran = pull_alone(&home, &reference, &from, &[]).ok();
    assert_eq!(ran.json()["behind"]["reason"], "frozen", "{}", ran.json());
    assert!(ran.stderr().contains("frozen") && content(&home).contains("one"), "{}", ran.stderr());
    let offline = pull_alone(&home, &reference, &[], &["--offline"]).ok().json();
    assert_eq!(text(&offline["manifest"]), one.digest.to_string());
    pull_alone(&home, &reference, &from, &["--newest"]).failed(6, "frozen");
    // Of the two alone nothing is common.
    pull_alone(&Home::new("Q"), &reference, &from[1..], &[]).failed(4, "is frozen");
}

#[test]
fn a_version_of_which_peers_have_only_a_part_is_not_used() {
    let author = Author::new(67);
    let [(first, one), (second, two)] = two_records(&author);
    let reference = format!("{}/tale", author.id);
    let mut liars = Liars::default();
    let holder = liars.tell(script(&author, &first, &[&one]));
    let whole = script(&author, &second, &[&two]);
    let blobs: Vec<Digest> = whole.blobs.keys().copied().collect();
    assert_eq!(blobs.len(), 2);
    let part_of = |lacking: usize| {
        let mut part = script(&author, &second, &[&two]);
        part.blobs.remove(&blobs[lacking]);
        part
    };
    let [left, right] = [1, 0].map(|lacking| liars.tell(part_of(lacking)));
    let home = Home::new("P");
    let ran = pull_alone(&home, &reference, &[&holder, &left], &[]).ok();
    assert!(content(&home).contains("one"));
    assert!(text(&ran.json()["behind"]["why"]).contains("1 of its blobs"), "{}", ran.json());
    // Two peers that have a part each have the whole together.
    let pulled = pull_alone(&home, &reference, &[&holder, &left, &right], &[]).ok().json();
    assert!(content(&home).contains("two") && pulled["behind"].is_null(), "{pulled}");
}

/// A peer says that it has the newest version, and sends something else.
#[test]
fn a_peer_that_only_says_that_it_has_the_newest_holds_up_nothing() {
    let author = Author::new(68);
    let [(first, one), (second, two)] = two_records(&author);
    let reference = format!("{}/tale", author.id);
    let mut liars = Liars::default();
    let holder = liars.tell(script(&author, &first, &[&one]));
    let mut false_script = script(&author, &second, &[&two]);
    for bytes in false_script.blobs.values_mut() {
        *bytes = Arc::new(vec![0; bytes.len()]);
    }
    let liar = liars.tell(false_script);
    let home = Home::new("P");
    let ran = pull_alone(&home, &reference, &[&holder, &liar], &[]).ok();
    assert!(content(&home).contains("one"));
    assert_eq!(ran.json()["behind"]["head"], 2, "{}", ran.json());
    // Where there is no other version, the reason is the first one.
    pull_alone(&Home::new("Q"), &reference, &[&liar], &[])
        .failed(4, "sent bytes that are not what was signed");
}

#[test]
fn nothing_that_can_be_had_is_told_with_the_digests_that_are_known() {
    let author = Author::new(69);
    let [(first, one), (second, two)] = two_records(&author);
    let reference = format!("{}/tale", author.id);
    let mut liars = Liars::default();
    let announcers = [&first, &second].map(|record| liars.tell(script(&author, record, &[])));
    let from: Vec<&str> = announcers.iter().map(String::as_str).collect();
    let ran = pull_alone(&Home::new("P"), &reference, &from, &[]).failed(5, &one.digest.to_string());
    assert!(ran.stderr().contains(&two.digest.to_string()), "{}", ran.stderr());
}

#[test]
fn a_manifest_that_cannot_be_had_is_named_once_whatever_records_name_it() {
    let author = Author::new(71);
    let version = author.version("tale", "one");
    let mut records = vec![author.record(&version, "latest", 1, None)];
    for seq in 2..=4 {
        let prev = records.last().map(|it| Digest::of(&it.to_payload()));
        records.push(author.record(&version, "latest", seq, prev));
    }
    let reference = format!("{}/tale", author.id);
    let mut liars = Liars::default();
    let mut all = |versions: &[&Version]| -> Vec<String> {
        records.iter().map(|record| liars.tell(script(&author, record, versions))).collect()
    };
    let (announcers, holders) = (all(&[]), all(&[&version]));
    let from: Vec<&str> = announcers.iter().map(String::as_str).collect();
    let said = pull_alone(&Home::new("P"), &reference, &from, &[]).failed(5, "version 4").stderr();
    assert_eq!(said.matches(&version.digest.to_string()).count(), 1, "{said}");
    // What a user wants and no version has is not looked for under the other records.
    let from: Vec<&str> = holders.iter().map(String::as_str).collect();
    let none = pull_alone(&Home::new("Q"), &reference, &from, &["--include", "*.onnx"]);
    none.failed(8, "no file of the model matches *.onnx");
}

#[test]
fn a_choice_that_an_older_version_does_not_have_is_no_reason_to_go_back_further() {
    let author = Author::new(72);
    let [(first, one), (second, two)] = two_records(&author);
    let reference = format!("{}/tale", author.id);
    let mut liars = Liars::default();
    let holder = liars.tell(script(&author, &first, &[&one]));
    let announcer = liars.tell(script(&author, &second, &[]));
    // The newest version may have the file, so the command may be run again.
    let wanted = ["--include", "*.onnx"];
    let ran = pull_alone(&Home::new("P"), &reference, &[&holder, &announcer], &wanted);
    let said = ran.failed(5, &two.digest.to_string()).stderr();
    assert!(said.contains("it has none of the files that were asked for"), "{said}");
    // Of a frozen tag there is no newer version.
    let other = author.record(&author.version("tale", "other"), "latest", 2, second.prev);
    let contradicting = liars.tell(script(&author, &other, &[]));
    let from = [holder.as_str(), &announcer, &contradicting];
    pull_alone(&Home::new("Q"), &reference, &from, &wanted).failed(8, "no file of the model matches *.onnx");
}

/// The wanted files decide. A version is used even where its other files are gone.
#[test]
fn only_the_wanted_files_must_be_at_peers() {
    let Gone { a, b, b_daemon, reference, two, .. } = Gone::new(70);
    let part = Home::new("F");
    let a_daemon = Daemon::start(&a, ["--bootstrap", &b_daemon.address(), "--dht", "off"]);
    let part_daemon = Daemon::start(&part, ["--bootstrap", &b_daemon.address(), "--dht", "off"]);
    pull(&part, &reference, &[&a_daemon.address()], &["--include", "config.json"]).ok();
    a_daemon.kill();
    let from = part_daemon.address();
    let pulled = pull(&b, &reference, &[&from], &["--include", "config.json"]).ok().json();
    assert_eq!((text(&pulled["manifest"]), &pulled["behind"]), (two, &Value::Null), "{pulled}");
    let pulled = pull(&b, &reference, &[&from], &[]).ok().json();
    assert_eq!(pulled["behind"]["head"], 2, "{pulled}");
    assert!(Path::new(&text(&pulled["dest"])).join("tale.Q4_K_M.gguf").exists());
}
