//! [`RecordStore`]: the provider records of the DHT that this node keeps, its own apart from those of peers.
//!
//! libp2p's `MemoryStore` holds 1,024 keys of all peers together, removes expired ones only when they are read, and
//! refuses a key's providers after the first 20. So strangers can fill it until this node cannot provide what it holds.
//! This store bounds the keys of each peer and the providers of each key, evicts the oldest record, and counts own
//! records apart.
//!
//! Of the providers of a crowded key it keeps a random sample: those with the least hashes, under a secret of this store. Neither
//! the first nor the last providers have all the places, a provider that comes again keeps its place, and none can choose an id
//! that gets one. Each store has another sample, so a look-up that asks twenty stores finds many more providers than one keeps.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque, hash_map};
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore as KadStore, Result};
use libp2p::kad::{ProviderRecord, Record, RecordKey};

use crate::net::limits::{
    DHT_KEYS_PER_PEER_MAX, DHT_OWN_KEYS_MAX, DHT_PROVIDERS_PER_KEY_MAX, DHT_RECORDS_MAX,
};

/// The provider records. Value records are refused.
pub(in crate::net) struct RecordStore {
    own: PeerId,
    provided: HashMap<RecordKey, ProviderRecord>,
    remote: HashMap<RecordKey, Vec<ProviderRecord>>,
    /// How many keys each peer provides.
    per_peer: BTreeMap<PeerId, usize>,
    /// The order in which records came, oldest first. It may name records that were removed.
    order: VecDeque<(RecordKey, PeerId)>,
    count: usize,
    /// Decides which providers of a crowded key are kept.
    chance: RandomState,
}

impl RecordStore {
    pub(in crate::net) fn new(own: PeerId) -> Self {
        Self {
            own,
            provided: HashMap::new(),
            remote: HashMap::new(),
            per_peer: BTreeMap::new(),
            order: VecDeque::new(),
            count: 0,
            chance: RandomState::new(),
        }
    }

    fn add_remote(&mut self, record: ProviderRecord) -> Result<()> {
        let (key, provider) = (record.key.clone(), record.provider);
        let known = self.remote.entry(key.clone()).or_default();
        if let Some(same) = known.iter_mut().find(|it| it.provider == provider) {
            *same = record;
            return Ok(());
        }
        if self.per_peer.get(&provider).copied().unwrap_or(0) >= DHT_KEYS_PER_PEER_MAX {
            if known.is_empty() {
                self.remote.remove(&key);
            }
            return Err(Error::MaxProvidedKeys);
        }
        let mut displaced = None;
        if known.len() >= DHT_PROVIDERS_PER_KEY_MAX {
            let rank = |peer: &PeerId| self.chance.hash_one((&key, peer));
            displaced = known.iter().map(|it| it.provider).max_by_key(&rank);
            if displaced.is_none_or(|last| rank(&last) < rank(&provider)) {
                return Err(Error::MaxProvidedKeys);
            }
        }
        known.push(record);
        self.count += 1;
        *self.per_peer.entry(provider).or_default() += 1;
        self.order.push_back((key.clone(), provider));
        if let Some(displaced) = displaced {
            self.forget(&key, &displaced);
        }
        while self.count > DHT_RECORDS_MAX {
            let Some((key, provider)) = self.order.pop_front() else { break };
            self.forget(&key, &provider);
        }
        if self.order.len() > 2 * DHT_RECORDS_MAX {
            let remote = &self.remote;
            self.order.retain(|(key, provider)| {
                remote.get(key).is_some_and(|all| all.iter().any(|it| it.provider == *provider))
            });
        }
        Ok(())
    }

    fn forget(&mut self, key: &RecordKey, provider: &PeerId) {
        let Some(known) = self.remote.get_mut(key) else { return };
        let before = known.len();
        known.retain(|it| it.provider != *provider);
        if known.len() == before {
            return;
        }
        if known.is_empty() {
            self.remote.remove(key);
        }
        self.count -= 1;
        if let Some(count) = self.per_peer.get_mut(provider) {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(provider);
            }
        }
    }

    /// Removes expired records. The caller does it at intervals, so that they do not stay until a peer asks for them.
    pub(in crate::net) fn sweep(&mut self, now: Instant) {
        let expired: Vec<(RecordKey, PeerId)> = self
            .remote
            .values()
            .flatten()
            .filter(|record| record.is_expired(now))
            .map(|record| (record.key.clone(), record.provider))
            .collect();
        for (key, provider) in expired {
            self.forget(&key, &provider);
        }
    }
}

