//! A crowd that wants nothing but to be in the way: connections and junk records by the thousand, against a real daemon.

use std::time::{Duration, Instant};

use reg_node::net::{DhtMode, Inbound, NatConfig, Network, NetworkConfig, SwarmConfig};
use reg_proto::dht::DhtKey;
use reg_proto::digest::Digest;
use reg_testnet::process::{Daemon, Home, is_full};
use reg_testnet::{model, tree};
use tokio::task::JoinSet;

const MIB: u64 = 1 << 20;
/// What the daemon may take at most.
const RSS_MAX: u64 = 256 * MIB;
const PATIENCE: Duration = Duration::from_secs(60);
/// Members of the crowd that connect at the same time.
const AT_ONCE: usize = 16;

/// Starts a member of the crowd: it connects, and provides keys that mean nothing.
async fn member(number: u32, address: String, records: u32) -> Option<(Network, Inbound)> {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    let config = NetworkConfig {
        seed,
        listen: Vec::new(),
        bootstrap: Vec::new(),
        mdns: false,
        dht: DhtMode::Client,
        gossip: true,
        // A provider without an address is told to nobody; nobody is there.
        nat: NatConfig {
            external: vec!["/ip4/127.0.0.1/tcp/9".parse().expect("an address")],
            ..NatConfig::default()
        },
        swarm: SwarmConfig::default(),
        lanes: false,
    };
    let (network, inbound) = Network::start(config).await.expect("it starts");
    let address = address.parse().expect("an address");
    tokio::time::timeout(PATIENCE, network.connect(&address)).await.ok()?.ok()?;
    // Identify comes first, so that the DHT knows whom to tell.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for record in 0..records {
        network.provide(junk(number, record)).await;
    }
    Some((network, inbound))
}

fn junk(number: u32, record: u32) -> DhtKey {
    DhtKey::manifest(&Digest::of(format!("junk {number} {record}").as_bytes()))
}

/// Looks for one provider of a key, by a node that knows the daemon only.
async fn finds(asker: &Network, key: DhtKey) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if asker.providers(key).await.recv().await.is_some() {
            return true;
        }
    }
    false
}

fn pull(home: &Home, reference: &str, address: &str) -> f64 {
    let (start, out) = (Instant::now(), home.path().join("out"));
    let out = out.to_string_lossy();
    home.run(["pull", reference, &out, "--from", address, "--no-mdns", "--json"]).ok();
    start.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_takes_neither_memory_nor_records_nor_the_place_of_who_pulls() {
    // More than may connect, so that an honest node that comes last has to be let in all the same.
    let (connections, records) = if is_full() { (1000, 10) } else { (440, 4) };
    let [d, before, during] = ["D", "before", "during"].map(Home::new);
    let model = d.path().join("model");
    model::generate(&model, 16 * MIB, 11);
    d.key("me");
    let daemon = Daemon::start(&d, ["--dht", "server"]);
    let reference = d.publish(&model, "wanted", "me");
    let address = daemon.address();
    let (alone, quiet) = (pull(&before, &reference, &address), daemon.peak_rss());
    let (mut crowd, mut joining) = (Vec::new(), JoinSet::new());
    for number in 0..connections {
        if joining.len() >= AT_ONCE {
            crowd.extend(joining.join_next().await.and_then(Result::ok).flatten());
        }
        joining.spawn(member(number, address.clone(), records));
    }
    while let Some(joined) = joining.join_next().await {
        crowd.extend(joined.ok().flatten());
    }
    let (asker, _inbound) = member(u32::MAX, address.clone(), 0).await.expect("the last is let in");
    let last = (0..records).map(|record| junk(connections - 1, record)).next().expect("there are some");
    assert!(finds(&asker, last).await, "the junk has arrived");
    let crowded = pull(&during, &reference, &address);
    tree::assert_equal(&model, &during.path().join("out"));
    let digest: Digest = d.json(["info", &reference])["summary"]["manifest"]
        .as_str()
        .and_then(|digest| digest.parse().ok())
        .expect("a digest");
    assert!(finds(&asker, DhtKey::manifest(&digest)).await, "what the daemon itself holds is still found");
    let rss = daemon.peak_rss();
    println!(
        "{connections} connections tried, {} made, {} junk records: RSS {} MiB (alone {} MiB), an honest pull {crowded:.2} s \
         (alone {alone:.2} s, ratio {:.2})",
        crowd.len(),
        connections * records,
        rss / MIB,
        quiet / MIB,
        crowded / alone
    );
    assert!(rss < RSS_MAX, "{} MiB", rss / MIB);
    drop(crowd);
}
