//! [`Provided`]: the keys of the DHT that this node provides, and those that it leaves to others.
//!
//! A publisher's key is always provided. The key of a model, a manifest or a blob is provided while fewer than
//! [`DHT_PROVIDERS_ENOUGH`] other nodes provide it, because a look-up needs no more. How many do is counted in the DHT itself,
//! each time the key is due again. What was published on this node is always provided, so that false providers cannot hide it.
//! Of each kind at most [`DHT_OWN_KEYS_PER_KIND_MAX`] keys are provided: first this node's own, then the rarest. The keys of what
//! has been removed from the store are given up: see [`Provided::hold`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use libp2p::PeerId;
use reg_api::report::DhtKeys;
use reg_proto::dht::{DhtKey, DhtKind};
use reg_proto::digest::Digest;

use crate::net::limits::{
    DHT_KEYS_KNOWN_MAX, DHT_OWN_KEYS_PER_KIND_MAX, DHT_PROVIDE_AGAIN, DHT_PROVIDE_PER_TICK,
    DHT_PROVIDERS_ENOUGH, DHT_PUBLISHER_STAYS,
};

/// What is due for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// It is to be sent to the DHT.
    Provide(DhtKey),
    /// The nodes that provide it are to be counted first.
    Count(DhtKey),
}

/// What this node knows of a key that it could provide.
#[derive(Debug, Default)]
struct State {
    /// Whether what it names was published on this node.
    is_own: bool,
    /// When this node was last asked to provide it; `None` for one that is held from the start on.
    named: Option<Instant>,
    /// When it was last sent to the DHT; `None` where it is due at once.
    sent: Option<Instant>,
    /// When the other providers were counted, and how many there were.
    counted: Option<(Instant, usize)>,
    /// Whether it is left to the others, which are enough.
    is_left: bool,
}

impl State {
    fn others(&self) -> usize {
        self.counted.map_or(0, |(_, others)| others)
    }
}

/// The keys of everything in the store.
#[derive(Debug)]
pub struct HeldKeys {
    /// When they were gathered. What was named later is not among them.
    pub since: Instant,
    /// Each key, and whether what it names was published on this node.
    pub keys: BTreeMap<DhtKey, bool>,
    /// Keys of blobs that belong to no model yet: they stay if they are provided.
    pub loose: BTreeSet<DhtKey>,
}

/// The keys that this node could provide.
#[derive(Debug)]
pub(super) struct Provided {
    /// This node: of too many providers of a key, its id decides whether it goes on.
    own: PeerId,
    keys: BTreeMap<DhtKey, State>,
    /// The keys that are provided: of each kind as many as the bound allows.
    chosen: BTreeSet<DhtKey>,
    /// How many of each kind these are.
    counts: BTreeMap<DhtKind, usize>,
    is_changed: bool,
    /// Keys of the store that this node does not even remember.
    forgotten: usize,
    /// What may still be sent before the next tick.
    budget: usize,
}

impl Provided {
    pub(super) fn new(own: PeerId) -> Self {
        let (keys, chosen, counts) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { own, keys, chosen, counts, is_changed: false, forgotten: 0, budget: 0 }
    }

    /// Adds a key. Tells whether to send it to the DHT now; else it is due at one of the next ticks.
    pub(super) fn add(&mut self, key: DhtKey, is_own: bool, now: Instant) -> bool {
        // One for which there is no room is counted, or taken up, when the store is looked at the next time.
        if self.keys.len() >= DHT_KEYS_KNOWN_MAX && !self.keys.contains_key(&key) {
            return false;
        }
        let state = self.keys.entry(key).or_default();
        state.named = Some(now);
        self.is_changed |= is_own && !state.is_own;
        state.is_own |= is_own;
        state.is_left &= !state.is_own;
        if !state.is_left && !self.chosen.contains(&key) {
            let count = self.counts.entry(key.kind()).or_default();
            if *count < DHT_OWN_KEYS_PER_KIND_MAX {
                *count += 1;
                self.chosen.insert(key);
            } else {
                self.is_changed = true;
            }
        }
        let Some(state) = self.keys.get_mut(&key).filter(|_| self.chosen.contains(&key)) else {
            return false;
        };
        if state.sent.is_some() || self.budget == 0 {
            return false;
        }
        self.budget -= 1;
        state.sent = Some(now);
        true
    }

