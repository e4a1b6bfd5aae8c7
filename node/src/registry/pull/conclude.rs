//! Concludes a model whose blobs have all come, for readers and pushes: describes, records and announces it.

use std::sync::Arc;

use reg_proto::manifest::Manifest;
use thiserror::Error;

use crate::registry::model::describe::{self, DescribeError};
use crate::registry::model::record::ModelRecord;
use crate::registry::model::whole;
use crate::registry::pull::Puller;
use crate::registry::resolve::ModelView;
use crate::store::WriteError;

/// Why a model that has come whole is not kept as one.
#[derive(Debug, Error)]
pub enum ConcludeError {
    #[error("model is refused")]
    Describe(#[from] DescribeError),
    #[error("model cannot be remembered")]
    Keep(#[from] WriteError),
}

impl Puller {
    /// Once every blob of a model is here: describes it, remembers it as whole, and tells the network.
    pub fn conclude(self: &Arc<Self>, view: &Arc<ModelView>) -> Result<(), ConcludeError> {
        let manifest: &Manifest = view.manifest();
        let store = &self.store;
        if manifest.blobs().keys().any(|blob| !store.contains(blob))
            || whole::is_complete(&self.store, &view.digest())
        {
            return Ok(());
        }
        let (metadata, kinds) =
            describe::describe(&self.store, manifest, self.resolver.allow_unsafe)?.finish();
        let record = ModelRecord { complete: true, chosen: None, metadata, kinds, ..view.record.clone() };
        record.save(store, &view.digest())?;
        store.touch(&view.digest());
        store.commit();
        let (puller, view) = (self.clone(), view.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                puller.news.seed_model(&view.digest()).await;
                if let Some(tag) = &view.tag {
                    puller.news.announce(tag, &view.keys).await;
                }
            });
        }
        Ok(())
    }
}
