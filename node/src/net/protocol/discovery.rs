//! Finds peers: through the DHT, mDNS and the bootstrap peers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::kad::{
    self, GetProvidersOk, InboundRequest, Mode, QueryId, QueryResult, RecordKey, StoreInserts,
    store::RecordStore as _,
};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use reg_api::report::DhtKeys;
use reg_proto::dht::DhtKey;
use reg_proto::swarm::Protocols;
use tokio::sync::mpsc;

use super::bounded_kad::BoundedKad;
use super::protocol;
use super::provided::{Due, HeldKeys, Provided};
use super::record_store::RecordStore;
use crate::net::config::DhtMode;
use crate::net::limits::{
    ADDRESSES_PER_PEER_MAX, BOOTSTRAP_RETRY, BOOTSTRAP_RETRY_MAX, BOOTSTRAP_SETTLES, DHT_FIRST_PEER,
    DHT_PROVIDE_SMALL, DHT_QUERIES_MAX, DHT_QUERY_TIMEOUT, DHT_RECORD_TTL, DHT_SMALL, NEIGHBOURS_MAX,
    PROVIDERS_DIALLED_MAX,
};
use crate::net::links::from_libp2p;
use crate::net::reach::OpenRanges;

/// libp2p's Kademlia with a record store of our own.
pub(in crate::net) type Kad = kad::Behaviour<RecordStore>;

/// Returns the DHT of a node, with this swarm's protocol name and a [`RecordStore`]; `None` where it is off.
pub(in crate::net) fn behaviour(
    own: PeerId,
    mode: DhtMode,
    names: &Protocols,
    ranges: OpenRanges,
) -> Option<BoundedKad> {
    if mode == DhtMode::Off {
        return None;
    }
    let mut config = kad::Config::new(protocol(&names.dht));
    config
        .set_query_timeout(DHT_QUERY_TIMEOUT)
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_provider_record_ttl(Some(DHT_RECORD_TTL))
        // [`Discovery::tick`] provides keys again, spread over time.
        .set_provider_publication_interval(None)
        .set_publication_interval(None)
        .set_replication_interval(None);
    let mut behaviour = Kad::with_config(own, RecordStore::new(own), config);
    behaviour.set_mode(Some(if mode == DhtMode::Client { Mode::Client } else { Mode::Server }));
    Some(BoundedKad::new(behaviour, ranges))
}

/// When to dial a peer that should stay connected.
#[derive(Debug)]
struct Redial {
    due: Instant,
    wait: Duration,
    /// Since when it is connected.
    since: Option<Instant>,
}

impl Redial {
    fn at_once() -> Self {
        Self { due: Instant::now(), wait: BOOTSTRAP_RETRY, since: None }
    }

    /// Tells whether to dial now, and if so sets the time of the next dial.
    fn is_due(&mut self, now: Instant, is_connected: bool) -> bool {
        if is_connected {
            let since = *self.since.get_or_insert(now);
            if now.duration_since(since) >= BOOTSTRAP_SETTLES {
                self.wait = BOOTSTRAP_RETRY;
            }
            self.due = now + self.wait;
            return false;
        }
        self.since = None;
        let is_due = self.due <= now;
        if is_due {
            self.due = now + self.wait;
            self.wait = (self.wait * 2).min(BOOTSTRAP_RETRY_MAX);
        }
        is_due
    }
}

/// A peer that mDNS has found. A dial can fail where both ends dial in the same instant, so it is repeated.
#[derive(Debug)]
struct Neighbour {
    addresses: Vec<Multiaddr>,
    redial: Redial,
}

/// A caller that looks for the providers of a key.
#[derive(Debug)]
struct LookUp {
    found: mpsc::Sender<reg_proto::peer::PeerId>,
    dialled: usize,
}

