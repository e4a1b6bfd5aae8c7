//! [`Settings`]: what a node was started with, as far as a command's flags can ask for something else; [`Reloaded`]: what has changed since.

use std::collections::BTreeMap;
use std::path::PathBuf;

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

/// What a daemon took of a configuration that was read again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reloaded {
    /// The file.
    pub path: PathBuf,
    /// Changes that count from now on.
    pub taken: Vec<SettingChange>,
    /// Changes that count after a restart.
    pub needs_restart: Vec<SettingChange>,
}

/// A setting of which the configuration says something else than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingChange {
    /// Section and key, as in `transfer.limit_up`.
    pub key: String,
    /// The values as the configuration writes them; `None` where there is none, or where it is a secret.
    pub before: Option<String>,
    pub after: Option<String>,
}

/// A configuration in effect, and where each value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigReport {
    /// The file.
    pub path: PathBuf,
    /// The configuration as a file that sets every key.
    pub written: String,
    /// Where each key's value comes from, by `section.key`: `flag --x`, `variable REG_X`, `line 3` of the file, or `default`.
    pub sources: BTreeMap<String, String>,
}
