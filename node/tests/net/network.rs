//! Tests what the handle of the network promises, seen from both ends: real networks in one process, on loopback.

use std::cell::Cell;
use std::time::Duration;

use reg_node::net::{
    DhtMode, Inbound, InboundRequest, InboundStream, Network, NetworkConfig, Remembered, Verdict,
};
use reg_proto::announcement::{Announcement, Holder};
use reg_proto::bounded::Bounded;
use reg_proto::dht::DhtKey;
use reg_proto::digest::Digest;
use reg_proto::wire::{Frame, Held, Request, Response};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(120);

fn config(seed: u8, listen: &str) -> NetworkConfig {
    NetworkConfig {
        listen: vec![listen.parse().expect("an address")],
        dht: DhtMode::Server,
        gossip: true,
        lanes: true,
        ..NetworkConfig::quiet([seed; 32])
    }
}

async fn node(seed: u8, bootstrap: &[&Network]) -> (Network, Inbound) {
    node_with(DhtMode::Server, seed, bootstrap).await
}

async fn node_with(dht: DhtMode, seed: u8, bootstrap: &[&Network]) -> (Network, Inbound) {
    let mut config = NetworkConfig { dht, ..config(seed, "/ip4/127.0.0.1/tcp/0") };
    for peer in bootstrap {
        config.bootstrap.extend(peer.listen_addresses().await);
    }
    Network::start(config).await.expect("a node starts")
}

/// Answers every question with "not found", so that asking shows which node is reached.
fn answer(mut inbound: Inbound) {
    tokio::spawn(async move {
        while let Some(InboundRequest { reply, .. }) = inbound.requests.recv().await {
            reply.send(Response::NotFound);
        }
    });
}

