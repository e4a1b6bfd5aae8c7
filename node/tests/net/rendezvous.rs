//! Tests how strangers meet: real networks in one process, and a small BitTorrent DHT on loopback.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mainline::Testnet;
use reg_node::net::{Inbound, NatConfig, Network, NetworkConfig, RendezvousConfig};
use reg_proto::name::PublisherId;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(120);
/// Dials of strangers that a node makes without a pause, and in each ten seconds after these.
const BURST: u64 = 64;
const DIAL_EVERY: u64 = 10;

/// Starts a node that meets strangers in the DHT with these nodes. It is announced where `is_reached`.
async fn node(seed: u8, bootstrap: &[String], is_on: bool, is_reached: bool) -> (Network, Inbound) {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address");
    let external = if is_reached { vec![address] } else { Vec::new() };
    let rendezvous =
        RendezvousConfig { is_on, announces: true, bootstrap: bootstrap.to_vec(), publishers: vec![] };
    let listen = vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address")];
    let nat = NatConfig { external, ..NatConfig::default() };
    let config = NetworkConfig { listen, nat, rendezvous, ..NetworkConfig::quiet([seed; 32]) };
    Network::start(config).await.expect("a node starts")
}

async fn dht(nodes: usize) -> Testnet {
    let built = tokio::task::spawn_blocking(move || Testnet::builder(nodes).build());
    built.await.expect("it ends").expect("a DHT on loopback")
}

/// Waits until `is_so`, and returns how long it took.
async fn until(is_so: impl AsyncFn() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < PATIENCE, "in time");
        sleep(Duration::from_millis(50)).await;
    }
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_meet_under_the_networks_key_and_under_a_publishers() {
    let dht = dht(10).await;
    let (known, _inbound) = node(1, &dht.bootstrap, true, true).await;
    let (other, _inbound) = node(2, &dht.bootstrap, true, false).await;
    let took = until(async || other.connected().await == [known.peer_id()]).await;
    println!("met under the network's key after {took:.1?}");
    let publisher = PublisherId::from_bytes([3; 32]);
    known.rendezvous().expect("of the public swarm").stand_up_for([publisher]);
    until(async || known.rendezvous().expect("on").report().announced == 2).await;
    // It does nothing by itself, and looks up what a search asks for.
    let (seeker, _inbound) = node(4, &dht.bootstrap, false, false).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(seeker.rendezvous().expect("of the public swarm").report().dialled, 0);
    let start = Instant::now();
    seeker.rendezvous().expect("of the public swarm").seek(publisher).await;
    until(async || seeker.connected().await.contains(&known.peer_id())).await;
    println!("met under the publisher's key after {:.1?}", start.elapsed());
    assert_eq!(
        other.rendezvous().expect("on").report().announced,
        0,
        "a node that is not reached announces nothing"
    );
}

/// Counts the threads of the crate's clients in this process.
fn clients() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux").flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("Mainline")).count()
}

/// One test of its own process would be needed to count threads beside other tests: so it counts what it starts itself, with nodes of
/// the DHT that are no threads of the crate.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it counts the threads of this process: the next test runs it in a process of its own"]
async fn the_clients_thread_in_a_process_of_its_own() {
    let false_dht = FalseDht::start(1, 0);
    assert_eq!(clients(), 0);
    let (off, _inbound) = node(9, &false_dht.bootstrap, false, true).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(clients(), 0, "no thread where it is off");
    drop(off);
    for is_dropped in [false, true] {
        let (network, inbound) = node(8, &false_dht.bootstrap, true, true).await;
        until(async || clients() == 1).await;
        if is_dropped {
            drop((network, inbound));
        } else {
            network.shutdown().await;
        }
        let took = until(async || clients() == 0).await;
        println!("the thread ended after {took:.2?}");
    }
}

