//! [`Mainline`]: a client of BitTorrent's DHT, which is started when it is first needed.
//!
//! The crate runs one thread with one UDP socket, and no runtime. The thread ends when its last handle is dropped. Bytes from
//! strangers reach it, so each call here has a time-out and runs in a task of its own: where a query does not end, or the thread
//! panics, the client is dropped, and the next call starts a new one.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use mainline::async_dht::AsyncDht;
use mainline::{Dht, Id, RequestFilter, RequestSpecific, ServerSettings};
use reg_proto::dht::RendezvousKey;
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use crate::net::limits::{
    RENDEZVOUS_ANNOUNCE_MAX, RENDEZVOUS_ANSWERS_PER_SECOND, RENDEZVOUS_LOOK_UP_MAX, RENDEZVOUS_STORED_KEYS,
    RENDEZVOUS_STORED_PEERS, RENDEZVOUS_TAKEN_OF_ANSWER, RENDEZVOUS_TAKEN_OF_LOOK_UP,
};

/// A client, where one is running.
#[derive(Debug)]
pub(super) struct Mainline {
    /// Nodes to begin with, as `HOST:PORT`; those of the crate where it is empty.
    bootstrap: Vec<String>,
    client: Mutex<Option<AsyncDht>>,
}

impl Mainline {
    pub(super) fn new(bootstrap: Vec<String>) -> Self {
        Self { bootstrap, client: Mutex::new(None) }
    }

    /// Looks a key up, and sends the addresses to `found` as they come: some of each answer, so that no node of the DHT crowds out
    /// the others. Ends with the query.
    pub(super) async fn look_up(&self, key: &RendezvousKey, found: mpsc::Sender<SocketAddrV4>) {
        let Some(client) = self.client().await else { return };
        let id = id_of(key);
        let asking = async move {
            let mut answers = client.get_peers(id);
            let mut taken = 0;
            while let Some(answer) = answers.next().await {
                for address in answer.into_iter().take(RENDEZVOUS_TAKEN_OF_ANSWER) {
                    taken += 1;
                    if taken > RENDEZVOUS_TAKEN_OF_LOOK_UP || found.send(address).await.is_err() {
                        return;
                    }
                }
            }
        };
        self.run(asking, RENDEZVOUS_LOOK_UP_MAX).await;
    }

    /// Announces this machine's address under a key, with the port at which peers reach this node. Tells whether any node has
    /// stored it.
    pub(super) async fn announce(&self, key: &RendezvousKey, port: u16) -> bool {
        let Some(client) = self.client().await else { return false };
        let id = id_of(key);
        let telling = async move { client.announce_peer(id, Some(port)).await };
        match self.run(telling, RENDEZVOUS_ANNOUNCE_MAX).await {
            Some(Ok(_)) => true,
            Some(Err(error)) => {
                tracing::debug!(%error, "no node of BitTorrent's DHT has stored this node's address");
                false
            }
            None => false,
        }
    }

    /// Ends the thread of the client, unless a call is under way: then it ends with that.
    pub(super) async fn stop(&self) {
        *self.client.lock().await = None;
    }

    /// Runs a call; `None` where it panics or does not end in time. Then the client is given up.
    async fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
        within: Duration,
    ) -> Option<T> {
        // Dropping the set ends the task, and with it the handle of the client.
        let mut task = JoinSet::new();
        task.spawn(call);
        match timeout(within, task.join_next()).await {
            Ok(Some(Ok(value))) => Some(value),
            failed => {
                tracing::info!(
                    ?within,
                    is_late = failed.is_err(),
                    "the client of BitTorrent's DHT is given up"
                );
                self.stop().await;
                None
            }
        }
    }

    async fn client(&self) -> Option<AsyncDht> {
        let mut client = self.client.lock().await;
        if client.is_none() {
            let bootstrap = self.bootstrap.clone();
            // It resolves names, and waits for its thread.
            match spawn_blocking(move || start(&bootstrap)).await {
                Ok(Ok(started)) => *client = Some(started.as_async()),
                Ok(Err(error)) => tracing::warn!(%error, "no client of BitTorrent's DHT can be started"),
                Err(_panicked) => {
                    tracing::warn!("the client of BitTorrent's DHT has ended while it was started")
                }
            }
        }
        client.clone()
    }
}

fn id_of(key: &RendezvousKey) -> Id {
    Id::from_bytes(key.as_bytes()).expect("a key has as many bytes as an id")
}

fn start(bootstrap: &[String]) -> std::io::Result<Dht> {
    let mut builder = Dht::builder();
    // A port that the system chooses: 6881 is that of the user's BitTorrent client.
    builder.port(0).server_settings(ServerSettings {
        max_info_hashes: RENDEZVOUS_STORED_KEYS,
        max_peers_per_info_hash: RENDEZVOUS_STORED_PEERS,
        // Zero means the crate's own default.
        max_immutable_values: 1,
        max_mutable_values: 1,
        filter: Box::new(Pace::new()),
    });
    if !bootstrap.is_empty() {
        builder.bootstrap(bootstrap);
        let is_loopback = |text: &String| text.parse::<SocketAddr>().is_ok_and(|it| it.ip().is_loopback());
        if bootstrap.iter().all(is_loopback) {
            builder.bind_address(Ipv4Addr::LOCALHOST);
        }
    }
    builder.build()
}

/// Answers so many requests in a second, and no more: a node of BitTorrent's DHT that is reached serves that DHT, and any machine
/// can ask it in the name of another.
#[derive(Debug, Clone)]
struct Pace {
    start: Instant,
    /// The second in the upper half, and the answers in it in the lower half.
    answered: Arc<AtomicU64>,
}

impl Pace {
    fn new() -> Self {
        Self { start: Instant::now(), answered: Arc::new(AtomicU64::new(0)) }
    }

    fn allows_at(&self, second: u64) -> bool {
        let before = self.answered.load(Ordering::Relaxed);
        let count = if before >> 32 == second & 0xffff_ffff { before & 0xffff_ffff } else { 0 };
        self.answered.store((second << 32) | (count + 1), Ordering::Relaxed);
        count < RENDEZVOUS_ANSWERS_PER_SECOND
    }
}

impl RequestFilter for Pace {
    fn allow_request(&self, _: &RequestSpecific, _: SocketAddrV4) -> bool {
        self.allows_at(self.start.elapsed().as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_answers() {
        let pace = Pace::new();
        for second in 0..3 {
            let allowed = (0..10 * RENDEZVOUS_ANSWERS_PER_SECOND).filter(|_| pace.allows_at(second)).count();
            assert_eq!(allowed as u64, RENDEZVOUS_ANSWERS_PER_SECOND);
        }
    }
}
