//! Chooses the models that are audited: those that are whole in the store and shared, the ones first that the user keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reg_commons::{Class, MODELS_MAX};
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId};
use reg_proto::piece::BlobLayout;
use tracing::{debug, warn};

use super::Health;
use super::state::Watched;
use crate::registry::model::kept::{self, Kept};
use crate::registry::model::record::{self, ModelRecord};
use crate::store::ReadError;

/// A model in the store.
pub(super) struct Here {
    pub(super) class: Class,
    pub(super) is_told: bool,
    pub(super) names: Vec<(PublisherId, ModelName)>,
    /// Its blobs, if it is new or its class has changed.
    pub(super) blobs: Option<Vec<(Digest, BlobLayout)>>,
}

/// Returns in which order a model is audited. What was published here is kept as what is pinned.
const fn class_of(kept: Option<Kept>) -> Class {
    match kept {
        Some(Kept::Followed) => Class::Followed,
        Some(Kept::Pinned | Kept::Published) => Class::Pinned,
        Some(Kept::Donated | Kept::Spread) => Class::Donated,
        None => Class::Other,
    }
}

impl Health {
    /// Audits the models that are in the store now, and no others.
    pub(super) async fn refresh(self: &Arc<Self>) {
        let known = self.state().models.iter().map(|(manifest, it)| (*manifest, it.class)).collect();
        let health = self.clone();
        let read = tokio::task::spawn_blocking(move || health.models_here(&known)).await;
        match read {
            Ok(Ok(here)) => self.watch(here),
            Ok(Err(error)) => {
                warn!(%error, "the models in the store cannot be listed: audits go on with those before")
            }
            Err(_) => {}
        }
    }

    fn models_here(&self, known: &BTreeMap<Digest, Class>) -> Result<BTreeMap<Digest, Here>, ReadError> {
        let kept = kept::all(&self.store)?;
        let mut here = BTreeMap::<Digest, Here>::new();
        for (manifest, record) in ModelRecord::all(&self.store)? {
            let ModelRecord { publisher, model, .. } = &record;
            let is_whole = record.complete && record.blobs.iter().all(|blob| self.store.contains(blob));
            if !is_whole || !self.trust.sharing.gives(publisher, model) {
                continue;
            }
            let why = kept.get(&ModelRecord::key(&manifest, *publisher, model)).copied();
            let class = class_of(why);
            let entry = here.entry(manifest).or_insert(Here {
                class,
                is_told: false,
                names: Vec::new(),
                blobs: None,
            });
            entry.class = entry.class.min(class);
            entry.is_told |= why.is_some_and(|why| why != Kept::Donated);
            entry.names.push((*publisher, model.clone()));
        }
        let mut order: Vec<(Class, Digest)> =
            here.iter().map(|(manifest, it)| (it.class, *manifest)).collect();
        order.sort_unstable();
        for (_, manifest) in order.iter().skip(MODELS_MAX) {
            here.remove(manifest);
        }
        here.retain(|manifest, it| {
            if known.get(manifest) == Some(&it.class) {
                return true;
            }
            match record::manifest(&self.store, manifest) {
                Ok(manifest) => it.blobs = Some(manifest.blobs().into_iter().collect()),
                Err(error) => debug!(%manifest, %error, "a model is not audited"),
            }
            it.blobs.is_some()
        });
        // What is in the store comes first.
        let free = MODELS_MAX.saturating_sub(here.len());
        let mut more = BTreeMap::new();
        self.add_candidates(known, &mut more);
        let more = more.into_iter().filter(|(manifest, _)| !here.contains_key(manifest)).take(free);
        here.extend(more.collect::<Vec<_>>());
        Ok(here)
    }

    fn watch(&self, here: BTreeMap<Digest, Here>) {
        let mut state = self.state();
        let gone: BTreeSet<Digest> = state
            .models
            .keys()
            .chain(state.auditor.audits().models())
            .filter(|it| !here.contains_key(it) && !self.is_waiting(it))
            .copied()
            .collect();
        for manifest in gone {
            state.models.remove(&manifest);
            state.auditor.unwatch(&manifest);
            state.observations.forget(&manifest);
            state.has_changed = true;
        }
        for (manifest, Here { class, is_told, names, blobs }) in here {
            if let Some(blobs) = blobs {
                state.auditor.watch(manifest, class, &blobs);
            }
            let new = Watched { class, is_told, names: Vec::new(), claimed: BTreeSet::new(), searched: None };
            let watched = state.models.entry(manifest).or_insert(new);
            (watched.class, watched.is_told, watched.names) = (class, is_told, names);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_keeps_is_audited_first() {
        let order = [Some(Kept::Followed), Some(Kept::Pinned), Some(Kept::Published), None].map(class_of);
        assert!(order.is_sorted(), "{order:?}");
        assert_eq!(order[3], Class::Other);
    }
}
