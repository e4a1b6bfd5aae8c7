//! [`Announcing`]: publications that are durable and are being announced, behind the callers that wait for no peer.

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::registry::limits::{ANNOUNCE_MAX, ANNOUNCE_TIMEOUT, ANNOUNCING_MAX};

/// The announcements that are under way.
#[derive(Debug, Default)]
pub(super) struct Announcing(Mutex<JoinSet<()>>);

impl Announcing {
    /// Begins an announcement. Waits for an earlier one where many are under way.
    pub(super) async fn begin(&self, announce: impl Future<Output = ()> + Send + 'static) {
        let mut all = self.0.lock().await;
        while all.try_join_next().is_some() {}
        if all.len() >= ANNOUNCING_MAX {
            all.join_next().await;
        }
        all.spawn(async move {
            if timeout(ANNOUNCE_MAX, announce).await.is_err() {
                tracing::debug!("a publication took too long to announce: a peer does not answer");
            }
        });
    }

    /// Waits until all of them have ended, within [`ANNOUNCE_TIMEOUT`].
    pub(super) async fn end(&self) {
        let end = async {
            let mut all = self.0.lock().await;
            while all.join_next().await.is_some() {}
        };
        if timeout(ANNOUNCE_TIMEOUT, end).await.is_err() {
            tracing::warn!(
                "a publication is not announced, because the node ends; a daemon announces it when it starts"
            );
        }
    }
}
