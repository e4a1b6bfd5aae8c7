//! Tests a crowd that is only in the way: connections and junk records by the thousand, against a real daemon.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use reg_node::net::{DhtMode, Inbound, NatConfig, Network, NetworkConfig};
use reg_proto::dht::DhtKey;
use reg_proto::digest::Digest;
use reg_testnet::alone::alone;
use reg_testnet::process::{Daemon, Home, PATIENCE, is_full};
use reg_testnet::{model, tree};
use tokio::task::JoinSet;

const MIB: u64 = 1 << 20;
/// What the daemon may take at most.
const RSS_MAX: u64 = 256 * MIB;
/// Connections that others have opened: `CONNECTIONS_INCOMING_MAX` of the network's limits.
const CONNECTED_MAX: u64 = 384;
/// Processor time that a dial of the crowd may cost, and the records after it: a handshake is some milliseconds, and a build
/// without optimisation takes several times that.
const CPU_MAX: Duration = Duration::from_millis(250);
/// Processes of the crowd: what one takes of memory counts against the connections that it makes.
const PROCESSES: u32 = 4;
/// Members that come last, of which the junk of one must have arrived.
const LAST: u32 = 32;
/// Members of the crowd that connect at the same time, of each process.
const AT_ONCE: usize = 4;
/// Tells a process of the crowd which members it is: the first, how many, records of each, the address.
const ORDER: &str = "REG_CROWD";

/// Dials of the members of one process.
static DIALS: AtomicU32 = AtomicU32::new(0);

/// Starts a member of the crowd: it connects, and provides keys that mean nothing.
async fn member(number: u32, address: String, records: u32) -> Option<(Network, Inbound)> {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    let config = NetworkConfig {
        dht: DhtMode::Client,
        gossip: true,
        // A provider without an address is not passed on; no process listens there.
        nat: NatConfig {
            external: vec!["/ip4/127.0.0.1/tcp/9".parse().expect("an address")],
            ..NatConfig::default()
        },
        ..NetworkConfig::quiet(seed)
    };
    let (network, inbound) = Network::start(config).await.expect("it starts");
    let address = address.parse().expect("an address");
    // Where more come at once than are let in together, one is turned away and tries again, as nodes do.
    let dial = || {
        DIALS.fetch_add(1, Ordering::Relaxed);
        network.connect(&address)
    };
    let connected = async {
        while dial().await.is_err() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(PATIENCE, connected).await.ok()?;
    // Identify comes first, so that the DHT knows which peers to tell.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for record in 0..records {
        network.provide(junk(number, record)).await;
    }
    Some((network, inbound))
}

/// A part of the crowd, in a process of its own; it goes when its input ends.
struct Crowd(Child);