impl KadStore for RecordStore {
    type RecordsIter<'a> = std::iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = std::iter::Map<
        hash_map::Values<'a, RecordKey, ProviderRecord>,
        fn(&'a ProviderRecord) -> Cow<'a, ProviderRecord>,
    >;

    fn get(&self, _: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    fn put(&mut self, _: Record) -> Result<()> {
        Err(Error::MaxRecords)
    }

    fn remove(&mut self, _: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        std::iter::empty()
    }

    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        if record.provider != self.own {
            return self.add_remote(record);
        }
        if self.provided.len() >= DHT_OWN_KEYS_MAX && !self.provided.contains_key(&record.key) {
            return Err(Error::MaxProvidedKeys);
        }
        self.provided.insert(record.key.clone(), record);
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        self.provided
            .get(key)
            .into_iter()
            .chain(self.remote.get(key).into_iter().flatten())
            .cloned()
            .collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        self.provided.values().map(Cow::Borrowed)
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        if *provider == self.own {
            self.provided.remove(key);
        } else {
            self.forget(key, provider);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn record(key: u32, provider: PeerId) -> ProviderRecord {
        let expires = Some(Instant::now() + Duration::from_secs(60));
        ProviderRecord { key: RecordKey::new(&key.to_be_bytes()), provider, expires, addresses: Vec::new() }
    }

    #[test]
    fn strangers_never_keep_own_records_out() {
        let own = PeerId::random();
        let mut store = RecordStore::new(own);
        let strangers: Vec<PeerId> = (0..30).map(|_| PeerId::random()).collect();
        for n in 0..40_000u32 {
            drop(store.add_provider(record(n, strangers[n as usize % strangers.len()])));
        }
        assert!(store.count <= DHT_RECORDS_MAX && store.order.len() <= 2 * DHT_RECORDS_MAX + 1);
        for n in 0..100 {
            store.add_provider(record(n, own)).unwrap();
        }
        assert_eq!(store.provided().count(), 100);
    }

    #[test]
    fn one_peer_provides_so_many_keys_and_no_more() {
        let mut store = RecordStore::new(PeerId::random());
        let [one, other] = [PeerId::random(), PeerId::random()];
        let most = DHT_KEYS_PER_PEER_MAX as u32;
        for n in 0..most {
            store.add_provider(record(n, one)).unwrap();
        }
        assert!(matches!(store.add_provider(record(most, one)), Err(Error::MaxProvidedKeys)));
        assert!(store.providers(&RecordKey::new(&most.to_be_bytes())).is_empty());
        store.add_provider(record(0, one)).expect("a key that is provided anew is none more");
        store.add_provider(record(most, other)).expect("another peer has a bound of its own");
        assert_eq!(store.per_peer, BTreeMap::from([(one, DHT_KEYS_PER_PEER_MAX), (other, 1)]));
        store.remove_provider(&RecordKey::new(&0u32.to_be_bytes()), &one);
        store.add_provider(record(most, one)).expect("there is room for one more");
    }

    /// Whatever the order in which they come, each has the same chance, and another one in each store.
    #[test]
    fn of_the_providers_of_a_crowded_key_a_random_sample_is_kept() {
        let key = RecordKey::new(&1u32.to_be_bytes());
        let peers: Vec<PeerId> = (0..10 * DHT_PROVIDERS_PER_KEY_MAX).map(|_| PeerId::random()).collect();
        let (mut found, mut of_first, mut of_last) = (BTreeMap::new(), 0, 0);
        for _store in 0..20 {
            let mut store = RecordStore::new(PeerId::random());
            // They come twice, as providers do that provide again.
            for peer in peers.iter().chain(&peers) {
                drop(store.add_provider(record(1, *peer)));
            }
            let kept: Vec<PeerId> = store.providers(&key).iter().map(|it| it.provider).collect();
            assert_eq!((kept.len(), store.count), (DHT_PROVIDERS_PER_KEY_MAX, DHT_PROVIDERS_PER_KEY_MAX));
            let of = |part: &[PeerId]| kept.iter().filter(|it| part.contains(it)).count();
            of_first += of(&peers[..DHT_PROVIDERS_PER_KEY_MAX]);
            of_last += of(&peers[9 * DHT_PROVIDERS_PER_KEY_MAX..]);
            kept.into_iter().for_each(|peer| *found.entry(peer).or_insert(0) += 1);
            store.sweep(Instant::now() + Duration::from_secs(61));
            assert_eq!((store.count, store.remote.len(), store.per_peer.len()), (0, 0, 0));
        }
        println!("20 stores name {} of {} providers", found.len(), peers.len());
        assert!(found.len() > 8 * DHT_PROVIDERS_PER_KEY_MAX, "{}", found.len());
        // 128 each are expected, with a deviation of 11.
        assert!((64..256).contains(&of_first) && (64..256).contains(&of_last), "{of_first} and {of_last}");
    }
}
