//! [`Finder`]: a stream of peers that may have a model, from every source at once.
//!
//! The sources are: peers that the user named; connected peers, which mDNS and bootstrap bring; holders that other peers named;
//! providers from the DHT; strangers, where the user allows it; and, where all of these know nothing, the peers of connected
//! peers. Each source alone can be poisoned, and no source delays another. One honest peer is enough, even if it only introduces
//! others.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use reg_api::reporter::Reporter;
use reg_proto::announcement::Holder;
use reg_proto::dht::DhtKey;
use reg_proto::digest::Digest;
use reg_proto::name::PublisherId;
use reg_proto::peer::{Address, PeerId};
use reg_proto::wire::{Request, Response};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::debug;

use super::introductions::Introductions;
use super::questions::QuestionSlots;
use crate::net::{ConnectError, Network, PROVIDERS_DIALLED_MAX, Rendezvous};
use crate::registry::limits::{
    ASK_AROUND_AFTER, ASK_DHT_AGAIN, ASKED_AROUND_MAX, CANDIDATES_IN_ALL_MAX, CANDIDATES_MAX, DIAL_AGAIN,
    DIAL_SLOW, DIALS_AT_ONCE, DIALS_MAX, DIALS_OF_ADDRESS_MAX, EXCHANGE_FIRST, EXCHANGE_LATER, LOOK_AGAIN,
    LOOK_FIRST, QUIET,
};

/// What is searched for, and where to begin.
#[derive(Debug, Clone)]
pub struct Search {
    /// Addresses that the user gave.
    pub from: Vec<Address>,
    /// Keys under which the DHT may have providers.
    pub keys: Vec<DhtKey>,
    /// The publisher that strangers are asked for, where they are: see [`Rendezvous`](crate::net::Rendezvous).
    pub strangers: Option<PublisherId>,
    /// Holders that a peer named, with that peer where it is known.
    pub hints: Vec<(Holder, Option<PeerId>)>,
    /// Receives a note when a peer that the user named cannot be reached.
    pub reporter: Reporter,
}

/// A peer that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) peer: PeerId,
    /// Whether it is connected. Then it answers soon, if at all, and it is worth waiting for.
    pub(super) is_reached: bool,
}

impl Found {
    /// Returns a peer that was dialled, and whether the dial has reached it.
    pub(super) async fn dialled(network: &Network, peer: PeerId) -> Self {
        Self { peer, is_reached: network.connected().await.contains(&peer) }
    }
}

/// A step of a search. The sources send their steps in order: the peers that one has found come before its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Peer(Found),
    /// An address that the user gave was dialled, or the connected peers were looked at for the first time.
    Known,
    /// A query of the DHT has ended for the first time.
    Dht,
    /// The connected peers are being asked for introductions, or that has ended.
    Introducing(bool),
}

/// What a step of a search has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Peer(Found),
    /// A source has answered.
    Answered,
}

/// A stream of found peers, each once. Dropping it ends the search.
#[derive(Debug)]
pub struct Finder {
    events: mpsc::Receiver<Event>,
    /// The same events for a second reader.
    more: Option<More>,
    hints: mpsc::Sender<(Holder, Option<PeerId>)>,
    /// Takes what further queries of the DHT find.
    raw: mpsc::Sender<Event>,
    /// Addresses and looks at the connections that have not ended once.
    known: usize,
    /// DHT queries that have not ended once, and the first look for strangers.
    dht: usize,
    is_introducing: bool,
    /// The peers that are being dialled because a peer or a head named them.
    dials: Arc<AtomicUsize>,
    /// Whether the user named peers.
    is_named: bool,
    is_hinted: bool,
    /// Whether strangers are looked for.
    meets_strangers: bool,
    is_settled: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

/// The events of a search for a reader that begins later. Where it reads none of them, the first ones are kept.
#[derive(Debug)]
pub(super) struct More {
    events: mpsc::Receiver<Event>,
    /// Addresses and looks at the connections that have not ended once, as the events say that were read.
    known: usize,
}

impl More {
    /// Returns the next event; `None` where the search has ended.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await?;
        if event == Event::Known {
            self.known -= 1;
        }
        Some(event)
    }

    /// Tells whether every address was dialled, the connected peers were looked at, and all that was found is read.
    pub(super) fn is_known_read(&self) -> bool {
        self.known == 0 && self.events.is_empty()
    }
}

