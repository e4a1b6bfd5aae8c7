//! Tests the catalogue with real processes: what a node publishes is found on others by words and filters, is pulled by the number
//! of its result, outlives its node, and is made anew where it is damaged.

use std::fs;
use std::path::{Path, PathBuf};

use reg_testnet::process::{Daemon, Home, text, until};
use reg_testnet::tree;
use serde_json::Value;

/// The widest table that a terminal of the usual size shows.
const COLUMNS: usize = 80;

/// Writes a small model with a model card; returns its directory.
fn model(home: &Home, name: &str, card: &str) -> PathBuf {
    let dir = home.path().join(format!("files-{name}"));
    fs::create_dir_all(&dir).expect("a folder");
    fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{name}\"}}")).expect("written");
    fs::write(dir.join("README.md"), format!("---\n{card}\n---\n# {name}\n")).expect("written");
    dir
}

fn publish(home: &Home, dir: &Path, name: &str, said: &[&str]) -> String {
    let dir = dir.to_string_lossy().into_owned();
    let args = [&["publish", &dir, name, "--key", "me", "-q"][..], said].concat();
    home.run(args).ok().stdout().trim().to_owned()
}

fn search(home: &Home, args: &[&str]) -> Vec<Value> {
    home.json(["search"].iter().chain(args))["results"].as_array().expect("results").clone()
}

fn names(found: &[Value]) -> Vec<String> {
    found.iter().map(|it| text(&it["model"])).collect()
}

#[test]
fn what_a_stranger_has_published_is_found_through_others_and_pulled_by_its_number() {
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let publisher = a.key("me");
    let first = Daemon::start(&a, [""; 0]);
    let apache = "license: apache-2.0\npipeline_tag: image-to-text\nlanguage: [en, de]";
    let receipts = model(&a, "receipts", apache);
    publish(
        &a,
        &receipts,
        "Receipt-OCR-0.5B",
        &["--title", "Receipt reader", "--summary", "Reads crumpled bills"],
    );
    let chat =
        model(&a, "chat", "license: mit\npipeline_tag: text-generation\nbase_model: Qwen/Qwen2.5-0.5B");
    publish(&a, &chat, "chat-small:v2", &["--task", "text-generation"]);
    let through = ["--bootstrap", &first.address()].map(str::to_owned);
    let second = Daemon::start(&b, through);
    // The third node meets the second one alone: no publisher, and no name.
    let third = Daemon::start(&c, ["--bootstrap", &second.address()]);
    until("both models are found", || search(&c, &[]).len() == 2 && search(&c, &["crumpled"]).len() == 1);
    let found = search(&c, &["ocr"]);
    assert_eq!(names(&found), ["Receipt-OCR-0.5B"]);
    let found = &found[0];
    assert_eq!((found["number"].as_u64(), found["facts"].as_str()), (Some(1), Some("publisher")), "{found}");
    assert_eq!((found["is_known"].as_bool(), found["is_here"].as_bool()), (Some(false), Some(false)));
    assert_eq!(
        (found["title"].as_str(), found["license"].as_str()),
        (Some("Receipt reader"), Some("apache-2.0"))
    );
    assert_eq!(text(&found["publisher"]), publisher);
    for (args, expected) in [
        (&["receipt", "0.5b"][..], "Receipt-OCR-0.5B"),
        (&["bills"], "Receipt-OCR-0.5B"),
        (&["--task", "text-generation"], "chat-small"),
        (&["--license", "mit"], "chat-small"),
        (&["--base", "Qwen/Qwen2.5-0.5B"], "chat-small"),
        (&["chat", "--publisher", &publisher, "--max-size", "1M"], "chat-small"),
    ] {
        assert_eq!(names(&search(&c, args)).first().map(String::as_str), Some(expected), "{args:?}");
    }
    assert!(search(&c, &["--max-size", "10"]).is_empty() && search(&c, &["--known"]).is_empty());
    c.run(["search", "--publisher", "nobody"]).failed(3, "nobody");

    // A table for people, and the number that it shows.
    let shown = c.run(["search", "--sort", "name"]).ok();
    let widest = shown.stdout().lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(COLUMNS), "{widest:?}: {}", shown.stdout());
    assert!(shown.stdout().contains("chat-small:v2") && shown.stderr().contains("reg pull NUMBER"));
    let out = c.path().join("out");
    c.run(["info", "2"]).ok();
    c.run(["pull", "2", &out.to_string_lossy()]).ok();
    tree::assert_equal(&receipts, &out);
    assert_eq!(search(&c, &["ocr"])[0]["is_here"], true);
    c.run(["pull", "7"]).failed(3, "no result with the number 7");
    let own = search(&a, &["ocr"]);
    assert_eq!((own[0]["is_known"].as_bool(), own[0]["is_here"].as_bool()), (Some(true), Some(true)));
    // What is published while all are connected is heard of at once.
    let late = model(&a, "late", "license: mit");
    publish(&a, &late, "latecomer", &[]);
    until("news are found", || search(&c, &["latecomer"]).len() == 1);
    // A correction of the card comes with the next version; the old title is gone.
    fs::write(receipts.join("notes.txt"), "more").expect("written");
    publish(&a, &receipts, "Receipt-OCR-0.5B", &["--title", "Invoice reader"]);
    until("the new card is found", || search(&c, &["invoice"]).len() == 1);
    assert!(search(&c, &["crumpled"]).is_empty());
    drop((first, second, third));
}

