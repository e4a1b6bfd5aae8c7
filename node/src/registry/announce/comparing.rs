//! Compares the catalogue with that of peers: with each new neighbour, and with a few of them from time to time.
//!
//! Of publishers that are kept whole, everything comes that a peer lists otherwise. Of strangers comes a sample. Gossip is quicker
//! and may be lost; this repairs it.

use std::collections::BTreeMap;
use std::sync::Arc;

use reg_proto::catalogue::{
    Brought, ListingError, SampleQuestion, SignedListing, TombstoneError, take_sample,
};
use reg_proto::key::KeyHistory;
use reg_proto::limits::{SAMPLE_MAX, VERIFICATIONS_PER_PAGE_MAX};
use reg_proto::name::PublisherId;
use reg_proto::peer::PeerId;
use reg_proto::tag::TagError;
use reg_proto::verification::Budget;
use reg_proto::wire::{Request, Response};
use tracing::debug;

use super::News;
use super::heads::{Head, is_of_older_keys};
use crate::registry::catalogue::Taken;
use crate::registry::chance;
use crate::registry::limits::{
    CATALOGUE_COMPARED_EVERY, CATALOGUE_COMPARISON_TIMEOUT, CATALOGUE_PEERS_COMPARED, SAMPLES_OF_NEIGHBOUR,
    SYNCS_IN_A_ROW_MAX,
};

/// Compares the catalogue with a few connected peers from time to time, and soon after the user has begun to keep another
/// publisher. Ends with its task.
pub async fn compare_catalogue(news: Arc<News>) {
    loop {
        tokio::select! {
            () = news.catalogue.kept_has_changed() => {}
            () = news.unfinished.notified() => {}
            () = tokio::time::sleep(CATALOGUE_COMPARED_EVERY) => {}
        }
        let mut peers = news.network.connected().await;
        for _ in 0..CATALOGUE_PEERS_COMPARED.min(peers.len()) {
            let at = draw() % peers.len() as u64;
            let peer = peers.swap_remove(usize::try_from(at).unwrap_or(0));
            news.compare_with(peer, 1).await;
        }
    }
}

impl News {
    /// Compares the catalogue with that of a new neighbour.
    pub async fn compare_with_neighbour(self: &Arc<Self>, peer: PeerId) {
        self.compare_with(peer, SAMPLES_OF_NEIGHBOUR).await;
    }

    /// Compares the catalogue with that of a peer, and takes samples of the strangers that it lists.
    ///
    /// One peer is compared with at a time: two would both send what this node lacks. Its turn ends after some time, because it may
    /// answer slowly. What it has brought stays, and the next comparison goes on, with this peer or another one.
    async fn compare_with(self: &Arc<Self>, peer: PeerId, samples: usize) {
        let _turn = self.comparing.lock().await;
        let comparing = Box::pin(self.compare_without_end(peer, samples));
        if tokio::time::timeout(CATALOGUE_COMPARISON_TIMEOUT, comparing).await.is_err() {
            debug!(%peer, "the turn of a comparison of catalogues has ended");
            self.unfinished.notify_one();
        }
    }

    async fn compare_without_end(self: &Arc<Self>, peer: PeerId, samples: usize) {
        for _sync in 0..SYNCS_IN_A_ROW_MAX {
            match self.sync_with(peer).await {
                Some(Synced::Cut) => {}
                Some(Synced::Whole) => break,
                None => return,
            }
        }
        for _sample in 0..samples {
            if self.sample_of(peer).await.is_none() {
                return;
            }
        }
        self.catalogue.note_compared();
    }

    /// Takes what a peer lists otherwise of the publishers that are kept whole. Returns `None` if the peer does not answer, or
    /// answers what was not asked.
    async fn sync_with(self: &Arc<Self>, peer: PeerId) -> Option<Synced> {
        let catalogue = self.catalogue.clone();
        let mut sync = tokio::task::spawn_blocking(move || catalogue.begin_sync()).await.ok()??;
        let mut brought_any = false;
        loop {
            let catalogue = self.catalogue.clone();
            let next = move || {
                let request = catalogue.next_question(&mut sync);
                (sync, request)
            };
            let request;
            (sync, request) = tokio::task::spawn_blocking(next).await.ok()?;
            let Some(request) = request else { break };
            let answer = self.network.ask(peer, request).await.ok()?;
            match sync.take(&answer) {
                Ok(brought) => {
                    brought_any |= !brought.listings.is_empty();
                    self.take_wanted(peer, brought).await?;
                }
                Err(error) => {
                    debug!(%peer, %error, "a comparison of catalogues has ended");
                    return None;
                }
            }
        }
        let (messages, bytes) = sync.cost();
        debug!(%peer, messages, bytes, "the catalogue was compared");
        Some(if sync.is_cut() && brought_any { Synced::Cut } else { Synced::Whole })
    }

    /// Takes a sample of what a peer lists.
    async fn sample_of(self: &Arc<Self>, peer: PeerId) -> Option<()> {
        let question = SampleQuestion { count: u8::try_from(SAMPLE_MAX).unwrap_or(u8::MAX), seed: draw() };
        let answer = self.network.ask(peer, Request::GetSample(question)).await.ok()?;
        let Response::Listings(page) = answer else { return None };
        let brought = take_sample(&page, question)
            .map_err(|error| debug!(%peer, %error, "a sample of a peer is refused"))
            .ok()?;
        let news = self.clone();
        let work = move |budget: &mut Budget| news.take_brought(peer, brought, budget);
        self.verifier.answer(peer, VERIFICATIONS_PER_PAGE_MAX, work).await.ok()?;
        Some(())
    }

