//! [`Meeting`]: the tasks of the rendezvous: one that looks for peers while there are few, one that keeps this node announced, and
//! the look-ups of searches.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use reg_api::report::RendezvousReport;
use reg_proto::dht::RendezvousKey;
use reg_proto::name::PublisherId;
use reg_proto::peer::Address;
use reg_proto::swarm::Protocols;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::RendezvousConfig;
use super::candidates::Candidates;
use super::mainline::Mainline;
use super::standing::Standing;
use crate::net::command::Command;
use crate::net::limits::{
    RENDEZVOUS_ANNOUNCE_AGAIN, RENDEZVOUS_ANNOUNCE_RETRY, RENDEZVOUS_DIALS_AT_ONCE, RENDEZVOUS_LOOK,
    RENDEZVOUS_PEERS_ENOUGH, RENDEZVOUS_SEEK_FIRST, RENDEZVOUS_SEEK_LATER, RENDEZVOUS_SEEK_PATIENCE,
    RENDEZVOUS_TAKEN_OF_LOOK_UP,
};
use crate::net::reach::{Range, is_fit, range};

/// What the tasks share. It has 12 fields, because the tasks of seeking and of announcing share one client and one budget.
#[derive(Debug)]
pub(super) struct Meeting {
    mainline: Mainline,
    names: Protocols,
    /// The event loop, which this does not keep alive.
    commands: mpsc::WeakSender<Command>,
    /// The ranges that may be dialled beside global addresses.
    ranges: Vec<Range>,
    /// The port at which the user says that this node is reached.
    told_port: Option<u16>,
    candidates: Mutex<Candidates>,
    dials: Arc<Semaphore>,
    publishers: Mutex<BTreeSet<PublisherId>>,
    left_out: AtomicUsize,
    changed: Notify,
    counts: Counts,
    is_reached: AtomicBool,
}

/// What has been done since the start.
#[derive(Debug, Default)]
struct Counts {
    dialled: AtomicU64,
    met: AtomicU64,
    announced: AtomicUsize,
}

impl Meeting {
    pub(super) fn new(
        config: RendezvousConfig,
        external: &[Address],
        names: Protocols,
        commands: mpsc::WeakSender<Command>,
    ) -> Self {
        let ranges = config.literal().iter().filter_map(range).collect();
        let external = external.iter().filter_map(|it| it.as_str().parse().ok());
        Self {
            mainline: Mainline::new(config.bootstrap),
            names,
            commands,
            ranges,
            told_port: external.filter_map(|it| tcp_port(&it)).next(),
            candidates: Mutex::new(Candidates::new(Instant::now())),
            dials: Arc::new(Semaphore::new(RENDEZVOUS_DIALS_AT_ONCE)),
            publishers: Mutex::default(),
            left_out: AtomicUsize::new(0),
            changed: Notify::new(),
            counts: Counts::default(),
            is_reached: AtomicBool::new(false),
        }
    }

    pub(super) fn stand_up_for(&self, publishers: BTreeSet<PublisherId>, left_out: usize) {
        *self.publishers() = publishers;
        self.left_out.store(left_out, Ordering::Relaxed);
        self.changed.notify_one();
    }

