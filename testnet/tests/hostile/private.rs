//! Tests private swarms, with real processes: a peer outside the swarm gets nothing, and what is not shared is not found.

use std::collections::BTreeSet;
use std::time::Duration;

use reg_node::net::{DhtMode, NatConfig, Network, NetworkConfig, SwarmConfig};
use reg_proto::digest::Digest;
use reg_proto::wire::{Frame, Held, Request, Response};
use reg_testnet::process::{Daemon, Home, Ran, text};
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
        assert!([3, 5].contains(&ran.code()), "{}", ran.stderr());
    }
    pull(&b, &reference, &daemon.address()).ok();
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
    pull(&b, &theirs_reference, &daemon.address()).failed(6, "none of the publishers");
    pull(&b, &ours_reference, &daemon.address()).ok();
}

/// A peer that speaks the protocols itself, and asks for what no peer has announced to it.
async fn curious() -> Network {
    let config = NetworkConfig {
        seed: [77; 32],
        listen: Vec::new(),
        bootstrap: Vec::new(),
        mdns: false,
        dht: DhtMode::Off,
        gossip: false,
        nat: NatConfig::default(),
        swarm: SwarmConfig::default(),
        lanes: false,
    };
    let (network, inbound) = Network::start(config).await.expect("it starts");
    tokio::spawn(async move {
        let _kept = inbound;
        std::future::pending::<()>().await;
    });
    network
}

async fn is_given(network: &Network, address: &str, blob: Digest) -> bool {
    let peer = network.connect(&address.parse().expect("an address")).await.expect("connected");
    let document = network.ask(peer, Request::GetDocument { digest: blob }).await.expect("answered");
    let (mut reader, mut writer) = network.open_stream(peer).await.expect("a stream");
    writer.send(&Frame::Follow { blob }).await.expect("sent");
    let held = reader.next().await.expect("a frame");
    writer.send(&Frame::Request { id: 1, blob, first: 0, count: 1 }).await.expect("sent");
    let sent = tokio::time::timeout(Duration::from_secs(20), reader.next())
        .await
        .expect("in time")
        .expect("a frame");
    let answers = [
        !matches!(document, Response::NotFound),
        !matches!(held, Some(Frame::Holds { pieces: Held::None, .. })),
        matches!(sent, Some(Frame::Piece { .. })),
    ];
    assert!(answers.iter().all(|it| *it == answers[0]), "{document:?} {held:?} {sent:?}");
    answers[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_shared_is_not_there() {
    let [a, b] = ["A", "B"].map(Home::new);
    let publisher = a.key("me");
    let config = format!("[swarm]\nshare = ['{publisher}/open-*']\n");
    std::fs::write(a.path().join("config.toml"), config).expect("written");
    let [open, closed] = ["open", "closed"].map(|name| a.path().join(name));
    model::generate(&open, MIB / 2, 4);
    model::generate(&closed, MIB / 2, 5);
    let daemon = Daemon::start(&a, [""; 0]);
    let open_reference = a.publish(&open, "open-weights", "me");
    let closed_reference = a.publish(&closed, "closed", "me");
    let digest = text(&a.json(["info", &closed_reference])["summary"]["manifest"]);
    pull(&b, &open_reference, &daemon.address()).ok();
    tree::assert_equal(&open, &b.path().join("out"));
    pull(&b, &closed_reference, &daemon.address()).failed(3, "not found");
    pull(&b, &format!("{closed_reference}@{digest}"), &daemon.address()).failed(3, "could not be had");
    let network = curious().await;
    let files = |reference: &str| -> BTreeSet<Digest> {
        let files = a.json(["files", reference]);
        let digest = |file: &serde_json::Value| text(&file["digest"]).parse().expect("a digest");
        files.as_array().expect("a list").iter().map(digest).collect()
    };
    // What both have, such as a card, is given: it belongs to the one that is shared.
    let (open, closed) = (files(&open_reference), files(&closed_reference));
    assert!(closed.difference(&open).count() > 0);
    for blob in &open {
        assert!(is_given(&network, &daemon.address(), *blob).await, "{blob}");
    }
    for blob in closed.difference(&open) {
        assert!(!is_given(&network, &daemon.address(), *blob).await, "{blob}");
    }
    // Its own user has all of it.
    a.run(["verify", &closed_reference]).ok();
}
