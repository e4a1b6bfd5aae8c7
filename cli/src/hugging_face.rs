//! Reads Hugging Face's environment variables and repository names the way its own clients do.
//!
//! Source: the documentation of `huggingface_hub`, environment variables.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use reg_api::adopt::OllamaName;
use reg_api::repository_name::RepositoryName;
use reg_node::daemon::HubAccount;
use reg_proto::layout::LAYOUT_FILE;

/// Branch that is meant if no revision is named.
pub const MAIN: &str = "main";

/// A repository to import, as typed: `hf:org/name[@revision]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportSource {
    /// Whether the text began with `hf:`.
    pub is_remote: bool,
    pub repository: RepositoryName,
    pub revision: String,
}

/// The source of an import, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportWhat {
    Repository(ImportSource),
    /// A path that begins with `.` or `/`, which no repository name does.
    Directory(PathBuf),
    /// A model with a tag, or with a host, as Ollama names it.
    Ollama(OllamaName),
    /// A file that ends with `.tar`, or a directory with an OCI layout.
    Archive(PathBuf),
}

/// Tells whether a text names an archive. A repository's name may end with `.tar` too, but is typed with `hf:`.
fn is_archive(text: &str) -> bool {
    let path = Path::new(text);
    let is_tar = text.ends_with(".tar") && (path.exists() || text.starts_with(['.', '/']));
    is_tar || path.join(LAYOUT_FILE).is_file()
}

impl FromStr for ImportWhat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.starts_with("hf:") && is_archive(text) {
            return Ok(Self::Archive(PathBuf::from(text)));
        }
        match text.starts_with(['.', '/']) {
            true => Ok(Self::Directory(PathBuf::from(text))),
            false => match text.parse() {
                Ok(source) => Ok(Self::Repository(source)),
                Err(error) if text.starts_with("hf:") => Err(error),
                Err(error) => text.parse().map(Self::Ollama).map_err(|_| error),
            },
        }
    }
}

impl FromStr for ImportSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (is_remote, name) = match text.strip_prefix("hf:") {
            Some(name) => (true, name.trim_start_matches("//")),
            None => (false, text),
        };
        let (repository, revision) = name.split_once('@').unwrap_or((name, MAIN));
        let is_fine = |part: &str| {
            let plain = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
            !part.is_empty() && part.chars().all(plain) && !part.starts_with('.')
        };
        if !revision.split('/').all(is_fine) {
            return Err(format!("{revision:?} is not the name of a branch, tag or commit"));
        }
        let repository = repository.parse().map_err(|error| format!("{error}"))?;
        Ok(Self { is_remote, repository, revision: revision.to_owned() })
    }
}

/// Returns the endpoint that clients use: `HF_ENDPOINT`, else the public one.
pub fn endpoint() -> String {
    variable("HF_ENDPOINT").unwrap_or_else(|| HubAccount::default().endpoint).trim_end_matches('/').to_owned()
}

/// Returns the token that clients send: `HF_TOKEN`.
pub fn token() -> Option<String> {
    variable("HF_TOKEN")
}

/// Returns the folder of the clients' cache: `HF_HUB_CACHE`, else `hub` below `HF_HOME`, else `huggingface/hub` below the
/// user's cache. `None` if no home directory is known.
pub fn cache_dir() -> Option<PathBuf> {
    let path = |name| variable(name).map(PathBuf::from);
    let cache = || path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")));
    let home = || path("HF_HOME").or_else(|| Some(cache()?.join("huggingface")));
    let dir = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
    std::path::absolute(dir.or_else(|| Some(home()?.join("hub")))?).ok()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|it| it.trim().to_owned()).filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_as_they_are_typed() {
        let source: ImportSource = "hf:org/name@v1.0".parse().unwrap();
        assert_eq!((source.is_remote, source.repository.as_str()), (true, "org/name"));
        assert_eq!(source.revision, "v1.0");
        assert_eq!("hf://org/name".parse::<ImportSource>().unwrap().revision, MAIN);
        assert_eq!("hf:org/name@refs/pr/1".parse::<ImportSource>().unwrap().revision, "refs/pr/1");
        assert!(!"gpt2".parse::<ImportSource>().unwrap().is_remote);
        let archive = ImportWhat::Archive(PathBuf::from("./models.tar"));
        assert_eq!("./models.tar".parse::<ImportWhat>().unwrap(), archive);
        assert!(matches!("hf:org/models.tar".parse::<ImportWhat>().unwrap(), ImportWhat::Repository(_)));
        for wrong in ["", "hf:", "hf:a/b/c", "hf:a/b@", "hf:a/b@../x", "hf:../b", "hf:a b", "hf:a/b@/etc"] {
            assert!(wrong.parse::<ImportSource>().is_err(), "{wrong}");
        }
    }
}