    /// Takes the keys of everything in the store: adds those that are missing, and gives up those of what is not there any more.
    /// Returns these. A publisher's key stays for a while after it was named, because a model may be on its way.
    pub(super) fn hold(&mut self, held: &HeldKeys, now: Instant) -> Vec<DhtKey> {
        let is_held = |key: &DhtKey, state: &State| {
            held.keys.contains_key(key)
                || held.loose.contains(key)
                || state.named.is_some_and(|at| {
                    let is_coming = now.saturating_duration_since(at) < DHT_PUBLISHER_STAYS;
                    at >= held.since || (key.kind() == DhtKind::Publisher && is_coming)
                })
        };
        let known = self.keys.iter();
        let gone: Vec<DhtKey> =
            known.filter(|(key, state)| !is_held(key, state)).map(|(key, _)| *key).collect();
        for key in &gone {
            self.keys.remove(key);
        }
        self.forgotten = 0;
        for (key, is_own) in &held.keys {
            if self.keys.len() >= DHT_KEYS_KNOWN_MAX && !self.keys.contains_key(key) {
                self.forgotten += 1;
                continue;
            }
            let state = self.keys.entry(*key).or_default();
            state.is_own |= is_own;
            state.is_left &= !state.is_own;
        }
        self.is_changed = true;
        self.choose();
        gone
    }

    /// Chooses anew which keys are provided, where something has changed.
    fn choose(&mut self) {
        if !std::mem::take(&mut self.is_changed) {
            return;
        }
        self.chosen.clear();
        for kind in DhtKind::ALL {
            let mut of_kind: Vec<(bool, usize, DhtKey)> = self
                .keys
                .iter()
                .filter(|(key, state)| key.kind() == kind && !state.is_left)
                .map(|(key, state)| (!state.is_own, state.others(), *key))
                .collect();
            if of_kind.len() > DHT_OWN_KEYS_PER_KIND_MAX {
                of_kind.sort_unstable();
                of_kind.truncate(DHT_OWN_KEYS_PER_KIND_MAX);
            }
            self.counts.insert(kind, of_kind.len());
            self.chosen.extend(of_kind.into_iter().map(|(_, _, key)| key));
        }
    }

    /// Makes every key that is provided due at once: provider records name this node's addresses, and these have changed, or a
    /// small network has a new node.
    pub(super) fn all_again(&mut self) {
        let chosen = &self.chosen;
        self.keys.iter_mut().filter(|(key, _)| chosen.contains(key)).for_each(|(_, state)| state.sent = None);
    }

    /// Returns what is due at `now`, as much as one tick may begin: first what was never sent, then this node's own and the
    /// rarest. In a small network, nothing is left to others.
    pub(super) fn due(&mut self, now: Instant, is_small: bool) -> Vec<Due> {
        self.budget = DHT_PROVIDE_PER_TICK;
        if is_small && self.keys.values().any(|state| state.is_left) {
            self.keys.values_mut().for_each(|state| state.is_left = false);
            self.is_changed = true;
        }
        self.choose();
        let is_old = |at: Instant| now.duration_since(at) >= DHT_PROVIDE_AGAIN;
        let mut due: Vec<(bool, bool, usize, Due)> = Vec::new();
        for (key, state) in &self.keys {
            let is_chosen = self.chosen.contains(key);
            let last = if is_chosen { state.sent } else { state.counted.map(|(at, _)| at) };
            let is_due = match last {
                Some(at) => is_old(at),
                // One that is beyond the bound waits until a crowded one makes room.
                None => is_chosen,
            };
            if !is_due {
                continue;
            }
            let is_sure =
                is_small || state.is_own || key.kind() == DhtKind::Publisher || state.sent.is_none();
            let what = if is_chosen && is_sure { Due::Provide(*key) } else { Due::Count(*key) };
            due.push((state.sent.is_some(), !state.is_own, state.others(), what));
        }
        due.sort_unstable();
        let due: Vec<Due> = due.into_iter().take(self.budget).map(|(_, _, _, what)| what).collect();
        self.budget -= due.len();
        for what in &due {
            let (Due::Provide(key) | Due::Count(key)) = what;
            let Some(state) = self.keys.get_mut(key) else { continue };
            match what {
                Due::Provide(_) => state.sent = Some(now),
                // It is not counted again while the DHT is asked.
                Due::Count(_) if self.chosen.contains(key) => state.sent = Some(now),
                Due::Count(_) => state.counted = Some((now, state.others())),
            }
        }
        due
    }

