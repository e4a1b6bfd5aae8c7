//! Takes models for the swarm, and gives them up: the only part of this room that changes the store's models.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reg_api::fault::{Fault, FaultKind, chain};
use reg_api::reporter::Reporter;
use reg_api::request::PullRequest;
use reg_commons::Moment;
use reg_proto::digest::Digest;
use reg_proto::name::{Publisher, Reference, Tag};
use reg_proto::swarm_state::SwarmModel;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::decide::Decision;
use super::state::Key;
use super::{SpreadError, Spreading};
use crate::registry::limits::{
    FOLLOW_WHY_CHARS_MAX, SPREAD_FETCHES_MAX, SPREAD_REFUSALS_MAX, SPREAD_RETRY, SPREAD_RETRY_MAX,
    SPREAD_UNREACHED_MAX,
};
use crate::registry::model::kept;
use crate::registry::model::record::ModelRecord;
use crate::registry::model::whole;
use crate::registry::resolve::RecordChoice;
use crate::store::Store;

/// Why a model could not be taken, and when it is tried again.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) model: SwarmModel,
    pub(super) why: String,
    times: u32,
    until: Moment,
    /// Whether no peer sent it, which may be different soon.
    is_unreached: bool,
}

impl Refusal {
    /// Returns the refusal after one more attempt.
    fn after(before: Option<&Self>, model: SwarmModel, why: String, is_unreached: bool, now: Moment) -> Self {
        let times = before.filter(|it| it.is_unreached == is_unreached).map_or(0, |it| it.times);
        let times = times.saturating_add(1);
        let doubled = |time: Duration, times: u32| time.saturating_mul(1 << times.min(16));
        let wait = match is_unreached {
            true if times < SPREAD_UNREACHED_MAX => doubled(Duration::from_secs(1), times),
            true => doubled(SPREAD_RETRY, times - SPREAD_UNREACHED_MAX),
            false => doubled(SPREAD_RETRY, times - 1),
        };
        Self { model, why, times, until: now + wait.min(SPREAD_RETRY_MAX), is_unreached }
    }

    /// Tells whether members are told that this node does not take it.
    pub(super) fn is_told(&self, now: Moment) -> bool {
        self.until > now && !(self.is_unreached && self.times < SPREAD_UNREACHED_MAX)
    }
}

/// Remembers a refusal. Forgets those that nothing has renewed for as long as the longest pause, because no member asks for their
/// models any more, and where there are still too many, the one that is due first.
fn remember(refusals: &mut BTreeMap<Key, Refusal>, key: Key, refusal: Refusal, now: Moment) {
    refusals.insert(key, refusal);
    refusals.retain(|_, it| it.until + SPREAD_RETRY_MAX > now);
    while refusals.len() > SPREAD_REFUSALS_MAX {
        let Some((first, _)) = refusals.iter().min_by_key(|(_, it)| it.until) else { return };
        let first = first.clone();
        refusals.remove(&first);
    }
}

/// Keeps a model for the swarm, if all of it is in the store. Returns whether it is.
fn keep(store: &Store, key: &str, manifest: &Digest, tag: Option<&Tag>) -> Result<bool, SpreadError> {
    if !whole::is_complete(store, manifest) {
        return Ok(false);
    }
    kept::keep_spread(store, key, tag)?;
    // What was evicted in between is not kept.
    if whole::is_complete(store, manifest) {
        return Ok(true);
    }
    kept::release_spread(store, key)?;
    Ok(false)
}

