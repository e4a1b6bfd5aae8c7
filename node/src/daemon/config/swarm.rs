//! Section `[swarm]`: a private swarm, and how many copies of each model its nodes keep.

use std::time::Duration;

use reg_api::follow::{DelayError, parse_delay};
use reg_commons::ZoneNameError;
use reg_commons::swarm::{COPIES_MAX, Policy};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::registry::spread::SpreadSettings;

/// Section `[swarm]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawSwarm {
    pub key: Option<String>,
    pub peers: Option<Vec<String>>,
    pub publishers: Option<Vec<String>>,
    pub share: Option<Vec<String>>,
    pub replicas: Option<u32>,
    pub repair_after: Option<String>,
    pub shrink_after: Option<String>,
    pub zone: Option<String>,
}

/// Why the keys about copies are refused.
#[derive(Debug, Error)]
pub enum CopiesError {
    #[error(
        "swarm.replicas is only for a private swarm: set swarm.key (or --swarm-key), the same on each node of the swarm"
    )]
    NoKey,
    #[error("{key} says nothing without swarm.replicas, the number of copies of each model")]
    NoReplicas { key: &'static str },
    #[error("swarm.replicas = {replicas} is not from 1 to {COPIES_MAX}")]
    Replicas { replicas: u32 },
    #[error("{key} is refused")]
    Time { key: &'static str, source: DelayError },
    #[error("{key} is shorter than {} s", TIME_MIN.as_secs())]
    Short { key: &'static str },
    #[error("swarm.zone = {text:?} is not the name of a zone")]
    Zone { text: String, source: ZoneNameError },
}

/// The shortest time after which copies are made or given up: members ask each other every second then.
const TIME_MIN: Duration = Duration::from_secs(4);

impl RawSwarm {
    /// Returns the section with every key about copies.
    pub(super) fn of_copies(meant: &SpreadSettings) -> Self {
        let seconds = |time: Duration| format!("{}s", time.as_secs());
        Self {
            replicas: meant.policy.map(|it| it.copies),
            repair_after: meant.policy.map(|it| seconds(it.repair_after)),
            shrink_after: meant.policy.map(|it| seconds(it.shrink_after)),
            zone: meant.zone.as_ref().map(ToString::to_string),
            ..Self::default()
        }
    }

    /// Checks the keys about copies.
    ///
    /// # Errors
    /// A value is malformed, or there is no private swarm.
    pub(super) fn copies(&self, has_key: bool) -> Result<SpreadSettings, CopiesError> {
        let Some(replicas) = self.replicas else {
            let others = [
                ("swarm.repair_after", &self.repair_after),
                ("swarm.shrink_after", &self.shrink_after),
                ("swarm.zone", &self.zone),
            ];
            return match others.into_iter().find(|(_, value)| value.is_some()) {
                Some((key, _)) => Err(CopiesError::NoReplicas { key }),
                None => Ok(SpreadSettings::default()),
            };
        };
        if !has_key {
            return Err(CopiesError::NoKey);
        }
        if !(1..=COPIES_MAX).contains(&replicas) {
            return Err(CopiesError::Replicas { replicas });
        }
        let usual = Policy::new(replicas);
        let parse = |text: &String| text.parse();
        let zone = self
            .zone
            .as_ref()
            .map(|text| parse(text).map_err(|source| CopiesError::Zone { text: text.clone(), source }));
        let policy = Policy {
            repair_after: time("swarm.repair_after", self.repair_after.as_deref(), usual.repair_after)?,
            shrink_after: time("swarm.shrink_after", self.shrink_after.as_deref(), usual.shrink_after)?,
            ..usual
        };
        Ok(SpreadSettings { policy: Some(policy), zone: zone.transpose()?, ..SpreadSettings::default() })
    }
}

fn time(key: &'static str, text: Option<&str>, usual: Duration) -> Result<Duration, CopiesError> {
    let Some(text) = text else { return Ok(usual) };
    let time = parse_delay(text).map_err(|source| CopiesError::Time { key, source })?;
    let time = Duration::from_secs(time);
    if time < TIME_MIN { Err(CopiesError::Short { key }) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, ConfigError, Overrides, RawConfig};
    use super::*;

    fn config(file: &str) -> Result<Config, ConfigError> {
        Config::new(toml::from_str::<RawConfig>(file).expect("TOML"), Overrides::default())
    }

    #[test]
    fn what_is_written_means_the_same() {
        let file = "[swarm]\nkey = 'lab'\nreplicas = 3\nrepair_after = '20s'\nzone = 'rack-1'";
        let meant = config(file).expect("valid");
        let policy = meant.spread.policy.expect("it spreads");
        assert_eq!((policy.copies, policy.repair_after.as_secs()), (3, 20));
        assert_eq!(policy.shrink_after, Policy::new(3).shrink_after);
        assert_eq!(config(&meant.written().to_toml()).expect("valid"), meant);
        assert_eq!(config("[swarm]\nkey = 'lab'").expect("valid").spread, SpreadSettings::default());
        let by_flag = Overrides { swarm_key: Some("lab".to_owned()), ..Overrides::default() };
        let raw = toml::from_str::<RawConfig>("[swarm]\nreplicas = 2").expect("TOML");
        assert!(Config::new(raw, by_flag).expect("valid").spread.policy.is_some());
    }

    #[test]
    fn what_is_malformed_or_has_no_private_swarm_is_refused() {
        for (lines, what) in [
            ("replicas = 3", "only for a private swarm"),
            ("peers = []\nreplicas = 3", "only for a private swarm"),
            ("key = 'lab'\nreplicas = 0", "swarm.replicas = 0"),
            ("key = 'lab'\nreplicas = 33", "swarm.replicas = 33"),
            ("key = 'lab'\nzone = 'a'", "swarm.zone says nothing without swarm.replicas"),
            ("key = 'lab'\nreplicas = 3\nzone = 'rack 1'", "swarm.zone"),
            ("key = 'lab'\nreplicas = 3\nrepair_after = 'soon'", "swarm.repair_after"),
            ("key = 'lab'\nreplicas = 3\nshrink_after = '3s'", "swarm.shrink_after is shorter than 4 s"),
        ] {
            let error = config(&format!("[swarm]\n{lines}")).expect_err(lines).to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
