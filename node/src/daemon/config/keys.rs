//! [`SettingKey`]: the name of a setting, as in `transfer.limit_up`. The sample lists them all.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::SAMPLE;

/// Settings that a running node takes. Each is read anew for what begins later, or at once where it is a rate.
const LIVE: [&str; 9] = [
    "transfer.limit_up",
    "transfer.limit_down",
    "transfer.limit_local",
    "transfer.web_seeds",
    "http.origins",
    "cache.max_size",
    "cache.min_free",
    "health.webhook",
    "log.filter",
];

/// Settings that may hold a secret.
const SECRET: [&str; 2] = ["swarm.key", "health.webhook"];

/// Similar names that an error offers.
const NEAR_MAX: usize = 3;
/// Letters by which a similar name may differ.
const NEAR_EDITS: usize = 3;

/// The name of a setting: a section and a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettingKey {
    pub section: &'static str,
    pub key: &'static str,
}

/// A text names no setting.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not the name of one key of the configuration")]
pub struct UnknownKey {
    pub text: String,
    /// The names that are most like it, the likeliest first.
    pub near: Vec<SettingKey>,
}

/// Returns the names of all settings, in the order of the sample.
pub fn keys() -> impl Iterator<Item = SettingKey> {
    let mut section = "";
    SAMPLE.lines().filter_map(move |line| {
        if let Some(name) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            section = name;
        }
        let (key, _) = line.strip_prefix("# ")?.split_once(" = ")?;
        (!key.contains(' ')).then_some(SettingKey { section, key })
    })
}

impl SettingKey {
    /// Returns the whole name.
    pub fn name(self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// Tells whether a running node takes another value.
    pub fn is_live(self) -> bool {
        LIVE.contains(&self.name().as_str())
    }

    /// Tells whether its value is not to be shown.
    pub fn is_secret(self) -> bool {
        SECRET.contains(&self.name().as_str())
    }

    /// Returns the setting that a message is about, if it names one.
    pub(super) fn named_in(text: &str) -> Option<Self> {
        keys().filter(|it| text.contains(&it.name())).max_by_key(|it| it.key.len())
    }
}

impl fmt::Display for SettingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.section, self.key)
    }
}

impl FromStr for SettingKey {
    type Err = UnknownKey;

    /// Reads `SECTION.KEY`; the key alone where only one section has it.
    fn from_str(text: &str) -> Result<Self, UnknownKey> {
        let written = text.replace('-', "_");
        let named: Vec<Self> = keys().filter(|it| it.name() == written || it.key == written).collect();
        match named.as_slice() {
            [one] => Ok(*one),
            [] => Err(UnknownKey { text: text.to_owned(), near: near(&written) }),
            many => Err(UnknownKey { text: text.to_owned(), near: many.to_vec() }),
        }
    }
}

fn near(text: &str) -> Vec<SettingKey> {
    let key = text.rsplit('.').next().unwrap_or(text);
    let distance = |it: &SettingKey| edits(text, &it.name()).min(edits(key, it.key));
    let mut all: Vec<(usize, SettingKey)> = keys().map(|it| (distance(&it), it)).collect();
    all.retain(|(edits, it)| {
        *edits <= NEAR_EDITS.min(it.key.len() / 2) || (key.len() > 2 && it.key.contains(key))
    });
    all.sort();
    all.into_iter().take(NEAR_MAX).map(|(_, it)| it).collect()
}

/// Returns how many letters must change to make one text the other.
fn edits(one: &str, two: &str) -> usize {
    let two: Vec<char> = two.chars().collect();
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (above, a) in one.chars().enumerate() {
        let (mut diagonal, mut left) = (above, above + 1);
        for (at, b) in two.iter().enumerate() {
            let here = (diagonal + usize::from(a != *b)).min(left + 1).min(row[at + 1] + 1);
            (diagonal, left) = (row[at + 1], here);
            row[at + 1] = here;
        }
        row[0] = above + 1;
    }
    row[two.len()]
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Overrides, RawConfig};
    use super::*;

    #[test]
    fn the_sample_names_every_key_that_the_file_may_have() {
        for key in keys() {
            let text = format!("[{}]\n{} = {{}}", key.section, key.key);
            let error = toml::from_str::<RawConfig>(&text).err().map(|it| it.to_string()).unwrap_or_default();
            assert!(!error.contains("unknown field"), "{key}: {error}");
        }
        for section in [
            "node", "network", "transfer", "http", "gateway", "cache", "swarm", "domains", "health",
            "donate", "log",
        ] {
            let error = toml::from_str::<RawConfig>(&format!("[{section}]\nnothing = 1"))
                .expect_err("refused")
                .to_string();
            let expected = error.split("expected").nth(1).expect("it says what may stand there");
            for key in expected.split('`').skip(1).step_by(2) {
                assert!(
                    keys().any(|it| it.section == section && it.key == key),
                    "{section}.{key} is not in the sample"
                );
            }
        }
        assert!(LIVE.iter().chain(&SECRET).all(|name| name.parse::<SettingKey>().is_ok()));
        drop(Config::new(RawConfig::default(), Overrides::default()).expect("the default is valid"));
    }

    #[test]
    fn a_name_that_is_none_is_refused_with_those_like_it() {
        let near = |text: &str| {
            text.parse::<SettingKey>().map_err(|it| it.near.iter().map(|it| it.name()).collect::<Vec<_>>())
        };
        assert_eq!(near("limit_up").map(|it| it.name()), Ok("transfer.limit_up".to_owned()));
        assert_eq!(near("transfer.limit-up").map(|it| it.name()), Ok("transfer.limit_up".to_owned()));
        assert_eq!(near("transfer.limt_up").expect_err("no key")[0], "transfer.limit_up");
        assert_eq!(near("listen").expect_err("two keys"), ["node.listen", "http.listen"]);
        assert_eq!(near("webseeds").expect_err("no key"), ["transfer.web_seeds"]);
        assert!(near("colour_of_the_sky").expect_err("no key").is_empty());
    }
}
