//! Tests that a node sends little to an address that it does not know: a sender may have forged it, and the answer would hit
//! another machine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use reg_node::net::{Network, NetworkConfig};
use reg_testnet::process::{Daemon, Home};

/// How long the answers to one message are collected: QUIC repeats its own for some seconds.
const LISTENS: Duration = Duration::from_secs(12);
/// Bytes that a server may send for each byte from an address that is not proven (RFC 9000, section 8.1).
const FACTOR_MAX: usize = 3;
/// Bytes that may come beside these: a datagram that ends the attempt.
const END_MAX: usize = 1500;

/// Returns where a daemon listens, of an address as /ip4/127.0.0.1/udp/4600/quic-v1.
fn socket_of(address: &str) -> SocketAddr {
    let parts: Vec<&str> = address.split('/').collect();
    format!("{}:{}", parts[2], parts[4]).parse().expect("an address")
}

/// Returns the first datagrams that a true peer sends to a daemon, of which no answer is ever passed on.
async fn first_datagrams(daemon: &Daemon) -> Vec<Vec<u8>> {
    let between = UdpSocket::bind("127.0.0.1:0").expect("a port");
    between.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    let port = between.local_addr().expect("bound").port();
    let config = NetworkConfig::quiet([77; 32]);
    let (network, _inbound) = Network::start(config).await.expect("it starts");
    let address = format!("/ip4/127.0.0.1/udp/{port}/quic-v1/p2p/{}", daemon.peer_id());
    let address = address.parse().expect("an address");
    let dialling = tokio::spawn(async move { drop(network.connect(&address).await) });
    let received = tokio::task::spawn_blocking(move || {
        let (mut all, mut buffer) = (Vec::new(), [0; 2048]);
        while let Ok((length, _)) = between.recv_from(&mut buffer) {
            all.push(buffer[..length].to_vec());
            if all.len() >= 2 {
                break;
            }
        }
        all
    });
    let received = received.await.expect("received");
    dialling.abort();
    received
}

/// Sends datagrams from an address that never answers; returns the bytes sent and received.
fn exchange(to: SocketAddr, datagrams: &[Vec<u8>]) -> (usize, usize) {
    let forged = UdpSocket::bind("127.0.0.1:0").expect("a port");
    forged.set_read_timeout(Some(Duration::from_millis(200))).expect("set");
    for datagram in datagrams {
        forged.send_to(datagram, to).expect("sent");
    }
    let (start, mut received, mut buffer) = (Instant::now(), 0, [0; 65_536]);
    while start.elapsed() < LISTENS {
        received += forged.recv_from(&mut buffer).map_or(0, |(length, _)| length);
    }
    (datagrams.iter().map(Vec::len).sum(), received)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_address_gets_three_times_what_was_sent_in_its_name_and_an_end() {
    let home = Home::new("A");
    let listen = ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"];
    let daemon = Daemon::start_at(&home, &listen, ["--no-mdns"]);
    let addresses: Vec<String> = daemon.ready["listen"]
        .as_array()
        .expect("addresses")
        .iter()
        .filter_map(|it| Some(it.as_str()?.to_owned()))
        .collect();
    let at = |kind: &str| socket_of(addresses.iter().find(|it| it.contains(kind)).expect("it listens"));
    let quic = at("/udp/");
    // Each from a connection of its own: the server knows a datagram that it has had. The hello of a peer fills two.
    let (first, whole) = (first_datagrams(&daemon).await, first_datagrams(&daemon).await);
    assert!(!first.is_empty() && whole.len() == 2, "a peer begins to dial");
    let junk: Vec<Vec<u8>> = [1, 100, 1200, 1400].map(|length| vec![0xc3; length]).to_vec();
    // A version that no server knows: the answer lists those that it knows.
    let mut unknown = first[0].clone();
    unknown[1..5].copy_from_slice(&[0x1a, 0x2a, 0x3a, 0x4a]);
    let cases = [
        ("a true first datagram", first[..1].to_vec()),
        ("a whole hello", whole),
        ("junk", junk),
        ("an unknown version", vec![unknown]),
    ];
    let exchanged = tokio::task::spawn_blocking(move || {
        std::thread::scope(|scope| {
            let all: Vec<_> = cases
                .iter()
                .map(|(what, datagrams)| (*what, scope.spawn(move || exchange(quic, datagrams))))
                .collect();
            all.into_iter().map(|(what, it)| (what, it.join().expect("exchanged"))).collect::<Vec<_>>()
        })
    });
    for (what, (sent, received)) in exchanged.await.expect("exchanged") {
        println!("{what}: {received} bytes for {sent}");
        assert!(received <= FACTOR_MAX * sent + END_MAX, "{what}: {received} bytes for {sent}");
        assert!(received > 0 || what == "junk", "{what}: the server answers, so that this proves something");
    }
}

/// A connection proves the address. Still, whatever is not a handshake gets the name of the protocol at most.
#[test]
fn a_connection_that_does_not_shake_hands_gets_next_to_nothing() {
    let home = Home::new("A");
    let daemon = Daemon::start(&home, [""; 0]);
    let swarm = socket_of(&daemon.address());
    let lanes = SocketAddr::new(swarm.ip(), swarm.port() + 1);
    // Another test's daemon may listen at the port of the lanes.
    for (at, most) in [(swarm, 64), (lanes, 64)] {
        for sent in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 512], b"\x13/multistream/1.0.0\n\x03ls\n"] {
            let Ok(mut stream) = TcpStream::connect(at) else {
                assert_eq!(at, lanes, "the swarm's port is open");
                continue;
            };
            stream.set_read_timeout(Some(LISTENS / 4)).expect("set");
            // A server that refuses may hang up before all of it was sent.
            drop(stream.write_all(sent));
            let (mut received, mut buffer) = (0, [0; 4096]);
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                received += length;
            }
            assert!(received <= most, "{at}: {received} bytes for {sent:?}");
        }
    }
}