impl Spreading {
    /// Begins to fetch a model, unless as many as allowed are being fetched, or the last attempt was just now.
    pub(super) fn fetch(self: &Arc<Self>, decision: &Decision, pulls: &mut JoinSet<()>) {
        let (key, model, now) = (&decision.key, &decision.case.model, self.now());
        let is_too_early = self.refusals().get(key).is_some_and(|it| it.until > now);
        let mut fetching = self.fetching();
        if is_too_early || fetching.contains_key(key) || fetching.len() >= SPREAD_FETCHES_MAX {
            return;
        }
        fetching.insert(key.clone(), model.clone());
        drop(fetching);
        // Members are to hear of it.
        self.changed.notify_one();
        let (spreading, key, model) = (self.clone(), key.clone(), model.clone());
        pulls.spawn(async move {
            let result = Box::pin(spreading.pull(&key, &model)).await;
            match result {
                Ok(bytes) => {
                    info!(model = %key, bytes, "a copy for the swarm is here");
                    spreading.refusals().remove(&key);
                }
                Err((why, is_unreached)) => {
                    let why: String = why.chars().take(FOLLOW_WHY_CHARS_MAX).collect();
                    info!(model = %key, why, "a copy for the swarm is not taken");
                    let now = spreading.now();
                    let mut refusals = spreading.refusals();
                    let refusal = Refusal::after(refusals.get(&key), model, why, is_unreached, now);
                    remember(&mut refusals, key.clone(), refusal, now);
                }
            }
            spreading.fetching().remove(&key);
        });
    }

    /// Pulls a model as the user would, with the consent that the configuration gives, and keeps it. Returns the bytes that were
    /// fetched, or why it is not here and whether that is for want of a peer.
    async fn pull(self: &Arc<Self>, key: &Key, model: &SwarmModel) -> Result<u64, (String, bool)> {
        let spreading = self.clone();
        let (of, tag) = (model.clone(), model.tag.clone());
        let tag = tokio::task::spawn_blocking(move || spreading.head_of(&of, tag)).await.ok().flatten();
        let (records, tag) = match tag {
            Some((tag, payload)) => {
                let only = Some(BTreeSet::from([payload]));
                (RecordChoice { only, ..RecordChoice::default() }, Some(tag))
            }
            None => (RecordChoice::default(), None),
        };
        let reference = Reference {
            publisher: Publisher::Id(model.publisher),
            model: model.model.clone(),
            digest: tag.is_none().then_some(model.manifest),
            tag: tag.clone(),
        };
        let consent = &self.puller.resolver.consent;
        let request = PullRequest {
            allow_unsafe: consent.is_to_everything(),
            allow: consent.kinds().clone(),
            ..PullRequest::into_cache(reference)
        };
        let pulled = self.puller.pull_chosen(request, records, &Reporter::silent()).await;
        let pulled = pulled.map_err(|error| {
            let is_unreached =
                matches!(error.kind(), FaultKind::Unreachable | FaultKind::NotFound | FaultKind::RetryLater);
            (chain(&error), is_unreached)
        })?;
        let (manifest, key) = (model.manifest, key.clone());
        let keep = move |spreading: &Self| keep(&spreading.puller.store, &key, &manifest, tag.as_ref());
        match self.on_blocking_thread(keep).await {
            Ok(true) => Ok(pulled.bytes_fetched),
            Ok(false) => Err(("another version has come in its place".to_owned(), true)),
            Err(error) => Err((chain(&error), false)),
        }
    }

    /// Returns the tag of a model and the payload of its record, if this node knows that the tag means this version.
    fn head_of(&self, model: &SwarmModel, tag: Option<Tag>) -> Option<(Tag, Digest)> {
        let tag = tag?;
        let heads = self.puller.news.heads_of(model.publisher, Some(&model.model), Some(&tag));
        let head = heads.into_iter().find(|it| it.tag.record().manifest.digest == model.manifest)?;
        Some((tag, head.tag.payload_digest()))
    }

