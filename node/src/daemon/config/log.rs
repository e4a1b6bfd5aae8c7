//! Section `[log]`: what is logged, in which form, and to which file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use super::{Given, expanded, parse_size};

/// What is logged by default: what this node does, and failures of libraries. Theirs are warnings of things that it handles.
const FILTER: &str = "error,reg=info,rustls=off,libp2p_gossipsub=off";
/// Size of a file of the log before a new one begins: a busy node writes less than 1 MB a day.
const MAX_SIZE: u64 = 10_000_000;
/// Files before the current one that are kept.
const KEEP: u32 = 4;
/// Most files that may be kept: each has a name of its own.
const KEEP_MAX: u32 = 100;
/// Least size of a file: below it, each few lines begin a new one.
const MAX_SIZE_MIN: u64 = 10_000;

/// Section `[log]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLog {
    pub filter: Option<String>,
    pub format: Option<String>,
    pub file: Option<PathBuf>,
    pub rotate_size: Option<String>,
    pub rotate_keep: Option<u32>,
}

/// The form of a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// What is logged, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    pub filter: String,
    pub format: LogFormat,
    /// The file; `None` for standard error.
    pub file: Option<PathBuf>,
    /// Bytes of a file before a new one begins.
    pub rotate_size: u64,
    /// Files before the current one that are kept.
    pub rotate_keep: u32,
}

impl Default for LogSettings {
    fn default() -> Self {
        let (filter, format) = (FILTER.to_owned(), LogFormat::Text);
        Self { filter, format, file: None, rotate_size: MAX_SIZE, rotate_keep: KEEP }
    }
}

/// Why the section is refused.
#[derive(Debug, Error)]
pub enum LogConfigError {
    #[error("log.filter = {text:?} is no filter, as in \"info,reg=debug\"")]
    Filter { text: String, source: ParseError },
    #[error("log.format = {text:?} is neither text nor json")]
    Format { text: String },
    #[error("log.rotate_size = {text:?} is no size of at least 10 kB, as in \"10 MB\"")]
    Size { text: String },
    #[error("log.rotate_keep = {keep} is more than {KEEP_MAX}")]
    Keep { keep: u32 },
}

impl RawLog {
    /// Returns the section that sets every key.
    pub(super) fn written(meant: &LogSettings) -> Self {
        let format = match meant.format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        Self {
            filter: Some(meant.filter.clone()),
            format: Some(format.to_owned()),
            file: meant.file.clone(),
            rotate_size: Some(Given(meant.rotate_size).exact()),
            rotate_keep: Some(meant.rotate_keep),
        }
    }

    /// Checks the section.
    ///
    /// # Errors
    /// See [`LogConfigError`].
    pub(super) fn meant(self) -> Result<LogSettings, LogConfigError> {
        let default = LogSettings::default();
        let filter = self.filter.unwrap_or(default.filter);
        if let Err(source) = EnvFilter::try_new(&filter) {
            return Err(LogConfigError::Filter { text: filter, source });
        }
        let format = match self.format.as_deref() {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(text) => return Err(LogConfigError::Format { text: text.to_owned() }),
        };
        let rotate_size = match self.rotate_size {
            None => default.rotate_size,
            Some(text) => match parse_size(&text) {
                Some(size) if size >= MAX_SIZE_MIN => size,
                _ => return Err(LogConfigError::Size { text }),
            },
        };
        let rotate_keep = match self.rotate_keep.unwrap_or(default.rotate_keep) {
            keep @ 0..=KEEP_MAX => keep,
            keep => return Err(LogConfigError::Keep { keep }),
        };
        Ok(LogSettings { filter, format, file: self.file.map(|it| expanded(&it)), rotate_size, rotate_keep })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(text: &str) -> Result<LogSettings, LogConfigError> {
        toml::from_str::<RawLog>(text).expect("TOML").meant()
    }

    #[test]
    fn what_is_written_means_the_same() {
        let text = "filter = 'debug'\nformat = 'json'\nfile = '/var/log/reg.log'\nrotate_size = '1 MB'\nrotate_keep = 0";
        let all = meant(text).expect("valid");
        assert_eq!((all.format, all.rotate_size, all.rotate_keep), (LogFormat::Json, 1_000_000, 0));
        assert_eq!(RawLog::written(&all).meant().expect("valid"), all);
        assert_eq!(meant("").expect("valid"), LogSettings::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, why) in [
            ("filter = '=='", "log.filter"),
            ("format = 'xml'", "log.format"),
            ("rotate_size = '9 kB'", "log.rotate_size"),
            ("rotate_size = 'much'", "log.rotate_size"),
            ("rotate_keep = 101", "log.rotate_keep"),
        ] {
            let error = meant(text).expect_err(text);
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
    }
}