impl Finder {
    /// Starts a search that goes on until the finder is dropped.
    pub fn start(network: &Network, search: Search) -> Self {
        let (found, events) = mpsc::channel(CANDIDATES_MAX);
        let (found_more, more) = mpsc::channel(CANDIDATES_IN_ALL_MAX);
        let (hints, hinted) = mpsc::channel(CANDIDATES_MAX);
        let (is_named, is_hinted) = (!search.from.is_empty(), !search.hints.is_empty());
        for hint in search.hints {
            drop(hints.try_send(hint));
        }
        let mut tasks = JoinSet::new();
        let (known, mut dht) = (search.from.len() + 1, search.keys.len());
        let (raw, candidates) = mpsc::channel(CANDIDATES_MAX);
        let (trust, trusted) = mpsc::channel(search.from.len().max(1));
        for address in search.from {
            let connecting = connect(network.clone(), address, search.reporter.clone());
            let (raw, trust) = (raw.clone(), trust.clone());
            tasks.spawn(async move {
                if let Some(peer) = connecting.await {
                    let _asked = trust.try_send(peer);
                    let _heard = raw.send(Event::Peer(Found { peer, is_reached: true })).await;
                }
                let _heard = raw.send(Event::Known).await;
            });
        }
        drop(trust);
        for key in search.keys {
            tasks.spawn(ask_dht(network.clone(), key, raw.clone(), true));
        }
        let (is_settled, dials) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        tasks.spawn(ask_around(network.clone(), trusted, raw.clone(), is_settled.clone()));
        let meets_strangers = search.strangers.is_some() && network.rendezvous().is_some();
        if let (Some(publisher), Some(rendezvous)) = (search.strangers, network.rendezvous()) {
            dht += 1;
            let rendezvous = rendezvous.clone();
            tasks.spawn(meet_strangers(rendezvous, publisher, raw.clone(), is_settled.clone()));
        }
        tasks.spawn(watch_connected(network.clone(), raw.clone()));
        tasks.spawn(follow_hints(network.clone(), hinted, raw.clone(), dials.clone()));
        tasks.spawn(each_once(network.peer_id(), candidates, found, found_more));
        let more = Some(More { events: more, known });
        let is_introducing = true;
        Self {
            events,
            more,
            hints,
            raw,
            known,
            dht,
            is_introducing,
            dials,
            is_named,
            is_hinted,
            meets_strangers,
            is_settled,
            tasks,
        }
    }

    /// Returns the next peer; `None` where no more can be found.
    pub async fn next(&mut self) -> Option<PeerId> {
        loop {
            match self.step().await? {
                Step::Peer(found) => return Some(found.peer),
                Step::Answered => {}
            }
        }
    }

    /// Returns the next peer, or that a source has answered; `None` where no more can be found.
    pub(super) async fn step(&mut self) -> Option<Step> {
        match self.events.recv().await? {
            Event::Peer(found) => return Some(Step::Peer(found)),
            Event::Known => self.known -= 1,
            Event::Dht => self.dht -= 1,
            Event::Introducing(is_introducing) => self.is_introducing = is_introducing,
        }
        Some(Step::Answered)
    }

    /// Returns the events from the beginning of the search, for one more reader; `None` where there is one already.
    pub(super) const fn more(&mut self) -> Option<More> {
        self.more.take()
    }

    /// Tells whether the user named peers.
    pub const fn is_named(&self) -> bool {
        self.is_named
    }

    /// Tells whether the search began with peers that others named.
    pub(super) const fn is_hinted(&self) -> bool {
        self.is_hinted
    }

    /// Tells whether the search can find only named and connected peers.
    pub fn is_all(&self, network: &Network) -> bool {
        !self.is_hinted && !self.meets_strangers && !network.finds_others()
    }

    /// Tells whether an address has not been dialled yet, or the connected peers were not looked at yet.
    pub(super) const fn is_asking_known(&self) -> bool {
        self.known > 0
    }

    /// Tells whether a query of the DHT has not ended once.
    pub(super) const fn is_asking_dht(&self) -> bool {
        self.dht > 0
    }

    /// Tells whether connected peers are being asked for introductions, or peers are dialled that others named.
    pub(super) fn is_following(&self) -> bool {
        self.is_introducing || self.is_dialling()
    }

    /// Tells whether peers are dialled that others named.
    pub(super) fn is_dialling(&self) -> bool {
        self.dials.load(Ordering::Relaxed) > 0
    }

    /// Tells whether an address, the DHT, the first look at the connections or introductions have not answered yet.
    pub fn is_searching(&self) -> bool {
        self.is_asking_known() || self.is_asking_dht() || self.is_introducing
    }