    /// Takes how many other nodes provide a key, and tells whether this node is to provide it.
    ///
    /// Of too many providers each goes on with such a chance that enough remain. The chance is drawn once for each node and key:
    /// records of providers that have left stay in the DHT for a day, and a new draw in each round would make all leave.
    pub(super) fn counted(&mut self, key: &DhtKey, others: usize, now: Instant) -> bool {
        let draw = draw(&self.own, key);
        let Some(state) = self.keys.get_mut(key) else { return false };
        state.counted = Some((now, others));
        // One that has left stays away while the others are enough.
        let goes_on = !state.is_left && draw * (others as f64) < DHT_PROVIDERS_ENOUGH as f64;
        state.is_left = others >= DHT_PROVIDERS_ENOUGH && !state.is_own && !goes_on;
        self.is_changed = true;
        self.choose();
        let is_chosen = self.chosen.contains(key);
        if let Some(state) = self.keys.get_mut(key) {
            state.sent = is_chosen.then_some(now);
        }
        is_chosen
    }

    /// Returns how many keys are provided, and how many are not, and why.
    pub(super) fn report(&self) -> DhtKeys {
        let left = self.keys.values().filter(|state| state.is_left).count();
        let chosen = self.chosen.len();
        DhtKeys {
            provided: chosen,
            left_to_others: left,
            beyond_bound: self.keys.len() - chosen - left + self.forgotten,
        }
    }
}