/// The state of discovery: pending queries, and what is due when.
pub(in crate::net) struct Discovery {
    mode: DhtMode,
    own: PeerId,
    queries: HashMap<QueryId, LookUp>,
    since: Instant,
    /// Look-ups that wait for the first peer of the DHT, soon after the start.
    waiting: Vec<(DhtKey, mpsc::Sender<reg_proto::peer::PeerId>)>,
    /// Keys of which the other providers are being counted: those of the ticks within one query's time.
    counts: HashMap<QueryId, (DhtKey, HashSet<PeerId>)>,
    provided: Provided,
    /// Whether all keys have to be provided again: a peer has joined a small network, or this node's addresses have
    /// changed.
    is_news: bool,
    told_all: Instant,
    /// Addresses that the configuration and the user name.
    bootstrap: Vec<(Multiaddr, Redial)>,
    neighbours: BTreeMap<PeerId, Neighbour>,
    swept: Instant,
}

fn record_key(key: &DhtKey) -> RecordKey {
    RecordKey::new(key.as_bytes())
}

impl Discovery {
    pub(in crate::net) fn new(own: PeerId, mode: DhtMode, bootstrap: Vec<Multiaddr>) -> Self {
        let now = Instant::now();
        Self {
            mode,
            own,
            queries: HashMap::new(),
            since: now,
            waiting: Vec::new(),
            counts: HashMap::new(),
            provided: Provided::new(own),
            is_news: false,
            told_all: now,
            bootstrap: bootstrap.into_iter().map(|address| (address, Redial::at_once())).collect(),
            neighbours: BTreeMap::new(),
            swept: now,
        }
    }

    /// Looks up providers of a key. Sends each to `found`, and drops the channel when the query ends. Ignores the
    /// request while [`DHT_QUERIES_MAX`] queries are under way. `awaits_peers` tells whether peers may turn up by themselves: then
    /// a look-up soon after the start waits for the first one, because without it the query would end at once.
    pub(in crate::net) fn providers(
        &mut self,
        kad: &mut Kad,
        key: DhtKey,
        found: mpsc::Sender<reg_proto::peer::PeerId>,
        awaits_peers: bool,
    ) {
        self.queries.retain(|_, query| !query.found.is_closed());
        self.waiting.retain(|(_, found)| !found.is_closed());
        if self.queries.len() + self.waiting.len() >= DHT_QUERIES_MAX {
            return;
        }
        if awaits_peers && self.since.elapsed() < DHT_FIRST_PEER && known(kad) == 0 {
            self.waiting.push((key, found));
        } else {
            self.queries.insert(kad.get_providers(record_key(&key)), LookUp { found, dialled: 0 });
        }
    }

    /// Provides a key from now on, within the bounds of [`Provided`]. `is_own` tells whether what it names was published on this
    /// node.
    pub(in crate::net) fn provide(&mut self, kad: &mut Kad, key: DhtKey, is_own: bool) {
        if self.provided.add(key, is_own, Instant::now()) {
            start_providing(kad, &key);
        }
    }

    /// Takes the keys of everything in the store, and stops providing others.
    pub(in crate::net) fn hold(&mut self, kad: &mut Kad, held: &HeldKeys) {
        for key in self.provided.hold(held, Instant::now()) {
            kad.stop_providing(&record_key(&key));
        }
    }

    /// Returns how many keys this node provides, and how many it does not, and why.
    pub(in crate::net) fn keys(&self) -> DhtKeys {
        self.provided.report()
    }

