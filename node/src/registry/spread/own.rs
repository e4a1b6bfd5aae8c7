//! [`Own`]: what this node tells the members of the swarm of itself: its zone, its room, and the models that it has.

use std::collections::{BTreeMap, BTreeSet};

use reg_commons::{Moment, Zone};
use reg_proto::bounded::Bounded;
use reg_proto::digest::Digest;
use reg_proto::limits::SWARM_MODELS_MAX;
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::peer::PeerId;
use reg_proto::swarm_state::{
    SWARM_STATE_VERSION, Standing, SwarmModel, SwarmQuestion, SwarmState, ZoneText, list_digest,
};
use reg_proto::wire::Response;
use tracing::warn;

use super::state::Key;
use super::{SpreadError, Spreading};
use crate::registry::limits::BUSY_RETRY_MS;
use crate::registry::model::kept::{self, Kept};
use crate::registry::model::record::ModelRecord;
use crate::registry::publishers::tags;

/// What this node tells of itself.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) me: PeerId,
    pub(super) zone: Zone,
    pub(super) draining: bool,
    pub(super) room: u64,
    pub(super) models: BTreeMap<Key, SwarmModel>,
    /// The models in the order in which they are told: copies first, because what is too much is not told.
    list: Vec<SwarmModel>,
    digest: Digest,
}

/// What is remembered of a record in the store, which is not parsed again.
#[derive(Debug, Clone)]
pub(super) struct Known {
    manifest: Digest,
    publisher: PublisherId,
    model: ModelName,
    bytes: u64,
    blobs: BTreeSet<Digest>,
    is_complete: bool,
    tag: Option<Tag>,
}

impl Own {
    pub(super) fn new(
        me: PeerId,
        zone: Zone,
        draining: bool,
        room: u64,
        models: BTreeMap<Key, SwarmModel>,
    ) -> Self {
        let (copies, others): (Vec<_>, Vec<_>) = models.values().partition(|it| it.standing.is_copy());
        let all = copies.into_iter().chain(others);
        let list: Vec<SwarmModel> = all.take(SWARM_MODELS_MAX).cloned().collect();
        let digest = list_digest(&list);
        Self { me, zone, draining, room: if draining { 0 } else { room }, models, list, digest }
    }

    /// Tells whether this node has a model whole.
    pub(super) fn has(&self, key: &str) -> bool {
        let standing = self.models.get(key).map(|it| it.standing);
        matches!(standing, Some(Standing::Kept | Standing::Spread | Standing::Cached))
    }
}

impl Spreading {
    /// Answers a member. A node that spreads nothing answers as it does where it has not what is asked for.
    pub fn answer(&self, question: &SwarmQuestion) -> Response {
        let Some(policy) = self.settings.acting() else { return Response::NotFound };
        if question.version != SWARM_STATE_VERSION {
            return Response::NotFound;
        }
        let Some(own) = self.own() else { return Response::Busy { retry_ms: BUSY_RETRY_MS } };
        let state = SwarmState {
            version: SWARM_STATE_VERSION,
            zone: self.settings.zone.as_ref().and_then(|it| ZoneText::new(it.to_string())),
            replicas: policy.copies,
            draining: own.draining,
            room: own.room,
            list: own.digest,
            total: u32::try_from(own.list.len()).unwrap_or(u32::MAX),
            models: Bounded::empty(),
        };
        Response::SwarmState(state.answer(question, &own.list))
    }

