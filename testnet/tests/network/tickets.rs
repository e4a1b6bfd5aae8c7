//! Tests tickets between machines, in network namespaces: pasted on another machine, one pulls with nothing else configured.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use reg_proto::ticket::Ticket;
use reg_testnet::netns::{self, Nat, World};
use reg_testnet::process::{Daemon, Home, PATIENCE, text};
use reg_testnet::{model, tree};

const MIB: u64 = 1 << 20;
const EVERYWHERE: [&str; 2] = ["/ip4/0.0.0.0/tcp/4600", "/ip4/0.0.0.0/udp/4600/quic-v1"];

/// An address as the internet has them, on a bridge of our own.
const fn public(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(45, 1, 0, host)
}

fn daemon(home: &Home, flags: &[&str]) -> Daemon {
    Daemon::start_at(home, &EVERYWHERE, flags.iter().copied().chain(["--no-mdns", "--no-upnp"]))
}

/// Publishes a model, and returns its ticket.
fn ticket(home: &Home) -> String {
    let model = home.path().join("model");
    model::generate(&model, 4 * MIB, 1);
    home.publish(&model, "far", "me");
    let publisher = text(&home.json(["key", "show", "me"])["publisher"]);
    home.run(["trust", "add", "acme", &publisher]).ok();
    text(&home.json(["share", "acme/far"])["ticket"])
}

/// Pulls by a ticket, with nothing else configured.
fn pull(from: &Home, to: &Home, ticket: &str) {
    let out = to.path().join("out").to_string_lossy().into_owned();
    to.run(["pull", ticket, &out]).ok();
    tree::assert_equal(&from.path().join("model"), &to.path().join("out"));
}

#[test]
fn a_ticket_pasted_on_another_machine_pulls_with_nothing_else_configured() {
    if netns::is_left_out("tickets between machines") {
        return;
    }
    let mut world = World::new();
    let [a, b] = [("a", 1), ("b", 2)].map(|(name, host)| Home::on(&world.machine(name, public(host)), name));
    a.key("me");
    let daemon = daemon(&a, &[]);
    let ticket = ticket(&a);
    let read: Ticket = ticket.parse().expect("a ticket");
    let addresses: Vec<String> = read.addresses().iter().map(ToString::to_string).collect();
    assert!(
        !addresses.is_empty() && addresses.iter().all(|it| it.starts_with("/ip4/45.1.0.1/")),
        "{addresses:?}"
    );
    assert!(!format!("{read:?}").contains("acme"));
    pull(&a, &b, &ticket);
    drop(daemon);
}

#[test]
fn a_ticket_from_behind_a_nat_leads_through_its_relay() {
    if netns::is_left_out("tickets from behind a NAT") {
        return;
    }
    let mut world = World::new();
    let relay = Home::on(&world.machine("relay", public(1)), "relay");
    let relay_daemon = daemon(&relay, &["--relay", "on"]);
    let at_relay = format!("/ip4/{}/tcp/4600/p2p/{}", public(1), relay_daemon.peer_id());
    let a = Home::on(&world.behind(Nat::Cone, "a", public(10), Ipv4Addr::new(10, 0, 10, 2)), "a");
    let b = Home::on(&world.machine("b", public(20)), "b");
    a.key("me");
    let daemon_a = daemon(&a, &["--bootstrap", &at_relay]);
    let start = Instant::now();
    while a.json(["status"])["reachability"] != "relayed" {
        assert!(start.elapsed() < PATIENCE, "no reservation:\n{}", daemon_a.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    let ticket = ticket(&a);
    let read: Ticket = ticket.parse().expect("a ticket");
    let addresses: Vec<String> = read.addresses().iter().map(ToString::to_string).collect();
    assert!(addresses.iter().any(|it| it.contains("/p2p-circuit/")), "{addresses:?}");
    assert!(addresses.iter().all(|it| !it.contains("/10.0.")), "a private address: {addresses:?}");
    // With --lan, for machines in the same network.
    let lan: Ticket = text(&a.json(["share", "--lan"])["ticket"]).parse().expect("a ticket");
    assert!(lan.addresses().iter().any(|it| it.as_str().starts_with("/ip4/10.0.10.2/")), "{lan:?}");
    pull(&a, &b, &ticket);
}