#[test]
fn the_clients_thread_ends_with_the_node() {
    let mut own = std::process::Command::new(std::env::current_exe().expect("this program has a path"));
    own.args([
        "--exact",
        "rendezvous::the_clients_thread_in_a_process_of_its_own",
        "--ignored",
        "--nocapture",
    ]);
    let ran = own.output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

/// Nodes of a DHT that lies: each answers every look-up with addresses of machines that do not exist, and names the others.
struct FalseDht {
    bootstrap: Vec<String>,
    /// Addresses that they have named.
    named: Arc<AtomicU32>,
}

impl FalseDht {
    fn start(nodes: usize, addresses: u32) -> Self {
        let sockets: Vec<UdpSocket> =
            (0..nodes).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a port")).collect();
        let ports: Vec<u16> = sockets.iter().map(|it| it.local_addr().expect("bound").port()).collect();
        let bootstrap = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let named = Arc::new(AtomicU32::new(0));
        for socket in sockets {
            let (ports, named) = (ports.clone(), named.clone());
            // It ends with the process.
            std::thread::spawn(move || serve(&socket, &ports, addresses, &named));
        }
        Self { bootstrap, named }
    }
}

fn id_of(port: u16) -> [u8; 20] {
    let mut id = [0x55; 20];
    id[..2].copy_from_slice(&port.to_be_bytes());
    id
}

fn serve(socket: &UdpSocket, ports: &[u16], addresses: u32, named: &AtomicU32) {
    let own = id_of(socket.local_addr().expect("bound").port());
    let mut buffer = [0; 2048];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let asked = &buffer[..length];
        let position = |what: &[u8]| asked.windows(what.len()).position(|it| it == what);
        let Some(at) = position(b"1:t4:") else { continue };
        let transaction = &asked[at + 5..at + 9];
        let mut answer = [b"d1:rd2:id20:".as_slice(), &own].concat();
        if position(b"4:ping").is_none() {
            let nodes: Vec<u8> = ports.iter().flat_map(|port| node_entry(*port)).collect();
            answer.extend(format!("5:nodes{}:", nodes.len()).bytes());
            answer.extend(nodes);
        }
        if position(b"9:get_peers").is_some() {
            answer.extend(b"5:token4:aaaa6:valuesl");
            let first = named.fetch_add(addresses, Ordering::Relaxed);
            for n in first..first + addresses {
                let [_, high, middle, low] = n.to_be_bytes();
                answer.extend([b'6', b':', 127, high + 1, middle, low, 0, 9]);
            }
            answer.extend(b"e");
        }
        answer.extend(b"e1:t4:");
        answer.extend(transaction);
        answer.extend(b"1:y1:re");
        drop(socket.send_to(&answer, from));
    }
}

fn node_entry(port: u16) -> Vec<u8> {
    let SocketAddr::V4(address) = SocketAddr::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) else {
        unreachable!("it is an IPv4 address")
    };
    [id_of(port).as_slice(), &address.ip().octets(), &port.to_be_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dht_that_names_ten_thousand_addresses_costs_a_bounded_number_of_dials() {
    const NAMED: u32 = 10_000;
    let dht = FalseDht::start(40, 100);
    let start = Instant::now();
    let (network, _inbound) = node(7, &dht.bootstrap, true, false).await;
    let publisher = PublisherId::from_bytes([3; 32]);
    let rendezvous = network.rendezvous().expect("on");
    // Searches ask too, and share the budget.
    let seeking = async {
        while dht.named.load(Ordering::Relaxed) < NAMED {
            drop(timeout(Duration::from_secs(5), rendezvous.seek(publisher)).await);
        }
    };
    timeout(PATIENCE, seeking).await.expect("so many are named");
    until(async || rendezvous.report().dialled >= BURST).await;
    let (dialled, within) = (rendezvous.report().dialled, start.elapsed().as_secs());
    println!("{} addresses named in {within} s, {dialled} dialled", dht.named.load(Ordering::Relaxed));
    assert!(dialled <= BURST + within / DIAL_EVERY + 1, "{dialled} in {within} s");
    assert_eq!(rendezvous.report().met, 0);
}

/// Addresses of other ranges than those of the DHT's own first nodes are not dialled.
#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_are_not_dialled_because_a_stranger_names_them() {
    let mut sockets = Vec::new();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("bound").port();
    sockets.push(port);
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    std::thread::spawn(move || serve(&socket, &sockets, 100, &counted));
    // By name, the DHT's own address opens no range.
    let (network, _inbound) = node(6, &[format!("localhost:{port}")], true, false).await;
    until(async || asked.load(Ordering::Relaxed) >= 200).await;
    assert_eq!(network.rendezvous().expect("on").report().dialled, 0);
}