    /// Handles an event of the DHT, and returns the providers to dial. Their addresses are known only while the query
    /// runs.
    pub(in crate::net) fn on_kad(&mut self, kad: &mut Kad, event: kad::Event) -> Vec<PeerId> {
        match event {
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                let found = self.on_progress(id, result);
                if step.last {
                    self.queries.remove(&id);
                    self.on_counted(kad, id);
                }
                return found;
            }
            kad::Event::InboundRequest { request: InboundRequest::AddProvider { record: Some(record) } } => {
                if let Err(error) = kad.store_mut().add_provider(record) {
                    tracing::debug!(%error, "a provider record is not kept");
                }
            }
            kad::Event::RoutingUpdated { is_new_peer: true, .. } => {
                self.is_news |= known(kad) < DHT_SMALL;
                for (key, found) in std::mem::take(&mut self.waiting) {
                    self.queries.insert(kad.get_providers(record_key(&key)), LookUp { found, dialled: 0 });
                }
            }
            _ => {}
        }
        Vec::new()
    }

    fn on_progress(&mut self, id: QueryId, result: QueryResult) -> Vec<PeerId> {
        let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) = result else {
            return Vec::new();
        };
        let providers = providers.into_iter().filter(|peer| *peer != self.own);
        if let Some((_, counted)) = self.counts.get_mut(&id) {
            counted.extend(providers);
            return Vec::new();
        }
        let Some(query) = self.queries.get_mut(&id) else { return Vec::new() };
        let mut providers: Vec<PeerId> = providers.collect();
        for peer in providers.iter().filter_map(from_libp2p) {
            let _heard = query.found.try_send(peer);
        }
        providers.truncate(PROVIDERS_DIALLED_MAX - query.dialled);
        query.dialled += providers.len();
        providers
    }

    /// Takes the number of providers that a query has counted, and provides the key if one more is of use.
    fn on_counted(&mut self, kad: &mut Kad, id: QueryId) {
        let Some((key, others)) = self.counts.remove(&id) else { return };
        if self.provided.counted(&key, others.len(), Instant::now()) {
            start_providing(kad, &key);
        } else {
            kad.stop_providing(&record_key(&key));
        }
    }

    /// Provides all keys again soon: provider records name this node's addresses, and these have changed.
    pub(in crate::net) fn own_addresses_changed(&mut self) {
        self.is_news = true;
    }

    /// Chooses the DHT's mode where the configuration leaves it open: server where peers can reach this node, as far as
    /// it knows, else client.
    pub(in crate::net) fn choose_mode(&self, kad: &mut Kad, any_global_peer: bool, is_reachable: bool) {
        if self.mode == DhtMode::Auto {
            let server = is_reachable || !any_global_peer;
            kad.set_mode(Some(if server { Mode::Server } else { Mode::Client }));
        }
    }

    /// Does what is due in the DHT.
    pub(in crate::net) fn tick(&mut self, kad: &mut Kad) {
        let now = Instant::now();
        if self.is_news && now.duration_since(self.told_all) >= DHT_PROVIDE_SMALL {
            self.is_news = false;
            self.told_all = now;
            self.provided.all_again();
        }
        if now.duration_since(self.since) >= DHT_FIRST_PEER {
            // Their callers are told that nothing was found.
            self.waiting.clear();
        }
        for due in self.provided.due(now, known(kad) < DHT_SMALL) {
            match due {
                Due::Provide(key) => start_providing(kad, &key),
                Due::Count(key) => {
                    self.counts.insert(kad.get_providers(record_key(&key)), (key, HashSet::new()));
                }
            }
        }
        if now.duration_since(self.swept) >= Duration::from_secs(60) {
            self.swept = now;
            kad.store_mut().sweep(now);
        }
    }

    /// Returns the bootstrap addresses that are to be dialled at `now`.
    pub(in crate::net) fn due_bootstrap(
        &mut self,
        now: Instant,
        is_connected: impl Fn(&Multiaddr) -> bool,
    ) -> Vec<Multiaddr> {
        let due = self.bootstrap.iter_mut().filter_map(|(address, redial)| {
            redial.is_due(now, is_connected(address)).then(|| address.clone())
        });
        due.collect()
    }

    /// Adds an address that the user names while the node runs.
    pub(in crate::net) fn name(&mut self, address: Multiaddr) {
        if !self.bootstrap.iter().any(|(known, _)| *known == address) {
            self.bootstrap.push((address, Redial::at_once()));
        }
    }

    /// Removes an address that the user no longer wants to be dialled.
    pub(in crate::net) fn unname(&mut self, address: &Multiaddr) {
        self.bootstrap.retain(|(known, _)| known != address);
    }

    /// Tells whether any bootstrap peer is connected.
    pub(in crate::net) fn is_any_bootstrap(&self, is_connected: impl Fn(&Multiaddr) -> bool) -> bool {
        self.bootstrap.iter().any(|(address, _)| is_connected(address))
    }

    /// Tells whether the configuration names a peer.
    pub(in crate::net) fn is_named(&self, peer: &PeerId) -> bool {
        let named = |address: &Multiaddr| address.iter().any(|part| part == Protocol::P2p(*peer));
        self.bootstrap.iter().any(|(address, _)| named(address))
    }

    /// Adds an address that mDNS has found, within the bounds.
    pub(in crate::net) fn neighbour_found(&mut self, peer: PeerId, address: Multiaddr) {
        if self.neighbours.len() >= NEIGHBOURS_MAX && !self.neighbours.contains_key(&peer) {
            return;
        }
        let new = || Neighbour { addresses: Vec::new(), redial: Redial::at_once() };
        let neighbour = self.neighbours.entry(peer).or_insert_with(new);
        if neighbour.addresses.len() < ADDRESSES_PER_PEER_MAX && !neighbour.addresses.contains(&address) {
            neighbour.addresses.push(address);
        }
    }

    /// Removes an address that mDNS reports as expired.
    pub(in crate::net) fn neighbour_lost(&mut self, peer: &PeerId, address: &Multiaddr) {
        let Some(neighbour) = self.neighbours.get_mut(peer) else { return };
        neighbour.addresses.retain(|known| known != address);
        if neighbour.addresses.is_empty() {
            self.neighbours.remove(peer);
        }
    }

    /// Returns the neighbours that are to be dialled at `now`, each with all its addresses.
    pub(in crate::net) fn due_neighbours(
        &mut self,
        now: Instant,
        is_connected: impl Fn(&PeerId) -> bool,
    ) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let due = self.neighbours.iter_mut().filter_map(|(peer, neighbour)| {
            let is_due = neighbour.redial.is_due(now, is_connected(peer));
            is_due.then(|| (*peer, neighbour.addresses.clone()))
        });
        due.collect()
    }
}

