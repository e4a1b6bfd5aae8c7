//! Tests an eclipse: 200 Sybils around the key under which a publisher's records are found. A single honest peer that is
//! known, and holds neither the model nor its tag, is enough: it introduces the peers that it knows.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use reg_node::net::{DhtMode, Inbound, Network, NetworkConfig};
use reg_proto::dht::DhtKey;
use reg_proto::name::PublisherId;
use reg_testnet::process::{Daemon, Home, PATIENCE, is_full};
use reg_testnet::sybil::{self, Sybils};
use reg_testnet::{model, tree};
use tokio::task::JoinSet;

const MIB: u64 = 1 << 20;
/// How long a name may be searched for under an eclipse: as long as at all. A pull that finds nothing by then fails.
const SEARCH_MAX: f64 = 30.0;

/// An honest node that has nothing: what most of a network is made of.
async fn bystander(number: u8, known: &str) -> (Network, Inbound) {
    let config = NetworkConfig {
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")],
        bootstrap: vec![known.parse().expect("an address")],
        dht: DhtMode::Server,
        ..NetworkConfig::quiet([number; 32])
    };
    Network::start(config).await.expect("it starts")
}

/// Honest nodes of these numbers, which all know one.
async fn bystanders(numbers: RangeInclusive<u8>, known: &str) -> Vec<(Network, Inbound)> {
    let mut started = Vec::new();
    for number in numbers {
        started.push(bystander(number, known).await);
    }
    started
}

/// Asks the DHT alone, as a newcomer that is led in by a bystander: is the holder found?
async fn found_by_dht_alone(number: u8, through: &Network, key: DhtKey, holder: &str) -> bool {
    let address = through.listen_addresses().await.remove(0);
    let (newcomer, _inbound) = bystander(number, address.as_str()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let search = async {
        let mut providers = newcomer.providers(key).await;
        while let Some(peer) = providers.recv().await {
            if peer.to_string() == holder {
                return true;
            }
        }
        false
    };
    tokio::time::timeout(Duration::from_secs(25), search).await.unwrap_or(false)
}

/// Asks the DHT alone as so many newcomers, each led in by a bystander: how many of them find the holder?
async fn count_by_dht_alone(asked: u8, through: &[(Network, Inbound)], key: DhtKey, holder: &str) -> usize {
    let numbers: Vec<u8> = (0..asked).collect();
    let mut found = 0;
    for at_once in numbers.chunks(5) {
        let mut asking = JoinSet::new();
        for number in at_once.iter().copied() {
            let through = through[usize::from(number) % through.len()].0.clone();
            let holder = holder.to_owned();
            asking.spawn(async move { found_by_dht_alone(100 + number, &through, key, &holder).await });
        }
        found += asking.join_all().await.into_iter().filter(|it| *it).count();
    }
    found
}

/// What the next test is compared to.
#[tokio::test(flavor = "multi_thread")]
async fn without_sybils_the_dht_alone_finds_the_holder() {
    let asked = if is_full() { 20 } else { 4 };
    let [known, holder] = ["known", "holder"].map(Home::new);
    let publisher = holder.key("me");
    let key = DhtKey::publisher(&publisher.parse::<PublisherId>().expect("an id"));
    let daemon_known = Daemon::start(&known, ["--dht", "server", "--no-gossip"]);
    let bystanders = bystanders(31..=42, &daemon_known.address()).await;
    let model = holder.path().join("model");
    model::generate(&model, MIB, 12);
    let daemon_holder =
        Daemon::start(&holder, ["--dht", "server", "--no-gossip", "--bootstrap", &daemon_known.address()]);
    holder.publish(&model, "open", "me");
    // It is announced within seconds, or later where the machine is busy.
    let (start, mut found) = (Instant::now(), 0);
    while found == 0 && start.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_secs(5)).await;
        found = count_by_dht_alone(asked, &bystanders, key, &daemon_holder.peer_id()).await;
    }
    println!("without Sybils: by the DHT alone {found} of {asked}");
    assert!(found > 0, "the DHT finds no holder, with or without Sybils");
    drop((bystanders, daemon_known));
}

