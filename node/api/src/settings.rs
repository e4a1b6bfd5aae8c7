//! [`Settings`]: what a node was started with, as far as a command's flags can ask for something else.

use serde::{Deserialize, Serialize};

/// What a node was started with. Texts are as the configuration writes them.
///
/// It has 12 fields, one for each flag that a daemon may have been started with and a command may name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub bootstrap: Vec<String>,
    pub mdns: bool,
    pub dht: String,
    pub gossip: bool,
    pub remember: bool,
    pub offline: bool,
    pub lanes: bool,
    pub limit_up: String,
    pub limit_down: String,
    pub limit_local: bool,
    pub web_seeds: Vec<String>,
    /// A digest of the private swarm's key, which tells keys apart and is no key; `None` for the public swarm.
    pub swarm: Option<String>,
}
