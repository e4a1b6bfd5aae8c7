//! Tests lanes between real nodes on loopback: what they carry, and which connections are refused.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use reg_node::net::{
    Inbound, LaneError, LaneTicket, Network, NetworkConfig, Pace, PiecePool, Received, StartError,
};
use reg_proto::lane::LaneToken;
use tokio::runtime::Handle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(120);

async fn start(seed: u8, lanes: bool) -> Result<(Network, Inbound), StartError> {
    Network::start(NetworkConfig {
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")],
        lanes,
        ..NetworkConfig::quiet([seed; 32])
    })
    .await
}

async fn node(seed: u8) -> (Network, Inbound) {
    start(seed, true).await.expect("a node starts")
}

async fn connect(from: &Network, to: &Network) {
    let address = to.listen_addresses().await.remove(0);
    timeout(PATIENCE, from.connect(&address)).await.expect("in time").expect("connected");
    // The other end hears of it a moment later.
    while !to.peers().await.iter().any(|it| it.peer == from.peer_id()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn dial(
    from: &Network,
    to: &Network,
    ticket: &LaneTicket,
) -> Result<reg_node::net::LaneReader, LaneError> {
    timeout(PATIENCE, from.dial_lane(to.peer_id(), &ticket.ports, ticket.token)).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_come_over_a_lane_as_they_were_sent() {
    let ((server, _a), (puller, _b)) = (node(1).await, node(2).await);
    connect(&puller, &server).await;
    let ticket = server.offer_lane(puller.peer_id()).expect("an offer");
    let mut reader = dial(&puller, &server, &ticket).await.expect("a lane");
    let mut writer = timeout(PATIENCE, ticket.lane).await.expect("in time").expect("the lane comes");
    let lanes = async |of: &Network, to: &Network| {
        of.peers().await.iter().find(|it| it.peer == to.peer_id()).map(|it| it.lanes)
    };
    assert_eq!(lanes(&server, &puller).await, Some(1));
    assert_eq!(lanes(&puller, &server).await, Some(1));
    let lengths = [1 << 20, 0, 1, (16 << 10) + 1, (1 << 20) - 1, 1 << 20];
    let pattern =
        move |n: usize| (0..lengths[n]).map(|at| (at as u8) ^ (at >> 8) as u8 ^ n as u8).collect::<Vec<u8>>();
    let sending = std::thread::spawn(move || {
        for n in 0..lengths.len() {
            writer.send_piece(7, n as u32, &pattern(n), Pace::Free).expect("the puller reads");
        }
    });
    let (pool, runtime) = (PiecePool::new(), Handle::current());
    let received = tokio::task::spawn_blocking(move || {
        let mut received = Vec::new();
        while let Some(Received::Piece { id, piece, bytes }) =
            reader.receive(&pool, &runtime, Pace::Free).expect("whole")
        {
            received.push((id, piece, bytes.to_vec()));
        }
        received
    });
    let received = timeout(PATIENCE, received).await.expect("in time").expect("it ends");
    sending.join().expect("sent");
    assert_eq!(received.len(), lengths.len());
    for (n, (id, piece, bytes)) in received.into_iter().enumerate() {
        assert!((id, piece) == (7, n as u32) && bytes == pattern(n), "piece {n}");
    }
    while lanes(&server, &puller).await != Some(0) || lanes(&puller, &server).await != Some(0) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_is_for_whom_it_was_offered_to_and_once() {
    let ((server, _a), (puller, _b), (thief, _c)) = (node(1).await, node(2).await, node(3).await);
    connect(&puller, &server).await;
    connect(&thief, &server).await;
    // A peer is expected all along, so that handshakes take place.
    let _expected = server.offer_lane(puller.peer_id()).expect("an offer");
    // The right peer with a wrong token.
    let ticket = server.offer_lane(puller.peer_id()).expect("an offer");
    let (ports, token) = (ticket.ports.clone(), ticket.token);
    let wrong = puller.dial_lane(server.peer_id(), &ports, LaneToken::from_bytes([0; 16])).await;
    assert!(matches!(wrong, Err(LaneError::Refused)), "{wrong:?}");
    // A token that was used.
    let lane = dial(&puller, &server, &ticket).await.expect("a lane");
    let again = puller.dial_lane(server.peer_id(), &ports, token).await;
    assert!(matches!(again, Err(LaneError::Refused)), "{again:?}");
    drop(lane);
    // Another peer with the expected peer's token, which is used up by it.
    let ticket = server.offer_lane(puller.peer_id()).expect("an offer");
    let stolen = dial(&thief, &server, &ticket).await;
    assert!(matches!(stolen, Err(LaneError::Refused)), "{stolen:?}");
    let late = dial(&puller, &server, &ticket).await;
    assert!(matches!(late, Err(LaneError::Refused)), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_puller_sends_its_token_to_nobody_but_the_peer_that_gave_it() {
    let ((server, _a), (puller, _b), (other, _c)) = (node(1).await, node(2).await, node(3).await);
    connect(&puller, &server).await;
    connect(&puller, &other).await;
    // The server names a port at which another peer answers.
    let elsewhere = other.offer_lane(puller.peer_id()).expect("an offer");
    let wrong = dial(&puller, &server, &elsewhere).await;
    assert!(matches!(wrong, Err(LaneError::OtherPeer)), "{wrong:?}");
    let right = dial(&puller, &other, &elsewhere).await;
    assert!(right.is_ok(), "the token was not shown: {right:?}");
    // A port at which no process answers, and a peer that is not connected.
    let ticket = server.offer_lane(puller.peer_id()).expect("an offer");
    let unreachable = puller.dial_lane(server.peer_id(), &[1], ticket.token).await;
    assert!(matches!(unreachable, Err(LaneError::Unreachable(_))), "{unreachable:?}");
    let stranger = reg_proto::peer::PeerId::from_public_key([9; 32]);
    let unknown = puller.dial_lane(stranger, &ticket.ports, ticket.token).await;
    assert!(matches!(unknown, Err(LaneError::NoAddress)), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knocks_without_being_expected_is_not_listened_to() {
    let ((server, _a), (puller, _b)) = (node(1).await, node(2).await);
    connect(&puller, &server).await;
    let ticket = server.offer_lane(puller.peer_id()).expect("an offer");
    let port = ticket.ports[0];
    // A lane is expected: four of one address may shake hands at once, and each more is closed at once.
    let knock = || TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let mut idle: Vec<TcpStream> = (0..12).map(|_| knock()).collect();
    let closed = tokio::task::spawn_blocking(move || {
        let mut closed = 0;
        for socket in &mut idle {
            socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a socket");
            closed += usize::from(matches!(socket.read(&mut [0; 1]), Ok(0)));
        }
        (closed, idle)
    });
    let (closed, idle) = closed.await.expect("it ends");
    assert!(closed >= 8, "{closed} of 12 were closed");
    drop(idle);
    // Those that hung up have made room.
    let lane = loop {
        match dial(&puller, &server, &ticket).await {
            Ok(lane) => break lane,
            Err(error) => assert!(!matches!(error, LaneError::OtherPeer), "{error:?}"),
        }
    };
    // No peer is expected any more.
    let mut knock = knock();
    let read = tokio::task::spawn_blocking(move || {
        knock.set_read_timeout(Some(PATIENCE)).expect("a socket");
        knock.read(&mut [0; 1])
    });
    assert!(matches!(read.await.expect("it ends"), Ok(0) | Err(_)));
    drop(lane);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_lanes_offers_none_and_dials_none() {
    let ((without, _a), (with, _b)) = (start(1, false).await.expect("a node"), node(2).await);
    connect(&with, &without).await;
    assert!(without.offer_lane(with.peer_id()).is_none());
    let ticket = with.offer_lane(without.peer_id()).expect("an offer");
    assert!(matches!(dial(&without, &with, &ticket).await, Err(LaneError::Off)));
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_to_one_peer_are_bounded() {
    let ((server, _a), (puller, _b)) = (node(1).await, node(2).await);
    connect(&puller, &server).await;
    let mut lanes = Vec::new();
    for _ in 0..reg_node::net::LANES_PER_PEER_MAX {
        let ticket = server.offer_lane(puller.peer_id()).expect("an offer");
        let reader = dial(&puller, &server, &ticket).await.expect("a lane");
        lanes.push((reader, timeout(PATIENCE, ticket.lane).await.expect("in time").expect("it comes")));
    }
    assert!(server.offer_lane(puller.peer_id()).is_none());
    lanes.pop();
    while server.offer_lane(puller.peer_id()).is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
