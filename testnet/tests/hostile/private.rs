//! Tests private swarms, with real processes: a peer outside the swarm gets nothing, and what is not shared is not found.

use std::collections::BTreeSet;

use reg_proto::bounded::Bounded;
use reg_proto::digest::Digest;
use reg_proto::envelope::Envelope;
use reg_proto::limits::TAG_ENVELOPE_BYTES_MAX;
use reg_proto::tag::TagRecord;
use reg_proto::wire::{Request, Response};
use reg_testnet::asker::Asker;
use reg_testnet::author::Author;
use reg_testnet::evil::{Liars, Script};
use reg_testnet::process::{Daemon, Home, Ran, text, until};
use reg_testnet::{model, tree};

const MIB: u64 = 1 << 20;

fn configured(name: &str, config: &str) -> Home {
    let home = Home::new(name);
    std::fs::write(home.path().join("config.toml"), config).expect("written");
    home
}

fn pull(home: &Home, reference: &str, from: &str) -> Ran {
    let dest = home.path().join("out").to_string_lossy().into_owned();
    home.run(["pull", reference, &dest, "--from", from, "--no-mdns", "--json"])
}

#[test]
fn swarms_with_different_keys_have_nothing_to_say_to_each_other() {
    let lab = "[swarm]\nkey = 'our lab'\n";
    let [a, b] = ["A", "B"].map(|name| configured(name, lab));
    let [outside, other] = [("outside", ""), ("other", "[swarm]\nkey = 'their lab'\n")]
        .map(|(name, config)| configured(name, config));
    let model = a.path().join("model");
    model::generate(&model, 3 * MIB, 1);
    a.key("me");
    let daemon = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "ours", "me");
    for stranger in [&outside, &other] {
        let ran = pull(stranger, &reference, &daemon.address());
        ran.failed(5, "in another swarm");
    }
    // A key that a flag gives is named as the cause too, and through a daemon.
    let by_flag = Home::new("by flag");
    let out = by_flag.path().join("out").to_string_lossy().into_owned();
    let from = daemon.address();
    let args = ["pull", &reference, &out, "--from", &from, "--no-mdns"];
    let wrong = by_flag.run(args.iter().chain(&["--swarm-key", "your lab"]));
    let wrong = wrong.failed(5, "in another swarm");
    assert!(wrong.stderr().contains("--swarm-key"), "{}", wrong.stderr());
    let daemon_outside = Daemon::start(&outside, [""; 0]);
    let through = outside.run(args);
    through.failed(5, "in another swarm");
    drop(daemon_outside);
    pull(&b, &reference, &from).ok();
    tree::assert_equal(&model, &b.path().join("out"));
}

#[test]
fn only_peers_that_are_named_are_talked_to() {
    let [friend, stranger] = ["friend", "stranger"].map(Home::new);
    let id = text(&friend.json(["status"])["peer_id"]);
    let a = configured("A", &format!("[swarm]\npeers = ['{id}']\n"));
    let model = a.path().join("model");
    model::generate(&model, 3 * MIB, 2);
    a.key("me");
    let daemon = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "ours", "me");
    let ran = pull(&stranger, &reference, &daemon.address());
    assert!([3, 5].contains(&ran.code()), "{}", ran.stderr());
    pull(&friend, &reference, &daemon.address()).ok();
    tree::assert_equal(&model, &friend.path().join("out"));
    // The list works the other way round as well: this node dials no other peer.
    let daemon_stranger = Daemon::start(&stranger, [""; 0]);
    a.run(["pull", &reference, "--cache-only", "--from", &daemon_stranger.address()]);
    let peers = stranger.json(["peers"]);
    assert_eq!(peers.as_array().map(Vec::len), Some(0), "{peers}");
}

#[test]
fn models_of_other_publishers_do_not_come_here() {
    let [a, b] = ["A", "B"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, 2 * MIB, 3);
    let (ours, _theirs) = (a.key("ours"), a.key("theirs"));
    let daemon = Daemon::start(&a, [""; 0]);
    let [ours_reference, theirs_reference] = ["ours", "theirs"].map(|key| a.publish(&model, key, key));
    std::fs::write(b.path().join("config.toml"), format!("[swarm]\npublishers = ['{ours}']\n"))
        .expect("written");
    pull(&b, &theirs_reference, &daemon.address()).failed(6, "not one of the publishers");
    pull(&b, &ours_reference, &daemon.address()).ok();
}

