//! [`until`]: waits that end at a moment.

use tokio::time::{Instant, timeout_at};

/// Waits for `future` until `end`; `None` where it has not come by then.
pub(super) async fn until<T>(end: Instant, future: impl Future<Output = T>) -> Option<T> {
    timeout_at(end, future).await.ok()
}