    fn publishers(&self) -> MutexGuard<'_, BTreeSet<PublisherId>> {
        self.publishers.lock().expect("no holder of this lock panics")
    }

    pub(super) fn report(&self, is_on: bool) -> RendezvousReport {
        RendezvousReport {
            is_on,
            is_reached: self.is_reached.load(Ordering::Relaxed),
            publishers: self.publishers().len(),
            publishers_left_out: self.left_out.load(Ordering::Relaxed),
            announced: self.counts.announced.load(Ordering::Relaxed),
            dialled: self.counts.dialled.load(Ordering::Relaxed),
            met: self.counts.met.load(Ordering::Relaxed),
        }
    }

    pub(super) async fn end(&self) {
        self.mainline.stop().await;
    }

    /// Looks for nodes of the network while few peers are connected, each time after a longer wait.
    pub(super) async fn keep_company(self: Arc<Self>) {
        let mut wait = RENDEZVOUS_SEEK_FIRST;
        while let Some(standing) = self.standing().await {
            if standing.peers >= RENDEZVOUS_PEERS_ENOUGH {
                wait = RENDEZVOUS_SEEK_FIRST;
                sleep(RENDEZVOUS_LOOK).await;
                continue;
            }
            self.meet_under(&RendezvousKey::network(&self.names)).await;
            sleep(wait).await;
            wait = (wait * 2).min(RENDEZVOUS_SEEK_LATER);
        }
    }

    /// Keeps this node announced under the key of the network and those of its publishers, one after the other.
    pub(super) async fn keep_announced(self: Arc<Self>) {
        let mut announced: BTreeMap<RendezvousKey, Instant> = BTreeMap::new();
        while let Some(standing) = self.standing().await {
            let port = self.told_port.or(standing.reached_at);
            self.is_reached.store(port.is_some(), Ordering::Relaxed);
            let keys: Vec<RendezvousKey> = {
                let publishers = self.publishers();
                let of_publishers = publishers.iter().map(|it| RendezvousKey::publisher(&self.names, it));
                std::iter::once(RendezvousKey::network(&self.names)).chain(of_publishers).collect()
            };
            announced.retain(|key, _| keys.contains(key));
            let is_due = |key: &&RendezvousKey| {
                announced.get(*key).is_none_or(|at| at.elapsed() >= RENDEZVOUS_ANNOUNCE_AGAIN)
            };
            let due = keys.iter().find(is_due).copied();
            let wait = match (due, port) {
                (Some(key), Some(port)) => match self.mainline.announce(&key, port).await {
                    true => {
                        announced.insert(key, Instant::now());
                        self.counts.announced.store(announced.len(), Ordering::Relaxed);
                        continue;
                    }
                    false => RENDEZVOUS_ANNOUNCE_RETRY,
                },
                _ => RENDEZVOUS_LOOK,
            };
            // Nothing is lost if neither comes: the next round looks again.
            let _either = timeout(wait, self.changed.notified()).await;
        }
    }

    /// Looks for nodes that stand up for a publisher; see [`super::Rendezvous::seek`].
    pub(super) async fn seek(self: &Arc<Self>, publisher: PublisherId) {
        let (key, network) =
            (RendezvousKey::publisher(&self.names, &publisher), RendezvousKey::network(&self.names));
        let seeking = async {
            while let Some(standing) = self.standing().await {
                let met = match standing.peers {
                    0 => {
                        let (of_publisher, any) =
                            tokio::join!(self.meet_under(&key), self.meet_under(&network));
                        of_publisher + any
                    }
                    _ => self.meet_under(&key).await,
                };
                if met > 0 || standing.peers > 0 {
                    return;
                }
                sleep(RENDEZVOUS_SEEK_FIRST).await;
            }
        };
        // The search that waits for it says that nothing was found.
        let _in_time = timeout(RENDEZVOUS_SEEK_PATIENCE, seeking).await;
    }

    /// Looks a key up, dials what it names within the budget, and returns how many peers have answered.
    async fn meet_under(self: &Arc<Self>, key: &RendezvousKey) -> usize {
        let Some(Standing { known, .. }) = self.standing().await else { return 0 };
        let (found, mut addresses) = mpsc::channel(RENDEZVOUS_TAKEN_OF_LOOK_UP);
        let dialling = async {
            let mut dials = JoinSet::new();
            while let Some(address) = addresses.recv().await {
                if !known.contains(&address) && self.admits(address) {
                    dials.spawn(self.clone().dial(address));
                }
            }
            dials.join_all().await.into_iter().filter(|is_met| *is_met).count()
        };
        let ((), met) = tokio::join!(self.mainline.look_up(key, found), dialling);
        met
    }

    fn admits(&self, address: SocketAddrV4) -> bool {
        let multiaddr = Multiaddr::from(*address.ip());
        is_fit(&multiaddr, &self.ranges)
            && self.candidates.lock().expect("no holder of this lock panics").admit(address, Instant::now())
    }

    /// Dials a stranger, and tells whether a peer has proven its id there.
    async fn dial(self: Arc<Self>, address: SocketAddrV4) -> bool {
        let Ok(_slot) = self.dials.clone().acquire_owned().await else { return false };
        self.counts.dialled.fetch_add(1, Ordering::Relaxed);
        let is_met = matches!(self.call(|reply| Command::Meet { address, reply }).await, Some(Ok(_)));
        self.counts.met.fetch_add(u64::from(is_met), Ordering::Relaxed);
        is_met
    }

    /// Returns how this node stands; `None` where its network has ended.
    async fn standing(&self) -> Option<Standing> {
        self.call(Command::Standing).await
    }

    async fn call<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.upgrade()?.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

fn tcp_port(address: &Multiaddr) -> Option<u16> {
    address.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    })
}
