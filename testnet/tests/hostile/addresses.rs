//! Tests peers that name addresses by the thousand: neither the file of remembered peers nor the dialler fills with them.

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reg_proto::announcement::Holder;
use reg_proto::bounded::Bounded;
use reg_proto::limits::{ADDRESSES_MAX, PEERS_TOLD_MAX};
use reg_proto::peer::PeerId;
use reg_proto::wire::{Request, Response};
use reg_testnet::evil::{Liars, Script};
use reg_testnet::process::{Daemon, Home, until};

/// Lying peers: together they name more than 10,000 addresses.
const LIARS: usize = 3;
const NAMED: usize = LIARS * PEERS_TOLD_MAX * ADDRESSES_MAX;
const _: () = assert!(NAMED > 10_000);
/// Connections that one search may cost at most: 256 introduced peers, each at the four addresses that an honest peer names of
/// another one, with TLS and then with noise.
const DIALLED_MAX: usize = 256 * 4 * 2;

/// A machine that is no node, and counts the connections that are made to it.
struct Trap {
    port: u16,
    met: Arc<AtomicUsize>,
}

impl Trap {
    fn new() -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
        let (port, met) = (listener.local_addr().expect("bound").port(), Arc::<AtomicUsize>::default());
        let counted = met.clone();
        std::thread::spawn(move || {
            while listener.accept().is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { port, met }
    }

    fn count(&self) -> usize {
        self.met.load(Ordering::Relaxed)
    }
}

/// A peer that names as many peers as a message holds, each with as many addresses as it holds.
fn namer(number: usize, trap: &Trap) -> Script {
    let holder = |n: usize| {
        let mut key = [number as u8; 32];
        key[..8].copy_from_slice(&n.to_be_bytes());
        let peer = PeerId::from_public_key(key);
        let address = |m: usize| {
            let text = format!("/ip4/127.{}.{}.{m}/tcp/{}/p2p/{peer}", number + 1, n % 256, trap.port);
            text.parse().expect("an address")
        };
        Holder { peer, addresses: Bounded::first_of((1..=ADDRESSES_MAX).map(address)) }
    };
    let mut script = Script::default();
    let peers = Bounded::first_of((0..PEERS_TOLD_MAX).map(holder));
    script.answer(&Request::GetPeers, Response::Peers { peers });
    script
}

#[test]
fn ten_thousand_addresses_fill_neither_the_file_nor_the_dialler() {
    let (trap, home) = (Trap::new(), Home::remembering("B"));
    let publisher = home.key("me");
    let mut liars = Liars::default();
    let addresses: Vec<String> = (0..LIARS).map(|number| liars.tell(namer(number, &trap))).collect();
    let flags = ["--dht", "off", "--no-gossip"];
    let started = Daemon::start(&home, flags.iter().copied().chain(["--bootstrap", &addresses.join(",")]));
    until("the liars are connected", || home.json(["status"])["peers"].as_u64() == Some(LIARS as u64));
    // A search that finds nothing asks them which peers they know.
    home.pull(&format!("{publisher}/nothing"), &[], &["--dht", "off", "--timeout", "20"])
        .failed(3, "not found");
    println!("{} connections to the machine that {NAMED} addresses name", trap.count());
    assert!((1..=DIALLED_MAX).contains(&trap.count()), "{} connections", trap.count());
    let known = home.json(["peers", "--known"]);
    let known: Vec<&str> =
        known.as_array().expect("a list").iter().filter_map(|it| it["peer"].as_str()).collect();
    assert!(
        known.len() == LIARS && known.iter().all(|it| addresses.iter().any(|at| at.ends_with(it))),
        "{known:?}"
    );
    started.stop();
    let bytes = fs::metadata(home.path().join("peers.json")).expect("the file").len();
    assert!(bytes < 4096, "{bytes} bytes");
    let before = trap.count();
    let again = Daemon::start(&home, flags);
    until("the liars are connected again", || home.json(["status"])["peers"].as_u64() == Some(LIARS as u64));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(trap.count(), before, "no named address is dialled at the start");
    drop(again);
}
