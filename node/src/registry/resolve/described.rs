//! [`Described`]: what the files in the store say of models that are partly there.
//!
//! Gateways describe a model to clients without a token, and some formats are read whole for that. So each file is read once for
//! a model, and the files of one model at a time are read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use reg_proto::content::metadata::Metadata;
use reg_proto::digest::Digest;
use tokio::sync::Semaphore;

use super::ModelView;
use crate::registry::limits::DESCRIBED_MAX;
use crate::registry::model::describe::FilesHere;
use crate::store::Store;

type OfModel = Arc<tokio::sync::Mutex<FilesHere>>;

/// The manifests that were described lately, each with what its files said.
#[derive(Debug)]
pub(super) struct Described {
    /// The one that was asked for last comes last.
    models: Mutex<VecDeque<(Digest, OfModel)>>,
    /// Held while files are read.
    reading: Arc<Semaphore>,
}

impl Default for Described {
    fn default() -> Self {
        Self { models: Mutex::default(), reading: Arc::new(Semaphore::new(1)) }
    }
}

impl Described {
    /// Returns the metadata of a model, of those of its files that are in the store; `None` where there are none, or one cannot
    /// be read. A file that was read for an earlier request is not read again. Requests at the same moment wait for one result.
    pub(super) async fn metadata(&self, store: &Store, view: &Arc<ModelView>) -> Option<Metadata> {
        let mut files = self.of(view.digest()).lock_owned().await;
        let permit = if files.lacks_any(store, view.manifest()) {
            Some(self.reading.clone().acquire_owned().await.ok()?)
        } else {
            None
        };
        let (store, view) = (store.clone(), view.clone());
        // The thread goes on if the client leaves, and its result is kept.
        let describe = move || {
            let metadata = files.metadata(&store, view.manifest());
            drop(permit);
            metadata
        };
        tokio::task::spawn_blocking(describe).await.ok().flatten()
    }

    fn of(&self, manifest: Digest) -> OfModel {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let known = models.iter().position(|(digest, _)| *digest == manifest);
        let known = known.and_then(|place| models.remove(place));
        let (_, files) = known.unwrap_or_else(|| (manifest, OfModel::default()));
        if models.len() >= DESCRIBED_MAX {
            models.pop_front();
        }
        models.push_back((manifest, files.clone()));
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_that_was_asked_for_longest_ago_is_forgotten() {
        let described = Described::default();
        let digest = |number: usize| Digest::of(&number.to_be_bytes());
        let first = described.of(digest(0));
        let second = described.of(digest(1));
        for number in 2..DESCRIBED_MAX {
            described.of(digest(number));
        }
        assert!(Arc::ptr_eq(&first, &described.of(digest(0))));
        described.of(digest(DESCRIBED_MAX));
        assert!(Arc::ptr_eq(&first, &described.of(digest(0))));
        assert!(!Arc::ptr_eq(&second, &described.of(digest(1))));
        assert_eq!(described.models.lock().expect("not poisoned").len(), DESCRIBED_MAX);
    }
}