async fn exchange(listen: &str) {
    let (server, inbound) = Network::start(config(1, listen)).await.expect("a node starts");
    let (client, _inbound) = Network::start(config(2, listen)).await.expect("a node starts");
    let Inbound { mut requests, mut streams, .. } = inbound;
    tokio::spawn(async move {
        while let Some(InboundRequest { reply, .. }) = requests.recv().await {
            reply.send(Response::Document { bytes: vec![7; 4 << 20] });
        }
    });
    tokio::spawn(async move {
        while let Some(InboundStream { mut reader, mut writer, .. }) = streams.recv().await {
            while let Ok(Some(Frame::Request { id, first, count, .. })) = reader.next().await {
                let piece = vec![id as u8; 1 << 20];
                for step in 0..count {
                    writer.send_piece(id, first + step, &piece).await.expect("the puller reads");
                }
            }
        }
    });
    let address = server.listen_addresses().await.remove(0);
    let peer = timeout(PATIENCE, client.connect(&address)).await.expect("in time").expect("connected");
    assert_eq!(peer, server.peer_id());
    let document =
        client.ask(peer, Request::GetDocument { digest: Digest::of(b"") }).await.expect("answered");
    assert_eq!(document, Response::Document { bytes: vec![7; 4 << 20] });
    let (mut reader, mut writer) = client.open_stream(peer).await.expect("a stream");
    for id in 0..4 {
        writer.send(&Frame::Request { id, blob: Digest::of(b""), first: 0, count: 16 }).await.expect("sent");
    }
    for n in 0..64u32 {
        let frame = timeout(PATIENCE, reader.next()).await.expect("in time").expect("a frame");
        let Some(Frame::Piece { id, piece, bytes }) = frame else { panic!("{frame:?}") };
        assert_eq!((id, piece, bytes.len()), (n / 16, n % 16, 1 << 20));
        assert!(bytes.iter().all(|byte| *byte == id as u8));
    }
    let info = client.peers().await.remove(0);
    assert_eq!(info.peer, peer);
    client.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_and_pieces_over_tcp() {
    exchange("/ip4/127.0.0.1/tcp/0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_and_pieces_over_quic() {
    exchange("/ip4/127.0.0.1/udp/0/quic-v1").await;
}

/// The first frames go out before the peer has agreed to the protocol, and a puller reads and writes in two tasks. Neither may
/// be left asleep: one pull in thirteen stood still, when only the task that polled last was woken.
#[tokio::test(flavor = "multi_thread")]
async fn many_frames_at_once_leave_no_task_of_a_stream_asleep() {
    const STREAMS: u32 = 200;
    const FRAMES: u32 = 62;
    let (server, inbound) = Network::start(config(1, "/ip4/127.0.0.1/tcp/0")).await.expect("a node starts");
    let (client, _inbound) = Network::start(config(2, "/ip4/127.0.0.1/tcp/0")).await.expect("a node starts");
    let Inbound { mut streams, .. } = inbound;
    tokio::spawn(async move {
        while let Some(InboundStream { mut reader, mut writer, .. }) = streams.recv().await {
            tokio::spawn(async move {
                while let Ok(Some(Frame::Follow { blob })) = reader.next().await {
                    writer.send(&Frame::Holds { blob, pieces: Held::All }).await.expect("the puller reads");
                }
            });
        }
    });
    let address = server.listen_addresses().await.remove(0);
    let peer = timeout(PATIENCE, client.connect(&address)).await.expect("in time").expect("connected");
    let blob = Digest::of(b"");
    for stream in 0..STREAMS {
        let (mut reader, mut writer) = client.open_stream(peer).await.expect("a stream");
        let writing = tokio::spawn(async move {
            for _frame in 0..FRAMES {
                writer.send(&Frame::Follow { blob }).await.expect("sent");
            }
            writer
        });
        for frame in 0..FRAMES {
            let held = timeout(PATIENCE, reader.next()).await;
            let held = held.unwrap_or_else(|_| panic!("stream {stream} stands still after {frame} frames"));
            assert_eq!(held.expect("a frame"), Some(Frame::Holds { blob, pieces: Held::All }));
        }
        drop(timeout(PATIENCE, writing).await.expect("the writer is not asleep").expect("it has written"));
    }
}

/// A private network is closed to names that peers give, and open to those of the configuration.
#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_peer_is_reached_by_a_name_that_leads_to_a_private_address() {
    let (server, inbound) = node(1, &[]).await;
    answer(inbound);
    let address = server.listen_addresses().await.remove(0).to_string();
    let port = address.split('/').nth(4).expect("/ip4/IP/tcp/PORT");
    let named = format!("/dns4/localhost/tcp/{port}").parse().expect("an address");
    let config = NetworkConfig { bootstrap: vec![named], ..config(2, "/ip4/127.0.0.1/tcp/0") };
    let (client, _inbound) = Network::start(config).await.expect("a node starts");
    let connected = timeout(Duration::from_secs(120), async {
        while client.connected().await != [server.peer_id()] {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    connected.await.expect("connected by its name");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_happened() {
    let (one, _inbound) = node(1, &[]).await;
    assert!(one.connect(&"/ip4/127.0.0.1/tcp/1".parse().expect("an address")).await.is_err());
    let own = one.listen_addresses().await.remove(0);
    assert!(one.connect(&own).await.is_err());
    let stranger = reg_proto::peer::PeerId::from_public_key([9; 32]);
    assert!(one.ask(stranger, Request::GetHeads { after: None }).await.is_err());
    assert!(one.open_stream(stranger).await.is_err());
    let offline = Network::offline(one.peer_id(), Remembered::nothing());
    assert!(offline.ask(stranger, Request::GetHeads { after: None }).await.is_err());
    assert!(offline.connected().await.is_empty());
    let taken = NetworkConfig { listen: vec![own], ..config(3, "/ip4/127.0.0.1/tcp/0") };
    assert!(Network::start(taken).await.is_err(), "a port that is taken is an error at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_finds_a_provider_through_a_node_that_holds_nothing() {
    let (known, inbound) = node(100, &[]).await;
    answer(inbound);
    let mut others = Vec::new();
    for seed in 1..19 {
        let (other, inbound) = node(seed, &[&known]).await;
        answer(inbound);
        others.push(other);
    }
    let key = DhtKey::manifest(&Digest::of(b"model"));
    others[7].provide(key).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (stranger, _inbound) = node(99, &[&known]).await;
    let search = async {
        loop {
            let mut providers = stranger.providers(key).await;
            if let Some(peer) = providers.recv().await {
                return peer;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let provider = timeout(PATIENCE, search).await.expect("found in time");
    assert_eq!(provider, others[7].peer_id());
    let answer =
        stranger.ask(provider, Request::GetHeads { after: None }).await.expect("the provider is reached");
    assert_eq!(answer, Response::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_travels_only_as_far_as_it_is_accepted() {
    // Without the DHT no node learns of others: the three are connected in a line.
    let (first, first_inbound) = node_with(DhtMode::Off, 1, &[]).await;
    let (middle, mut middle_inbound) = node_with(DhtMode::Off, 2, &[&first]).await;
    let (last, mut last_inbound) = node_with(DhtMode::Off, 3, &[&middle]).await;
    answer(first_inbound);
    let announcement = |tag: String| Announcement {
        tag: Some(tag),
        key_documents: Bounded::empty(),
        holder: Holder { peer: first.peer_id(), addresses: Bounded::empty() },
        card: None,
        contradicted_by: None,
        revocations: Bounded::empty(),
    };
    // Until the nodes know which of them listen, what is told is lost. So it is told until one is rejected, and then until one is
    // accepted and heard.
    let rejected = Cell::new(0);
    let telling = async {
        for number in 0.. {
            let kind = if rejected.get() == 0 { "bad" } else { "good" };
            first.announce(announcement(format!("{kind} {number}"))).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let judging = async {
        while let Some(heard) = middle_inbound.announcements.recv().await {
            let is_good = heard.announcement.tag.is_some_and(|tag| tag.starts_with("good"));
            rejected.set(rejected.get() + u32::from(!is_good));
            heard.verdict.send(if is_good { Verdict::Accept } else { Verdict::Reject });
        }
    };
    let heard = async {
        tokio::select! {
            heard = last_inbound.announcements.recv() => heard.and_then(|it| it.announcement.tag),
            () = telling => None,
            () = judging => None,
        }
    };
    let heard = timeout(PATIENCE, heard).await.expect("in time").expect("heard");
    assert!(rejected.get() > 0 && heard.starts_with("good"), "what was rejected has not travelled: {heard}");
    drop((middle, last));
}

/// A node needs a few dozen peers, and each more costs pings for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn of_sixty_nodes_that_all_dial_each_other_each_keeps_some_forty() {
    const NODES: u8 = 60;
    const MOST: usize = 50;
    let mut nodes = Vec::new();
    for seed in 1..=NODES {
        nodes.push(node_with(DhtMode::Server, seed, &[]).await);
    }
    let mut addresses = Vec::new();
    for (network, _) in &nodes {
        addresses.push(network.listen_addresses().await[0].clone());
    }
    for (n, (network, _)) in nodes.iter().enumerate() {
        for address in &addresses[..n] {
            network.connect(address).await.expect("it is connected");
        }
    }
    let count = async || {
        let mut counts = Vec::new();
        for (network, _) in &nodes {
            counts.push(network.connected().await.len());
        }
        counts
    };
    let start = std::time::Instant::now();
    let mut counts = count().await;
    while counts.iter().any(|it| *it > MOST) {
        assert!(start.elapsed() < PATIENCE, "{counts:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
        counts = count().await;
    }
    println!("each has at most {MOST} peers after {:.1?}: {counts:?}", start.elapsed());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let counts = count().await;
    assert!(counts.iter().all(|it| (10..=MOST).contains(it)), "few stay few, and none is alone: {counts:?}");
    // News still reaches every node.
    let mut heard = tokio::task::JoinSet::new();
    let (first, mut others) = (nodes.remove(0), nodes);
    for (network, inbound) in others.drain(..) {
        let Inbound { mut announcements, .. } = inbound;
        heard.spawn(async move {
            let announcement = announcements.recv().await.expect("it is heard");
            announcement.verdict.send(Verdict::Accept);
            network
        });
    }
    let start = std::time::Instant::now();
    let announcement = Announcement {
        tag: Some("news".to_owned()),
        key_documents: Bounded::empty(),
        holder: Holder { peer: first.0.peer_id(), addresses: Bounded::empty() },
        card: None,
        contradicted_by: None,
        revocations: Bounded::empty(),
    };
    first.0.announce(announcement).await;
    let all = timeout(PATIENCE, heard.join_all()).await.expect("every node hears the news");
    println!("{} nodes have heard the news after {:.2?}", all.len(), start.elapsed());
}
