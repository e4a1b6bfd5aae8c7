//! Finds the model that a reference means among those in the store.

use reg_api::request::wanted_tag;
use reg_proto::attestation::Said;
use reg_proto::digest::Digest;
use reg_proto::name::Reference;

use super::{Referrers, ResolveError, Resolver};
use crate::registry::model::record::{self, ModelRecord, referrers_here};
use crate::registry::publishers::{keys, tags};

impl Resolver {
    /// Finds a model in the store without asking any peer.
    pub fn model_here(&self, reference: &Reference) -> Result<(Digest, ModelRecord), ResolveError> {
        let publisher = self
            .trust
            .file
            .resolve(&reference.publisher)
            .map_err(|source| ResolveError::Trust { reference: reference.clone(), source })?;
        let missing = || ResolveError::NotHere { reference: reference.clone() };
        let tagged = match wanted_tag(reference) {
            Some(tag) => tags::record(&self.store, publisher, &reference.model, &tag)
                .map_err(|source| ResolveError::Tags { reference: reference.clone(), source })?
                .map(|it| it.record().manifest.digest),
            None => None,
        };
        let manifest = reference.digest.or(tagged).ok_or_else(missing)?;
        let record =
            ModelRecord::load(&self.store, &manifest, publisher, &reference.model)?.ok_or_else(missing)?;
        Ok((manifest, record))
    }

    /// Returns the attestations about a model in the store, verified again.
    pub fn said_here(&self, manifest: &Digest, record: &ModelRecord) -> Vec<Said> {
        let Ok(Some(keys)) = keys::keys(&self.store, record.publisher) else { return Vec::new() };
        let record = ModelRecord::load(&self.store, manifest, record.publisher, &record.model);
        let Ok(Some(record)) = record else { return Vec::new() };
        let mut candidates = Referrers::default();
        for (digest, referrer) in referrers_here(&self.store, &record) {
            if let Some(document) = record::document(&self.store, &referrer.document.digest) {
                candidates.add(digest, referrer, document);
            }
        }
        self.attestors().gather(&candidates, &keys, manifest).said
    }
}