impl Crowd {
    fn start(process: u32, count: u32, records: u32, address: &str) -> Self {
        let mut own = Command::new(std::env::current_exe().expect("this program has a path"));
        own.args(["--exact", "caps::a_part_of_the_crowd", "--ignored", "--nocapture"]);
        own.env(ORDER, format!("{} {count} {records} {address}", process * count));
        Self(own.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts"))
    }

    /// Waits until no more of its members will come, and returns how many have, and how often they have dialled.
    fn made(mut self) -> (Self, (u32, u32)) {
        let mut lines = BufReader::new(self.0.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let made = lines.find_map(|line| {
            let (made, dials) = line.split_once("MADE ")?.1.split_once(" BY ")?;
            Some((made.trim().parse().ok()?, dials.trim().parse().ok()?))
        });
        (self, made.expect("a part of the crowd has come"))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test of the crowd runs it, in processes of its own"]
async fn a_part_of_the_crowd() {
    let order = std::env::var(ORDER).expect("an order");
    let parts: Vec<&str> = order.split(' ').collect();
    let [first, count, records, address] = parts[..] else { panic!("{order:?}") };
    let [first, count, records] = [first, count, records].map(|it| it.parse::<u32>().expect("a number"));
    let (mut crowd, mut joining) = (Vec::new(), JoinSet::new());
    for number in first..first + count {
        if joining.len() >= AT_ONCE {
            crowd.extend(joining.join_next().await.and_then(Result::ok).flatten());
        }
        joining.spawn(member(number, address.to_owned(), records));
    }
    while let Some(joined) = joining.join_next().await {
        crowd.extend(joined.ok().flatten());
    }
    println!("MADE {} BY {}", crowd.len(), DIALS.load(Ordering::Relaxed));
    let until_it_is_over = std::io::stdin().read_to_string(&mut String::new());
    until_it_is_over.expect("read");
}

fn junk(number: u32, record: u32) -> DhtKey {
    DhtKey::manifest(&Digest::of(format!("junk {number} {record}").as_bytes()))
}

/// Looks for a provider of any of the keys, by a node that knows the daemon only.
async fn finds(asker: &Network, keys: &[DhtKey]) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        for key in keys {
            if asker.providers(*key).await.recv().await.is_some() {
                return true;
            }
        }
    }
    false
}

fn number(home: &Home, key: &str) -> u64 {
    home.json(["status"])[key].as_u64().expect("a number")
}

/// Pulls, and returns how long it took, and how often it was tried: a peer that is turned away is told, and asks again.
fn pull(home: &Home, reference: &str, address: &str) -> (f64, u32) {
    let out = home.path().join("out");
    let out = out.to_string_lossy();
    let mut tries = 1;
    loop {
        let start = Instant::now();
        let ran = home.run(["pull", reference, &out, "--from", address, "--no-mdns", "--json"]);
        if ran.code() == 0 || tries == 5 {
            ran.ok();
            return (start.elapsed().as_secs_f64(), tries);
        }
        tries += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_takes_neither_memory_nor_records_nor_the_place_of_who_pulls() {
    let _alone = alone();
    // More than may connect, so that an honest node that comes last has to be let in all the same.
    let (connections, records) = if is_full() { (1000, 10) } else { (400, 4) };
    let [d, before, during] = ["D", "before", "during"].map(Home::new);
    let model = d.path().join("model");
    model::generate(&model, 16 * MIB, 11);
    d.key("me");
    let daemon = Daemon::start(&d, ["--dht", "server"]);
    let reference = d.publish(&model, "wanted", "me");
    let address = daemon.address();
    let ((alone, _), quiet) = (pull(&before, &reference, &address), daemon.peak_rss());
    let cpu_before = daemon.cpu_seconds();
    let crowd: Vec<Crowd> =
        (0..PROCESSES).map(|it| Crowd::start(it, connections / PROCESSES, records, &address)).collect();
    let (crowd, made): (Vec<Crowd>, Vec<(u32, u32)>) = crowd.into_iter().map(Crowd::made).unzip();
    let (asker, _inbound) = member(u32::MAX, address.clone(), 0).await.expect("the last is let in");
    let (come, connected) = (made.iter().map(|it| it.0).sum::<u32>(), number(&d, "peers"));
    let dials: u32 = made.iter().map(|it| it.1).sum();
    // A single member can be closed for a newer one before it has provided anything.
    let last: Vec<DhtKey> = (connections - LAST..connections).map(|member| junk(member, 0)).collect();
    assert!(
        finds(&asker, &last).await,
        "junk has arrived ({come} were let in, and {connected} are connected)"
    );
    assert!(
        connected <= CONNECTED_MAX && u64::from(come) > CONNECTED_MAX,
        "{come} were let in, and {connected} are connected"
    );
    let cpu = daemon.cpu_seconds() - cpu_before;
    let (crowded, tries) = pull(&during, &reference, &address);
    tree::assert_equal(&model, &during.path().join("out"));
    let digest: Digest = d.json(["info", &reference])["summary"]["manifest"]
        .as_str()
        .and_then(|digest| digest.parse().ok())
        .expect("a digest");
    assert!(finds(&asker, &[DhtKey::manifest(&digest)]).await, "what the daemon itself holds is still found");
    let rss = daemon.peak_rss();
    println!(
        "{connections} connections tried, {} made, {} junk records: RSS {} MiB (alone {} MiB), an honest pull {crowded:.2} s \
         (alone {alone:.2} s, ratio {:.2}), let in at try {tries}",
        come,
        connections * records,
        rss / MIB,
        quiet / MIB,
        crowded / alone
    );
    // A busy machine turns more members away, and they dial again.
    let each = cpu / f64::from(dials.max(connections));
    println!("CPU: {cpu:.2} s, {:.1} ms for each of {dials} dials and its records", each * 1000.0);
    assert!(rss < RSS_MAX, "{} MiB", rss / MIB);
    assert!(each < CPU_MAX.as_secs_f64(), "{each:.3} CPU s for each dial");
    drop(crowd);
}
