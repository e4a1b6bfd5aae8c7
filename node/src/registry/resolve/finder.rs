//! [`Finder`]: a stream of peers that may have a model, from every source at once.
//!
//! The sources are: peers that the user named; connected peers, which mDNS and bootstrap bring; holders that other
//! peers named; providers from the DHT; and, where all of these know nothing, the peers of connected peers. Each source
//! alone can be poisoned, and the finder waits for none. One honest peer is enough, even if it only introduces others.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use reg_api::reporter::Reporter;
use reg_proto::announcement::Holder;
use reg_proto::dht::DhtKey;
use reg_proto::digest::Digest;
use reg_proto::peer::{Address, PeerId};
use reg_proto::wire::{Request, Response};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::debug;

use super::introductions::Introductions;
use super::questions::QuestionSlots;
use crate::net::Network;
use crate::registry::limits::{
    ASK_AROUND_AFTER, ASK_DHT_AGAIN, ASKED_AROUND_MAX, CANDIDATES_IN_ALL_MAX, CANDIDATES_MAX, DIAL_SLOW,
    DIALS_AT_ONCE, DIALS_MAX, EXCHANGE_FIRST, EXCHANGE_LATER, LOOK_AGAIN,
};

/// What is searched for, and where to begin.
#[derive(Debug, Clone)]
pub struct Search {
    /// Addresses that the user gave.
    pub from: Vec<Address>,
    /// Keys under which the DHT may have providers.
    pub keys: Vec<DhtKey>,
    /// Holders that a peer named, with that peer where it is known.
    pub hints: Vec<(Holder, Option<PeerId>)>,
    /// Receives a note when a peer that the user named cannot be reached.
    pub reporter: Reporter,
}

