//! Opens the homes that the binary of before made: ids, tags, models, trust and keys are kept, and publishing goes on.

use std::fs;

use reg_testnet::process::{Daemon, Home, Ran, text};
use serde_json::Value;

use crate::old_home::{self, Expected, expected, model, publish};

/// The daemon of these tests asks no peer but those that are named.
const QUIET: [&str; 2] = ["--dht", "off"];

/// Pulls what the home holds.
pub(crate) fn offline(home: &Home, reference: &str) -> Ran {
    home.pull(reference, &[], &["--offline", "--overwrite"])
}

pub(crate) fn pulled_content(home: &Home) -> String {
    fs::read_to_string(home.path().join("out/config.json")).unwrap_or_default()
}

fn pull(home: &Home, reference: &str, from: &[&str]) -> Ran {
    home.pull(reference, from, &["--dht", "off", "--no-gossip", "--overwrite"])
}

/// The fields of a listed model that do not change by looking at it.
fn lasting(models: &[Value]) -> Vec<String> {
    let fields =
        ["publisher", "petname", "model", "tags", "manifest", "bytes", "files", "pinned", "complete"];
    let mut lines: Vec<String> =
        models.iter().map(|it| fields.map(|field| it[field].to_string()).join(" ")).collect();
    lines.sort();
    lines
}

/// The length of a list, with its name for messages.
fn count(log: &Value, list: &str) -> (String, usize) {
    (list.to_owned(), log[list].as_array().map_or(0, Vec::len))
}

/// Checks all that the binary of before said of the home of `me`.
pub(crate) fn check_all_is_kept(home: &Home, said: &Expected) {
    let key = home.json(["key", "show", "me"]);
    for field in ["publisher", "public_key", "documents", "keys", "threshold"] {
        assert_eq!(key[field], said.key[field], "{field} of the key");
    }
    let trust = home.json(["trust", "show"]);
    for field in ["petnames", "rules", "denylists", "allowed", "denied"] {
        assert_eq!(trust[field], said.trust[field], "{field} of the trust file");
    }
    assert_eq!(home.json(["config", "show"])["cache"]["max_size"], "7 GiB", "the configuration counts");
    let models = home.json(["ls"]);
    assert_eq!(lasting(models.as_array().expect("a list")), lasting(&said.models));
    for (reference, said) in &said.logs {
        let log = home.json(["log", reference]);
        assert_eq!(log["frozen"], said["frozen"], "{reference}: {log}");
        for list in ["proofs", "revocations", "delegations"] {
            assert_eq!(count(&log, list), count(said, list), "{reference}: {log}");
        }
        for record in said["records"].as_array().expect("records") {
            let payload = text(&record["payload"]);
            assert!(log.to_string().contains(&payload), "record {payload} of {reference} is lost: {log}");
        }
    }
}

/// Checks that what the home holds is pulled by its names, and that what was refused is refused.
pub(crate) fn check_names_lead_to_models(home: &Home, said: &Expected) {
    let (me, acme) = (&said.me, &said.acme);
    for (reference, content) in [
        (format!("{me}/moved"), "v4"),
        (format!("{me}/moved:stable"), "v1"),
        (format!("{me}/settled"), "three"),
        ("acme/tale".to_owned(), "other"),
        (format!("{acme}/tale"), "other"),
    ] {
        offline(home, &reference).ok();
        assert!(pulled_content(home).contains(content), "{reference}: {}", pulled_content(home));
    }
    for record in said.logs[&format!("{me}/moved")]["records"].as_array().expect("records") {
        let digest = text(&record["record"]["manifest"]["digest"]);
        offline(home, &format!("{me}/moved@{digest}")).ok();
    }
    offline(home, &format!("{me}/frozen")).failed(4, "frozen");
    offline(home, &format!("{me}/withdrawn")).failed(6, "withdrawn");
    home.run(["verify"]).ok();
}

#[test]
fn a_store_of_before_keeps_ids_tags_models_and_trust_over_two_starts() {
    let (home, said) = (old_home::me(), expected());
    for _start in ["the first", "the second"] {
        let daemon = Daemon::start(&home, QUIET);
        assert_eq!(daemon.peer_id(), said.peer_id);
        check_all_is_kept(&home, &said);
        check_names_lead_to_models(&home, &said);
        daemon.stop();
    }
    // Commands open the store by themselves where no daemon runs.
    check_all_is_kept(&home, &said);
    check_names_lead_to_models(&home, &said);
}

#[test]
fn a_store_of_before_without_its_index_is_made_anew_from_its_files() {
    let (home, said) = (old_home::me(), expected());
    fs::remove_dir_all(home.path().join("store/index")).expect("the index");
    check_names_lead_to_models(&home, &said);
    let models = home.json(["ls"]);
    assert_eq!(models.as_array().map(Vec::len), Some(said.models.len()), "{models}");
    for reference in said.logs.keys() {
        let log = home.json(["log", reference]);
        assert_eq!(log["frozen"], said.logs[reference]["frozen"], "{reference}: {log}");
    }
}

