//! Names in the URLs of this dialect.

use serde::Deserialize;

/// A repository in a URL.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Repo {
    pub(super) owner: String,
    pub(super) model: String,
}

/// A repository and a tag, a digest or an upload of it, in a URL.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct At {
    pub(super) owner: String,
    pub(super) model: String,
    pub(super) reference: String,
}