#[test]
fn publishers_that_the_user_knows_come_first_and_equal_content_is_one_result() {
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let [one, two] = [a.key("me"), b.key("me")];
    let first = Daemon::start(&a, [""; 0]);
    let second = Daemon::start(&b, ["--bootstrap", &first.address()]);
    let third = Daemon::start(&c, ["--bootstrap", &first.address()]);
    let equal = model(&a, "equal", "license: mit");
    publish(&a, &equal, "parrot", &[]);
    publish(&b, &equal, "copycat", &[]);
    let other = model(&b, "other", "license: mit");
    publish(&b, &other, "parrot-2", &[]);
    until("both are found", || {
        let found = search(&c, &[]);
        found.len() == 2 && found.iter().any(|it| it["also"].as_array().is_some_and(|also| also.len() == 1))
    });
    c.run(["trust", "add", "birds", &two]).ok();
    let found = search(&c, &["parrot"]);
    assert_eq!(text(&found[0]["petname"]), "birds", "{found:?}");
    assert_eq!(names(&search(&c, &["--known", "parrot"])), ["parrot-2"]);
    // Of one content under two names, the name that the user knows is shown.
    let same = search(&c, &["copycat"]);
    assert_eq!((text(&same[0]["publisher"]), text(&same[0]["also"][0]["publisher"])), (two, one));
    drop((first, second, third));
}

#[test]
fn what_is_not_shared_is_found_by_its_owner_alone() {
    let [a, b] = ["A", "B"].map(Home::new);
    let publisher = a.key("me");
    let config = format!("[swarm]\nshare = ['{publisher}/open-*']\n");
    fs::write(a.path().join("config.toml"), config).expect("written");
    let first = Daemon::start(&a, [""; 0]);
    for name in ["open-one", "private", "open-two"] {
        publish(&a, &model(&a, name, "license: mit"), name, &[]);
    }
    let second = Daemon::start(&b, ["--bootstrap", &first.address()]);
    b.run(["trust", "add", "acme", &publisher]).ok();
    until("what is shared is found", || search(&b, &[]).len() == 2);
    assert!(search(&b, &["private"]).is_empty());
    assert_eq!(search(&a, &[]).len(), 3, "its owner finds everything");
    drop((first, second));
}

#[test]
fn what_was_withdrawn_is_not_found_any_more() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let first = Daemon::start(&a, [""; 0]);
    for name in ["good", "bad"] {
        publish(&a, &model(&a, name, "license: mit"), name, &[]);
    }
    // This node knows neither the publisher nor its keys but by its listings.
    let second = Daemon::start(&b, ["--bootstrap", &first.address()]);
    until("both are found", || search(&b, &[]).len() == 2);
    let bad = text(&search(&b, &["bad"])[0]["manifest"]);
    a.run(["key", "revoke", "me", "--manifest", &bad, "--reason", "bad", "--yes"]).ok();
    until("the withdrawn model is hidden", || names(&search(&b, &[])) == ["good"]);
    assert_eq!(names(&search(&a, &[])), ["good"]);
    drop((first, second));
}

