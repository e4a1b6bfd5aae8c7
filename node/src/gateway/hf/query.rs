//! Query parameters as this dialect's clients write them.

use serde::Deserialize;

/// A boolean as clients write it: `true`, `True`, `1`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flag(pub(super) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(matches!(text.as_str(), "true" | "True" | "1")))
    }
}