/// Returns a number from 0 to 1 that is always the same for a node and a key.
fn draw(own: &PeerId, key: &DhtKey) -> f64 {
    let digest = Digest::of(&[own.to_bytes().as_slice(), key.as_bytes()].concat());
    let first: [u8; 4] = digest.as_bytes()[..4].try_into().expect("a digest has 32 bytes");
    f64::from(u32::from_be_bytes(first)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use libp2p::identity::Keypair;

    use reg_proto::name::PublisherId;

    use super::*;

    /// So many providers that hardly one goes on.
    const CROWD: usize = 1_000_000;

    /// Returns the keys of a node, always the same node for a number.
    fn node(n: usize) -> Provided {
        let secret = *Digest::of(format!("node {n}").as_bytes()).as_bytes();
        Provided::new(
            Keypair::ed25519_from_bytes(secret).expect("any 32 bytes are a secret").public().to_peer_id(),
        )
    }

    fn key(n: usize) -> DhtKey {
        DhtKey::manifest(&Digest::of(n.to_string().as_bytes()))
    }

    /// Runs ticks until nothing is due, and returns what was.
    fn all_due(keys: &mut Provided, now: Instant, is_small: bool) -> Vec<Due> {
        let mut all = Vec::new();
        loop {
            let due = keys.due(now, is_small);
            assert!(due.len() <= DHT_PROVIDE_PER_TICK);
            if due.is_empty() {
                return all;
            }
            all.extend(due);
        }
    }

    #[test]
    fn a_new_key_is_sent_at_once_and_a_crowd_of_them_over_several_ticks() {
        let (mut keys, now) = (node(1), Instant::now());
        assert!(keys.due(now, false).is_empty());
        let at_once = (0..100).filter(|n| keys.add(key(*n), false, now)).count();
        assert_eq!(at_once, DHT_PROVIDE_PER_TICK);
        let later = all_due(&mut keys, now, false);
        assert_eq!(later.len(), 100 - at_once, "what was sent is not sent again");
        assert!(later.iter().all(|it| matches!(it, Due::Provide(_))));
        assert!(all_due(&mut keys, now + DHT_PROVIDE_AGAIN / 2, false).is_empty());
    }

    #[test]
    fn a_key_that_enough_others_provide_is_left_to_them_and_taken_up_again() {
        let (mut keys, start) = (node(1), Instant::now());
        keys.add(key(1), false, start);
        all_due(&mut keys, start, false);
        let later = start + DHT_PROVIDE_AGAIN;
        assert_eq!(all_due(&mut keys, later, false), [Due::Count(key(1))]);
        assert!(keys.counted(&key(1), DHT_PROVIDERS_ENOUGH - 1, later), "one more is of use");
        let later = later + DHT_PROVIDE_AGAIN;
        assert_eq!(all_due(&mut keys, later, false), [Due::Count(key(1))]);
        assert!(!keys.counted(&key(1), CROWD, later));
        assert_eq!(keys.report(), DhtKeys { provided: 0, left_to_others: 1, beyond_bound: 0 });
        let later = later + DHT_PROVIDE_AGAIN;
        assert_eq!(all_due(&mut keys, later, false), [Due::Count(key(1))], "others may have gone");
        assert!(!keys.counted(&key(1), DHT_PROVIDERS_ENOUGH, later), "they are still enough");
        let later = later + DHT_PROVIDE_AGAIN;
        assert_eq!(all_due(&mut keys, later, false), [Due::Count(key(1))]);
        assert!(keys.counted(&key(1), 3, later));
        assert_eq!(keys.report(), DhtKeys { provided: 1, left_to_others: 0, beyond_bound: 0 });
    }

    #[test]
    fn a_publisher_and_what_was_published_here_are_never_left_to_others() {
        let (mut keys, start) = (node(1), Instant::now());
        let publisher = DhtKey::publisher(&PublisherId::from_bytes([1; 32]));
        keys.add(key(1), true, start);
        keys.add(publisher, false, start);
        all_due(&mut keys, start, false);
        let due = all_due(&mut keys, start + DHT_PROVIDE_AGAIN, false);
        assert_eq!(BTreeSet::from_iter(due), BTreeSet::from([Due::Provide(key(1)), Due::Provide(publisher)]));
    }

    #[test]
    fn beyond_the_bound_the_rarest_are_provided_and_the_rest_is_reported() {
        let (mut keys, start) = (node(1), Instant::now());
        let most = DHT_OWN_KEYS_PER_KIND_MAX;
        for n in 0..most + 10 {
            let _is_sent = keys.add(key(n), n < 5, start);
        }
        assert_eq!(all_due(&mut keys, start, false).len(), most);
        assert_eq!(keys.report(), DhtKeys { provided: most, left_to_others: 0, beyond_bound: 10 });
        assert!((0..5).all(|n| keys.chosen.contains(&key(n))), "its own come first");
        let crowded: Vec<DhtKey> =
            keys.chosen.iter().filter(|it| !keys.keys[*it].is_own).take(10).copied().collect();
        let later = start + Duration::from_secs(1);
        for key in &crowded {
            assert!(!keys.counted(key, CROWD, later));
        }
        assert_eq!(keys.report(), DhtKeys { provided: most, left_to_others: 10, beyond_bound: 0 });
        assert_eq!(all_due(&mut keys, later, false).len(), 10, "ten others take their places");
    }

    #[test]
    fn what_is_not_in_the_store_any_more_is_given_up_and_makes_room() {
        let (mut keys, start) = (node(1), Instant::now());
        for n in 0..DHT_KEYS_KNOWN_MAX {
            let _is_sent = keys.add(key(n), false, start);
        }
        let is_new = key(DHT_KEYS_KNOWN_MAX);
        for _again in 0..3 {
            assert!(!keys.add(is_new, false, start));
        }
        let later = start + Duration::from_secs(1);
        let mut held = HeldKeys {
            since: later,
            keys: (0..=DHT_KEYS_KNOWN_MAX).map(|n| (key(n), false)).collect(),
            loose: BTreeSet::new(),
        };
        assert!(keys.hold(&held, later).is_empty());
        let all = DHT_KEYS_KNOWN_MAX + 1;
        let most = DHT_OWN_KEYS_PER_KIND_MAX;
        let full = DhtKeys { provided: most, left_to_others: 0, beyond_bound: all - most };
        assert_eq!(keys.report(), full, "each key is counted once, however often it was named");
        // Of the first keys, one is a loose blob, and one was named while the store was looked at.
        held.keys = (10..all).map(|n| (key(n), false)).collect();
        held.loose = BTreeSet::from([key(0)]);
        let _is_sent = keys.add(key(1), false, later);
        let gone = keys.hold(&held, later);
        assert_eq!(BTreeSet::from_iter(gone), (2..10).map(key).collect::<BTreeSet<_>>());
        assert!(keys.keys.contains_key(&is_new), "it has taken a place");
        let publisher = DhtKey::publisher(&PublisherId::from_bytes([1; 32]));
        let _is_sent = keys.add(publisher, false, later);
        held.since = later + Duration::from_secs(1);
        assert_eq!(keys.hold(&held, held.since), [key(1)], "a model of the publisher may be on its way");
        held.since = later + DHT_PUBLISHER_STAYS;
        assert_eq!(keys.hold(&held, held.since), [publisher]);
    }

    #[test]
    fn in_a_small_network_nothing_is_left_to_others() {
        let (mut keys, start) = (node(1), Instant::now());
        keys.add(key(1), false, start);
        all_due(&mut keys, start, false);
        assert!(!keys.counted(&key(1), CROWD, start));
        assert_eq!(all_due(&mut keys, start, true), [Due::Provide(key(1))]);
        keys.all_again();
        assert_eq!(all_due(&mut keys, start, true), [Due::Provide(key(1))]);
    }

    /// Many holders of one model, each of which counts the others every ten hours. Enough remain in the DHT, and not many more.
    #[test]
    fn of_a_thousand_holders_some_twenty_remain() {
        const HOLDERS: usize = 1000;
        /// Hours for which a provider record is kept.
        const TTL: usize = 24;
        let start = Instant::now();
        let mut nodes: Vec<Provided> = (0..HOLDERS).map(node).collect();
        // The hour at which each node's record was last sent.
        let mut sent: Vec<Option<usize>> = vec![None; HOLDERS];
        let (mut least, mut most) = (HOLDERS, 0);
        for hour in 0..400 {
            let now = start + Duration::from_secs(3600) * u32::try_from(hour).expect("few");
            for (n, node) in nodes.iter_mut().enumerate() {
                // They have started at different hours.
                if hour == n % 10 && node.add(key(1), false, now) {
                    sent[n] = Some(hour);
                }
                for due in node.due(now, false) {
                    let is_there = |(other, at): (usize, &Option<usize>)| {
                        other != n && at.is_some_and(|at| hour - at < TTL)
                    };
                    let others = sent.iter().enumerate().filter(|it| is_there(*it)).count();
                    let is_provided = match due {
                        Due::Provide(_) => true,
                        Due::Count(key) => node.counted(&key, others, now),
                    };
                    if is_provided {
                        sent[n] = Some(hour);
                    }
                }
            }
            let there = sent.iter().flatten().filter(|at| hour - **at < TTL).count();
            if hour > 100 {
                (least, most) = (least.min(there), most.max(there));
            }
        }
        println!("of {HOLDERS} holders, {least} to {most} are in the DHT");
        assert!(least >= DHT_PROVIDERS_ENOUGH / 2 && most <= 2 * DHT_PROVIDERS_ENOUGH, "{least} to {most}");
    }
}
