//! Section `[donate]`: how often a donor decides. What is donated, `reg donate` says.

use std::time::Duration;

use reg_api::follow::{DelayError, parse_delay};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::registry::donate::DonateConfig;

/// Section `[donate]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawDonate {
    pub every: Option<String>,
    pub donors: Option<u32>,
}

/// Why the section is refused.
#[derive(Debug, Error)]
pub enum DonateConfigError {
    #[error("donate.every is refused")]
    Every(#[from] DelayError),
    #[error("donate.every = {text:?} is no time from 1s to 1d")]
    Time { text: String },
    #[error("donate.donors is 0, and this node is one")]
    Donors,
}

impl RawDonate {
    /// Returns the section that sets every key.
    pub(super) fn written(meant: &DonateConfig) -> Self {
        Self { every: Some(format!("{}s", meant.every.as_secs())), donors: meant.donors }
    }

    /// Checks the section.
    ///
    /// # Errors
    /// See [`DonateConfigError`].
    pub(super) fn meant(self) -> Result<DonateConfig, DonateConfigError> {
        /// Decisions are at most so far apart: a donor acts for at most a day at once.
        const EVERY_MAX: u64 = 24 * 3600;
        let default = DonateConfig::default();
        let every = match self.every {
            None => default.every,
            Some(text) => match parse_delay(&text)? {
                seconds @ 1..=EVERY_MAX => Duration::from_secs(seconds),
                _ => return Err(DonateConfigError::Time { text }),
            },
        };
        if self.donors == Some(0) {
            return Err(DonateConfigError::Donors);
        }
        Ok(DonateConfig { every, donors: self.donors })
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
        let meant = config("[donate]\nevery = '1h'\ndonors = 3").expect("valid");
        assert_eq!(meant.donate, DonateConfig { every: Duration::from_secs(3600), donors: Some(3) });
        assert_eq!(config(&meant.written().to_toml()).expect("valid"), meant);
        assert_eq!(config("").expect("valid").donate, DonateConfig::default());
        for line in ["every = '0'", "every = '2d'", "every = 'soon'", "donors = 0"] {
            assert!(
                config(&format!("[donate]\n{line}")).expect_err(line).to_string().contains("donate."),
                "{line}"
            );
        }
    }
}
