//! [`Terms`]: the priority, rate limit and web seeds of one download.

use std::time::Duration;

use reg_api::request::Priority;

use super::web_source::WebSeeds;

/// The terms of one download.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    pub priority: Priority,
    /// Bytes per second; `None` without a limit of its own.
    pub limit_down: Option<u64>,
    pub web: WebSeeds,
    /// How long the user waits for a byte; `None`: as long as the node does where the user has not said.
    pub timeout: Option<Duration>,
}
