//! Announces a tag, a model and its holders: by gossip and in the DHT.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reg_proto::announcement::Announcement;
use reg_proto::dht::DhtKey;
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::limits::CARD_ENVELOPE_BYTES_MAX;
use reg_proto::name::{ModelName, PublisherId};
use reg_proto::peer::PeerId;
use reg_proto::tag::SignedTag;
use reg_proto::wire::{Request, Response};
use tokio::task::JoinSet;
use tracing::debug;

use super::heads::{self, Head};
use super::{News, holder_of};
use crate::registry::limits::QUESTIONS_AT_ONCE;
use crate::registry::model::kept::{self, Kept};
use crate::registry::model::record::ModelRecord;

impl News {
    /// Counts the connected peers that say they hold the whole model. This node is not counted.
    pub async fn holders(&self, manifest: &Digest) -> usize {
        let manifest = *manifest;
        let mut peers = self.network.connected().await.into_iter();
        let mut asked: JoinSet<(PeerId, bool)> = JoinSet::new();
        let mut holders = BTreeSet::new();
        loop {
            while asked.len() < QUESTIONS_AT_ONCE {
                let Some(peer) = peers.next() else { break };
                let network = self.network.clone();
                asked.spawn(async move {
                    let answer = network.ask(peer, Request::GetHolders { manifest }).await;
                    let holds = matches!(answer, Ok(Response::Holders { holders })
                        if holders.iter().any(|holder| holder.peer == peer));
                    (peer, holds)
                });
            }
            match asked.join_next().await {
                Some(Ok((peer, true))) => drop(holders.insert(peer)),
                Some(_) => {}
                None => return holders.len(),
            }
        }
    }

    /// Announces what a tag means now, and that this node holds the model.
    pub async fn announce(self: &Arc<Self>, tag: &SignedTag, keys: &KeyHistory) {
        if self.trust.sharing.gives(&tag.record().publisher, &tag.record().model) {
            self.announce_text(tag.envelope(), keys).await;
        } else {
            self.list(tag, keys).await;
        }
    }

    /// Lists what a tag means now in the catalogue of this node. The user finds it, and no peer hears of it.
    pub async fn list(&self, tag: &SignedTag, keys: &KeyHistory) {
        let (catalogue, tag, keys) = (self.catalogue.clone(), tag.clone(), keys.clone());
        drop(tokio::task::spawn_blocking(move || catalogue.take_head(&tag, &keys)).await);
    }

    /// Takes records of models in the store at the start of the node, and gossips those for which `is_gossiped` says so. The
    /// records are verified, and nothing in the store contradicts them. Peers ask for the others.
    pub async fn tell_held(
        self: &Arc<Self>,
        tags: Vec<SignedTag>,
        keys: &Arc<KeyHistory>,
        is_gossiped: impl Fn(&SignedTag) -> bool,
    ) {
        let holder = holder_of(self.network.peer_id(), self.network.listen_addresses().await);
        for tag in tags {
            let gossiped = match is_gossiped(&tag) {
                true => {
                    let announcement = heads::announcement(Some(tag.envelope()), keys, holder.clone(), None);
                    Some(Announcement { card: self.card_of(tag.envelope(), keys).await, ..announcement })
                }
                false => None,
            };
            let record = tag.record();
            let is_heard =
                !self.heads_of(record.publisher, Some(&record.model), Some(&record.tag)).is_empty();
            let head = Head { tag, keys: keys.clone(), holders: vec![holder.clone()], proofs: Vec::new() };
            if is_heard {
                // A peer may contradict it.
                self.take_head(head).await;
            } else {
                let (catalogue, tag, keys) = (self.catalogue.clone(), head.tag.clone(), head.keys.clone());
                self.heads().hear(head);
                drop(tokio::task::spawn_blocking(move || catalogue.take_head(&tag, &keys)).await);
            }
            if let Some(announcement) = gossiped {
                self.network.announce(announcement).await;
            }
        }
    }

    /// Announces a tag record, or that its keys are revoked.
    pub async fn announce_text(self: &Arc<Self>, tag: &str, keys: &KeyHistory) {
        let own = self.network.peer_id();
        let holder = holder_of(own, self.network.listen_addresses().await);
        let announcement = heads::announcement(Some(tag), keys, holder, None);
        let announcement = Announcement { card: self.card_of(tag, keys).await, ..announcement };
        match Head::verify(tag, &announcement, keys.clone()) {
            Ok(head) => self.take_head(head).await,
            Err(error) => debug!(%error, "a revoked tag record is announced with its revocation"),
        }
        self.network.announce(announcement).await;
    }

    /// Returns the card of a record's model, as an envelope, where the store has one and it is not too long for gossip.
    async fn card_of(&self, tag: &str, keys: &KeyHistory) -> Option<String> {
        let (catalogue, tag) = (self.catalogue.clone(), SignedTag::verify(tag, keys).ok()?);
        let card = tokio::task::spawn_blocking(move || catalogue.card_here(&tag)).await.ok().flatten();
        card.filter(|card| card.len() <= CARD_ENVELOPE_BYTES_MAX)
    }

    /// Provides a model in the DHT: its publisher's records, its large blobs that are in the store, and its name and its manifest
    /// where the store has the whole model.
    pub async fn seed_model(&self, manifest: &Digest) {
        let records = ModelRecord::of_manifest(&self.store, manifest);
        // Each key, and whether it is of a model that was published on this node.
        let mut keys = BTreeMap::new();
        for record in records.iter().filter(|it| self.trust.sharing.gives(&it.publisher, &it.model)) {
            let key = ModelRecord::key(manifest, record.publisher, &record.model);
            let is_own = matches!(kept::kept(&self.store, &key), Ok(Some(Kept::Published)));
            let whole = [DhtKey::model(&record.publisher, &record.model), DhtKey::manifest(manifest)];
            let blobs = record.blobs.iter();
            let of_record = [DhtKey::publisher(&record.publisher)]
                .into_iter()
                .chain(whole.into_iter().filter(|_| record.complete))
                .chain(blobs.filter_map(|blob| DhtKey::blob(blob, self.store.blob_size(blob)?)));
            of_record.for_each(|key| *keys.entry(key).or_insert(false) |= is_own);
        }
        for (key, is_own) in keys {
            match is_own {
                true => self.network.provide_own(key).await,
                false => self.network.provide(key).await,
            }
        }
        self.stand_up().await;
    }

    /// Provides the publisher of a model that is being pulled, because peers may fetch the pieces that have arrived.
    pub async fn seed_while_pulling(&self, publisher: &PublisherId, model: &ModelName) {
        if self.trust.sharing.gives(publisher, model) {
            self.network.provide(DhtKey::publisher(publisher)).await;
        }
    }
}
