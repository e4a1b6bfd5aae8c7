//! A large file of the endpoint on its way, and how far it is.

use std::sync::Arc;

use tokio::sync::watch;

use super::error::UpstreamError;
use crate::store::UploadReader;

/// A large file on its way.
#[derive(Debug)]
pub struct Fetch {
    pub state: watch::Sender<State>,
}

/// How far it is.
#[derive(Debug, Clone)]
pub enum State {
    /// Nothing of it can be served yet.
    Begun,
    /// It comes from the endpoint, and may be served.
    Flowing {
        file: Arc<UploadReader>,
        written: u64,
    },
    /// It is in the store.
    Done,
    Failed(Arc<UpstreamError>),
}
