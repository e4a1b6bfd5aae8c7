//! [`Reloading`]: reads the configuration again while the node runs. A file that is refused changes nothing; of a valid one, what
//! a running node can take counts at once, and the rest is named.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use reg_api::settings::{ConfigReport, Reloaded, SettingChange, Settings};

use super::config::{Config, ConfigError, Overrides, SettingKey, keys, report};
use super::home::Home;
use super::telemetry;
use crate::gateway::guard::Origins;
use crate::registry::{Adjusted, Registry};

/// What a node was started with beside its file: flags and variables, and in words which of them sets which key.
#[derive(Debug, Default)]
pub struct Started {
    pub overrides: Overrides,
    pub origins: BTreeMap<SettingKey, String>,
    /// The listener of the local API, where a supervisor has opened it. It takes the place of `http.listen`.
    pub listener: Option<TcpListener>,
}

/// The configuration of a running node, and what takes changes of it.
#[derive(Debug)]
pub(super) struct Reloading {
    home: Home,
    /// What flags and variables said at the start: they win over the file again.
    started: Started,
    /// The configuration in effect.
    config: Mutex<Config>,
    registry: Registry,
    origins: Origins,
}

impl Reloading {
    pub(super) fn new(
        home: Home,
        started: Started,
        config: Config,
        registry: Registry,
        origins: Origins,
    ) -> Self {
        Self { home, started, config: Mutex::new(config), registry, origins }
    }

    /// Returns the configuration in effect.
    pub(super) fn config(&self) -> Config {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the folders of the node.
    pub(super) const fn home(&self) -> &Home {
        &self.home
    }

    /// Returns what flags and variables said at the start.
    pub(super) fn overrides(&self) -> Overrides {
        self.started.overrides.clone()
    }

    /// Returns the settings in effect.
    pub(super) fn settings(&self) -> Settings {
        self.config().settings()
    }

    /// Returns the configuration in effect, and where each value comes from.
    pub(super) fn report(&self) -> ConfigReport {
        report(&self.config(), &self.home.config(), &self.started.origins)
    }

    /// Reads the file again, and takes what can be taken.
    ///
    /// # Errors
    /// The file is refused. Then all values stay as they were.
    pub(super) fn reload(&self) -> Result<Reloaded, ConfigError> {
        // Held to the end, so that of two calls the later one counts whole.
        let mut held = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let new = Config::load(&self.home, self.started.overrides.clone())?;
        let mut reloaded = Reloaded { path: self.home.config(), ..Reloaded::default() };
        for (key, change) in changes(&held, &new) {
            if key.is_live() { &mut reloaded.taken } else { &mut reloaded.needs_restart }.push(change);
        }
        held.take_live(&new);
        self.registry.adjust(Adjusted {
            limits: held.limits,
            web_seeds: held.web_seeds.clone(),
            webhook: held.health.webhook.clone(),
            cache: held.cache,
        });
        self.origins.set(held.origins.clone());
        telemetry::set_filter(&held.log.filter);
        tracing::info!(
            taken = reloaded.taken.len(),
            needs_restart = reloaded.needs_restart.len(),
            "the configuration was read again"
        );
        Ok(reloaded)
    }
}

/// Returns the settings that differ.
fn changes(old: &Config, new: &Config) -> Vec<(SettingKey, SettingChange)> {
    let (old, new) = (old.values(), new.values());
    let change = |key: SettingKey| {
        let (before, after) = (old.get(&key.name()), new.get(&key.name()));
        let shown = |value: Option<&toml::Value>| value.filter(|_| !key.is_secret()).map(ToString::to_string);
        let change = SettingChange { key: key.name(), before: shown(before), after: shown(after) };
        (before != after).then_some((key, change))
    };
    keys().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::RawConfig;

    fn config(text: &str) -> Config {
        Config::new(toml::from_str::<RawConfig>(text).expect("TOML"), Overrides::default()).expect("valid")
    }

    #[test]
    fn each_change_is_named_and_secrets_are_not_shown() {
        let old = config("[transfer]\nlimit_up = '1 MB/s'\n[swarm]\nkey = 'one'");
        let new = config("[transfer]\nlimit_up = '2 MB/s'\n[swarm]\nkey = 'two'\n[node]\nmdns = false");
        let changes: Vec<SettingChange> = changes(&old, &new).into_iter().map(|(_, it)| it).collect();
        let change = |key: &str, before: Option<&str>, after: Option<&str>| SettingChange {
            key: key.to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        assert_eq!(
            changes,
            [
                change("node.mdns", Some("true"), Some("false")),
                change("transfer.limit_up", Some("\"1 MB/s\""), Some("\"2 MB/s\"")),
                change("swarm.key", None, None),
            ]
        );
    }

    /// A key that counts as taken and is not taken would be reported and have no effect.
    #[test]
    fn what_is_reported_as_taken_is_taken() {
        let everything = "[transfer]\nlimit_up = '2 MB/s'\nlimit_down = '2 MB/s'\nlimit_local = true\n\
                          web_seeds = ['https://seeds.example/m/']\n[http]\norigins = ['https://page.example']\n\
                          [cache]\nmax_size = '5 GiB'\nmin_free = '2 GiB'\n[health]\nwebhook = 'https://hooks.example/'\n\
                          [log]\nfilter = 'debug'\n[node]\nmdns = false\n";
        let (mut held, new) = (config(""), config(everything));
        assert_eq!(changes(&held, &new).len(), 10);
        held.take_live(&new);
        let left: Vec<String> = changes(&held, &new).into_iter().map(|(key, _)| key.name()).collect();
        assert_eq!(left, ["node.mdns"]);
    }
}