    /// Takes listings of kept publishers. A peer pays for those that do not verify, and not for those that do: only their
    /// publishers can make more of them.
    async fn take_wanted(self: &Arc<Self>, peer: PeerId, brought: Brought) -> Option<()> {
        if brought.listings.is_empty() && brought.keys.is_empty() {
            return Some(());
        }
        let news = self.clone();
        let work = move |budget: &mut Budget| news.take_brought(peer, brought, budget);
        let refused = self.verifier.wanted(peer, VERIFICATIONS_PER_PAGE_MAX, work).await.ok()?;
        (refused == 0).then_some(())
    }

    /// Verifies what a peer has brought, and lists what holds. Returns how many signatures were verified in vain. Blocks.
    fn take_brought(self: &Arc<Self>, peer: PeerId, brought: Brought, budget: &mut Budget) -> usize {
        let mut keys: BTreeMap<PublisherId, KeyHistory> = BTreeMap::new();
        let mut in_vain = 0;
        for (publisher, texts) in brought.keys {
            let before = budget.spent();
            let revocations = texts.revocations.iter().map(String::as_str);
            let read = || KeyHistory::verify_with(publisher, &texts.key_documents, revocations);
            match budget.run(read) {
                Ok(Ok(history)) => drop(keys.insert(publisher, self.take_declarations_of(history).0)),
                _ => in_vain += (budget.spent() - before).max(1),
            }
        }
        for (facts, listing) in brought.listings {
            let publisher = facts.publisher;
            if self.catalogue.is_denied(&listing) {
                continue;
            }
            if !keys.contains_key(&publisher)
                && let Some(known) = self.catalogue.keys(publisher)
            {
                keys.insert(publisher, known);
            }
            let Some(of) = keys.get(&publisher) else { continue };
            let before = budget.spent();
            let verify = || match SignedListing::verify(&listing, of) {
                // The card may be of keys that were rotated since.
                Err(ListingError::Card(_)) => SignedListing::verify(&listing.clone().without_card(), of),
                verified => verified,
            };
            match budget.run(verify) {
                Ok(Ok(signed)) => self.take_listing(&signed, of),
                // The peer has not heard of the newer keys yet. It is no liar.
                Ok(Err(
                    ListingError::Record(TagError::Signature { source, .. })
                    | ListingError::Tombstone(TombstoneError::Signature { source, .. }),
                )) if is_of_older_keys(&source) => {}
                Ok(Err(error)) => {
                    debug!(%peer, %publisher, %error, "a listing of a peer is refused");
                    in_vain += (budget.spent() - before).max(1);
                }
                Err(_) => return in_vain.max(1),
            }
        }
        in_vain
    }

    /// Lists what verified. A record is news as well: it may contradict one that is known.
    fn take_listing(self: &Arc<Self>, signed: &SignedListing, keys: &KeyHistory) {
        if self.catalogue.take(signed, keys) != Taken::New {
            return;
        }
        if let Some(tag) = signed.record()
            && self.has_place_for(tag.record())
        {
            let keys = Arc::new(keys.clone());
            self.take_news(Head { tag: tag.clone(), keys, holders: Vec::new(), proofs: Vec::new() });
        }
    }
}

/// How far a comparison went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Synced {
    Whole,
    /// It has ended at a bound, and the next one goes on.
    Cut,
}

/// Draws a number by which peers are chosen.
fn draw() -> u64 {
    // Without random numbers the choice is the same each time, and still one of the connected peers.
    chance::draw().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::net::{Network, Remembered};
    use crate::registry::catalogue::Cataloguing;
    use crate::registry::price::Verifier;
    use crate::registry::trust::{Sharing, SharingRules, Trust, TrustFile};
    use crate::store::{CacheLimits, Store};

    #[tokio::test]
    async fn one_peer_is_compared_with_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), CacheLimits::default()).unwrap();
        let file = TrustFile::open(dir.path().join("trust.toml"));
        let sharing = Sharing::new(&SharingRules::default(), &file).unwrap();
        let trust = Arc::new(Trust::new(store.clone(), file, sharing));
        let catalogue = Arc::new(Cataloguing::new(store, trust, Some(dir.path().join("catalogue"))));
        let network = Network::offline(PeerId::from_public_key([1; 32]), Remembered::nothing());
        let verifier = Arc::new(Verifier::new(network.clone()));
        let news = Arc::new(News::new(network, catalogue, verifier));
        let turn = news.comparing.lock().await;
        let next = news.clone();
        let mut comparing =
            tokio::spawn(async move { next.compare_with(PeerId::from_public_key([2; 32]), 1).await });
        // Without a network it would end at once. If it is slower, what is tested holds all the same.
        let ended = tokio::time::timeout(Duration::from_secs(1), &mut comparing).await;
        assert!(ended.is_err(), "another comparison has its turn");
        drop(turn);
        comparing.await.unwrap();
    }
}
