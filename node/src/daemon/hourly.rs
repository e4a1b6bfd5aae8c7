//! Tells the log each hour what a daemon has done for others: one line, so that a day of seeding is not a day of silence.

use std::time::Duration;

use reg_api::report::Status;

use crate::registry::Registry;

/// The time between two lines.
const EVERY: Duration = Duration::from_secs(3600);

/// Tells until the task ends. The first line comes after an hour.
pub(super) async fn tell(registry: Registry) {
    let mut before = (0, 0);
    loop {
        tokio::time::sleep(EVERY).await;
        if let Ok(status) = registry.status().await {
            before = line(&status, before);
        }
    }
}

/// Tells what was served and fetched since `before`. Returns the figures of now.
fn line(status: &Status, (served, fetched): (u64, u64)) -> (u64, u64) {
    tracing::info!(
        served = status.bytes_served.saturating_sub(served),
        fetched = status.bytes_fetched.saturating_sub(fetched),
        served_since_start = status.bytes_served,
        peers = status.peers,
        models = status.models,
        bytes = status.bytes,
        "the last hour"
    );
    (status.bytes_served, status.bytes_fetched)
}
