//! Brings blobs from outside the swarm into the store: uploads through gateways, repositories of an endpoint, a Hugging Face cache.
//!
//! In: bytes and what they are said to be. Out: blobs in the store, kept for a while until a publication names them. Promise:
//! every byte is hashed on its way in, and an interrupted import goes on where it was.

mod gather;
pub mod hf_cache;
mod repository;
mod upload;

use self::upload::Uploads;
use crate::store::Store;

pub use self::gather::{FileStream, GatherError, Gathered, gather};
pub use self::repository::ImportRepositoryError;
pub use self::upload::UploadError;

/// Takes blobs from outside the swarm.
#[derive(Debug)]
pub struct Importing {
    store: Store,
    uploads: Uploads,
}

impl Importing {
    /// Returns the imports of a node, of which none has begun.
    pub fn new(store: Store) -> Self {
        Self { store, uploads: Uploads::default() }
    }
}