    /// Looks at the store, and tells members from now on what it finds.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn refresh(&self, zone: Zone, now: Moment) -> Result<(), SpreadError> {
        let draining = self.drained_since()?.is_some();
        let (models, kept_bytes) = self.models_here()?;
        let room = self.room(kept_bytes)?;
        let mut models = models;
        self.with_others(&mut models, now);
        let own = Own::new(self.puller.network.peer_id(), zone, draining, room, models);
        let is_cut = |own: &Own| own.list.len() < own.models.len();
        if is_cut(&own) && !self.own().is_some_and(|it| is_cut(&it)) {
            warn!(
                models = own.models.len(),
                "members are told of {SWARM_MODELS_MAX} models, and of no others"
            );
        }
        self.publish_own(own);
        Ok(())
    }

    /// Returns the whole models of the store that this node shares, and how many bytes of models it does not evict.
    fn models_here(&self) -> Result<(BTreeMap<Key, SwarmModel>, u64), SpreadError> {
        let (store, trust) = (&self.puller.store, &self.puller.trust);
        let kept = kept::all(store)?;
        let mut known = self.known();
        let keys = ModelRecord::keys(store)?;
        known.retain(|key, it| it.is_complete && keys.contains(key));
        let (mut models, mut kept_bytes) = (BTreeMap::new(), 0u64);
        for key in keys {
            if !known.contains_key(&key) {
                match self.read(&key) {
                    Ok(Some(read)) => drop(known.insert(key.clone(), read)),
                    Ok(None) => continue,
                    Err(error) => {
                        warn!(%key, %error, "a model is left out of what the swarm is told");
                        continue;
                    }
                }
            }
            let Some(it) = known.get_mut(&key) else { continue };
            let why = kept.get(&key);
            if why.is_some() {
                kept_bytes = kept_bytes.saturating_add(it.bytes);
            }
            let is_shared = trust.sharing.gives(&it.publisher, &it.model) && !trust.is_unserved(&it.manifest);
            if !it.is_complete || !is_shared || !it.blobs.iter().all(|blob| store.contains(blob)) {
                continue;
            }
            let standing = match why {
                Some(Kept::Pinned | Kept::Published | Kept::Followed | Kept::Donated) => Standing::Kept,
                Some(Kept::Spread) => Standing::Spread,
                None => Standing::Cached,
            };
            let tag = match standing {
                Standing::Spread => kept::spread_tag(store, &key)?,
                _ => {
                    // The tag of a model that was just published comes after its record.
                    if it.tag.is_none() && standing == Standing::Kept {
                        it.tag = self.tag_of(&it.manifest, it.publisher, &it.model)?;
                    }
                    it.tag.clone()
                }
            };
            models.insert(key, told(it, tag, standing));
        }
        Ok((models, kept_bytes))
    }

    fn read(&self, key: &str) -> Result<Option<Known>, SpreadError> {
        let store = &self.puller.store;
        let Some((manifest, publisher, model)) = ModelRecord::of_key(key) else { return Ok(None) };
        let Some(record) = ModelRecord::load(store, &manifest, publisher, &model)? else { return Ok(None) };
        Ok(Some(Known {
            tag: self.tag_of(&manifest, publisher, &model)?,
            manifest,
            publisher,
            model: record.model,
            bytes: record.bytes,
            blobs: record.blobs,
            is_complete: record.complete,
        }))
    }

    /// Returns a tag of the store that means a version.
    fn tag_of(
        &self,
        manifest: &Digest,
        publisher: PublisherId,
        model: &ModelName,
    ) -> Result<Option<Tag>, SpreadError> {
        let tags = tags::records(&self.puller.store, publisher, Some(model))?;
        let tag = tags.iter().find(|it| it.record().manifest.digest == *manifest);
        Ok(tag.map(|it| it.record().tag.clone()))
    }

    /// Returns how many bytes this node can take beside what it does not evict.
    fn room(&self, kept_bytes: u64) -> Result<u64, SpreadError> {
        let store = &self.puller.store;
        let by_size = store.max_size().map_or(u64::MAX, |max| max.saturating_sub(kept_bytes));
        let evictable = store.usage()?.bytes.saturating_sub(kept_bytes);
        let free = store
            .free_space()
            .map_or(u64::MAX, |free| free.saturating_sub(store.limits().min_free).saturating_add(evictable));
        Ok(by_size.min(free))
    }

    /// Adds the models that are being fetched, and those that were refused.
    fn with_others(&self, models: &mut BTreeMap<Key, SwarmModel>, now: Moment) {
        for (key, model) in self.fetching().iter() {
            let fetching = SwarmModel { standing: Standing::Fetching, ..model.clone() };
            models.entry(key.clone()).or_insert(fetching);
        }
        for (key, refusal) in self.refusals().iter().filter(|(_, it)| it.is_told(now)) {
            let refused = SwarmModel { standing: Standing::Refused, ..refusal.model.clone() };
            models.entry(key.clone()).or_insert(refused);
        }
    }
}

fn told(known: &Known, tag: Option<Tag>, standing: Standing) -> SwarmModel {
    SwarmModel {
        manifest: known.manifest,
        publisher: known.publisher,
        model: known.model.clone(),
        tag,
        bytes: known.bytes,
        standing,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::state::key_of;
    use super::*;

    /// Returns a model that a node keeps for the swarm.
    pub(in crate::registry::spread) fn model(n: u8) -> SwarmModel {
        SwarmModel {
            manifest: Digest::of(&[n]),
            publisher: PublisherId::from_bytes([n; 32]),
            model: "model".parse().expect("a name"),
            tag: None,
            bytes: 1 << 20,
            standing: Standing::Spread,
        }
    }

    /// Returns what a node tells that has these models.
    pub(in crate::registry::spread) fn own(models: &[SwarmModel]) -> Own {
        let models = models.iter().map(|it| (key_of(it), it.clone())).collect();
        Own::new(PeerId::from_public_key([0; 32]), Zone::V4([10, 0, 0]), false, 1 << 40, models)
    }

    #[test]
    fn copies_are_told_before_what_is_refused() {
        let numbered = |n: usize, standing| {
            let model = SwarmModel { manifest: Digest::of(&n.to_be_bytes()), standing, ..model(1) };
            (key_of(&model), model)
        };
        let refused = (0..SWARM_MODELS_MAX).map(|n| numbered(n, Standing::Refused));
        let kept = (SWARM_MODELS_MAX..SWARM_MODELS_MAX + 50).map(|n| numbered(n, Standing::Kept));
        let own = Own::new(
            PeerId::from_public_key([0; 32]),
            Zone::Unplaced,
            false,
            0,
            refused.chain(kept).collect(),
        );
        assert_eq!(own.list.len(), SWARM_MODELS_MAX);
        assert_eq!(own.list.iter().filter(|it| it.standing.is_copy()).count(), 50);
    }

    #[test]
    fn a_drained_node_has_no_room() {
        let zone = Zone::Unplaced;
        let own =
            |draining| Own::new(PeerId::from_public_key([0; 32]), zone.clone(), draining, 5, BTreeMap::new());
        assert_eq!((own(false).room, own(true).room), (5, 0));
    }
}
