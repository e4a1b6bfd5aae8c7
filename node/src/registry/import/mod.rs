//! Imports blobs from outside the swarm: uploads through gateways, repositories of an endpoint, a Hugging Face cache, Ollama's
//! store.
//!
//! In: bytes and the name that they must have. Out: blobs in the store, which are not evicted for an hour, until a publication
//! names them. Promise: every byte is hashed, and a blob is kept only under the digest of its bytes. An interrupted import of
//! a large file continues where it stopped.

mod adopt;
mod gather;
mod hf_cache;
mod ollama;
mod partial_cache;
mod repository;
mod upload;

use std::sync::Arc;

use self::upload::Uploads;
use crate::registry::trust::Trust;
use crate::store::Store;

pub use self::adopt::AdoptError;
pub use self::gather::{FileStream, GatherError, Gathered, gather};
pub use self::repository::ImportRepositoryError;
pub use self::upload::UploadError;

/// Imports blobs from outside the swarm.
#[derive(Debug)]
pub struct Importing {
    store: Store,
    trust: Arc<Trust>,
    uploads: Uploads,
}

impl Importing {
    /// Returns the importing side of a node, without an import yet.
    pub fn new(store: Store, trust: Arc<Trust>) -> Self {
        Self { store, trust, uploads: Uploads::default() }
    }
}
