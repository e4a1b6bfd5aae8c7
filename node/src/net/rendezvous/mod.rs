//! [`Rendezvous`]: strangers with nothing in common meet in BitTorrent's DHT.
//!
//! A node that is reached announces its address there, under one key for the network and one for each publisher that it stands up
//! for. A node that has few peers, or looks for a publisher, looks these keys up and dials what it finds. All of it is off unless
//! the user asks for it, because it tells the world this machine's address and what is looked for.
//!
//! That DHT returns addresses without a peer id, from unknown nodes. They are dialled within a budget (`candidates`), only public
//! ones, and each is a stranger until it has proven its peer id and said that it is of this swarm, as any peer that is dialled.

mod candidates;
mod mainline;
mod meeting;
mod standing;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use reg_api::report::RendezvousReport;
use reg_proto::name::{Publisher, PublisherId};
use reg_proto::peer::Address;
use reg_proto::swarm::Protocols;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::meeting::Meeting;
use super::command::Command;
use super::limits::RENDEZVOUS_PUBLISHERS_MAX;

pub(super) use self::standing::Standing;

/// How a node meets strangers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RendezvousConfig {
    /// Whether it does so by itself. Else it does so for a search that the user allows it for.
    pub is_on: bool,
    /// Whether it announces itself where it is reached: a daemon does, and no node of a command.
    pub announces: bool,
    /// Nodes of the DHT to begin with, as `HOST:PORT`; those of BitTorrent's where it is empty. Addresses of the ranges of these
    /// nodes may be dialled, so a DHT of a private network works in that network.
    pub bootstrap: Vec<String>,
    /// The publishers for which this node is announced beside its own.
    pub publishers: Vec<Publisher>,
}

impl RendezvousConfig {
    /// Returns the addresses of the DHT's first nodes, where they are written as numbers.
    pub(super) fn literal(&self) -> Vec<Multiaddr> {
        let sockets = self.bootstrap.iter().filter_map(|text| text.parse::<std::net::SocketAddr>().ok());
        sockets.map(|it| Multiaddr::from(it.ip()).with(Protocol::Udp(it.port()))).collect()
    }
}

/// The handle. Cheap to clone; the tasks end with the last clone.
#[derive(Debug, Clone)]
pub struct Rendezvous {
    meeting: Arc<Meeting>,
    is_on: bool,
    announces: bool,
    opted_in: Arc<[Publisher]>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Rendezvous {
    /// Begins to meet strangers, where the configuration says so. `external` are the addresses at which the user says that peers
    /// reach this node.
    pub(super) fn start(
        config: RendezvousConfig,
        external: &[Address],
        names: Protocols,
        commands: &mpsc::Sender<Command>,
    ) -> Self {
        let RendezvousConfig { is_on, announces, ref publishers, .. } = config;
        let opted_in = publishers.clone().into();
        let meeting = Arc::new(Meeting::new(config, external, names, commands.downgrade()));
        let mut tasks = JoinSet::new();
        if is_on {
            tasks.spawn(meeting.clone().keep_company());
        }
        if is_on && announces {
            tasks.spawn(meeting.clone().keep_announced());
        }
        Self { meeting, is_on, announces, opted_in, tasks: Arc::new(Mutex::new(tasks)) }
    }

    /// Tells whether this node meets strangers by itself.
    pub const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Tells whether this node announces itself where it is reached.
    pub const fn announces(&self) -> bool {
        self.is_on && self.announces
    }

    /// Returns the publishers that the user has named for it.
    pub fn opted_in(&self) -> &[Publisher] {
        &self.opted_in
    }

    /// Announces this node under the keys of these publishers from now on, and no others. Takes the first
    /// [`RENDEZVOUS_PUBLISHERS_MAX`], and returns how many are left out.
    pub fn stand_up_for(&self, publishers: impl IntoIterator<Item = PublisherId>) -> usize {
        let mut publishers: Vec<PublisherId> = publishers.into_iter().collect();
        let left_out = publishers.len().saturating_sub(RENDEZVOUS_PUBLISHERS_MAX);
        publishers.truncate(RENDEZVOUS_PUBLISHERS_MAX);
        self.meeting.stand_up_for(BTreeSet::from_iter(publishers), left_out);
        left_out
    }

    /// Looks for nodes that stand up for a publisher, and for any node while no peer is connected. Returns once some are connected,
    /// or none was found within a bound.
    pub async fn seek(&self, publisher: PublisherId) {
        self.meeting.seek(publisher).await;
    }

    /// Returns what it has done so far.
    pub fn report(&self) -> RendezvousReport {
        self.meeting.report(self.is_on)
    }

    /// Ends its tasks, and the thread of its client.
    pub(super) async fn end(&self) {
        let mut tasks = {
            let mut tasks = self.tasks.lock().expect("no holder of this lock panics");
            std::mem::take(&mut *tasks)
        };
        tasks.shutdown().await;
        self.meeting.end().await;
    }
}
