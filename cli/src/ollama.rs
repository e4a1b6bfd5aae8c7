//! Finds Ollama's store the way Ollama does.

use std::path::{Path, PathBuf};

/// Where the store is if Ollama runs as a service of the system (its installer for Linux).
const OF_THE_SERVICE: &str = "/usr/share/ollama/.ollama/models";

/// Returns the folder that contains `manifests` and `blobs`: `OLLAMA_MODELS`, else the user's own, else the service's. `None`
/// if no home directory is known.
pub fn models_dir() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    let own = || Some(variable("HOME")?.join(".ollama").join("models"));
    let is_there = |dir: &Path| dir.join("manifests").is_dir();
    let dir = variable("OLLAMA_MODELS").or_else(|| {
        let service = || Some(PathBuf::from(OF_THE_SERVICE)).filter(|it| is_there(it));
        own().filter(|it| is_there(it)).or_else(service).or_else(own)
    })?;
    std::path::absolute(dir).ok()
}
