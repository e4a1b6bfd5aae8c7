//! Finds out soon that a version is at no peer in reach, so that a client need not wait for a search to run out.
//!
//! The answer is yes only where every peer that could know has said no. One peer that does not answer, one that names a peer
//! which is not connected, or one provider in the DHT is enough to search on.

use std::collections::BTreeSet;
use std::sync::Arc;

use reg_api::clock;
use reg_proto::dht::DhtKey;
use reg_proto::name::{ModelName, PublisherId};
use reg_proto::peer::PeerId;
use reg_proto::wire::{Request, Response};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Resolver;
use super::view::Revision;
use crate::net::Awaited;
use crate::registry::limits::{ABSENT_ASKED_MAX, ABSENT_TIMEOUT, NOBODY_PATIENCE};
use crate::registry::model::record::ModelRecord;
use crate::registry::publishers::{declarations, keys, tags};
use crate::store::DocumentKind;

/// What may be at no peer in reach.
#[derive(Debug, Clone)]
pub(super) enum Sought {
    Version(Revision),
    /// Any tag of a model.
    AnyTag,
}

impl Resolver {
    /// Returns once it is known that no peer in reach has what is sought of a model, and never where one may have it.
    pub(super) async fn absence(
        self: &Arc<Self>,
        publisher: PublisherId,
        model: &ModelName,
        sought: &Sought,
    ) {
        let look = async {
            if !self.all_deny(publisher, model, sought).await {
                return false;
            }
            let (resolver, model, sought) = (self.clone(), model.clone(), sought.clone());
            let known = move || resolver.is_known(publisher, &model, &sought);
            matches!(tokio::task::spawn_blocking(known).await, Ok(false))
        };
        if !timeout(ABSENT_TIMEOUT, look).await.unwrap_or(false) {
            std::future::pending::<()>().await;
        }
    }

    /// Tells whether an announcement names what is sought.
    pub(super) fn is_announced(&self, publisher: PublisherId, model: &ModelName, sought: &Sought) -> bool {
        let tag = match sought {
            Sought::Version(Revision::Digest(digest)) => return !self.news.holders_of(digest).is_empty(),
            Sought::Version(Revision::Prefix(_)) => return false,
            Sought::Version(Revision::Tag(tag)) => Some(tag),
            Sought::AnyTag => None,
        };
        !self.news.heads_of(publisher, Some(model), tag).is_empty()
    }

    /// Tells whether this node knows of the version itself: then its holders may come back.
    fn is_known(&self, publisher: PublisherId, model: &ModelName, sought: &Sought) -> bool {
        if self.is_announced(publisher, model, sought) {
            return true;
        }
        let tag = match sought {
            Sought::Version(Revision::Digest(digest)) => {
                let record = ModelRecord::key(digest, publisher, model);
                let records = self.store.document_keys(DocumentKind::Model, &record);
                return records.is_ok_and(|it| !it.is_empty());
            }
            Sought::Version(Revision::Prefix(_)) => return true,
            Sought::Version(Revision::Tag(tag)) => Some(tag),
            Sought::AnyTag => None,
        };
        let Ok(Some(keys)) = keys::keys(&self.store, publisher) else { return false };
        let is_seen = tag.is_some_and(|tag| !matches!(tags::seen(&self.store, &keys, model, tag), Ok(None)));
        is_seen || !matches!(declarations::delegate(&self.store, &keys, model, clock::now()), Ok(None))
    }

    async fn all_deny(&self, publisher: PublisherId, model: &ModelName, sought: &Sought) -> bool {
        let records =
            |tag| Request::GetRecords { publisher, model: Some(model.clone()), tag, documents: None };
        let (request, key) = match sought {
            Sought::Version(Revision::Tag(tag)) => {
                (records(Some(tag.clone())), DhtKey::publisher(&publisher))
            }
            Sought::AnyTag => (records(None), DhtKey::publisher(&publisher)),
            Sought::Version(Revision::Digest(digest)) => {
                (Request::Referrers { subject: *digest, artifact_type: None }, DhtKey::manifest(digest))
            }
            Sought::Version(Revision::Prefix(_)) => return false,
        };
        let Some(connected) = self.few_connected().await else { return false };
        let denies = |answer: &Response| match answer {
            Response::NotFound => true,
            Response::Records(records) => records.tags.is_empty() && records.delegations.is_empty(),
            Response::Referrers { manifests } => manifests.is_empty(),
            _ => false,
        };
        self.all_say(&connected, &request, denies).await && self.are_all(&connected, key).await
    }

    /// Returns once it is known that every peer in reach is connected, and never where others may be. `key` names what is
    /// searched for in the DHT.
    pub(super) async fn all_connected(&self, key: DhtKey) {
        let Some(connected) = self.few_connected().await else { return std::future::pending().await };
        if !self.are_all(&connected, key).await {
            std::future::pending::<()>().await;
        }
    }

    /// Returns the connected peers; `None` where they are many, or where others are still expected.
    async fn few_connected(&self) -> Option<BTreeSet<PeerId>> {
        if self.network.is_offline() {
            return None;
        }
        let connected: BTreeSet<PeerId> = self.network.connected().await.into_iter().collect();
        let is_alone = connected.is_empty();
        let are_expected = match self.network.awaits_peers() {
            _ if self.network.meets_strangers() => is_alone,
            Some(Awaited::Bootstrap | Awaited::Remembered) => is_alone,
            // Neighbours turn up soon after the start, or not at all. A peer that was here may come back.
            Some(Awaited::Neighbours) if self.since.elapsed() <= NOBODY_PATIENCE => is_alone,
            Some(Awaited::Neighbours) | None => is_alone && self.news.has_met_peers(),
        };
        (connected.len() <= ABSENT_ASKED_MAX && !are_expected).then_some(connected)
    }

    /// Tells whether the connected peers name no other peer, and the DHT names none for `key`.
    async fn are_all(&self, connected: &BTreeSet<PeerId>, key: DhtKey) -> bool {
        let is_connected = |peer: &PeerId| connected.contains(peer) || *peer == self.network.peer_id();
        let names_no_other = |answer: &Response| match answer {
            Response::Peers { peers } => peers.iter().all(|it| is_connected(&it.peer)),
            Response::NotFound => true,
            _ => false,
        };
        if !self.all_say(connected, &Request::GetPeers, names_no_other).await {
            return false;
        }
        if connected.is_empty() {
            return true;
        }
        let mut providers = self.network.providers(key).await;
        while let Some(provider) = providers.recv().await {
            if !is_connected(&provider) {
                return false;
            }
        }
        true
    }

    /// Asks all of these peers at once, and tells whether each answers as expected.
    async fn all_say(
        &self,
        peers: &BTreeSet<PeerId>,
        request: &Request,
        is_expected: impl Fn(&Response) -> bool,
    ) -> bool {
        let mut questions = JoinSet::new();
        for peer in peers.iter().copied() {
            let (network, request) = (self.network.clone(), request.clone());
            questions.spawn(async move { network.ask(peer, request).await.ok() });
        }
        while let Some(answer) = questions.join_next().await {
            if !answer.ok().flatten().is_some_and(|answer| is_expected(&answer)) {
                return false;
            }
        }
        true
    }
}