    /// Keeps a model for the swarm that is here already, in the cache, unless it was evicted meanwhile.
    pub(super) async fn adopt(self: &Arc<Self>, decision: &Decision) -> Result<(), SpreadError> {
        let (key, SwarmModel { tag, manifest, .. }) = (decision.key.clone(), decision.case.model.clone());
        let is_here = self
            .on_blocking_thread(move |spreading| keep(&spreading.puller.store, &key, &manifest, tag.as_ref()))
            .await?;
        if is_here {
            info!(model = %decision.key, "a model of the cache is a copy for the swarm now");
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Lets a copy for the swarm be evicted. Returns whether there was one.
    pub(super) fn let_go(&self, key: &str) -> Result<bool, SpreadError> {
        Ok(kept::release_spread(&self.puller.store, key)?)
    }

    /// Removes a copy for the swarm from the store, and the blobs that no other model needs. What is kept for another reason stays.
    /// Returns whether it was removed.
    pub(super) fn give_up(&self, key: &str) -> Result<bool, SpreadError> {
        let store = &self.puller.store;
        if !kept::release_spread(store, key)? {
            return Ok(false);
        }
        ModelRecord::remove(store, key)?;
        if let Err(error) = store.gc(false) {
            warn!(%key, %error, "the room of a copy that was given up is not free yet");
        }
        Ok(true)
    }

    /// Returns why models could not be taken.
    pub(super) fn reasons(&self) -> BTreeMap<Key, String> {
        self.refusals().iter().map(|(key, it)| (key.clone(), it.why.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::own::tests::model;
    use super::super::state::key_of;
    use super::*;

    #[test]
    fn refusals_are_forgotten_in_time_and_bounded() {
        let start = Moment::from_seconds(1_700_000_000);
        let mut refusals = BTreeMap::new();
        let mut refuse = |n: u32, now: Moment| {
            let model = SwarmModel { manifest: Digest::of(&n.to_be_bytes()), ..model(1) };
            let key = key_of(&model);
            let refusal = Refusal::after(refusals.get(&key), model, "why".to_owned(), false, now);
            remember(&mut refusals, key.clone(), refusal, now);
            (refusals.len(), refusals.get(&key).map_or(0, |it| it.times))
        };
        assert_eq!(refuse(1, start), (1, 1));
        assert_eq!(refuse(1, start + SPREAD_RETRY), (1, 2));
        // No member asks for the first one any more.
        assert_eq!(refuse(2, start + SPREAD_RETRY * 2), (2, 1));
        assert_eq!(refuse(3, start + SPREAD_RETRY_MAX * 3), (1, 1));
        let later = start + SPREAD_RETRY_MAX * 4;
        let most = (0..SPREAD_REFUSALS_MAX as u32 + 9).map(|n| refuse(10 + n, later).0).max();
        assert_eq!(most, Some(SPREAD_REFUSALS_MAX));
    }

    #[test]
    fn only_what_is_here_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), crate::store::CacheLimits::default()).expect("a store");
        let model = model(1);
        let is_kept = keep(&store, &key_of(&model), &model.manifest, None).expect("the store is read");
        assert!(!is_kept && kept::all(&store).expect("the store is read").is_empty());
    }

    #[test]
    fn what_is_refused_is_told_at_once_and_what_is_not_found_after_some_attempts() {
        let now = Moment::from_seconds(1_700_000_000);
        let after = |before: Option<&Refusal>, is_unreached| {
            Refusal::after(before, model(1), "why".to_owned(), is_unreached, now)
        };
        let refused = after(None, false);
        assert!(refused.is_told(now) && !refused.is_told(now + SPREAD_RETRY));
        let again = after(Some(&refused), false);
        assert_eq!(again.until.since(now), SPREAD_RETRY * 2);
        let mut unreached = after(None, true);
        assert!(!unreached.is_told(now) && unreached.until.since(now) < Duration::from_secs(10));
        for _ in 1..SPREAD_UNREACHED_MAX {
            unreached = after(Some(&unreached), true);
        }
        assert!(unreached.is_told(now));
        for _ in 0..100 {
            unreached = after(Some(&unreached), true);
        }
        assert_eq!(unreached.until.since(now), SPREAD_RETRY_MAX);
    }
}
