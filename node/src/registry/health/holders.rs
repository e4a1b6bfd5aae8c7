//! Finds the peers that say they hold a model: in announcements, in the DHT, and by asking peers.
//!
//! A peer is audited only once it has said itself that it holds the model, over a connection that shows its zone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reg_commons::{Chance, PEERS_PER_MODEL_MAX};
use reg_proto::dht::DhtKey;
use reg_proto::digest::Digest;
use reg_proto::peer::{Address, PeerId};
use reg_proto::wire::{Request, Response};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Health, piece};
use crate::registry::limits::QUESTIONS_AT_ONCE;

/// Connected peers that are asked in one search. An answer has some kilobytes: with 1,000 models, searches cost 3 MB an hour.
const CONNECTED_ASKED: usize = 8;
/// Peers that one search asks because others have named them: as many as are audited.
const NAMED_ASKED: usize = PEERS_PER_MODEL_MAX;
/// Peers that one search notes before it chooses at random, so that no crowd of false peers hides a true one for ever.
const NAMED_MAX: usize = 512;
/// How long the DHT is asked.
const DHT_PATIENCE: Duration = Duration::from_secs(10);
/// How long dialling a peer and asking it may take.
const QUESTION_PATIENCE: Duration = Duration::from_secs(20);

/// A peer that another one has named, with its addresses.
type Named = BTreeMap<PeerId, (Vec<Address>, Option<PeerId>)>;

impl Health {
    /// Looks for holders of a model, and lets those that say so themselves be audited.
    pub(super) async fn search(self: Arc<Self>, manifest: Digest, seed: u64) {
        let mut chance = Chance::new(seed);
        let connected = self.network.connected().await;
        let mut asked = connected.clone();
        shuffle(&mut asked, &mut chance);
        asked.truncate(CONNECTED_ASKED);
        let mut named = Named::new();
        for holder in self.news.holders_of(&manifest) {
            named.entry(holder.peer).or_insert((holder.addresses.into_vec(), None));
        }
        let mut holders = self.ask_all(manifest, &asked, &mut named).await;
        self.ask_dht(&manifest, &mut named).await;
        named.remove(&self.network.peer_id());
        let claimed = named.keys().chain(&holders).copied().take(NAMED_MAX).collect();
        let mut others: Vec<PeerId> = {
            let state = self.state();
            let known = state.auditor.audits().copies(&manifest);
            let is_known = |peer: &PeerId| known.is_some_and(|it| it.get(peer).is_some());
            named.keys().filter(|peer| !asked.contains(peer) && !is_known(peer)).copied().collect()
        };
        shuffle(&mut others, &mut chance);
        others.truncate(NAMED_ASKED);
        let far = others.iter().filter(|it| !connected.contains(it));
        let dials = far.filter_map(|peer| Some((*peer, named.get(peer)?.clone()))).map(|(peer, hint)| {
            let (network, (addresses, told_by)) = (self.network.clone(), hint);
            async move {
                if !addresses.is_empty() {
                    network.dial_hint(peer, addresses, told_by).await;
                }
            }
        });
        at_once(dials, QUESTION_PATIENCE).await;
        // What these name is taken up by the next search.
        holders.extend(self.ask_all(manifest, &others, &mut Named::new()).await);
        let zones = piece::zones(&self).await;
        let now = self.pace.now();
        let mut state = self.state();
        for (peer, zone) in zones.into_iter().filter(|(peer, _)| holders.contains(peer)) {
            state.has_changed |= state.auditor.holds(now, manifest, peer, zone);
        }
        if let Some(watched) = state.models.get_mut(&manifest) {
            watched.claimed = claimed;
        }
    }

    /// Asks peers for the holders of a model. Returns those that name themselves, and adds others to `named`.
    async fn ask_all(&self, manifest: Digest, peers: &[PeerId], named: &mut Named) -> Vec<PeerId> {
        let (mut holders, mut asked) = (Vec::new(), JoinSet::new());
        let mut peers = peers.iter().copied();
        loop {
            while asked.len() < QUESTIONS_AT_ONCE
                && let Some(peer) = peers.next()
            {
                let network = self.network.clone();
                asked.spawn(async move {
                    let question = network.ask(peer, Request::GetHolders { manifest });
                    (peer, timeout(QUESTION_PATIENCE, question).await)
                });
            }
            let (peer, told) = match asked.join_next().await {
                Some(Ok((peer, Ok(Ok(Response::Holders { holders }))))) => (peer, holders),
                Some(_) => continue,
                None => return holders,
            };
            for holder in told.into_vec() {
                if holder.peer == peer {
                    holders.push(peer);
                } else if named.len() < NAMED_MAX {
                    named.entry(holder.peer).or_insert((holder.addresses.into_vec(), Some(peer)));
                }
            }
        }
    }

    async fn ask_dht(&self, manifest: &Digest, named: &mut Named) {
        let mut providers = self.network.providers(DhtKey::manifest(manifest)).await;
        let read = async {
            while named.len() < NAMED_MAX
                && let Some(peer) = providers.recv().await
            {
                named.entry(peer).or_default();
            }
        };
        let _late = timeout(DHT_PATIENCE, read).await;
    }
}

/// Waits for all of these at once, at most so long.
async fn at_once(all: impl Iterator<Item: Future<Output = ()> + Send + 'static>, patience: Duration) {
    let mut tasks: JoinSet<()> = all.collect();
    let _late = timeout(patience, async { while tasks.join_next().await.is_some() {} }).await;
}

fn shuffle<T>(all: &mut [T], chance: &mut Chance) {
    for place in (1..all.len()).rev() {
        all.swap(place, chance.below(place as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that never ends, as a dial of an address that drops packets, holds up no other one.
    #[tokio::test]
    async fn dead_addresses_are_waited_for_together() {
        let (ended, mut seen) = tokio::sync::mpsc::channel(32);
        let tasks = (0..32).map(|n| {
            let ended = ended.clone();
            async move {
                match n % 2 {
                    0 => std::future::pending().await,
                    _ => ended.send(n).await.unwrap(),
                }
            }
        });
        at_once(tasks, Duration::from_millis(200)).await;
        drop(ended);
        let mut all = Vec::new();
        while let Some(n) = seen.recv().await {
            all.push(n);
        }
        all.sort_unstable();
        assert_eq!(all, (0..32).filter(|n| n % 2 == 1).collect::<Vec<_>>());
    }

    #[test]
    fn every_place_is_as_likely() {
        let (mut chance, mut first) = (Chance::new(1), [0; 5]);
        for _round in 0..5000 {
            let mut all = [0, 1, 2, 3, 4];
            shuffle(&mut all, &mut chance);
            first[all[0]] += 1;
        }
        assert!(first.iter().all(|it| (850..1150).contains(it)), "{first:?}");
    }
}
