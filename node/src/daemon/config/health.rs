//! Section `[health]`: how many replicas models are to have, and what proving them may cost.

use std::collections::BTreeMap;

use reg_api::size::Given;
use reg_commons::ZoneNameError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{parse_size, shown};
use crate::registry::fetch::SubnetError;
use crate::registry::health::{HealthSettings, PACE_MAX, Zones};
use crate::webhook::WebhookUrlError;

/// Section `[health]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawHealth {
    pub audit: Option<String>,
    pub target: Option<u32>,
    pub pace: Option<u32>,
    pub webhook: Option<String>,
    pub zones: Option<BTreeMap<String, Vec<String>>>,
}

/// Why the section is refused.
#[derive(Debug, Error)]
pub enum HealthConfigError {
    #[error("health.audit = {text:?} is neither bytes in an hour, as in \"96 MiB/h\", nor 0")]
    Audit { text: String },
    #[error("health.pace = {pace} is not from 1 to {PACE_MAX}")]
    Pace { pace: u32 },
    #[error("health.webhook is refused")]
    Webhook(#[from] WebhookUrlError),
    #[error("health.zones has {name:?}, which is no name of a zone")]
    ZoneName { name: String, source: ZoneNameError },
    #[error("health.zones is refused")]
    Zone(#[from] SubnetError),
}

impl RawHealth {
    /// Returns the section that sets every key.
    pub(super) fn written(meant: &HealthSettings) -> Self {
        let zones = meant.zones.named().map(|(name, subnets)| (name.to_string(), shown(subnets)));
        let zones: BTreeMap<String, Vec<String>> = zones.collect();
        Self {
            audit: Some(format!("{}/h", Given(meant.budget).exact())),
            target: Some(meant.target),
            pace: Some(meant.pace),
            webhook: meant.webhook.as_ref().map(ToString::to_string),
            zones: Some(zones).filter(|it| !it.is_empty()),
        }
    }

    /// Checks the section.
    ///
    /// # Errors
    /// See [`HealthConfigError`].
    pub(super) fn meant(self) -> Result<HealthSettings, HealthConfigError> {
        let default = HealthSettings::default();
        let budget = |text: String| {
            let bytes = text.trim();
            parse_size(bytes.strip_suffix("/h").unwrap_or(bytes)).ok_or(HealthConfigError::Audit { text })
        };
        let pace = self.pace.unwrap_or(default.pace);
        if !(1..=PACE_MAX).contains(&pace) {
            return Err(HealthConfigError::Pace { pace });
        }
        let mut zones = BTreeMap::new();
        for (name, subnets) in self.zones.unwrap_or_default() {
            let subnets = subnets.iter().map(|it| it.parse()).collect::<Result<_, SubnetError>>()?;
            let parsed = name.parse();
            zones.insert(parsed.map_err(|source| HealthConfigError::ZoneName { name, source })?, subnets);
        }
        Ok(HealthSettings {
            budget: self.audit.map(budget).transpose()?.unwrap_or(default.budget),
            target: self.target.unwrap_or(default.target),
            pace,
            webhook: self.webhook.map(|text| text.parse()).transpose()?,
            zones: Zones::of(zones),
            ..default
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Overrides, RawConfig};
    use super::*;

    fn config(file: &str) -> Result<Config, super::super::ConfigError> {
        Config::new(toml::from_str::<RawConfig>(file).expect("TOML"), Overrides::default())
    }

    #[test]
    fn what_is_written_means_the_same() {
        let file = "[health]\naudit = '1 GiB/h'\ntarget = 2\npace = 24\nwebhook = 'https://hooks.example/reg'\n\
                    zones = { rack-1 = ['10.1.0.0/16', '2001:db8::/32'] }";
        let meant = config(file).expect("valid");
        assert_eq!((meant.health.budget, meant.health.target, meant.health.pace), (1 << 30, 2, 24));
        assert_eq!(meant.health.zones.named().count(), 1);
        assert_eq!(config(&meant.written().to_toml()).expect("valid"), meant);
        assert_eq!(config("[health]\naudit = '0'").expect("valid").health.budget, 0);
        assert_eq!(config("").expect("valid").health, HealthSettings::default());
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for (line, what) in [
            ("audit = 'much'", "health.audit"),
            ("audit = '96 MiB/s'", "health.audit"),
            ("pace = 0", "health.pace"),
            ("pace = 36001", "health.pace"),
            ("webhook = 'hooks.example'", "health.webhook"),
            ("zones = { 'rack 1' = [] }", "health.zones"),
            ("zones = { rack-1 = ['10.1'] }", "health.zones"),
        ] {
            let error = config(&format!("[health]\n{line}")).expect_err(line).to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
