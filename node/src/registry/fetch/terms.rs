//! [`Terms`]: the priority, rate limit and web seeds of one download.

use std::time::Duration;

use reg_api::request::Priority;
use reg_proto::peer::Address;

use super::demand::DownLimit;
use super::web_source::WebSeeds;

/// The terms of one download.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    pub priority: Priority,
    pub limit: DownLimit,
    /// Peers that the user named.
    pub from: Vec<Address>,
    pub web: WebSeeds,
    /// How long the user waits for a byte; `None`: as long as the node does where the user has not said.
    pub timeout: Option<Duration>,
}
