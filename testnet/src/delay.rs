//! [`Delay`]: a proxy that delivers TCP bytes and UDP packets after a fixed delay, in order.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Chunks of up to 16 KiB in transit in one direction: 32 MiB, more than a test needs at its rate and delay.
const ON_THE_WAY_MAX: usize = 2048;
/// Most peers of the UDP side.
const UDP_PEERS_MAX: usize = 64;

/// A running proxy. Dropping it stops it and closes all its connections.
#[derive(Debug)]
pub struct Delay {
    /// The address at which it listens, for TCP and for UDP.
    pub address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Delay {
    /// Starts a proxy on `listen` that connects to `target`, with `delay` in each direction.
    ///
    /// # Errors
    /// If `listen` cannot be bound.
    pub async fn start(listen: SocketAddr, target: SocketAddr, delay: Duration) -> io::Result<Self> {
        let tcp = TcpListener::bind(listen).await?;
        let address = tcp.local_addr()?;
        let udp = UdpSocket::bind(address).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_tcp(tcp, target, delay));
        tasks.spawn(serve_udp(Arc::new(udp), target, delay));
        Ok(Self { address, _tasks: tasks })
    }
}

async fn serve_tcp(listener: TcpListener, target: SocketAddr, delay: Duration) {
    let mut pipes = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((near, _)) = accepted {
                pipes.spawn(async move {
                    // The handshake is delayed as well.
                    sleep_until(Instant::now() + delay).await;
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    let _set = (near.set_nodelay(true), far.set_nodelay(true));
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    tokio::join!(pipe(near_in, far_out, delay), pipe(far_in, near_out, delay));
                });
            },
            Some(_done) = pipes.join_next() => {}
        }
    }
}

async fn pipe(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Duration) {
    let (sender, mut on_the_way) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY_MAX);
    let read = async move {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now() + delay, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = on_the_way.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _closed = to.shutdown().await;
    };
    tokio::join!(read, write);
}

async fn serve_udp(near: Arc<UdpSocket>, target: SocketAddr, delay: Duration) {
    let mut peers: BTreeMap<SocketAddr, mpsc::Sender<(Instant, Vec<u8>)>> = BTreeMap::new();
    let mut order = VecDeque::new();
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; 64 << 10];
    while let Ok((length, peer)) = near.recv_from(&mut buffer).await {
        if let Entry::Vacant(new) = peers.entry(peer) {
            let (sender, on_the_way) = mpsc::channel(ON_THE_WAY_MAX);
            let Ok(far) = UdpSocket::bind(any_like(target)).await else { continue };
            if far.connect(target).await.is_err() {
                continue;
            }
            tasks.spawn(carry(near.clone(), far, peer, on_the_way, delay));
            new.insert(sender);
            order.push_back(peer);
            if let Some(oldest) = (order.len() > UDP_PEERS_MAX).then(|| order.pop_front()).flatten() {
                peers.remove(&oldest);
            }
        }
        if let Some(sender) = peers.get(&peer) {
            let _full_is_loss = sender.try_send((Instant::now() + delay, buffer[..length].to_vec()));
        }
    }
}

/// Forwards the packets of one peer in both directions.
async fn carry(
    near: Arc<UdpSocket>,
    far: UdpSocket,
    peer: SocketAddr,
    mut there: mpsc::Receiver<(Instant, Vec<u8>)>,
    delay: Duration,
) {
    let mut back: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut next: Option<(Instant, Vec<u8>)> = None;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let due_there = next.as_ref().map(|(due, _)| *due);
        let due_back = back.front().map(|(due, _)| *due);
        tokio::select! {
            packet = there.recv(), if next.is_none() => match packet {
                Some(packet) => next = Some(packet),
                None => return,
            },
            () = until(due_there) => if let Some((_, bytes)) = next.take() {
                let _loss = far.send(&bytes).await;
            },
            received = far.recv(&mut buffer) => if let Ok(length) = received
                && back.len() < ON_THE_WAY_MAX
            {
                back.push_back((Instant::now() + delay, buffer[..length].to_vec()));
            },
            () = until(due_back) => if let Some((_, bytes)) = back.pop_front() {
                let _loss = near.send_to(&bytes, peer).await;
            },
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Returns the unspecified address of the same family.
fn any_like(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_and_packets_come_later_and_whole() {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let (echo, udp) =
            (TcpListener::bind(any).await.expect("bound"), UdpSocket::bind(any).await.expect("bound"));
        let delay = Duration::from_millis(60);
        let proxy = Delay::start(any, echo.local_addr().expect("bound"), delay).await.expect("it starts");
        tokio::spawn(async move {
            let (mut stream, _) = echo.accept().await.expect("a connection");
            let (mut read, mut write) = stream.split();
            drop(tokio::io::copy(&mut read, &mut write).await);
        });
        let start = Instant::now();
        let mut stream = TcpStream::connect(proxy.address).await.expect("connected");
        let sent: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        stream.write_all(&sent).await.expect("sent");
        let mut back = vec![0; sent.len()];
        stream.read_exact(&mut back).await.expect("it comes back");
        assert!(back == sent && start.elapsed() >= 2 * delay);
        let proxy = Delay::start(any, udp.local_addr().expect("bound"), delay).await.expect("it starts");
        tokio::spawn(async move {
            let mut buffer = [0; 64];
            let (length, peer) = udp.recv_from(&mut buffer).await.expect("a packet");
            udp.send_to(&buffer[..length], peer).await.expect("sent");
        });
        let (client, start) = (UdpSocket::bind(any).await.expect("bound"), Instant::now());
        client.send_to(b"late", proxy.address).await.expect("sent");
        let mut buffer = [0; 64];
        let (length, _) = client.recv_from(&mut buffer).await.expect("it comes back");
        assert!(&buffer[..length] == b"late" && start.elapsed() >= 2 * delay);
    }
}
