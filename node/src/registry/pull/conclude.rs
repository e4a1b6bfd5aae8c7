//! Concludes a model once all its blobs are in the store, for readers and pushes: describes, records and announces it.

use std::sync::Arc;

use reg_proto::manifest::Manifest;
use thiserror::Error;

use super::Puller;
use crate::registry::model::describe::{self, DescribeError};
use crate::registry::model::record::ModelRecord;
use crate::registry::model::whole;
use crate::registry::resolve::ModelView;
use crate::registry::trust::TrustError;
use crate::store::WriteError;

/// Why a complete model cannot be recorded.
#[derive(Debug, Error)]
pub enum ConcludeError {
    #[error("model is refused")]
    Describe(#[from] DescribeError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("model cannot be recorded")]
    Keep(#[from] WriteError),
}

impl Puller {
    /// Describes a model, records it as complete and announces it, once every blob of it is in the store. Does nothing
    /// before, or if it was concluded. Blocks.
    ///
    /// # Errors
    /// A file of the model is refused, or the record cannot be written.
    pub fn conclude(self: &Arc<Self>, view: &Arc<ModelView>) -> Result<(), ConcludeError> {
        let manifest: &Manifest = view.manifest();
        let store = &self.store;
        if manifest.blobs().keys().any(|blob| !store.contains(blob))
            || whole::is_complete(&self.store, &view.digest())
        {
            return Ok(());
        }
        let (publisher, model) = (view.publisher(), view.model());
        let consent = self.trust.consent_to(publisher, model, &self.resolver.consent)?;
        let (metadata, kinds) = describe::describe(&self.store, manifest, &consent)?.finish();
        let record = ModelRecord { complete: true, chosen: None, metadata, kinds, ..view.record.clone() };
        record.save(store, &view.digest())?;
        store.touch(&view.digest());
        store.commit();
        let (puller, view) = (self.clone(), view.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                puller.news.seed_model(&view.digest()).await;
                if let Some(tag) = view.tag.as_ref().filter(|_| view.behind.is_none()) {
                    puller.news.announce(tag, &view.keys).await;
                }
            });
        }
        Ok(())
    }
}
