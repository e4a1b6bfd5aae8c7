//! Tests that two machines of one publisher follow each other, although a publication is announced behind its command.

use reg_testnet::author::Author;
use reg_testnet::process::{Daemon, Home, text, until};

/// Publishes a model of one file, and returns the number of its record.
fn publish(home: &Home, content: &str) -> u64 {
    let dir = home.path().join(format!("model-{content}"));
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{content}\"}}")).expect("written");
    let said = home.json(["publish", &dir.to_string_lossy(), "tale", "--key", "me"]);
    said["seq"].as_u64().unwrap_or_else(|| panic!("a number: {said}"))
}

/// Lets two machines publish the same tag in turn, each as soon as the command of the other has ended.
fn publish_in_turn(author: &Author, machines: [&Home; 2], is_met: impl Fn() -> bool) {
    until("the machines are connected", is_met);
    for round in 1..=6 {
        let home = machines[round as usize % 2];
        assert_eq!(
            publish(home, &format!("{}-{round}", author.id)),
            round,
            "it follows the other machine's record"
        );
    }
    for home in machines {
        let log = home.json(["log", &format!("{}/tale", author.id)]);
        assert_eq!(log["frozen"], false, "{log}");
    }
}

fn machines(author: &Author) -> [Home; 2] {
    let machines = ["X", "Y"].map(Home::new);
    machines.iter().for_each(|home| author.give_key(home.path(), "me"));
    machines
}

fn peers(home: &Home) -> Vec<String> {
    home.json(["peers"]).as_array().into_iter().flatten().map(|it| text(&it["peer"])).collect()
}

#[test]
fn a_machine_follows_what_its_neighbour_has_published_just_now() {
    let author = Author::new(31);
    let [x, y] = machines(&author);
    let daemon = Daemon::start(&x, [""; 0]);
    let _other = Daemon::start(&y, ["--bootstrap", &daemon.address()]);
    publish_in_turn(&author, [&x, &y], || !peers(&y).is_empty());
}

/// The record is at a peer that the node is not connected to: it is found through the one that both know.
#[test]
fn a_machine_follows_what_a_peer_of_its_peer_has_published_just_now() {
    let author = Author::new(32);
    let [x, y] = machines(&author);
    let between = Home::new("K");
    let known = Daemon::start(&between, ["--no-gossip"]);
    let start = |home: &Home| Daemon::start(home, ["--bootstrap", &known.address(), "--no-gossip"]);
    let _nodes = [start(&x), start(&y)];
    publish_in_turn(&author, [&x, &y], || [&x, &y].iter().all(|home| !peers(home).is_empty()));
}
