//! Finding peers: the DHT, mDNS and the bootstrap peers.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use libp2p::kad::{
    self, GetProvidersOk, InboundRequest, Mode, QueryId, QueryResult, RecordKey, StoreInserts,
    store::RecordStore as _,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use reg_proto::dht::DhtKey;
use reg_proto::wire::DHT_PROTOCOL;
use tokio::sync::mpsc;

use super::record_store::RecordStore;
use crate::net::limits::{
    BOOTSTRAP_RETRY, BOOTSTRAP_RETRY_MAX, DHT_OWN_KEYS_MAX, DHT_PROVIDE_AGAIN, DHT_PROVIDE_PER_TICK,
    DHT_PROVIDE_SMALL, DHT_QUERIES_MAX, DHT_QUERY_TIMEOUT, DHT_RECORD_TTL, DHT_SMALL,
};
use crate::net::links::from_libp2p;
use crate::net::network::DhtMode;

type Kad = kad::Behaviour<RecordStore>;

/// Returns the DHT of a node, with a protocol id and a store of its own.
pub(crate) fn behaviour(own: PeerId, mode: DhtMode) -> Option<Kad> {
    if mode == DhtMode::Off {
        return None;
    }
    let mut config = kad::Config::new(StreamProtocol::new(DHT_PROTOCOL));
    config
        .set_query_timeout(DHT_QUERY_TIMEOUT)
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_provider_record_ttl(Some(DHT_RECORD_TTL))
        // We publish anew ourselves, spread over time.
        .set_provider_publication_interval(None)
        .set_publication_interval(None)
        .set_replication_interval(None);
    let mut behaviour = Kad::with_config(own, RecordStore::new(own), config);
    behaviour.set_mode(Some(if mode == DhtMode::Client { Mode::Client } else { Mode::Server }));
    Some(behaviour)
}

/// A peer that the configuration names.
#[derive(Debug)]
struct Bootstrap {
    address: Multiaddr,
    due: Instant,
    wait: Duration,
}

/// What discovery waits for, and what it does by the clock.
pub(crate) struct Discovery {
    mode: DhtMode,
    own: PeerId,
    queries: HashMap<QueryId, mpsc::Sender<reg_proto::peer::PeerId>>,
    /// Keys that this node provides, and when each was last told.
    provided: BTreeMap<DhtKey, Option<Instant>>,
    /// Whether a peer has come while the network is small, to whom everything is to be told.
    is_news: bool,
    told_all: Instant,
    bootstrap: Vec<Bootstrap>,
    swept: Instant,
}

fn record_key(key: &DhtKey) -> RecordKey {
    RecordKey::new(key.as_bytes())
}

impl Discovery {
    pub(crate) fn new(own: PeerId, mode: DhtMode, bootstrap: Vec<Multiaddr>) -> Self {
        let now = Instant::now();
        let entry = |address| Bootstrap { address, due: now, wait: BOOTSTRAP_RETRY };
        Self {
            mode,
            own,
            queries: HashMap::new(),
            provided: BTreeMap::new(),
            is_news: false,
            told_all: now,
            bootstrap: bootstrap.into_iter().map(entry).collect(),
            swept: now,
        }
    }

    /// Looks for providers of a key; they are sent as they are found, and the channel closes when the query ends.
    pub(crate) fn providers(
        &mut self,
        kad: &mut Kad,
        key: &DhtKey,
        found: mpsc::Sender<reg_proto::peer::PeerId>,
    ) {
        self.queries.retain(|_, found| !found.is_closed());
        if self.queries.len() < DHT_QUERIES_MAX {
            self.queries.insert(kad.get_providers(record_key(key)), found);
        }
    }

    /// Provides a key from now on.
    pub(crate) fn provide(&mut self, kad: &mut Kad, key: DhtKey) {
        if self.provided.len() < DHT_OWN_KEYS_MAX || self.provided.contains_key(&key) {
            self.provided.insert(key, Some(Instant::now()));
            start_providing(kad, &key);
        }
    }

    /// Returns the providers that are to be dialled: their addresses are known while the query runs.
    pub(crate) fn on_kad(&mut self, kad: &mut Kad, event: kad::Event) -> Vec<PeerId> {
        match event {
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                let found = self.on_progress(id, result);
                if step.last {
                    self.queries.remove(&id);
                }
                return found;
            }
            kad::Event::InboundRequest { request: InboundRequest::AddProvider { record: Some(record) } } => {
                if let Err(error) = kad.store_mut().add_provider(record) {
                    tracing::debug!(%error, "a provider record finds no room");
                }
            }
            kad::Event::RoutingUpdated { is_new_peer: true, .. } => {
                let known: usize = kad.kbuckets().map(|bucket| bucket.num_entries()).sum();
                self.is_news |= known < DHT_SMALL;
            }
            _ => {}
        }
        Vec::new()
    }

    fn on_progress(&mut self, id: QueryId, result: QueryResult) -> Vec<PeerId> {
        let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) = result else {
            return Vec::new();
        };
        let Some(found) = self.queries.get(&id) else { return Vec::new() };
        let providers: Vec<PeerId> = providers.into_iter().filter(|peer| *peer != self.own).collect();
        for peer in providers.iter().filter_map(from_libp2p) {
            let _heard = found.try_send(peer);
        }
        providers
    }

    /// Chooses the DHT's mode where it is left to us: a server where others can reach us, as far as we know.
    pub(crate) fn choose_mode(&self, kad: &mut Kad, any_global_peer: bool, is_reachable: bool) {
        if self.mode == DhtMode::Auto {
            let server = is_reachable || !any_global_peer;
            kad.set_mode(Some(if server { Mode::Server } else { Mode::Client }));
        }
    }

    /// Does what is due in the DHT.
    pub(crate) fn tick(&mut self, kad: &mut Kad) {
        let now = Instant::now();
        if self.is_news && now.duration_since(self.told_all) >= DHT_PROVIDE_SMALL {
            self.is_news = false;
            self.told_all = now;
            self.provided.values_mut().for_each(|told| *told = None);
        }
        let due = self
            .provided
            .iter()
            .filter(|(_, told)| told.is_none_or(|told| now.duration_since(told) >= DHT_PROVIDE_AGAIN));
        let due: Vec<DhtKey> = due.map(|(key, _)| *key).take(DHT_PROVIDE_PER_TICK).collect();
        for key in due {
            self.provided.insert(key, Some(now));
            start_providing(kad, &key);
        }
        if now.duration_since(self.swept) >= Duration::from_secs(60) {
            self.swept = now;
            kad.store_mut().sweep(now);
        }
    }

    /// Returns the bootstrap addresses that are to be dialled now.
    pub(crate) fn due_bootstrap(&mut self, is_connected: impl Fn(&Multiaddr) -> bool) -> Vec<Multiaddr> {
        let now = Instant::now();
        let mut due = Vec::new();
        for entry in &mut self.bootstrap {
            if is_connected(&entry.address) {
                entry.wait = BOOTSTRAP_RETRY;
                entry.due = now + BOOTSTRAP_RETRY;
            } else if entry.due <= now {
                entry.due = now + entry.wait;
                entry.wait = (entry.wait * 2).min(BOOTSTRAP_RETRY_MAX);
                due.push(entry.address.clone());
            }
        }
        due
    }
}

fn start_providing(kad: &mut Kad, key: &DhtKey) {
    if let Err(error) = kad.start_providing(record_key(key)) {
        tracing::warn!(%error, "a key is not provided");
    }
}
