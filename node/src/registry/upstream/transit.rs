//! [`Fetch`]: a large file of the endpoint that is being fetched, and its progress.

use std::sync::Arc;

use tokio::sync::watch;

use super::error::UpstreamError;
use crate::store::UploadReader;

/// A large file that is being fetched.
#[derive(Debug)]
pub(super) struct Fetch {
    pub state: watch::Sender<State>,
}

/// The progress of a fetch.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// No byte can be served yet.
    Begun,
    /// The endpoint sends the file, and its first `written` bytes may be served.
    Flowing {
        file: Arc<UploadReader>,
        written: u64,
    },
    /// The file is whole in the store.
    Done,
    Failed(Arc<UpstreamError>),
}
