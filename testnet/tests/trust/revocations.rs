//! Tests that revocations reach nodes that have none of the publisher's tags, and stay with them.

use reg_testnet::author::Author;
use reg_testnet::evil::Liars;
use reg_testnet::process::{Daemon, Home, Ran, text, until};
use serde_json::Value;

fn pull(home: &Home, reference: &str, from: &[&str]) -> Ran {
    home.pull(reference, from, &["--dht", "off", "--no-gossip", "--overwrite"])
}

fn revocations(home: &Home) -> String {
    home.json(["trust", "show", "acme"])["petnames"][0]["revocations"].to_string()
}

/// The publisher has lost its first key to a thief, and has published nothing yet. Five nodes stand in a line of three and two
/// that come later; all they know of it is the publisher id that their users have named.
#[test]
fn a_key_that_is_revoked_without_any_tag_is_refused_by_everybody_for_ever() {
    let author = Author::new(31);
    let [a, b, c, d, follower] = ["A", "B", "C", "D", "follower"].map(Home::new);
    author.give_key(a.path(), "me");
    let id = author.id.to_string();
    let stolen: Value = a.json(["key", "show", "me"]);
    let a_daemon = Daemon::start(&a, ["--dht", "off"]);
    // One has followed the first key already, by a model of the thief's, and heard nothing since.
    let thief = author.version("tale", "thief");
    let record = author.record(&thief, "latest", 1, None);
    let mut liars = Liars::default();
    let tell = |liars: &mut Liars| {
        liars.tell(author.script(&thief.model, "latest", &[author.sign(&record)], &[&thief]))
    };
    let liar = tell(&mut liars);
    let reference = format!("{id}/tale");
    pull(&follower, &reference, &[&liar]).ok();
    for home in [&b, &c, &d, &follower] {
        home.run(["trust", "add", "acme", &id]).ok();
    }
    let b_daemon = Daemon::start(&b, ["--bootstrap", &a_daemon.address(), "--dht", "off"]);
    let c_daemon = Daemon::start(&c, ["--bootstrap", &b_daemon.address(), "--dht", "off"]);
    // The old key itself is gone: the new one alone can say so.
    a.run(["key", "rotate", "me", "--yes"]).ok();
    std::fs::remove_file(a.path().join("keys/me.pem")).expect("the old key");
    a.run(["key", "revoke", "me", "--key", &text(&stolen["public_key"]), "--reason", "stolen", "--yes"]).ok();
    for (home, name) in [(&b, "B"), (&c, "C")] {
        until(&format!("{name} hears of it by gossip"), || revocations(home).contains("stolen"));
    }
    // A node that comes later is told when it connects, by a node that was told itself.
    a_daemon.stop();
    let later = ["--bootstrap", &c_daemon.address(), "--dht", "off"];
    for home in [&d, &follower] {
        let daemon = Daemon::start(home, later);
        until("a node that connects is told", || revocations(home).contains("stolen"));
        daemon.stop();
    }
    c_daemon.stop();
    b_daemon.stop();
    // No node that was told runs any more, and the thief tells of the first key alone.
    for home in [&b, &c, &d, &follower] {
        let liar = tell(&mut liars);
        pull(home, &reference, &[&liar]).failed(4, "retired");
        assert!(revocations(home).contains("stolen"));
    }
    let by_digest = format!("{reference}@{}", thief.digest);
    pull(&follower, &by_digest, &[]).failed(4, "revoked");
    std::fs::remove_dir_all(follower.path().join("store/index")).expect("the index");
    pull(&follower, &by_digest, &[]).failed(4, "revoked");
    let stranger = Home::new("stranger");
    let liar = tell(&mut liars);
    pull(&stranger, &reference, &[&liar]).ok();
}

fn publish(home: &Home, content: &str, model: &str) -> String {
    let dir = home.path().join(model);
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{content}\"}}")).expect("written");
    let published = home.run(["publish", &dir.to_string_lossy(), model, "--key", "me", "--json"]).ok().json();
    text(&published["manifest"])
}

#[test]
fn a_revoked_key_signs_nothing_more_and_the_error_names_the_way_on() {
    let home = Home::new("A");
    home.key("me");
    publish(&home, "one", "tale");
    let key = text(&home.json(["key", "show", "me"])["public_key"]);
    home.run(["key", "revoke", "me", "--key", &key, "--reason", "stolen", "--yes"]).ok();
    let dir = home.path().join("tale").to_string_lossy().into_owned();
    let refused = home.run(["publish", &dir, "tale", "--key", "me"]).failed(6, "are revoked: 0 are left");
    assert!(
        refused.stderr().contains("hint: ") && refused.stderr().contains("reg key rotate"),
        "{}",
        refused.stderr()
    );
    home.run(["key", "rotate", "me", "--yes"]).ok();
    publish(&home, "two", "tale");
}

/// The order that the commands advise for a stolen key after a bad release: withdraw, revoke the key, rotate. The new key
/// takes over the withdrawal with the rest, though the key that signed it is revoked.
#[test]
fn what_was_withdrawn_stays_withdrawn_when_its_key_is_revoked_and_replaced() {
    let [a, follower, newcomer] = ["A", "follower", "newcomer"].map(Home::new);
    let id = a.key("me");
    let bad = publish(&a, "bad", "tale");
    let good = publish(&a, "good", "other");
    let daemon = Daemon::start(&a, ["--dht", "off"]);
    let from = daemon.address();
    pull(&follower, &format!("{id}/tale"), &[&from]).ok();
    let key = text(&a.json(["key", "show", "me"])["public_key"]);
    a.run(["key", "revoke", "me", "--manifest", &bad, "--reason", "bad", "--yes"]).ok();
    a.run(["key", "revoke", "me", "--key", &key, "--reason", "stolen", "--yes"]).ok();
    a.run(["key", "rotate", "me", "--yes"]).ok();
    for home in [&follower, &newcomer] {
        pull(home, &format!("{id}/tale@{bad}"), &[&from]).failed(6, "withdrawn");
        assert_eq!(text(&pull(home, &format!("{id}/other"), &[&from]).ok().json()["manifest"]), good);
    }
}

/// A model that only a mirror still holds stays pullable by name over two rotations.
#[test]
fn a_second_rotation_keeps_what_the_first_took_over_though_only_a_mirror_holds_it() {
    let [a, mirror, newcomer] = ["A", "mirror", "newcomer"].map(Home::new);
    let id = a.key("me");
    let old = publish(&a, "old", "tale");
    let reference = format!("{id}/tale");
    let daemon = Daemon::start(&a, ["--dht", "off"]);
    pull(&mirror, &reference, &[&daemon.address()]).ok();
    a.run(["key", "rotate", "me", "--yes"]).ok();
    a.run(["rm", &reference]).ok();
    a.run(["key", "rotate", "me", "--yes"]).ok();
    pull(&mirror, &reference, &[&daemon.address()]).ok();
    daemon.stop();
    let mirrored = Daemon::start(&mirror, ["--dht", "off"]);
    let pulled = pull(&newcomer, &reference, &[&mirrored.address()]).ok().json();
    assert_eq!(text(&pulled["manifest"]), old);
}
