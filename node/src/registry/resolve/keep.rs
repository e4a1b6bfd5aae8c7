//! Stores what a resolved reference has proven: its documents, and the record of the model.

use super::{Resolved, Resolver};
use crate::registry::model::describe::Description;
use crate::registry::model::record::ModelRecord;
use crate::store::WriteError;

impl Resolver {
    /// Stores the manifest, the referrers and their documents. They are small, verified, and needed to serve the model.
    pub fn keep_documents(&self, resolved: &Resolved) -> Result<(), WriteError> {
        let documents: Vec<&Vec<u8>> = resolved.documents.values().collect();
        self.store.put_blobs(&documents).map(drop)
    }

    /// Returns the record of a model. It is whole where `described` has the facts of its files.
    pub fn record(&self, resolved: &Resolved, described: Option<Description>) -> ModelRecord {
        let blobs = resolved.manifest.blobs().into_keys().chain(resolved.documents.keys().copied());
        let complete = described.is_some();
        let (metadata, kinds) = described.map(Description::finish).unwrap_or_default();
        ModelRecord {
            publisher: resolved.keys.publisher(),
            model: resolved.model.clone(),
            blobs: blobs.chain([resolved.digest]).collect(),
            referrers: resolved.referrers.clone(),
            bytes: resolved.manifest.total_bytes(),
            files: resolved.manifest.files().len(),
            complete,
            chosen: None,
            metadata,
            kinds,
        }
    }
}