#[test]
fn what_is_not_shared_is_not_there() {
    let [a, b] = ["A", "B"].map(Home::new);
    let publisher = a.key("me");
    let config = format!("[swarm]\nshare = ['{publisher}/open-*']\n");
    std::fs::write(a.path().join("config.toml"), config).expect("written");
    let [open, closed] = ["open", "closed"].map(|name| a.path().join(name));
    model::generate(&open, MIB / 2, 4);
    model::generate(&closed, MIB / 2, 5);
    // A hears of a model of another publisher, which it does not share either.
    let other = Author::new(31);
    let theirs = other.record(&other.version("theirs", "x"), "latest", 1, None);
    let mut script = Script::default();
    let heads = Bounded::first_of([other.announcement(&theirs)]);
    script.answer(&Request::GetHeads { after: None }, Response::Heads { announcements: heads });
    let mut liars = Liars::default();
    let daemon = Daemon::start(&a, ["--bootstrap", &liars.tell(script)]);
    let open_reference = a.publish(&open, "open-weights", "me");
    let closed_reference = a.publish(&closed, "closed", "me");
    until("A has heard of it", || a.run(["log", &format!("{}/theirs", other.id)]).code() == 0);
    pull(&b, &open_reference, &daemon.address()).ok();
    tree::assert_equal(&open, &b.path().join("out"));
    b.pull(&closed_reference, &[&daemon.address()], &["--dht", "off"]).failed(3, "not found");
    // A peer that knows its name, its digest or the digests of its files learns and gets nothing.
    let asker = Asker::meet(&daemon.address());
    let manifest = |reference: &str| -> Digest {
        text(&a.json(["info", reference])["summary"]["manifest"]).parse().expect("a digest")
    };
    let (open, closed) = (manifest(&open_reference), manifest(&closed_reference));
    let records = |model: &str| {
        let (publisher, model) = (publisher.parse().expect("an id"), model.parse().expect("a name"));
        asker.ask(Request::GetRecords { publisher, model: Some(model), tag: None, documents: None })
    };
    assert!(matches!(records("open-weights"), Response::Records(_)));
    assert_eq!(records("closed"), Response::NotFound);
    let referrers = |subject| asker.ask(Request::Referrers { subject, artifact_type: None });
    assert!(matches!(referrers(open), Response::Referrers { manifests } if !manifests.is_empty()));
    assert_eq!(referrers(closed), Response::NotFound);
    let holders = |manifest| match asker.ask(Request::GetHolders { manifest }) {
        Response::Holders { holders } => holders.len(),
        answer => panic!("{answer:?}"),
    };
    assert!(holders(open) > 0);
    assert_eq!(holders(closed), 0);
    let Response::Heads { announcements } = asker.ask(Request::GetHeads { after: None }) else {
        panic!("no heads")
    };
    let told: BTreeSet<String> = announcements.iter().filter_map(|it| it.tag.clone()).collect();
    let told: Vec<TagRecord> = told.iter().map(|text| read(text)).collect();
    assert_eq!(told.iter().map(|it| it.manifest.digest).collect::<Vec<_>>(), [open], "{told:?}");
    let files = |reference: &str| -> BTreeSet<Digest> {
        let files = a.json(["files", reference]);
        let digest = |file: &serde_json::Value| text(&file["digest"]).parse().expect("a digest");
        files.as_array().expect("a list").iter().map(digest).collect()
    };
    // What both have, such as a card, is given: it belongs to the one that is shared.
    let (mut open_blobs, mut closed_blobs) = (files(&open_reference), files(&closed_reference));
    open_blobs.insert(open);
    closed_blobs.insert(closed);
    assert!(closed_blobs.difference(&open_blobs).count() > 1);
    for blob in &open_blobs {
        assert!(asker.is_given(*blob), "{blob}");
    }
    for blob in closed_blobs.difference(&open_blobs) {
        assert!(!asker.is_given(*blob), "{blob}");
    }
    // Its own user has all of it.
    a.run(["verify", &closed_reference]).ok();
}

/// Reads the record in an envelope.
fn read(envelope: &str) -> TagRecord {
    let envelope = Envelope::from_bytes(envelope.as_bytes(), TAG_ENVELOPE_BYTES_MAX).expect("an envelope");
    TagRecord::from_payload(&envelope.payload).expect("a record")
}