/// Returns how many peers the DHT knows.
fn known(kad: &mut Kad) -> usize {
    kad.kbuckets().map(|bucket| bucket.num_entries()).sum()
}

fn start_providing(kad: &mut Kad, key: &DhtKey) {
    if let Err(error) = kad.start_providing(record_key(key)) {
        tracing::warn!(%error, "a key is not provided");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two nodes that dial each other in the same instant may both fail: then they dial again.
    #[test]
    fn a_neighbour_is_dialled_until_it_is_connected() {
        let mut discovery = Discovery::new(PeerId::random(), DhtMode::Off, Vec::new());
        let (peer, address) =
            (PeerId::random(), "/ip4/192.168.1.2/tcp/4001".parse::<Multiaddr>().expect("parsed"));
        discovery.neighbour_found(peer, address.clone());
        let start = Instant::now();
        assert_eq!(discovery.due_neighbours(start, |_| false).len(), 1);
        assert!(discovery.due_neighbours(start, |_| false).is_empty(), "not twice at once");
        let later = start + BOOTSTRAP_RETRY;
        assert_eq!(discovery.due_neighbours(later, |_| false), [(peer, vec![address.clone()])]);
        assert!(discovery.due_neighbours(later + BOOTSTRAP_RETRY_MAX, |_| true).is_empty());
        discovery.neighbour_lost(&peer, &address);
        assert!(discovery.due_neighbours(later + 2 * BOOTSTRAP_RETRY_MAX, |_| false).is_empty());
    }
}