#[test]
fn a_publisher_of_before_goes_on_under_its_keys() {
    let (home, said) = (old_home::me(), expected());
    let reference = format!("{}/moved", said.me);
    let daemon = Daemon::start(&home, QUIET);
    let published = publish(&home, "v5", "moved", &[]).ok().json();
    assert_eq!((&published["publisher"], &published["seq"]), (&said.me.as_str().into(), &5.into()));
    // A newcomer takes the new version by its name, and the versions that two keys have signed by their digests.
    let newcomer = Home::new("newcomer");
    pull(&newcomer, &reference, &[&daemon.address()]).ok();
    assert!(pulled_content(&newcomer).contains("v5"));
    for record in said.logs[&reference]["records"].as_array().expect("records") {
        let digest = text(&record["record"]["manifest"]["digest"]);
        pull(&newcomer, &format!("{reference}@{digest}"), &[&daemon.address()]).ok();
    }
    pull(&newcomer, &format!("{reference}:stable"), &[&daemon.address()]).ok();
    assert!(pulled_content(&newcomer).contains("v1"));
    pull(&newcomer, &format!("{}/withdrawn", said.me), &[&daemon.address()]).failed(6, "withdrawn");
    pull(&newcomer, &format!("{}/frozen", said.me), &[&daemon.address()]).failed(4, "frozen");
    publish(&home, "settling", "frozen", &["--settle"]).ok();
    pull(&newcomer, &format!("{}/frozen", said.me), &[&daemon.address()]).ok();
    assert!(pulled_content(&newcomer).contains("settling"));
}

#[test]
fn a_publication_that_was_prepared_before_is_signed_and_published() {
    let (home, said) = (old_home::me(), expected());
    let file = home.path().join("prepared.sign");
    // The file names the folder of the model, which is in another place for each test.
    let mut written: Value = serde_json::from_slice(&fs::read(&file).expect("a file")).expect("JSON");
    written["publication"]["request"]["source"]["path"] = model(&home, "prepared").into();
    fs::write(&file, written.to_string()).expect("written");
    let prepared = file.to_string_lossy().into_owned();
    // The file of the key that took over, as the binary of before named it.
    home.run(["sign", &prepared, "--key", "me.2"]).ok();
    home.run(["publish", "--signed", &prepared, "--offline"]).ok();
    offline(&home, &format!("{}/prepared", said.me)).ok();
    assert!(pulled_content(&home).contains("prepared"));
}

#[test]
fn a_follower_of_before_goes_on_following() {
    let (home, acme, said) = (old_home::me(), old_home::acme(), expected());
    let acme_daemon = Daemon::start(&acme, QUIET);
    publish(&acme, "newer", "tale", &[]).ok();
    pull(&home, "acme/tale", &[&acme_daemon.address()]).ok();
    assert!(pulled_content(&home).contains("newer"));
    // The rule and the denylist of before still count.
    pull(&home, "acme/bad", &[&acme_daemon.address()]).failed(6, "answers with adverts");
    // A delegation of before lets acme speak for these models of `me`.
    publish(&acme, "theirs", "llama-1", &[]).ok();
    let daemon = Daemon::start(&home, QUIET);
    let from = [&daemon.address()[..], &acme_daemon.address()];
    let newcomer = Home::new("newcomer");
    let pulled = pull(&newcomer, &format!("{}/llama-1", said.me), &from).ok().json();
    assert_eq!(text(&pulled["publisher"]), said.acme);
}

/// An identity of before has no commitment to its next keys. It makes one, and rotates with it.
#[test]
fn an_identity_of_before_commits_to_its_next_keys_and_rotates() {
    let (home, said) = (old_home::me(), expected());
    let reference = format!("{}/moved", said.me);
    let follower = Home::new("follower");
    let daemon = Daemon::start(&home, QUIET);
    let from = [&daemon.address()[..]];
    pull(&follower, &reference, &from).ok();
    home.run(["key", "commit", "me", "--yes"]).ok();
    publish(&home, "v5", "moved", &[]).ok();
    pull(&follower, &reference, &from).ok();
    home.run(["key", "rotate", "me", "--yes"]).ok();
    publish(&home, "v6", "moved", &[]).ok();
    for puller in [follower, Home::new("newcomer")] {
        pull(&puller, &reference, &from).ok();
        assert!(pulled_content(&puller).contains("v6"));
        pull(&puller, &format!("{reference}:stable"), &from).ok();
        assert!(pulled_content(&puller).contains("v1"));
    }
}