    /// From now on, looks for providers of this key too. The search does not wait for them.
    pub(super) fn look_under(&mut self, network: &Network, key: DhtKey) {
        self.tasks.spawn(ask_dht(network.clone(), key, self.raw.clone(), false));
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

/// Dials an address, and again while the dials before have not ended. Returns the first peer that answers, else why the first
/// dial failed.
async fn dial(network: &Network, address: &Address) -> Result<PeerId, ConnectError> {
    let (mut dials, mut begun, mut failure) = (JoinSet::new(), 0, None);
    let began = Instant::now();
    loop {
        let next = began + DIAL_AGAIN * begun;
        tokio::select! {
            biased;
            Some(Ok(dialled)) = dials.join_next() => match dialled {
                Ok(peer) => return Ok(peer),
                Err(error) if dials.is_empty() => return Err(failure.unwrap_or(error)),
                Err(error) => failure = failure.or(Some(error)),
            },
            () = tokio::time::sleep_until(next.into()), if begun < DIALS_OF_ADDRESS_MAX => {
                begun += 1;
                let (network, address) = (network.clone(), address.clone());
                dials.spawn(async move { network.connect(&address).await });
            }
            else => return Err(failure.unwrap_or(ConnectError::Offline)),
        }
    }
}

async fn connect(network: Network, address: Address, reporter: Reporter) -> Option<PeerId> {
    match dial(&network, &address).await {
        Ok(peer) => Some(peer),
        Err(error) => {
            debug!(%address, ?error, "a peer that the user named cannot be reached");
            let cause = error.source().map_or_else(String::new, |source| format!(": {source}"));
            reporter.note(format_args!("{error}{cause}"));
            None
        }
    }
}

/// Asks the DHT for providers of a key, again and again. `is_counted` tells whether the search waits for the first answer.
async fn ask_dht(network: Network, key: DhtKey, found: mpsc::Sender<Event>, is_counted: bool) {
    let mut is_first = is_counted;
    loop {
        let asked = Instant::now();
        let mut providers = network.providers(key).await;
        // The network dials so many. More of a crowded key would keep the few providers of another one waiting.
        for _ in 0..PROVIDERS_DIALLED_MAX {
            let Some(peer) = providers.recv().await else { break };
            if found.send(Event::Peer(Found { peer, is_reached: false })).await.is_err() {
                return;
            }
        }
        drop(providers);
        if std::mem::take(&mut is_first) && found.send(Event::Dht).await.is_err() {
            return;
        }
        tokio::time::sleep(ASK_DHT_AGAIN.saturating_sub(asked.elapsed()).max(LOOK_AGAIN)).await;
    }
}

/// Looks for strangers that stand up for a publisher, unless the search has succeeded before. Those that are met are among the
/// connected peers then.
async fn meet_strangers(
    rendezvous: Rendezvous,
    publisher: PublisherId,
    found: mpsc::Sender<Event>,
    is_settled: Arc<AtomicBool>,
) {
    tokio::time::sleep(ASK_AROUND_AFTER).await;
    let mut is_first = true;
    while !is_settled.load(Ordering::Relaxed) {
        rendezvous.seek(publisher).await;
        // A peer says that it is of this swarm a moment after it is connected, and is then found.
        tokio::time::sleep(QUIET).await;
        if std::mem::take(&mut is_first) && found.send(Event::Dht).await.is_err() {
            return;
        }
        tokio::time::sleep(ASK_DHT_AGAIN).await;
    }
    if is_first {
        let _heard = found.send(Event::Dht).await;
    }
}

/// Asks connected peers for the peers that they know, unless the search has succeeded before.
async fn ask_around(
    network: Network,
    mut trusted: mpsc::Receiver<PeerId>,
    found: mpsc::Sender<Event>,
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
        if is_pending != has_more && found.send(Event::Introducing(has_more)).await.is_err() {
            return;
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

async fn watch_connected(network: Network, found: mpsc::Sender<Event>) {
    let (mut is_first, mut wait) = (true, LOOK_FIRST);
    loop {
        for peer in network.connected().await {
            if found.send(Event::Peer(Found { peer, is_reached: true })).await.is_err() {
                return;
            }
        }
        if std::mem::take(&mut is_first) && found.send(Event::Known).await.is_err() {
            return;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LOOK_AGAIN);
    }
}

async fn follow_hints(
    network: Network,
    mut hints: mpsc::Receiver<(Holder, Option<PeerId>)>,
    found: mpsc::Sender<Event>,
    under_way: Arc<AtomicUsize>,
) {
    let mut dials = JoinSet::new();
    let slots = QuestionSlots::new(DIALS_AT_ONCE, DIAL_SLOW);
    loop {
        let next = async { (slots.slot().await, hints.recv().await) };
        tokio::select! {
            (slot, hint) = next, if dials.len() < DIALS_MAX => {
                let Some((Holder { peer, addresses }, told_by)) = hint else { return };
                let network = network.clone();
                under_way.fetch_add(1, Ordering::Relaxed);
                dials.spawn(slot.hold(async move {
                    network.dial_hint(peer, addresses.into_vec(), told_by).await;
                    Found::dialled(&network, peer).await
                }));
            }
            Some(dialled) = dials.join_next() => {
                let sent = match dialled {
                    Ok(dialled) => found.send(Event::Peer(dialled)).await,
                    Err(_) => Ok(()),
                };
                under_way.fetch_sub(1, Ordering::Relaxed);
                if sent.is_err() {
                    return;
                }
            }
        }
    }
}

/// Passes on every event, every peer once, and never this node itself.
async fn each_once(
    own: PeerId,
    mut candidates: mpsc::Receiver<Event>,
    found: mpsc::Sender<Event>,
    more: mpsc::Sender<Event>,
) {
    let mut seen = BTreeSet::from([own]);
    while let Some(event) = candidates.recv().await {
        let is_passed_on = match event {
            Event::Peer(Found { peer, .. }) => seen.len() <= CANDIDATES_IN_ALL_MAX && seen.insert(peer),
            Event::Known | Event::Dht | Event::Introducing(_) => true,
        };
        if is_passed_on {
            if matches!(event, Event::Peer(_) | Event::Known) {
                let _full = more.try_send(event);
            }
            if found.send(event).await.is_err() {
                return;
            }
        }
    }
}
