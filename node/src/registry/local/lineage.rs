//! Finds the models that a model is derived from and those derived from it, as claimed, and compares their
//! tensors.

use std::collections::BTreeSet;
use std::sync::Arc;

use reg_api::lineage::{ClaimedBase, Lineage, Relative, SharedTensors};
use reg_api::looked::Looked;
use reg_catalogue::EntryHead;
use reg_proto::attestation::Mirror;
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId, Reference, Tag};

use super::{CatalogueError, Local};
use crate::registry::limits::{COMPARED_BYTES_MAX, COMPARED_MODELS_MAX, RELATIVES_SHOWN_MAX};
use crate::registry::model::record::{self, ModelRecord};
use crate::registry::model::whole;
use crate::registry::pull::compare_tensors;
use crate::registry::resolve::ModelHere;
use crate::store::CancelOnDrop;

/// The model of which the lineage is asked for.
struct Subject<'a> {
    publisher: PublisherId,
    model: &'a ModelName,
    manifest: Digest,
    /// The repository of its files, as its publisher states it. Other models may name it as their base.
    mirrored: Option<String>,
    /// The bases that its own files name.
    bases: Vec<String>,
}

impl Local {
    /// Returns the claimed lineage of a model in the store. Blocks.
    pub(super) fn lineage(&self, here: &ModelHere, mirror: Option<&Mirror>) -> Lineage {
        let ModelHere { manifest, record, .. } = here;
        self.lineage_of(Subject {
            publisher: record.publisher,
            model: &record.model,
            manifest: *manifest,
            mirrored: mirror.map(|it| it.repository.clone()),
            bases: record.metadata.claimed.base_models.iter().map(ToString::to_string).collect(),
        })
    }

    /// Adds the claimed lineage to the facts about a model that is not in the store.
    pub async fn relate(self: &Arc<Self>, mut looked: Looked) -> Looked {
        let local = self.clone();
        let (publisher, model, manifest) = (looked.publisher, looked.model.clone(), looked.planned.manifest);
        let lineage = move || {
            let (mirrored, bases) = (None, Vec::new());
            local.lineage_of(Subject { publisher, model: &model, manifest, mirrored, bases })
        };
        looked.lineage = tokio::task::spawn_blocking(lineage).await.unwrap_or_default();
        looked
    }

    /// Compares the tensors of a model with those of its relatives in the store: the models that it is
    /// derived from and those derived from it, as claimed. Stops when the caller drops it.
    ///
    /// # Errors
    /// The model is not in the store, or a file cannot be read: see [`CatalogueError`].
    pub async fn shared_tensors(
        self: &Arc<Self>,
        reference: &Reference,
    ) -> Result<Vec<SharedTensors>, CatalogueError> {
        let reference = reference.clone();
        let caller = CancelOnDrop::default();
        let cancel = caller.cancel();
        self.on_blocking_thread(move |local| {
            let here = local.resolver.model_here(&reference)?;
            let manifest = record::manifest(&local.store, &here.manifest)?;
            let Lineage { bases, derived, .. } = local.lineage(&here, local.mirror(&here).as_ref());
            let bases = bases.into_iter().filter_map(|it| Some((it.model?, true)));
            let related = bases.chain(derived.into_iter().map(|it| (it, false)));
            let mut bytes_left = COMPARED_BYTES_MAX;
            let mut found = Vec::new();
            for (with, is_base) in related.filter(|(it, _)| it.is_here).take(COMPARED_MODELS_MAX) {
                let other = record::manifest(&local.store, &with.manifest)?;
                let it = compare_tensors(&local.store, &manifest, &other, &mut bytes_left, &cancel)?;
                found.push(SharedTensors {
                    with,
                    is_base,
                    tensors: it.tensors,
                    same: it.same,
                    bytes: it.bytes,
                    same_bytes: it.same_bytes,
                    left_out: it.left_out,
                });
            }
            Ok(found)
        })
        .await
    }

    fn lineage_of(&self, subject: Subject<'_>) -> Lineage {
        let Subject { publisher, model, manifest, mirrored, bases } = subject;
        let signed = self.catalogue.base_of(publisher, &manifest);
        let known = bases.iter().any(|it| signed.as_ref().is_some_and(|(name, _)| name == it));
        let names = bases.into_iter().chain(signed.iter().map(|it| it.0.clone()).filter(|_| !known));
        let manifest_of = |name: &String| signed.as_ref().filter(|it| it.0 == *name)?.1;
        let bases = names.take(RELATIVES_SHOWN_MAX).map(|name| {
            let manifest = manifest_of(&name);
            let model = self.base_known(&name, manifest.as_ref());
            ClaimedBase { manifest, model, name }
        });
        let bases = bases.collect();
        let petname = self.trust.petnames().remove(&publisher);
        let own = [Some(format!("{publisher}/{model}")), petname.map(|it| format!("{it}/{model}"))];
        let own: Vec<String> =
            own.into_iter().flatten().chain([manifest.to_string()]).chain(mirrored).collect();
        let (heads, derived_tags) = self.catalogue.derived_from(&own).unwrap_or_else(|error| {
            tracing::warn!(%error, "what is derived from a model is not known");
            (Vec::new(), 0)
        });
        let mut seen = BTreeSet::from([(publisher, model.folded())]);
        let others = heads.into_iter().filter(|it| seen.insert((it.publisher, it.model.folded())));
        let derived = others.take(RELATIVES_SHOWN_MAX).map(|it| self.relative(it)).collect();
        Lineage { bases, derived, derived_tags, shared: None }
    }

    /// Returns the model that a claim means: the one that the user or the catalogue knows by the name, unless
    /// the claim states another manifest; else one with that manifest.
    fn base_known(&self, name: &str, manifest: Option<&Digest>) -> Option<Relative> {
        let is_meant = |it: &Relative| manifest.is_none_or(|manifest| it.manifest == *manifest);
        if let Some(found) = self.base_by_name(name).filter(is_meant) {
            return Some(found);
        }
        let manifest = manifest?;
        if let Some(head) = self.catalogue.entry_named(manifest) {
            return Some(self.relative(head));
        }
        let here = ModelRecord::of_manifest(&self.store, manifest).into_iter().next()?;
        Some(self.relative_here(here.publisher, here.model, None, *manifest))
    }

    fn base_by_name(&self, name: &str) -> Option<Relative> {
        let reference: Reference = name.parse().ok()?;
        if let Ok(ModelHere { manifest, record, tag }) = self.resolver.model_here(&reference) {
            let tag = tag.map(|it| it.tag.record().tag.clone());
            return Some(self.relative_here(record.publisher, record.model, tag, manifest));
        }
        let publisher = self.trust.file.resolve(&reference.publisher).ok()?;
        let tag = reference.tag.unwrap_or_else(Tag::latest);
        self.catalogue.listed(publisher, &reference.model, &tag).map(|it| self.relative(it))
    }

    fn relative(&self, head: EntryHead) -> Relative {
        self.relative_here(head.publisher, head.model, Some(head.tag), head.manifest)
    }

    fn relative_here(
        &self,
        publisher: PublisherId,
        model: ModelName,
        tag: Option<Tag>,
        manifest: Digest,
    ) -> Relative {
        let petname = self.trust.petnames().remove(&publisher);
        let is_here = whole::is_complete(&self.store, &manifest);
        Relative { publisher, petname, model, tag, manifest, is_here }
    }
}
