//! Section `[network]`: whether and how this node meets strangers.

use serde::{Deserialize, Serialize};

use super::{ConfigError, shown};
use crate::net::{RendezvousConfig, SwarmConfig};

/// Section `[network]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawNetwork {
    pub rendezvous: Option<String>,
    pub rendezvous_bootstrap: Option<Vec<String>>,
    pub rendezvous_publishers: Option<Vec<String>>,
}

impl RawNetwork {
    /// Returns the section that sets every key.
    pub(super) fn written(meant: &RendezvousConfig) -> Self {
        Self {
            rendezvous: Some(if meant.is_on { "mainline" } else { "off" }.to_owned()),
            rendezvous_bootstrap: Some(meant.bootstrap.clone()),
            rendezvous_publishers: Some(shown(&meant.publishers)),
        }
    }

    /// Checks the section. `is_asked` is what a flag says, and wins over it.
    ///
    /// # Errors
    /// Fails where a value is malformed, or where strangers are to be met in a private swarm.
    pub(super) fn meant(
        self,
        is_asked: Option<bool>,
        swarm: &SwarmConfig,
    ) -> Result<RendezvousConfig, ConfigError> {
        let is_on = match (is_asked, self.rendezvous.as_deref()) {
            (Some(is_on), _) => is_on,
            (None, None | Some("off")) => false,
            (None, Some("mainline")) => true,
            (None, Some(text)) => return Err(ConfigError::Rendezvous { text: text.to_owned() }),
        };
        if is_on && !swarm.is_open() {
            return Err(ConfigError::RendezvousOfSwarm);
        }
        let bootstrap = self.rendezvous_bootstrap.unwrap_or_default();
        let is_no_node = |text: &&String| {
            let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            !port.is_some_and(|port| port.parse::<u16>().is_ok_and(|it| it > 0))
        };
        if let Some(text) = bootstrap.iter().find(is_no_node) {
            return Err(ConfigError::RendezvousNode { text: text.clone() });
        }
        let parse =
            |text: String| text.parse().map_err(|source| ConfigError::RendezvousPublisher { text, source });
        let publishers = self
            .rendezvous_publishers
            .unwrap_or_default()
            .into_iter()
            .map(parse)
            .collect::<Result<_, _>>()?;
        Ok(RendezvousConfig { is_on, announces: false, bootstrap, publishers })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Overrides, RawConfig};
    use super::*;

    fn config(file: &str, overrides: Overrides) -> Result<Config, ConfigError> {
        Config::new(toml::from_str::<RawConfig>(file).expect("TOML"), overrides)
    }

    #[test]
    fn a_flag_wins_over_the_file_and_what_is_written_means_the_same() {
        let file = "[network]\nrendezvous = 'mainline'\nrendezvous_bootstrap = ['127.0.0.1:6881']\n\
                    rendezvous_publishers = ['acme']";
        let meant = config(file, Overrides::default()).expect("valid");
        assert!(meant.rendezvous.is_on && meant.rendezvous.publishers.len() == 1);
        let written = meant.written().to_toml();
        assert_eq!(config(&written, Overrides::default()).expect("valid"), meant);
        let asked = |public| Overrides { public, ..Overrides::default() };
        assert!(!config(file, asked(Some(false))).expect("valid").rendezvous.is_on);
        assert!(config("", asked(Some(true))).expect("valid").rendezvous.is_on);
        assert!(!config("", Overrides::default()).expect("valid").rendezvous.is_on, "it is off by default");
    }

    #[test]
    fn what_is_malformed_or_of_a_private_swarm_is_refused() {
        for (file, what) in [
            ("[network]\nrendezvous = 'yes'", "network.rendezvous"),
            ("[network]\nrendezvous_bootstrap = ['example.org']", "rendezvous_bootstrap"),
            ("[network]\nrendezvous_publishers = ['X!']", "rendezvous_publishers"),
            ("[network]\nrendezvous = 'mainline'\n[swarm]\nkey = 'lab'", "private swarm"),
            ("[network]\nrendezvous = 'mainline'\n[swarm]\npeers = []", "private swarm"),
        ] {
            let error = config(file, Overrides::default()).expect_err(file).to_string();
            assert!(error.contains(what), "{error}");
        }
        let asked = Overrides { public: Some(true), ..Overrides::default() };
        let error = config("[swarm]\nkey = 'lab'", asked).expect_err("refused").to_string();
        assert!(error.contains("private swarm"), "{error}");
    }
}
