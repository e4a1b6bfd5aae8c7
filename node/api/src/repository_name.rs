//! [`RepositoryName`]: a repository as Hugging Face names it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Characters of the owner, and of the name: Hugging Face's clients bound the name (huggingface_hub,
/// `validate_repo_id`), and a folder of their cache has room for both.
const PART_CHARS_MAX: usize = 96;

/// A repository as Hugging Face names it: `org/name`, or a name alone; each part has at most 96 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName(String);

/// Why a text is not the name of a repository.
#[derive(Debug, Error)]
#[error("{text:?} is not a repository, as in org/name")]
pub struct RepositoryNameError {
    pub text: String,
}

impl RepositoryName {
    /// Returns the name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the last segment of the name.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl FromStr for RepositoryName {
    type Err = RepositoryNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_part = |part: &str| {
            let plain = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
            let fits = (1..=PART_CHARS_MAX).contains(&part.len());
            fits && part.chars().all(plain) && !part.starts_with('.') && !part.contains("..")
        };
        let parts = text.split('/').count();
        if parts <= 2 && text.split('/').all(is_part) {
            return Ok(Self(text.to_owned()));
        }
        Err(RepositoryNameError { text: text.chars().take(100).collect() })
    }
}

impl TryFrom<String> for RepositoryName {
    type Error = RepositoryNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RepositoryName> for String {
    fn from(name: RepositoryName) -> Self {
        name.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_every_model_of_every_publisher() {
        let (owner, name) = ("a".repeat(52), "m".repeat(96));
        assert_eq!(format!("{owner}/{name}").parse::<RepositoryName>().expect("it fits").name(), name);
        for wrong in
            [format!("{owner}/{name}m"), format!("{name}m/{owner}"), "a/b/c".to_owned(), "a/".to_owned()]
        {
            assert!(wrong.parse::<RepositoryName>().is_err(), "{wrong}");
        }
    }
}