/// Waits until a daemon is connected to so many.
async fn connected(home: &Home, count: u64) {
    let start = Instant::now();
    while home.json(["status"])["peers"].as_u64() < Some(count) {
        assert!(start.elapsed() < PATIENCE, "{}", home.json(["status"]));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Questions to them wait until they time out: twenty-four of them in lines of eight took longer than a search may.
#[tokio::test(flavor = "multi_thread")]
async fn peers_that_say_nothing_hold_up_nobody() {
    const SILENT: u8 = 24;
    let [known, holder, puller] = ["known", "holder", "puller"].map(Home::new);
    holder.key("me");
    let daemon_known = Daemon::start(&known, ["--dht", "off", "--no-gossip"]);
    // Requests that come in wait to be read, and are never read.
    let silent = bystanders(1..=SILENT, &daemon_known.address()).await;
    connected(&known, SILENT.into()).await;
    let daemon_holder =
        Daemon::start(&holder, ["--dht", "off", "--no-gossip", "--bootstrap", &daemon_known.address()]);
    let model = holder.path().join("model");
    model::generate(&model, MIB, 12);
    let reference = holder.publish(&model, "hidden", "me");
    connected(&known, u64::from(SILENT) + 1).await;
    let out = puller.path().join("out");
    let from = ["--from", &daemon_known.address(), "--no-mdns", "--no-gossip", "--dht", "off"];
    let pulled = puller.json(["pull", &reference, &out.to_string_lossy()].into_iter().chain(from));
    let took = pulled["pace"]["finding_seconds"].as_f64().expect("a time");
    println!("a search beside {SILENT} silent peers: {took:.1} s");
    assert!(took < SEARCH_MAX, "{took} s");
    tree::assert_equal(&model, &out);
    drop((silent, daemon_holder));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_honest_peer_that_only_introduces_others_is_enough() {
    let (sybils, tries, pulls, asked) = if is_full() { (200, 400_000, 100, 20) } else { (60, 60_000, 6, 4) };
    let [known, holder] = ["known", "holder"].map(Home::new);
    let publisher = holder.key("me");
    let key = DhtKey::publisher(&publisher.parse::<PublisherId>().expect("an id"));
    let (secrets, bits) =
        tokio::task::spawn_blocking(move || sybil::grind(&key, sybils, tries)).await.expect("found");
    // It hears no gossip, so that it does not hold the tag either.
    let daemon_known = Daemon::start(&known, ["--dht", "server", "--no-gossip"]);
    let bystanders = bystanders(1..=12, &daemon_known.address()).await;
    let sybils = Sybils::start(secrets, bits, daemon_known.address().parse().expect("an address")).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let model = holder.path().join("model");
    model::generate(&model, MIB, 12);
    let daemon_holder =
        Daemon::start(&holder, ["--dht", "server", "--no-gossip", "--bootstrap", &daemon_known.address()]);
    let reference = holder.publish(&model, "hidden", "me");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(known.json(["ls"]).as_array().map(Vec::len), Some(0), "the peer that is known holds nothing");
    let by_dht = count_by_dht_alone(asked, &bystanders, key, &daemon_holder.peer_id()).await;
    let (mut whole, mut slowest) = (0, 0.0f64);
    for number in 0..pulls {
        let puller = Home::new(&format!("puller {number}"));
        let out = puller.path().join("out");
        let out = out.to_string_lossy();
        let flags = ["--from", &daemon_known.address(), "--no-mdns", "--no-gossip"];
        let pulled = puller.json(["pull", &reference, &out].into_iter().chain(flags));
        tree::assert_equal(&model, &puller.path().join("out"));
        whole += 1;
        slowest = slowest.max(pulled["pace"]["finding_seconds"].as_f64().expect("a time"));
    }
    assert!(slowest < SEARCH_MAX, "the slowest of {pulls} searches took {slowest} s");
    println!(
        "{} Sybils that share {} bits or more with the key: {whole} of {pulls} pulls through one honest peer that \
         introduces others, found after {slowest:.1} s at most; by the DHT alone {by_dht} of {asked}",
        sybils.peers.len(),
        sybils.bits
    );
    drop((sybils, bystanders, daemon_known, daemon_holder));
}