/// A stream of found peers, each once. Dropping it ends the search.
#[derive(Debug)]
pub struct Finder {
    found: mpsc::Receiver<PeerId>,
    hints: mpsc::Sender<(Holder, Option<PeerId>)>,
    /// The sources that have not answered once: addresses, DHT queries, and the first look at the connections.
    pending: Arc<AtomicUsize>,
    /// Whether the user named peers.
    is_named: bool,
    is_hinted: bool,
    is_settled: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Finder {
    /// Starts a search that goes on until the finder is dropped.
    pub fn start(network: &Network, search: Search) -> Self {
        let (found_sender, found) = mpsc::channel(CANDIDATES_MAX);
        let (hints, hinted) = mpsc::channel(CANDIDATES_MAX);
        let (is_named, is_hinted) = (!search.from.is_empty(), !search.hints.is_empty());
        for hint in search.hints {
            drop(hints.try_send(hint));
        }
        let mut tasks = JoinSet::new();
        let pending = Arc::new(AtomicUsize::new(search.from.len() + search.keys.len() + 1));
        let (raw, candidates) = mpsc::channel(CANDIDATES_MAX);
        let (trust, trusted) = mpsc::channel(search.from.len().max(1));
        for address in search.from {
            let connecting = connect(network.clone(), address, search.reporter.clone());
            let (raw, trust, pending) = (raw.clone(), trust.clone(), pending.clone());
            tasks.spawn(async move {
                if let Some(peer) = connecting.await {
                    let _asked = trust.try_send(peer);
                    let _heard = raw.send(peer).await;
                }
                pending.fetch_sub(1, Ordering::Relaxed);
            });
        }
        drop(trust);
        for key in search.keys {
            tasks.spawn(ask_dht(network.clone(), key, raw.clone(), pending.clone()));
        }
        let is_settled = Arc::new(AtomicBool::new(false));
        tasks.spawn(ask_around(network.clone(), trusted, raw.clone(), pending.clone(), is_settled.clone()));
        tasks.spawn(watch_connected(network.clone(), raw.clone(), pending.clone()));
        tasks.spawn(follow_hints(network.clone(), hinted, raw));
        tasks.spawn(each_once(network.peer_id(), candidates, found_sender));
        Self { found, hints, pending, is_named, is_hinted, is_settled, tasks }
    }

    /// Returns the next peer; `None` where no more can be found.
    pub async fn next(&mut self) -> Option<PeerId> {
        self.found.recv().await
    }

    /// Tells whether the user named peers.
    pub const fn is_named(&self) -> bool {
        self.is_named
    }

    /// Tells whether the search can find only named and connected peers.
    pub const fn is_all(&self, network: &Network) -> bool {
        !self.is_hinted && !network.finds_others()
    }

    /// Tells whether an address, the DHT or the first look at the connections has not answered yet.
    pub fn is_searching(&self) -> bool {
        self.pending.load(Ordering::Relaxed) > 0
    }

    /// From now on, asks connected peers which other peers have a model or are pulling it.
    pub fn exchange(&mut self, network: &Network, manifest: Digest) {
        self.settle();
        self.tasks.spawn(exchange(network.clone(), manifest, self.hints.clone()));
    }

    /// Tells the search that a peer has answered, so that connected peers are not asked for introductions.
    pub fn settle(&self) {
        self.is_settled.store(true, Ordering::Relaxed);
    }

    /// Adds a holder that the peer `told_by` named.
    pub fn hint(&self, holder: Holder, told_by: PeerId) {
        drop(self.hints.try_send((holder, Some(told_by))));
    }
}

async fn connect(network: Network, address: Address, reporter: Reporter) -> Option<PeerId> {
    match network.connect(&address).await {
        Ok(peer) => Some(peer),
        Err(error) => {
            debug!(%address, ?error, "a peer that the user named cannot be reached");
            let cause = error.source().map_or_else(String::new, |source| format!(": {source}"));
            reporter.note(format_args!("{error}{cause}"));
            None
        }
    }
}

async fn ask_dht(network: Network, key: DhtKey, found: mpsc::Sender<PeerId>, pending: Arc<AtomicUsize>) {
    let mut is_first = true;
    loop {
        let asked = Instant::now();
        let mut providers = network.providers(key).await;
        while let Some(peer) = providers.recv().await {
            if found.send(peer).await.is_err() {
                return;
            }
        }
        if std::mem::take(&mut is_first) {
            pending.fetch_sub(1, Ordering::Relaxed);
        }
        tokio::time::sleep(ASK_DHT_AGAIN.saturating_sub(asked.elapsed()).max(LOOK_AGAIN)).await;
    }
}

/// Asks connected peers for the peers that they know, unless the search has succeeded before.
async fn ask_around(
    network: Network,
    mut trusted: mpsc::Receiver<PeerId>,
    found: mpsc::Sender<PeerId>,
    pending: Arc<AtomicUsize>,
    is_settled: Arc<AtomicBool>,
) {
    tokio::time::sleep(ASK_AROUND_AFTER).await;
    let mut introductions = Introductions::new(network);
    introductions.look().await;
    // It counts as pending until it is done for the first time, and again whenever there is more to do.
    let mut is_pending = true;
    loop {
        let is_over = is_settled.load(Ordering::Relaxed);
        let has_more = !is_over && !introductions.is_done(&trusted);
        match (is_pending, has_more) {
            (true, false) => _ = pending.fetch_sub(1, Ordering::Relaxed),
            (false, true) => _ = pending.fetch_add(1, Ordering::Relaxed),
            _ => {}
        }
        is_pending = has_more;
        if is_over {
            return;
        }
        introductions.step(&mut trusted, &found).await;
    }
}

async fn exchange(network: Network, manifest: Digest, hints: mpsc::Sender<(Holder, Option<PeerId>)>) {
    let mut wait = EXCHANGE_FIRST;
    let mut known = BTreeSet::from([network.peer_id()]);
    loop {
        for teller in network.connected().await.into_iter().take(ASKED_AROUND_MAX) {
            let Ok(Response::Holders { holders }) =
                network.ask(teller, Request::GetHolders { manifest }).await
            else {
                continue;
            };
            for holder in holders.into_vec() {
                if known.len() <= CANDIDATES_MAX && known.insert(holder.peer) {
                    drop(hints.try_send((holder, Some(teller))));
                }
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(EXCHANGE_LATER);
    }
}

async fn watch_connected(network: Network, found: mpsc::Sender<PeerId>, pending: Arc<AtomicUsize>) {
    let mut is_first = true;
    loop {
        for peer in network.connected().await {
            if found.send(peer).await.is_err() {
                return;
            }
        }
        if std::mem::take(&mut is_first) {
            pending.fetch_sub(1, Ordering::Relaxed);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn follow_hints(
    network: Network,
    mut hints: mpsc::Receiver<(Holder, Option<PeerId>)>,
    found: mpsc::Sender<PeerId>,
) {
    let mut dials = JoinSet::new();
    let slots = QuestionSlots::new(DIALS_AT_ONCE, DIAL_SLOW);
    loop {
        let next = async { (slots.slot().await, hints.recv().await) };
        tokio::select! {
            (slot, hint) = next, if dials.len() < DIALS_MAX => {
                let Some((Holder { peer, addresses }, told_by)) = hint else { return };
                let network = network.clone();
                dials.spawn(slot.hold(async move {
                    network.dial_hint(peer, addresses.into_vec(), told_by).await;
                    peer
                }));
            }
            Some(dialled) = dials.join_next() => {
                if let Ok(peer) = dialled
                    && found.send(peer).await.is_err()
                {
                    return;
                }
            }
        }
    }
}

/// Passes on every peer once, and never this node itself.
async fn each_once(own: PeerId, mut candidates: mpsc::Receiver<PeerId>, found: mpsc::Sender<PeerId>) {
    let mut seen = BTreeSet::from([own]);
    while let Some(peer) = candidates.recv().await {
        if seen.len() <= CANDIDATES_IN_ALL_MAX && seen.insert(peer) && found.send(peer).await.is_err() {
            return;
        }
    }
}
