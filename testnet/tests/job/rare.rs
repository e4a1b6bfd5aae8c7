//! Tests that a model with one holder is found by its name, though hundreds of nodes hold other models of its publisher.
//!
//! The DHT names a sample of the holders of a publisher, and these do not know of the rare model. No node introduces others here,
//! and there is no gossip: the DHT alone finds the holder.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use reg_node::net::{DhtMode, Inbound, NatConfig, Network, NetworkConfig};
use reg_proto::bounded::Bounded;
use reg_proto::dht::DhtKey;
use reg_proto::name::PublisherId;
use reg_proto::peer::Address;
use reg_proto::wire::{Records, Request, Response};
use reg_testnet::alone::alone;
use reg_testnet::asker::Asker;
use reg_testnet::process::{Daemon, Home, is_full, until};
use reg_testnet::{model, tree};
use tokio::task::JoinSet;

/// Servers of the DHT. Each keeps the providers of every key, because they are few.
const SERVERS: u16 = 8;
/// Holders of other models, beyond the providers that a server keeps of one key (64).
const HOLDERS: u16 = 500;
/// Holders that start at the same time.
const AT_ONCE: usize = 8;
/// A peer is told to the DHT once it has said which protocols it speaks.
const IDENTIFIED: Duration = Duration::from_millis(500);

/// Starts a node that answers for its publisher with `records`, and knows nothing else.
async fn node(number: u16, dht: DhtMode, records: Option<Records>) -> Network {
    let mut seed = [5; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    let at: Address = free_address().parse().expect("an address");
    // Provider records carry the addresses at which a node is reached. On loopback no other node can tell it.
    let nat = NatConfig { external: vec![at.clone()], ..NatConfig::default() };
    let config = NetworkConfig { dht, listen: vec![at], nat, ..NetworkConfig::quiet(seed) };
    let (network, inbound) = Network::start(config).await.expect("it starts");
    tokio::spawn(answer(inbound, records));
    network
}

/// Returns an address with a free port.
fn free_address() -> String {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|it| it.local_addr()).expect("a free port");
    format!("/ip4/127.0.0.1/tcp/{}", bound.port())
}

async fn answer(mut inbound: Inbound, records: Option<Records>) {
    while let Some(asked) = inbound.requests.recv().await {
        let is_of_name = matches!(asked.request, Request::GetRecords { .. });
        let answer = records.clone().filter(|_| is_of_name).map_or(Response::NotFound, Response::Records);
        asked.reply.send(answer);
    }
}

async fn connect(network: &Network, address: &Address) {
    while network.connect(address).await.is_err() {
        tokio::time::sleep(IDENTIFIED).await;
    }
}

/// Starts a holder of other models of the publisher: it says so in the DHT.
async fn holder(number: u16, known: Address, key: DhtKey, records: Records) -> Network {
    let network = node(number, DhtMode::Client, Some(records)).await;
    connect(&network, &known).await;
    tokio::time::sleep(IDENTIFIED).await;
    network.provide(key).await;
    network
}

/// Returns what a holder of other models answers: the publisher's keys, and no record of the rare model.
fn records_of_others(address: String, publisher: PublisherId) -> Records {
    let asked = Request::GetRecords { publisher, model: None, tag: None, documents: None };
    match Asker::meet(&address).ask(asked) {
        Response::Records(records) => {
            Records { tags: Bounded::empty(), holders: Bounded::empty(), ..records }
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rare_model_is_found_by_name_among_the_holders_of_other_models() {
    if !is_full() {
        println!(
            "SKIPPED: hundreds of nodes in one process need a quiet machine: REG_FULL=1 cargo test --test job rare"
        );
        return;
    }
    let _alone = alone();
    let holders = HOLDERS;
    let (mut servers, mut known): (Vec<Network>, Vec<Address>) = (Vec::new(), Vec::new());
    for number in 0..SERVERS {
        let server = node(number, DhtMode::Server, None).await;
        for address in &known {
            connect(&server, address).await;
        }
        known.push(server.listen_addresses().await.remove(0));
        servers.push(server);
    }
    let [rare, puller] = ["rare", "puller"].map(Home::new);
    let publisher = rare.key("me");
    let through = known[0].to_string();
    let at = free_address();
    let flags = ["--dht", "client", "--no-gossip", "--bootstrap", &through, "--external", &at, "--no-mdns"];
    let daemon = Daemon::start_at(&rare, &[&at], flags);
    let files = rare.path().join("model");
    model::generate(&files, 1 << 20, 31);
    let reference = rare.publish(&files, "rare", "me");
    let publisher: PublisherId = publisher.parse().expect("an id");
    let (key, address) = (DhtKey::publisher(&publisher), daemon.address());
    let records =
        tokio::task::spawn_blocking(move || records_of_others(address, publisher)).await.expect("asked");
    let (mut crowd, mut joining) = (Vec::new(), JoinSet::new());
    for number in 0..holders {
        if joining.len() >= AT_ONCE {
            crowd.extend(joining.join_next().await.and_then(Result::ok));
        }
        let through = known[usize::from(number % SERVERS)].clone();
        joining.spawn(holder(1000 + number, through, key, records.clone()));
    }
    while let Some(joined) = joining.join_next().await {
        crowd.extend(joined.ok());
    }
    assert_eq!(crowd.len(), usize::from(holders));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let out = puller.path().join("out");
    let shown = out.to_string_lossy().into_owned();
    let flags = ["--bootstrap", &through, "--no-mdns", "--no-gossip"];
    let start = Instant::now();
    puller.run(["pull", &reference, &shown].into_iter().chain(flags)).ok();
    println!(
        "among {holders} holders of other models, the only one was found and pulled from in {:.2?}",
        start.elapsed()
    );
    tree::assert_equal(&files, &out);
    let keys = &rare.json(["status"])["dht_keys"];
    assert_eq!(keys["provided"], 3, "publisher, model and manifest: {keys}");
    assert_eq!(keys["left_to_others"], 0, "{keys}");
    drop((servers, crowd));
}

/// What leaves the store is given up in the DHT. The publisher's key stays for a while, because a pull may be under way.
#[test]
fn what_is_removed_from_the_store_is_given_up_in_the_dht() {
    let home = Home::new("A");
    home.key("me");
    let files = home.path().join("model");
    model::generate(&files, 1 << 20, 32);
    let _daemon = Daemon::start(&home, ["--dht", "server"]);
    let reference = home.publish(&files, "gone", "me");
    let provided = |count: u64| home.json(["status"])["dht_keys"]["provided"] == count;
    until("publisher, model and manifest are provided", || provided(3));
    home.run(["rm", &reference]).ok();
    until("the publisher alone is provided", || provided(1));
}
