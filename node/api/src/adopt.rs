//! Models in the stores of other tools on this machine: how they are named, and what is asked about them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use reg_proto::name::{ModelName, Tag};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::consent::Acceptance;
use crate::ingest::Ingest;
use crate::request::{HubCache, ImportRequest};

/// The store of another tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtherStore {
    /// The cache of Hugging Face's clients: the folder that contains `models--org--name`.
    HubCache(PathBuf),
    /// Ollama's store: the folder that contains `manifests` and `blobs`.
    Ollama(PathBuf),
}

/// A model in the store of another tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adoptable {
    HubCache(HubCache),
    Ollama { dir: PathBuf, name: OllamaName },
}

impl fmt::Display for Adoptable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HubCache(HubCache { repository, .. }) => repository.fmt(f),
            Self::Ollama { name, .. } => name.fmt(f),
        }
    }
}

/// Asks to take a model over, without a second copy of large files where the file system can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptRequest {
    pub model: Adoptable,
    #[serde(default)]
    pub ingest: Ingest,
    #[serde(default)]
    pub accepted: Acceptance,
}

/// A model that was found in a store of another tool, and the name under which it would be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub source: Adoptable,
    pub model: ModelName,
    pub tag: Tag,
}

/// The models in a store of another tool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundModels {
    pub models: Vec<Found>,
    /// What cannot be imported: its name is none that a model can have, or nothing of it is there.
    pub skipped: Vec<String>,
}

/// Asks what an import would publish.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportPlanRequest {
    Repository(ImportRequest),
    Adopt(AdoptRequest),
}

/// A model as Ollama names it: `[[host/]namespace/]model[:tag]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OllamaName {
    pub host: String,
    pub namespace: String,
    pub model: String,
    pub tag: String,
}

/// A text is not the name of a model of Ollama.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not a model of Ollama, as in llama3.2:3b")]
pub struct OllamaNameError {
    text: String,
}

/// The parts of a name that says less (ollama, `types/model/name.go`).
const HOST: &str = "registry.ollama.ai";
const NAMESPACE: &str = "library";
const TAG: &str = "latest";
/// Characters of a part: Ollama's own bound for all but the host, which may have more.
const PART_CHARS_MAX: usize = 350;

impl OllamaName {
    /// Returns the name of these parts.
    ///
    /// # Errors
    /// A part could not be a folder of Ollama's store.
    pub fn new([host, namespace, model, tag]: [&str; 4]) -> Result<Self, OllamaNameError> {
        let is_part = |part: &str| {
            let plain = |it: char| it.is_ascii_alphanumeric() || "._-:".contains(it);
            (1..=PART_CHARS_MAX).contains(&part.len()) && part.chars().all(plain) && !part.starts_with('.')
        };
        let [host, namespace, model, tag] = [host, namespace, model, tag].map(str::to_owned);
        let name = Self { host, namespace, model, tag };
        if [&name.host, &name.namespace, &name.model, &name.tag].into_iter().all(|it| is_part(it)) {
            return Ok(name);
        }
        Err(OllamaNameError { text: name.to_string().chars().take(100).collect() })
    }
}

impl FromStr for OllamaName {
    type Err = OllamaNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (rest, last) = match text.rsplit_once('/') {
            Some((rest, last)) => (Some(rest), last),
            None => (None, text),
        };
        let (model, tag) = last.split_once(':').unwrap_or((last, TAG));
        let (host, namespace) = match rest {
            Some(rest) => rest.split_once('/').unwrap_or((HOST, rest)),
            None => (HOST, NAMESPACE),
        };
        let wrong = || OllamaNameError { text: text.chars().take(100).collect() };
        let is_one_part = [namespace, model, tag].iter().all(|it| !it.contains(':'));
        Self::new([host, namespace, model, tag]).ok().filter(|_| is_one_part).ok_or_else(wrong)
    }
}

impl fmt::Display for OllamaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, namespace, model, tag } = self;
        match (host.as_str(), namespace.as_str()) {
            (HOST, NAMESPACE) => write!(f, "{model}:{tag}"),
            (HOST, _) => write!(f, "{namespace}/{model}:{tag}"),
            _ => write!(f, "{host}/{namespace}/{model}:{tag}"),
        }
    }
}

impl TryFrom<String> for OllamaName {
    type Error = OllamaNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<OllamaName> for String {
    fn from(name: OllamaName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_ollama_writes_them() {
        for (text, parts) in [
            ("llama3.2", [HOST, NAMESPACE, "llama3.2", TAG]),
            ("llama3.2:3b", [HOST, NAMESPACE, "llama3.2", "3b"]),
            ("user/m:v1", [HOST, "user", "m", "v1"]),
            ("hf.co/org/m-GGUF:Q4_K_M", ["hf.co", "org", "m-GGUF", "Q4_K_M"]),
            ("localhost:5000/a/b", ["localhost:5000", "a", "b", TAG]),
        ] {
            let name: OllamaName = text.parse().expect("a name");
            assert_eq!(name, OllamaName::new(parts).expect("parts"));
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for wrong in ["", "a/", "/a", "a:", "../a", "h/../a", "a/b/c/d", "a b", "a:b:c", ".a"] {
            assert!(wrong.parse::<OllamaName>().is_err(), "{wrong}");
        }
    }
}
