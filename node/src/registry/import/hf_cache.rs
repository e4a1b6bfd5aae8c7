//! Imports a repository from the cache of Hugging Face's clients (huggingface_hub, "Understand caching") without a second copy
//! of large files. Placing a model in that cache is part of a pull.
//!
//! ```text
//! models--org--name/
//!   blobs/<name>                git's SHA-1 of a plain file, the SHA-256 of one in LFS
//!   refs/<revision>             the commit that the revision names
//!   snapshots/<commit>/<path>   links into blobs
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io};

use data_encoding::HEXLOWER;
use reg_api::fault::{Fault, FaultKind};
use reg_api::progress::Progress;
use reg_api::report::ImportedRepository;
use reg_api::reporter::Reporter;
use reg_api::repository_name::RepositoryName;
use reg_api::request::HubCache;
use reg_proto::digest::Digest;
use thiserror::Error;

use super::Importing;
use super::upload::UploadError;
use crate::registry::model::git_blob;
use crate::registry::model::tree::{self, TreeError};
use crate::registry::pull::{COMMIT_DIGITS, LISTED_BYTES_MAX, repository_dir};
use crate::store::{ImportError, ReadError, Store, Taking, ToImport};

/// Why a repository of the cache is not imported.
#[derive(Debug, Error)]
pub enum AdoptError {
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("{repository} at {revision} is not in {dir}")]
    NotThere { repository: RepositoryName, revision: String, dir: PathBuf },
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("{path} cannot be imported")]
    Import { path: PathBuf, source: ImportError },
    #[error("{path} is not what its name says: its hash is {found}")]
    Other { path: PathBuf, found: String },
    #[error("blob cannot be kept")]
    Keep(#[from] UploadError),
    #[error("a task ended early")]
    Interrupted,
}

impl Fault for AdoptError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::NotThere { .. } => FaultKind::NotFound,
            Self::Other { .. } | Self::Import { source: ImportError::Changed { .. }, .. } => {
                FaultKind::Verification
            }
            Self::Import { source, .. } if source.is_disk_full() => FaultKind::DiskFull,
            Self::Tree(TreeError::Read { source, .. }) => FaultKind::of_path(source),
            Self::Tree(_) => FaultKind::Invalid,
            _ => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotThere { .. } => Some(
                "`hf cache ls` lists the repositories of the cache; leave --from out to download".to_owned(),
            ),
            Self::Other { .. } => {
                Some("remove the file from the cache, or leave --from out to download".to_owned())
            }
            _ => None,
        }
    }
}

impl Importing {
    /// Imports the files of a repository from the cache. A large file becomes a second link to the same bytes where the file
    /// system allows it, and is read once to prove its digest.
    ///
    /// # Errors
    /// The repository is not in the cache, or a file does not match its name: see [`AdoptError`].
    pub async fn adopt_hub_cache(
        self: &Arc<Self>,
        from: HubCache,
        reporter: &Reporter,
    ) -> Result<ImportedRepository, AdoptError> {
        let (store, reporter) = (self.store.clone(), reporter.clone());
        let adopt = tokio::task::spawn_blocking(move || adopt(&store, &from, &reporter));
        let adopted = adopt.await.map_err(|_| AdoptError::Interrupted)??;
        for (_, digest) in &adopted.files {
            self.keep_uploaded(*digest).await?;
        }
        Ok(adopted)
    }
}

fn adopt(store: &Store, from: &HubCache, reporter: &Reporter) -> Result<ImportedRepository, AdoptError> {
    let root = repository_dir(from);
    let not_there = || AdoptError::NotThere {
        repository: from.repository.clone(),
        revision: from.revision.clone(),
        dir: from.dir.clone(),
    };
    let commit = match fs::read_to_string(root.join("refs").join(&from.revision)) {
        Ok(text) => text.trim().to_owned(),
        Err(_) => from.revision.clone(),
    };
    let is_commit = commit.len() == COMMIT_DIGITS && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let snapshot = root.join("snapshots").join(&commit);
    if !is_commit || !snapshot.is_dir() {
        return Err(not_there());
    }
    let snapshot =
        snapshot.canonicalize().map_err(|source| AdoptError::Read { path: snapshot.clone(), source })?;
    let sources = tree::list(&snapshot)?;
    let total: u64 = sources.iter().map(|it| it.size).sum();
    reporter.stage("hashing", format_args!("{} files", sources.len()));
    let done = AtomicU64::new(0);
    let tell = |bytes: u64| {
        let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        reporter.tell(Progress::Bytes { done, total, peers: 0 });
    };
    let taking = |size| if size > LISTED_BYTES_MAX { Taking::Link } else { Taking::Copy };
    let wanted: Vec<ToImport> =
        sources.iter().map(|it| ToImport { path: it.source.clone(), taking: taking(it.size) }).collect();
    let imported = store.import_files(&wanted, &tell);
    let imported = imported.map_err(|(path, source)| AdoptError::Import { path, source })?;
    let mut files = Vec::new();
    for (source, imported) in sources.into_iter().zip(imported) {
        let name = source.source.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        check_name(store, &source.source, &name, &imported.digest)?;
        files.push((source.path, imported.digest));
    }
    Ok(ImportedRepository { commit, files, bytes: total, bytes_fetched: 0 })
}

/// Checks a blob against its name in the cache, which is its hash. A cache without links has other names, which prove nothing.
fn check_name(store: &Store, path: &Path, name: &str, digest: &Digest) -> Result<(), AdoptError> {
    let is_blob = path.parent().and_then(Path::file_name).is_some_and(|it| it == "blobs");
    if !is_blob {
        return Ok(());
    }
    let found = if name.len() == COMMIT_DIGITS {
        let read = |source| AdoptError::Import { path: path.to_owned(), source };
        let bytes = store
            .read_blob(digest, u64::MAX)
            .map_err(|_: ReadError| read(ImportError::Changed { path: path.to_owned() }))?;
        HEXLOWER.encode(&git_blob(&bytes))
    } else {
        digest.hex()
    };
    if found == name { Ok(()) } else { Err(AdoptError::Other { path: path.to_owned(), found }) }
}
