//! Tests tickets on one machine: what they lead to, and what they never say. `testnet/tests/network/tickets.rs` takes them to another.

use reg_proto::ticket::Ticket;
use reg_testnet::process::{Daemon, Home, text};
use reg_testnet::{model, tree};

const MIB: u64 = 1 << 20;
const ALONE: [&str; 3] = ["--dht", "off", "--no-gossip"];

fn share(home: &Home, args: &[&str]) -> String {
    text(&home.json(["share"].iter().chain(args))["ticket"])
}

fn publish(home: &Home, name: &str, seed: u64) -> String {
    let dir = home.path().join(name);
    drop(std::fs::remove_dir_all(&dir));
    model::generate(&dir, MIB, seed);
    home.publish(&dir, name, "me")
}

#[test]
fn a_ticket_pulls_what_its_maker_has_shared_and_never_says_a_petname() {
    let [a, b] = ["A", "B"].map(Home::new);
    let publisher = a.key("me");
    let daemon = Daemon::start(&a, ALONE);
    let reference = publish(&a, "tiny", 1);
    a.run(["trust", "add", "acme", &publisher]).ok();
    let ticket = share(&a, &["acme/tiny", "--lan"]);
    let read: Ticket = ticket.parse().expect("a ticket");
    assert_eq!(read.reference().map(|it| it.to_string()), Some(format!("{publisher}/tiny:latest")));
    assert_eq!(read.addresses().iter().map(ToString::to_string).collect::<Vec<_>>(), [daemon.address()]);
    assert!(!format!("{read:?}").contains("acme"));
    // It can be looked at before it is pulled; nothing is kept.
    let looked = b.json(["info", &ticket].into_iter().chain(ALONE));
    assert_eq!(
        (looked["in_store"].as_bool(), looked["pull"].as_str()),
        (Some(false), Some(&*format!("reg pull {ticket}")))
    );
    // In the case of a QR code too.
    b.pull(&ticket.to_uppercase(), &[], &ALONE).ok();
    tree::assert_equal(&a.path().join("tiny"), &b.path().join("out"));
    // Without --lan it has no private address: here it names no peer, and says so.
    let public = a.run(["share", &reference]).ok();
    let read: Ticket = public.stdout().trim().parse().expect("a ticket");
    assert!(read.peers.is_empty() && public.stderr().contains("--lan"), "{}", public.stderr());
    a.run(["share"]).failed(5, "no public address");
    // A camera reads it from the terminal.
    let drawn = a.run(["share", "acme/tiny", "--lan", "--qr"]).ok().stdout();
    assert!(drawn.lines().count() > 20 && drawn.contains('\u{2588}'), "{drawn}");
    // The tag moves on: the ticket leads to what the tag means now, and says which version it was made for.
    let seen = text(&a.json(["info", &reference])["summary"]["manifest"]);
    publish(&a, "tiny", 2);
    let moved = b.pull(&ticket, &[], &["--overwrite", "--dht", "off", "--no-gossip"]).ok();
    assert!(
        moved.stderr().contains(&format!(
            "another version than when the ticket was made; that one is {publisher}/tiny@{seen}"
        )),
        "{}",
        moved.stderr()
    );
    tree::assert_equal(&a.path().join("tiny"), &b.path().join("out"));
}

#[test]
fn a_ticket_of_a_node_is_a_peer_to_add() {
    let [a, b] = ["A", "B"].map(Home::remembering);
    a.key("me");
    let daemon = Daemon::start(&a, ALONE);
    let (ticket, reference) = (share(&a, &["--lan"]), publish(&a, "tiny", 3));
    assert_eq!(b.json(["peers", "add", &ticket])[0]["address"], daemon.address().as_str());
    b.pull(&reference, &[], &ALONE).ok();
    b.pull(&ticket, &[], &[]).failed(2, "reg peers add");
    let of_model = share(&a, &[&reference]);
    b.run(["trust", "add", "acme", &of_model]).ok();
    assert!(b.run(["trust", "ls"]).ok().stdout().contains(reference.split('/').next().expect("a publisher")));
    a.run(["share", "acme/nothing"]).failed(3, "not known");
    daemon.stop();
    a.run(["share"]).failed(5, "no daemon runs");
    let offline = a.run(["share", &reference]).ok();
    assert!(offline.stderr().contains("no daemon runs"), "{}", offline.stderr());
}

#[test]
fn a_damaged_ticket_is_refused_before_anything_is_asked() {
    let a = Home::new("A");
    a.key("me");
    let reference = publish(&a, "tiny", 4);
    let ticket = share(&a, &[&reference]);
    let cut = &ticket[..ticket.len() - 1];
    a.pull(cut, &[], &[]).failed(2, "copy all of it again");
    a.pull(&ticket.replacen("reg:q", "reg:b", 1), &[], &[]).failed(2, "which no ticket has");
}

#[test]
fn a_ticket_of_a_private_swarm_has_no_key_and_needs_it() {
    let [a, member, stranger] = ["A", "member", "stranger"].map(Home::new);
    a.key("me");
    let key = ["--swarm-key", "our-lab"];
    let daemon = Daemon::start(&a, ALONE.iter().chain(&key));
    let reference = publish(&a, "tiny", 5);
    let said = a.run(["share", &reference, "--lan"]).ok();
    assert!(said.stderr().contains("needs its key"), "{}", said.stderr());
    let ticket = said.stdout().trim().to_owned();
    let read: Ticket = ticket.parse().expect("a ticket");
    assert!(!format!("{read:?}").contains("lab"));
    stranger.pull(&ticket, &[], &ALONE).failed(5, "in another swarm");
    let flags: Vec<&str> = ALONE.iter().chain(&key).copied().collect();
    member.pull(&ticket, &[], &flags).ok();
    drop(daemon);
}

#[test]
fn a_publication_says_what_others_type() {
    let a = Home::new("A");
    a.key("me");
    let daemon = Daemon::start(&a, ALONE);
    let dir = a.path().join("tiny");
    model::generate(&dir, MIB, 6);
    let dir = dir.to_string_lossy().into_owned();
    let said = a.run(["publish", &dir, "tiny", "--key", "me"]).ok();
    let reference = said.stdout().trim().to_owned();
    assert!(said.stderr().contains(&format!("others type: reg pull {reference}")), "{}", said.stderr());
    let ticket: Ticket =
        text(&a.json(["publish", &dir, "tiny:v2", "--key", "me"])["ticket"]).parse().expect("a ticket");
    assert_eq!(ticket.reference().map(|it| it.to_string()), Some(reference.replace(":latest", ":v2")));
    drop(daemon);
}
