//! [`Terms`]: how a download takes its place among others.

use reg_api::request::Priority;

use super::web_source::WebSeeds;

/// How a download takes its place among others.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    pub priority: Priority,
    pub limit_down: Option<u64>,
    pub web: WebSeeds,
}
