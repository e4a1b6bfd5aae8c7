//! Tests `reg info` of a model that is not in the store, and that errors and `reg log` name the versions that can be had.

use std::path::Path;

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text};

const MIB: u64 = 1 << 20;

/// Returns the bytes of all files below a directory.
fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|it| {
            if it.path().is_dir() { bytes_below(&it.path()) } else { it.metadata().map_or(0, |it| it.len()) }
        })
        .sum()
}

#[test]
fn info_of_a_model_elsewhere_says_what_is_proven_what_it_costs_and_how_to_have_it() {
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    a.key("me");
    let dir = a.path().join("model");
    model::generate(&dir, 6 * MIB, 71);
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&dir, "far:v1", "me");
    let address = server.address();
    // The store alone does not have it.
    for flag in ["--local", "--offline"] {
        b.run(["info", &reference, flag]).failed(3, "not in the store");
    }
    let ask = ["info", reference.as_str(), "--from", &address, "--no-mdns"];
    let looked = b.json(ask);
    assert_eq!(looked["in_store"], false, "{looked}");
    assert!(looked["planned"]["bytes_to_fetch"].as_u64() >= Some(6 * MIB), "{looked}");
    assert_eq!(looked["planned"]["entries"].as_array().map(Vec::len), Some(3));
    let pull = format!("reg pull {reference} --from {address}");
    assert_eq!(text(&looked["pull"]), pull);
    let check = |name: &str| {
        let checks = looked["checks"].as_array().expect("checks").iter();
        checks.filter(|it| it["check"] == name).map(|it| text(&it["result"])).collect::<Vec<_>>()
    };
    for name in ["publisher", "keys", "tag record", "manifest", "provenance", "OpenSSF bundle"] {
        assert_eq!(check(name), ["pass"], "{name}: {looked}");
    }
    let shown = b.run(ask).ok().stdout();
    for expected in [&format!("to have it: {pull}"), "in the store  no", "model.safetensors", "provenance"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert_eq!(text(&looked["planned"]["manifest"]), b.run(ask.iter().chain(&["-q"])).ok().stdout().trim());
    // Nothing of it was fetched: a pull has all of it to do.
    assert_eq!(b.json(["ls"]), serde_json::json!([]));
    assert!(bytes_below(&b.path().join("store/blobs")) < MIB);
    // A rule that would refuse the pull is shown.
    b.run(["trust", "require", "*/*", "--license", "apache-2.0"]).ok();
    let denied = b.json(ask);
    assert!(denied["checks"].to_string().contains("\"deny\"") && denied["pull"].is_null(), "{denied}");
    let shown = b.run(ask).ok().stdout();
    assert!(shown.contains("a pull is refused: ") && !shown.contains("to have it"), "{shown}");
    // Through a daemon, and of a model that no peer has.
    let _daemon = Daemon::start(&c, ["--bootstrap", &address]);
    assert_eq!(c.json(["info", &reference])["planned"]["manifest"], looked["planned"]["manifest"]);
    c.run(["info", &reference.replace("far", "none")]).failed(3, "none has it");
    c.run(["info", &reference, "--local"]).failed(3, "not in the store");
    c.run(["pull", &reference, "--cache-only"]).ok();
    assert!(c.json(["info", &reference])["planned"].is_null(), "of a model in the store, it is as before");
}

#[test]
fn errors_and_the_log_name_the_versions_that_can_be_had() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let dir = a.path().join("model");
    model::generate(&dir, MIB, 72);
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&dir, "tale:v1", "me");
    b.pull(&reference, &[&server.address()], &[]).ok();
    let manifest = text(&b.json(["info", &reference])["summary"]["manifest"]);
    let other = reference.replace(":v1", ":v2");
    let expected = format!("v1 number 1, {manifest} (in the store)");
    b.run(["pull", &other, "--offline", "--cache-only"]).failed(5, &expected);
    let refused = b.run(["pull", &other, "--from", &server.address(), "--cache-only", "--no-mdns"]);
    assert!(refused.stderr().contains("tags of the model that are known: v1"), "{}", refused.stderr());
    refused.failed(3, &expected);
    // Of another model there is nothing to name.
    let none = b.run(["pull", &reference.replace("tale", "none"), "--offline", "--cache-only"]);
    assert!(!none.stderr().contains("can be had"), "{}", none.stderr());
    let log = b.run(["log", &reference, "--full"]).ok().stdout();
    assert!(log.contains(&manifest) && log.contains("in the store"), "{log}");
    assert_eq!(b.json(["log", &reference])["records"][0]["is_here"], true);
    // What is named can be had.
    let by_digest = format!("{}@{manifest}", reference.trim_end_matches(":v1"));
    b.run(["pull", &by_digest, "--offline", "--cache-only"]).ok();
    // A version that its publisher has withdrawn is not named.
    a.run(["key", "revoke", "me", "--manifest", &manifest, "--reason", "wrong", "--yes"]).ok();
    b.pull(&reference, &[&server.address()], &["--overwrite"]).failed(6, "withdrawn");
    let refused = b.run(["pull", &other, "--offline", "--cache-only"]);
    assert!(!refused.stderr().contains("can be had"), "{}", refused.stderr());
}
