//! A publisher takes a tag out of catalogues: peers follow when they compare theirs, the model stays, and only the publisher can.

use std::fs;
use std::path::Path;

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text, until};

const QUIET: [&str; 2] = ["--dht", "off"];

fn publish(home: &Home, name: &str, seed: u64) -> String {
    let dir = home.path().join(format!("{name}-{seed}"));
    model::generate(&dir, 4000, seed);
    home.publish(&dir, name, "me")
}

fn started(home: &Home, peers: &[&Daemon]) -> Daemon {
    let addresses: Vec<String> = peers.iter().map(|it| it.address()).collect();
    let bootstrap = addresses.iter().flat_map(|it| ["--bootstrap", it.as_str()]);
    Daemon::start(home, QUIET.into_iter().chain(bootstrap))
}

/// Returns the models of a publisher that a search of this node finds, in order. Nodes of other tests may be strangers to it.
fn listed(home: &Home, publisher: &str) -> Vec<String> {
    let found = home.json(["search", "--publisher", publisher]);
    let mut names: Vec<String> =
        found["results"].as_array().into_iter().flatten().map(|it| text(&it["model"])).collect();
    names.sort();
    names
}

fn until_listed(home: &Home, publisher: &str, expected: &[&str]) {
    until(&format!("{expected:?} are listed"), || listed(home, publisher) == expected);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &to) } else { drop(fs::copy(entry.path(), to)) }
    }
}

#[test]
fn an_unlisted_tag_leaves_the_catalogues_of_peers_and_can_still_be_pulled() {
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let id = a.key("me");
    let (one, two) = (publish(&a, "one", 1), publish(&a, "two", 2));
    let server = started(&a, &[]);
    let middle = started(&b, &[&server]);
    b.run(["trust", "add", "acme", &id]).ok();
    c.run(["trust", "add", "acme", &id]).ok();
    until_listed(&a, &id, &["one", "two"]);
    until_listed(&b, &id, &["one", "two"]);
    b.pull(&one, &[], &[]).ok();

    let said = a.run(["unlist", &one, "--key", "me"]).ok();
    assert!(
        said.stdout().contains("take one:latest, up to number 1, out of catalogues"),
        "{}",
        said.stdout()
    );
    assert_eq!(listed(&a, &id), ["two"]);
    assert!(a.run(["unlist", &one, "--key", "me"]).ok().stderr().contains("is taken out already"));
    assert_eq!(listed(&b, &id), ["one", "two"], "B has not compared its catalogue since");
    // B compares it when it meets A again.
    middle.stop();
    let middle = started(&b, &[&server]);
    until_listed(&b, &id, &["two"]);
    // C hears of it from B alone, and pulls the model from there by its name.
    server.stop();
    let _last = started(&c, &[&middle]);
    until_listed(&c, &id, &["two"]);
    c.pull("acme/one", &[&middle.address()], &[]).ok();
    assert_eq!(listed(&c, &id), ["two"], "the record that came with the pull is no newer than the tombstone");

    // A start without the catalogue, which no peer fills: the publisher's own node still knows.
    fs::remove_dir_all(a.path().join("catalogue")).expect("removed");
    let server = started(&a, &[]);
    until_listed(&a, &id, &["two"]);
    // The next record lists the tag again, everywhere.
    publish(&a, "one", 3);
    until_listed(&a, &id, &["one", "two"]);
    middle.stop();
    let _middle = started(&b, &[&server]);
    until_listed(&b, &id, &["one", "two"]);

    a.run(["unlist", &format!("{id}/none"), "--key", "me"]).failed(3, "has published no none:latest");
    let other = b.key("me");
    assert_ne!(other, id);
    b.run(["unlist", &two, "--key", "me"]).failed(6, "is another publisher");
}

