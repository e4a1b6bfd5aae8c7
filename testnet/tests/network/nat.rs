//! Tests nodes behind NATs, in namespaces: a pull goes directly through cone NATs, and a symmetric NAT is reported.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use reg_testnet::netns::{self, Machine, Nat, World};
use reg_testnet::process::{Daemon, Home, PATIENCE, Ran, text};
use reg_testnet::{model, tree};
use serde_json::Value;

const MIB: u64 = 1 << 20;
const EVERYWHERE: [&str; 2] = ["/ip4/0.0.0.0/tcp/4600", "/ip4/0.0.0.0/udp/4600/quic-v1"];

/// An address as the internet has them, on a bridge of our own.
const fn public(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(45, 1, 0, host)
}

fn daemon(home: &Home, flags: &[&str]) -> Daemon {
    Daemon::start_at(home, &EVERYWHERE, flags.iter().copied().chain(["--no-mdns", "--no-upnp"]))
}

fn pull(home: &Home, reference: &str, name: &str) -> Ran {
    let dest = home.path().join(name).to_string_lossy().into_owned();
    home.run(["pull", reference, &dest, "--json"])
}

/// A world with a relay that every node reaches.
struct Relayed {
    world: World,
    relay: Daemon,
    address: String,
    _home: Home,
}

impl Relayed {
    fn new() -> Self {
        let mut world = World::new();
        let machine = world.machine("relay", public(1));
        let home = Home::on(&machine, "relay");
        let relay = daemon(&home, &["--relay", "on"]);
        let address = format!("/ip4/{}/tcp/4600/p2p/{}", machine.ip, relay.peer_id());
        Self { world, relay, address, _home: home }
    }

    /// Returns the bytes that have left the relay's machine, of whatever kind.
    fn relay_sent(&self) -> u64 {
        *self.world.sent().first().expect("the relay was added first")
    }

    /// Checks that less has left the relay than one piece has, beside names and documents.
    fn carried_no_piece_since(&self, before: u64) {
        let carried = self.relay_sent() - before;
        println!("{carried} bytes left the relay");
        assert!(carried < MIB, "{carried} bytes left the relay: a piece was among them");
        assert_eq!(status(&self._home)["bytes_served"], 0, "it has nothing of its own to serve");
    }

    fn behind(&mut self, nat: Nat, name: &str, host: u8) -> Machine {
        self.world.behind(nat, name, public(host), Ipv4Addr::new(10, 0, host, 2))
    }

    /// Starts a node that knows the relay, and waits until it can be called through it.
    fn start(&self, home: &Home) -> Daemon {
        let daemon = daemon(home, &["--bootstrap", &self.address]);
        let start = Instant::now();
        while status(home)["reachability"] != "relayed" {
            assert!(start.elapsed() < PATIENCE, "no reservation:\n{}\n{}", daemon.log(), self.relay.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        daemon
    }
}

fn status(home: &Home) -> Value {
    home.json(["status"])
}

/// Returns over what a node is connected to a peer.
fn over(home: &Home, peer: &str) -> String {
    let peers = home.json(["peers"]);
    let found = peers.as_array().expect("a list").iter().find(|it| it["peer"] == peer);
    found.map_or_else(String::new, |it| text(&it["transport"]))
}

#[test]
fn two_nodes_behind_cone_nats_pull_directly_from_each_other() {
    if netns::is_left_out("cone NATs") {
        return;
    }
    let mut net = Relayed::new();
    let [a, b] = [("a", 10), ("b", 20)].map(|(name, host)| net.behind(Nat::Cone, name, host));
    let [a, b] = [("A", a), ("B", b)].map(|(name, machine)| Home::on(&machine, name));
    let model = a.path().join("model");
    model::generate(&model, 8 * MIB, 1);
    a.key("me");
    let (daemon_a, _daemon_b) = (net.start(&a), net.start(&b));
    let reference = a.publish(&model, "far", "me");
    let (start, before) = (Instant::now(), net.relay_sent());
    let pulled = pull(&b, &reference, "out").ok().json();
    println!(
        "pulled {} bytes through two cone NATs {:.1?} after the first dial",
        pulled["bytes_fetched"],
        start.elapsed()
    );
    tree::assert_equal(&model, &b.path().join("out"));
    let from_a = pulled["peers"][daemon_a.peer_id()].as_u64();
    assert_eq!(from_a, pulled["bytes_fetched"].as_u64(), "all of it came from A: {pulled}");
    let over = over(&b, &daemon_a.peer_id());
    assert!(["tcp", "quic"].contains(&over.as_str()), "{over}");
    net.carried_no_piece_since(before);
}

#[test]
fn symmetric_nats_are_named_and_another_source_is_used() {
    if netns::is_left_out("symmetric NATs") {
        return;
    }
    let mut net = Relayed::new();
    let [a, b] = [("a", 10), ("b", 20)].map(|(name, host)| net.behind(Nat::Symmetric, name, host));
    let open = net.world.machine("c", public(30));
    let [a, b, c] = [("A", a), ("B", b), ("C", open)].map(|(name, machine)| Home::on(&machine, name));
    let model = a.path().join("model");
    model::generate(&model, 4 * MIB, 2);
    a.key("me");
    let (daemon_a, _daemon_b) = (net.start(&a), net.start(&b));
    let reference = a.publish(&model, "far", "me");
    let before = net.relay_sent();
    let refused = pull(&b, &reference, "out").failed(5, "behind a NAT");
    assert!(refused.stderr().contains("--external"), "it says what may help: {}", refused.stderr());
    // A node that can be reached gets the model: the node behind the NAT dials back.
    let daemon_c = daemon(&c, &["--bootstrap", &net.address]);
    let pulled = pull(&c, &reference, "out").ok().json();
    assert!(pulled["peers"][daemon_a.peer_id()].as_u64() >= Some(4 * MIB), "{pulled}");
    let pulled = pull(&b, &reference, "out").ok().json();
    assert!(pulled["peers"][daemon_c.peer_id()].as_u64() >= Some(4 * MIB), "{pulled}");
    tree::assert_equal(&model, &b.path().join("out"));
    net.carried_no_piece_since(before);
}
