//! Stores what a resolved reference has proven: its documents, and the record of the model.

use tokio::task::spawn_blocking;

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

    /// Stores the documents as [`Self::keep_documents`] does, on a blocking thread.
    pub async fn keep_documents_aside(&self, resolved: &Resolved) -> Result<(), WriteError> {
        let documents: Vec<Vec<u8>> = resolved.documents.values().cloned().collect();
        let (store, path) = (self.store.clone(), self.store.root().to_owned());
        let kept = spawn_blocking(move || store.put_blobs(&documents.iter().collect::<Vec<_>>()).map(drop));
        kept.await.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(stopped) => Err(WriteError::Io { path, source: std::io::Error::other(stopped) }),
        })
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
            pulling: None,
            metadata,
            kinds,
        }
    }
}
