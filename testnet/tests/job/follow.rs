//! Tests a publisher that has many tags when it is followed: which versions come, and which ones are kept.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use reg_testnet::process::{Daemon, Home, text, until};
use serde_json::Value;

/// Publishes `content` under a tag, and returns its manifest.
fn publish(home: &Home, content: &str, tag: &str) -> String {
    let dir = home.path().join("models").join(content);
    fs::create_dir_all(&dir).expect("a folder");
    fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{content}\"}}")).expect("written");
    let made = home.json(["publish", &dir.to_string_lossy(), &format!("tiny:{tag}"), "--key", "me"]);
    // Records are dated in seconds.
    std::thread::sleep(Duration::from_millis(1100));
    text(&made["manifest"])
}

/// Returns what a follow says of each tag.
fn tags(home: &Home) -> BTreeMap<String, Value> {
    let follows = home.json(["follow", "ls"]);
    let versions = follows[0]["versions"].as_array().cloned().unwrap_or_default();
    versions.into_iter().map(|it| (text(&it["tag"]), it)).collect()
}

/// Waits until exactly these tags are in the store.
fn come(home: &Home, meant: &[&str]) {
    until(&format!("{meant:?} come"), || {
        let tags = tags(home);
        let here = tags.iter().filter(|(_, it)| it["state"]["is"] == "here").map(|(tag, _)| tag.as_str());
        here.collect::<Vec<_>>() == meant
    });
}

/// Returns the tags that the store keeps because of a follow, as a follow and as `reg ls` say.
fn kept(home: &Home) -> (Vec<String>, usize) {
    let kept = tags(home).into_iter().filter(|(_, it)| it["kept"] == true).map(|(tag, _)| tag).collect();
    let listed = home.json(["ls"]);
    let marked = listed.as_array().into_iter().flatten().filter(|it| it["followed"] == true).count();
    (kept, marked)
}

#[test]
fn of_many_tags_the_newest_come_and_what_is_kept_changes_with_the_settings() {
    let a = Home::new("publisher");
    let publisher = a.key("me");
    let daemon = Daemon::start(&a, ["--dht", "off"]);
    let manifests: BTreeMap<&str, String> =
        [("v1", "one"), ("v2", "two"), ("v9", "nine"), ("v10", "ten"), ("latest", "ten")]
            .into_iter()
            .map(|(tag, content)| (tag, publish(&a, content, tag)))
            .collect();
    assert_eq!(manifests["v10"], manifests["latest"], "the same files are the same version");
    let home = Home::new("follower");
    let _follower = Daemon::start(&home, ["--dht", "off", "--bootstrap", &daemon.address()]);
    home.run(["follow", &publisher, "--delay", "1h"]).ok();
    until("all tags are heard of", || tags(&home).len() == 5);
    home.run(["follow", &publisher, "--delay", "0", "--keep", "2"]).ok();
    come(&home, &["latest", "v10", "v9"]);
    assert_eq!(kept(&home), (vec!["latest".into(), "v10".into(), "v9".into()], 2));
    let listed = home.json(["ls"]).to_string();
    assert!(!listed.contains(&manifests["v1"]) && !listed.contains(&manifests["v2"]), "{listed}");
    let shown = home.run(["follow", "ls"]).ok().stdout();
    assert!(shown.contains("there are newer versions"), "{shown}");
    // Other settings count at once.
    home.run(["follow", &publisher, "--delay", "0", "--keep", "1"]).ok();
    assert_eq!(kept(&home), (vec!["latest".into(), "v10".into()], 1));
    home.run(["follow", &publisher, "--delay", "0", "--keep", "3"]).ok();
    come(&home, &["latest", "v10", "v2", "v9"]);
    until("three are kept", || kept(&home).1 == 3);
    // What the user lets go or removes is not said to be kept.
    home.run(["unpin", &format!("{publisher}/tiny:v9")]).ok();
    assert_eq!(tags(&home)["v9"]["kept"], false);
    home.run(["rm", &format!("{publisher}/tiny:v2")]).ok();
    let removed = tags(&home)["v2"].clone();
    assert_eq!((&removed["kept"], &removed["gone"]), (&Value::Bool(false), &Value::Bool(true)));
    let shown = home.run(["follow", "ls"]).ok().stdout();
    assert!(shown.contains("was removed or evicted"), "{shown}");
    home.run(["follow", "rm", &publisher]).ok();
    let listed = home.json(["ls"]);
    assert!(listed.as_array().into_iter().flatten().all(|it| it["followed"] != true), "{listed}");
}
