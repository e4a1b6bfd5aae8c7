//! [`Terms`]: the priority, rate limit and web seeds of one download.

use reg_api::request::Priority;

use super::web_source::WebSeeds;

/// The terms of one download.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    pub priority: Priority,
    /// Bytes per second; `None` without a limit of its own.
    pub limit_down: Option<u64>,
    pub web: WebSeeds,
}
