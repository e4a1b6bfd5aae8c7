//! Names as they stand in this dialect's URLs.

use serde::Deserialize;

/// A repository as it stands in an address.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Repo {
    pub(super) owner: String,
    pub(super) model: String,
}

/// A repository and what is meant in it: a tag, a digest, or an upload.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct At {
    pub(super) owner: String,
    pub(super) model: String,
    pub(super) reference: String,
}
