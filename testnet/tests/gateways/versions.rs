//! Tests that the requests of a client see one version of a tag, however many there are.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text, until};
use serde_json::json;

/// Longer than a gateway answers without looking again.
const LONGER_THAN_FRESH: Duration = Duration::from_secs(21);

/// Waits until a node has heard of the second record of a tag.
fn wait_for_second(home: &Home, reference: &str) {
    let is_there = || home.run(["log", reference, "--json"]).stdout().contains("\"seq\":2");
    until("version 2 is announced", is_there);
}

/// Asks for a file until it is not that of a commit.
fn wait_until_served_no_longer(url: &str, commit: &str) {
    let is_served = || http::get(url, &[]).header("x-repo-commit").as_deref() == Some(commit);
    until("the old version is served no longer", || !is_served());
}

#[test]
fn a_version_that_its_publisher_allows_no_longer_is_not_read_to_its_end() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let dir = a.path().join("model");
    model::generate(&dir, 1 << 18, 73);
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&dir, "barred", "me");
    let daemon = Daemon::start(&b, ["--bootstrap", &server.address()]);
    let repo = reference.trim_end_matches(":latest");
    let url = format!("{}/{repo}/resolve/main/config.json", http::base(&daemon));
    let commit = http::get(&url, &[]).header("x-repo-commit").expect("a commit");
    model::generate(&dir, 1 << 18, 74);
    a.run(["publish", &dir.to_string_lossy(), "barred", "--key", "me", "--min-usable", "this"]).ok();
    wait_for_second(&b, &reference);
    wait_until_served_no_longer(&url, &commit);
    assert_eq!(http::get(&url, &[]).status, 200, "the new version is served");
}

#[test]
fn a_tag_means_one_version_while_a_client_reads_it() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    a.key("other");
    let dir = a.path().join("model");
    model::generate(&dir, 1 << 18, 71);
    let server = Daemon::start(&a, [""; 0]);
    let old = a.publish(&dir, "moving:old", "me");
    model::generate(&dir, 1 << 18, 75);
    let reference = a.publish(&dir, "moving", "me");
    let repo = reference.trim_end_matches(":latest").to_owned();
    let daemon = Daemon::start(&b, ["--bootstrap", &server.address()]);
    b.pull(&old, &[&server.address()], &[]).ok();
    let other = a.publish(&dir, "unrelated", "other");
    let other = other.trim_end_matches(":latest");
    let accept = [("accept", "application/vnd.oci.image.manifest.v1+json")];
    let unrelated = http::get(&format!("{}/v2/{other}/manifests/latest", http::base(&daemon)), &accept);
    let unrelated = unrelated.header("docker-content-digest").expect("a digest");
    let other_config = format!("{}/{other}/resolve/main/config.json", http::base(&daemon));
    let other_commit = http::get(&other_config, &[]).header("x-repo-commit").expect("a commit");
    let url = |path: &str| format!("{}/{}", http::base(&daemon), path.replace("{}", &repo));
    let (config, info) = (url("{}/resolve/main/config.json"), url("api/models/{}"));
    let first = http::get(&config, &[]);
    assert_eq!(first.status, 200, "{}", first.text());
    let commit = first.header("x-repo-commit").expect("a commit");

    model::generate(&dir, 1 << 18, 72);
    a.publish(&dir, "moving", "me");
    wait_for_second(&b, &reference);
    // Another tag of the model is removed, and another publisher revokes what it has signed.
    b.run(["rm", &format!("{repo}:old")]).ok();
    a.run(["key", "revoke", "other", "--manifest", &unrelated, "--reason", "wrong", "--yes"]).ok();
    wait_until_served_no_longer(&other_config, &other_commit);
    let mut manifest = String::new();
    for wait in [Duration::ZERO, LONGER_THAN_FRESH, Duration::from_secs(3)] {
        std::thread::sleep(wait);
        let again = http::get(&config, &[]);
        assert_eq!((again.header("x-repo-commit"), again.bytes), (Some(commit.clone()), first.bytes.clone()));
        assert_eq!(text(&http::get(&info, &[]).json()["sha"]), commit);
        let refs = http::get(&url("api/models/{}/refs"), &[]).json();
        assert_eq!(text(&refs["branches"][0]["targetCommit"]), commit, "{refs}");
        let accept = [("accept", "application/vnd.oci.image.manifest.v1+json")];
        let served = http::get(&url("v2/{}/manifests/latest"), &accept);
        manifest = served.header("docker-content-digest").expect("a digest");
        assert!(manifest["sha256:".len()..].starts_with(&commit), "{manifest}");
    }
    // The node's user is not bound to what its clients read.
    let pulled = b.path().join("pulled");
    b.run(["pull", &reference, &pulled.to_string_lossy()]).ok();
    assert_ne!(fs::read(pulled.join("config.json")).expect("read"), first.bytes);
    // What is withdrawn is not read to its end.
    a.run(["key", "revoke", "me", "--manifest", &manifest, "--reason", "wrong", "--yes"]).ok();
    wait_until_served_no_longer(&config, &commit);
}