#[test]
fn a_thief_of_a_retired_key_unlists_nothing() {
    let [a, b, forger, unlister] = ["A", "B", "forger", "unlister"].map(Home::new);
    let id = a.key("me");
    let one = publish(&a, "one", 1);
    for thief in [&forger, &unlister] {
        copy(&a.path().join("keys"), &thief.path().join("keys"));
    }
    a.run(["key", "rotate", "me", "--yes"]).ok();
    let server = started(&a, &[]);
    b.run(["trust", "add", "acme", &id]).ok();
    let honest = started(&b, &[&server]);
    until_listed(&b, &id, &["one"]);
    let shown = || text(&b.json(["search", "--publisher", &id])["results"][0]["manifest"]);
    let before = shown();
    honest.stop();
    server.stop();

    // Each thief knows the publisher as it was, and signs before it meets a peer that knows better.
    for (thief, unlists) in [(&forger, false), (&unlister, true)] {
        let dir = thief.path().join("one-1");
        model::generate(&dir, 4000, 66);
        let forged = thief.json(["publish", &dir.to_string_lossy(), "one", "--key", "me"]);
        assert_ne!(text(&forged["manifest"]), before);
        if unlists {
            thief.run(["unlist", &one, "--key", "me"]).ok();
        }
        let stolen = started(thief, &[]);
        let honest = started(&b, &[&stolen]);
        until("B has compared its catalogue", || has_compared(&b));
        assert_eq!((listed(&b, &id), shown()), (vec!["one".to_owned()], before.clone()));
        honest.stop();
        stolen.stop();
    }

    // The tombstone that the publisher itself has signed before a rotation is taken over.
    a.run(["unlist", &one, "--key", "me"]).ok();
    a.run(["key", "rotate", "me", "--yes"]).ok();
    let server = started(&a, &[]);
    until_listed(&a, &id, &[]);
    let _honest = started(&b, &[&server]);
    until_listed(&b, &id, &[]);
}

fn has_compared(home: &Home) -> bool {
    !home.json(["search"])["compared"].is_null()
}

#[test]
fn a_board_unlists_with_its_threshold() {
    let [a, b] = ["A", "B"].map(Home::new);
    let file = |name: &str| a.path().join(name).to_string_lossy().into_owned();
    b.run(["key", "new", "bob"]).ok();
    let bob = text(&b.json(["key", "show", "bob"])["public_key"]);
    let board = file("board.sign");
    let new = ["key", "new", "board", "--threshold", "2", "--with", &bob, "--no-next", "--out", &board];
    let id = text(&a.json(new)["publisher"]);
    b.run(["sign", &board, "--key", "bob"]).ok();
    a.run(["key", "finish", &board, "--name", "board"]).ok();
    let (dir, publication) = (a.path().join("model"), file("model.sign"));
    model::generate(&dir, 4000, 5);
    let _daemon = started(&a, &[]);
    let prepare = ["publish", &dir.to_string_lossy(), "tiny", "--key", "board", "--prepare", &publication];
    a.run(prepare).ok();
    a.run(["sign", &publication, "--key", "board"]).ok();
    let said = b.run(["sign", &publication, "--key", "bob"]).ok().stdout();
    assert!(said.contains("claim in lists and searches: licence \"mit\""), "{said}");
    a.run(["publish", "--signed", &publication]).ok();
    until_listed(&a, &id, &["tiny"]);

    let tombstone = file("unlist.sign");
    let unlist = ["unlist", &format!("{id}/tiny"), "--key", "board"];
    a.run(unlist).failed(6, "signing file has 1 of the 2 signatures that are needed");
    a.run(unlist.into_iter().chain(["--out", &tombstone])).ok();
    a.run(["key", "finish", &tombstone]).failed(6, "1 of the 2 signatures");
    assert_eq!(listed(&a, &id), ["tiny"]);
    let said = b.run(["sign", &tombstone, "--key", "bob"]).ok().stdout();
    assert!(said.contains("take tiny:latest, up to number 1, out of catalogues"), "{said}");
    a.run(["key", "finish", &tombstone]).ok();
    assert!(listed(&a, &id).is_empty());
}
