//! [`until`]: waits for a future until a deadline.

use tokio::time::{Instant, timeout_at};

/// Waits for `future` until `end`. Returns `None` where it is not ready by then.
pub(super) async fn until<T>(end: Instant, future: impl Future<Output = T>) -> Option<T> {
    timeout_at(end, future).await.ok()
}