#[test]
fn the_catalogue_outlives_its_node_and_is_made_anew_where_it_is_damaged() {
    let [a, b] = ["A", "B"].map(Home::new);
    let publisher = a.key("me");
    let first = Daemon::start(&a, [""; 0]);
    for name in ["one", "two", "three"] {
        publish(&a, &model(&a, name, "license: mit"), name, &["--title", "Lasting"]);
    }
    let second = Daemon::start(&b, ["--bootstrap", &first.address()]);
    until("all are found", || search(&b, &["lasting"]).len() == 3);
    b.run(["trust", "add", "acme", &publisher]).ok();
    second.kill();
    // Alone and without a daemon, what was found before is found.
    assert_eq!(search(&b, &["lasting"]).len(), 3);
    let catalogue = b.path().join("catalogue");
    let mut damaged = 0;
    for entry in fs::read_dir(catalogue.join("index")).expect("an index").flatten() {
        fs::write(entry.path(), b"rubbish").expect("written");
        damaged += 1;
    }
    assert!(damaged > 0);
    assert!(search(&b, &["lasting"]).is_empty(), "nothing is believed that is damaged");
    let second = Daemon::start(&b, ["--bootstrap", &first.address()]);
    until("all are found again", || search(&b, &["lasting"]).len() == 3);
    assert!(b.json(["ls"]).as_array().is_some_and(Vec::is_empty), "nothing else has changed");
    drop((first, second));
}

#[test]
fn what_a_publisher_claims_outlives_its_key() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let first = Daemon::start(&a, [""; 0]);
    let second = Daemon::start(&b, ["--bootstrap", &first.address()]);
    let dir = model(&a, "receipts", "license: mit");
    publish(&a, &dir, "receipts", &["--title", "Receipt reader", "--task", "image-to-text"]);
    let claimed = |home: &Home| search(home, &["reader", "--task", "image-to-text", "--license", "mit"]);
    until("the claims are found", || [&a, &b].map(claimed).iter().all(|it| names(it) == ["receipts"]));
    a.run(["key", "rotate", "me", "--yes"]).ok();
    // What the new key signs tells the other node of it.
    let dir = model(&a, "later", "license: mit");
    publish(&a, &dir, "later", &["--title", "A later one"]);
    until("the later model is found", || names(&search(&b, &["later"])) == ["later"]);
    for home in [&a, &b] {
        let found = claimed(home);
        assert_eq!(names(&found), ["receipts"]);
        assert_eq!(
            (found[0]["facts"].as_str(), found[0]["title"].as_str()),
            (Some("publisher"), Some("Receipt reader"))
        );
    }
    drop((first, second));
}

#[test]
fn what_was_published_without_a_daemon_is_found_as_soon_as_the_command_has_ended() {
    let home = Home::new("A");
    home.key("me");
    for name in ["one", "two", "three"] {
        publish(&home, &model(&home, name, "license: mit"), name, &["--title", "Prompt"]);
        assert_eq!(names(&search(&home, &[name])), [name]);
    }
    assert_eq!(search(&home, &["prompt"]).len(), 3);
}

#[test]
fn a_puller_has_the_card_that_the_publisher_has_signed_also_without_its_catalogue() {
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let publisher = a.key("me");
    let first = Daemon::start(&a, [""; 0]);
    publish(&a, &model(&a, "receipts", "license: mit"), "receipts", &["--title", "Receipt reader"]);
    b.pull(&format!("{publisher}/receipts"), &[&first.address()], &[]).ok();
    drop(first);
    // Nothing but the store says what the model is.
    drop(fs::remove_dir_all(b.path().join("catalogue")));
    let second = Daemon::start(&b, [""; 0]);
    until("the model is listed", || search(&b, &["receipts"]).len() == 1);
    let own = &search(&b, &["reader"])[0];
    assert_eq!((own["facts"].as_str(), own["title"].as_str()), (Some("publisher"), Some("Receipt reader")));
    let third = Daemon::start(&c, ["--bootstrap", &second.address()]);
    until("its peer finds it by the card", || search(&c, &["reader"]).len() == 1);
    drop((second, third));
}

#[test]
fn what_only_the_catalogue_knows_after_a_restart_is_followed() {
    let [a, b] = ["A", "B"].map(Home::new);
    let publisher = a.key("me");
    let first = Daemon::start(&a, [""; 0]);
    publish(&a, &model(&a, "tiny", "license: mit"), "tiny", &[]);
    let second = Daemon::start(&b, ["--bootstrap", &first.address()]);
    b.run(["trust", "add", "acme", &publisher]).ok();
    until("it is found", || search(&b, &["tiny"]).len() == 1);
    second.stop();
    first.stop();
    // No peer is left that would tell of it.
    let second = Daemon::start(&b, [""; 0]);
    b.run(["follow", "acme", "--delay", "0"]).ok();
    until("the version is known", || {
        let follows = b.json(["follow", "ls"]);
        follows.as_array().into_iter().flatten().any(|it| it["versions"][0]["model"] == "tiny")
    });
    drop(second);
}