/// A node that reads the tag of another one's model through its gateway.
struct Reader {
    publisher: Home,
    server: Daemon,
    home: Home,
    daemon: Daemon,
    model: PathBuf,
    reference: String,
    commit: String,
}

impl Reader {
    fn start(seed: u64) -> Self {
        let [publisher, home] = ["A", "B"].map(Home::new);
        publisher.key("me");
        let model = publisher.path().join("model");
        model::generate(&model, 1 << 18, seed);
        let server = Daemon::start(&publisher, [""; 0]);
        let reference = publisher.publish(&model, "read", "me");
        let daemon = Daemon::start(&home, ["--bootstrap", &server.address()]);
        let mut it = Self { publisher, server, home, daemon, model, reference, commit: String::new() };
        it.commit = it.read().header("x-repo-commit").expect("a commit");
        it
    }

    fn url(&self, path: &str) -> String {
        let repo = self.reference.trim_end_matches(":latest");
        format!("{}/{}", http::base(&self.daemon), path.replace("{}", repo))
    }

    fn read(&self) -> http::Served {
        http::get(&self.url("{}/resolve/main/config.json"), &[])
    }

    /// Returns the digest of the manifest that is read.
    fn manifest(&self) -> String {
        let accept = [("accept", "application/vnd.oci.image.manifest.v1+json")];
        let served = http::get(&self.url("v2/{}/manifests/latest"), &accept);
        served.header("docker-content-digest").expect("a digest")
    }

    /// Publishes a list that denies this, as `watcher/warnings`.
    fn warn(&self, denied: &str) {
        let list = self.publisher.path().join("list");
        fs::create_dir_all(&list).expect("a folder");
        let entries = json!([{ "deny": denied, "reason": "answers with adverts" }]);
        let text = json!({ "version": 1, "expires": 4_000_000_000_u64, "entries": entries });
        fs::write(list.join("denylist.json"), text.to_string()).expect("written");
        self.publisher.publish(&list, "warnings", "watcher");
    }

    /// Checks that no dialect serves the version, by its tag or by its digest.
    fn is_refused(&self, manifest: &str, why: &str) {
        let by_commit = self.url(&format!("{{}}/resolve/{}/config.json", self.commit));
        let by_digest = self.url(&format!("v2/{{}}/manifests/{manifest}"));
        let by_tag = self.url("v2/{}/manifests/latest");
        for url in [self.url("{}/resolve/main/config.json"), by_commit, by_digest, by_tag] {
            let served = http::get(&url, &[]);
            assert!(served.status == 403 && served.text().contains(why), "{url}: {}", served.text());
        }
    }
}

#[test]
fn a_version_that_a_denylist_warns_of_is_refused_from_the_next_request_on() {
    let reader = Reader::start(75);
    let watcher = reader.publisher.key("watcher");
    let manifest = reader.manifest();
    reader.warn(&manifest);
    reader.home.run(["trust", "add", "watcher", &watcher]).ok();
    assert_eq!(reader.read().status, 200, "the tag is read, and pinned");
    reader.home.run(["trust", "subscribe", "watcher/warnings"]).ok();
    reader.is_refused(&manifest, "answers with adverts");
    reader.home.run(["trust", "allow", &manifest]).ok();
    assert_eq!(reader.read().header("x-repo-commit"), Some(reader.commit.clone()));
    reader.home.run(["trust", "disallow", &manifest]).ok();
    reader.is_refused(&manifest, "answers with adverts");
}

#[test]
fn a_version_that_a_newer_denylist_warns_of_is_refused_once_the_list_is_here() {
    let reader = Reader::start(76);
    let watcher = reader.publisher.key("watcher");
    let manifest = reader.manifest();
    reader.warn(&format!("sha256:{}", "0".repeat(64)));
    reader.home.run(["trust", "add", "watcher", &watcher]).ok();
    reader.home.run(["trust", "subscribe", "watcher/warnings"]).ok();
    assert_eq!(reader.read().status, 200, "the list denies another model");
    reader.warn(&manifest);
    reader.home.run(["pull", "watcher/warnings", "--cache-only", "--newest"]).ok();
    reader.is_refused(&manifest, "answers with adverts");
}

#[test]
fn a_version_that_a_new_key_does_not_take_over_is_not_read_to_its_end() {
    let reader = Reader::start(77);
    let manifest = reader.manifest();
    reader.publisher.json(["key", "rotate", "me", "--leave-out", &manifest, "--yes"]);
    wait_until_served_no_longer(&reader.url("{}/resolve/main/config.json"), &reader.commit);
    assert_ne!(reader.read().status, 200, "no version stands for the tag");
    model::generate(&reader.model, 1 << 18, 78);
    reader.publisher.publish(&reader.model, "read", "me");
    until("the version of the new key is served", || reader.read().status == 200);
    assert_ne!(reader.manifest(), manifest);
    drop(reader.server);
}
