//! Tells whether a version that this node keeps is damaged: its manifest, its provenance, or another document that proves it.
//!
//! A damaged copy is no reason to say that there is no such version: its documents may come from a peer again. The files of a
//! version are another matter, because each is read, and found to be damaged, by itself.

use std::sync::Arc;

use reg_api::fault::{Fault, FaultKind};
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Publisher, Reference};
use reg_proto::referrer::Referrer;
use tokio::time::timeout;

use super::view::{Revision, reference};
use super::{ModelHere, ResolveError, Resolved, Resolver, ViewError};
use crate::registry::limits::DAMAGED_PATIENCE;
use crate::registry::model::record::{self, ModelRecord};

impl Resolver {
    /// Resolves a reference. Where this node keeps the version and lacks a document of it, peers are asked for a shorter time, and
    /// what is lacking is the reason that it is not resolved.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub(super) async fn unless_damaged(
        self: &Arc<Self>,
        reference: &Reference,
        resolving: impl Future<Output = Result<Resolved, ResolveError>>,
    ) -> Result<Resolved, ViewError> {
        let (resolver, meant) = (self.clone(), reference.clone());
        let look = move || {
            let ModelHere { manifest, record, .. } = resolver.model_here(&meant).ok()?;
            resolver.lacking_document(&manifest, &record)
        };
        let Some(document) = tokio::task::spawn_blocking(look).await.ok().flatten() else {
            return Ok(resolving.await?);
        };
        match timeout(DAMAGED_PATIENCE, resolving).await {
            Ok(Ok(resolved)) => Ok(resolved),
            Ok(Err(error)) if !is_lack(&error) => Err(error.into()),
            Ok(Err(_)) | Err(_) => Err(damaged(reference.clone(), document)),
        }
    }

    /// Returns why a blob cannot be read as a part of a model: the version of this node that needs it lacks a document. `None`
    /// where no version here needs the blob, or none lacks one.
    pub async fn damage_with(
        self: &Arc<Self>,
        publisher: &Publisher,
        model: &ModelName,
        blob: &Digest,
    ) -> Option<ViewError> {
        let id = self.publisher(publisher).await.ok()?;
        let (resolver, name, of, blob) = (self.clone(), model.clone(), publisher.clone(), *blob);
        let look = move || {
            let all = ModelRecord::of_model(&resolver.store, id, &name).into_iter();
            let needs = |it: &(Digest, ModelRecord)| it.0 == blob || it.1.blobs.contains(&blob);
            all.filter(needs).find_map(|(manifest, record)| {
                let document = resolver.lacking_document(&manifest, &record)?;
                Some(damaged(reference(of.clone(), &name, &Revision::Digest(manifest)), document))
            })
        };
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }

    /// Returns a document of a version that the store cannot read. Blocks.
    fn lacking_document(&self, manifest: &Digest, record: &ModelRecord) -> Option<Digest> {
        let read = |it: &Digest| record::document(&self.store, it);
        if read(manifest).is_none() {
            return Some(*manifest);
        }
        record.referrers.iter().find_map(|referrer| match read(referrer) {
            None => Some(*referrer),
            Some(bytes) => {
                let document = Referrer::from_bytes(&bytes).ok()?.document.digest;
                read(&document).is_none().then_some(document)
            }
        })
    }
}

/// Tells whether an error may come from a document that is lacking.
fn is_lack(error: &ResolveError) -> bool {
    matches!(error.kind(), FaultKind::NotFound | FaultKind::Unreachable)
        || matches!(error, ResolveError::NoProvenance { .. })
}

fn damaged(reference: Reference, document: Digest) -> ViewError {
    tracing::warn!(%reference, %document, "a version in the store lacks a document");
    ViewError::Damaged { reference, document }
}
