//! The cache of Hugging Face's clients (huggingface_hub, "Understand caching"): filled from here, and taken over from there,
//! without a second copy of large files.
//!
//! ```text
//! models--org--name/
//!   blobs/<name>                git's SHA-1 of a plain file, the SHA-256 of one in LFS
//!   refs/<revision>             the commit that it means
//!   snapshots/<commit>/<path>   links into blobs
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::HEXLOWER;
use reg_proto::digest::Digest;
use reg_proto::manifest::{Manifest, ModelFile, RAW_LAYER_TYPES};
use reg_proto::path::SafePath;
use thiserror::Error;

use super::checkout::CheckoutError;
use super::fault::{Fault, FaultKind};
use super::import::{ImportedRepository, RepositoryName, git_blob};
use super::report::Progress;
use super::request::HubCache;
use super::selection::Part;
use super::tree::{self, TreeError};
use super::upload::UploadError;
use super::{Registry, Reporter};
use crate::store::{ImportError, PlaceError, PlaceMode, ReadError, Store, Taking, ToImport};

/// Bytes of a plain file at most: a tokenizer fits, weights do not.
pub const PLAIN_BYTES_MAX: u64 = 1 << 20;
/// Bytes of all plain files of a model: what is fetched at most before it can be listed as a hub lists it.
const PLAIN_BYTES_SUM: u64 = 32 << 20;
/// Hex digits of a commit id.
pub const COMMIT_DIGITS: usize = 40;

/// Why a repository of the cache is not taken over.
#[derive(Debug, Error)]
pub enum AdoptError {
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("{repository} at {revision} is not in {dir}")]
    NotThere { repository: RepositoryName, revision: String, dir: PathBuf },
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("{path} cannot be taken over")]
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
            Self::Tree(_) => FaultKind::Invalid,
            _ => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotThere { .. } => {
                Some("`hf cache ls` lists what is there; leave --from out to download".to_owned())
            }
            Self::Other { .. } => {
                Some("remove the file from the cache, or leave --from out to download".to_owned())
            }
            _ => None,
        }
    }
}

/// Returns the files of a model that a hub keeps plainly, outside of LFS: small ones that are no weights. It follows from
/// the manifest alone.
pub fn plain_files(manifest: &Manifest) -> impl Iterator<Item = &ModelFile> {
    let mut sum = 0;
    let small = manifest
        .files()
        .iter()
        .filter(|file| file.layout.size() <= PLAIN_BYTES_MAX && file.media_type != RAW_LAYER_TYPES[0]);
    small.take_while(move |file| {
        sum += file.layout.size();
        sum <= PLAIN_BYTES_SUM
    })
}

/// Returns the commit id of a manifest.
pub fn commit(digest: &Digest) -> String {
    digest.hex().chars().take(COMMIT_DIGITS).collect()
}

impl Registry {
    /// Takes the files of a repository over from the cache: large ones become links of one file, and one read proves each.
    ///
    /// # Errors
    /// See [`AdoptError`].
    pub async fn adopt_hub_cache(
        &self,
        from: HubCache,
        reporter: &Reporter,
    ) -> Result<ImportedRepository, AdoptError> {
        let (store, reporter) = (self.inner.store.clone(), reporter.clone());
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
    let taking = |size| if size > PLAIN_BYTES_MAX { Taking::Link } else { Taking::Copy };
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

/// A blob's name in the cache is a hash of it. Where links are not used, files have names of their own, and prove nothing.
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

fn repository_dir(cache: &HubCache) -> PathBuf {
    cache.dir.join(format!("models--{}", cache.repository.as_str().replace('/', "--")))
}

/// Puts a model, all of which is here, into the cache, under the name that its clients will ask for.
pub(super) fn fill(
    store: &Store,
    digest: &Digest,
    manifest: &Manifest,
    part: &Part,
    cache: &HubCache,
) -> Result<PathBuf, CheckoutError> {
    let root = repository_dir(cache);
    let commit = commit(digest);
    let snapshot = root.join("snapshots").join(&commit);
    let plain: Vec<Digest> = plain_files(manifest).map(|file| file.digest).collect();
    for dir in [&root.join("blobs"), &snapshot] {
        fs::create_dir_all(dir).map_err(|source| CheckoutError::Make { path: dir.clone(), source })?;
    }
    for file in part.files(manifest) {
        let name = if plain.contains(&file.digest) {
            let bytes = store.read_blob(&file.digest, PLAIN_BYTES_MAX);
            let placed = |source| CheckoutError::Place { path: root.clone(), source };
            HEXLOWER.encode(&git_blob(&bytes.map_err(|error| placed(PlaceError::Read(error)))?))
        } else {
            file.digest.hex()
        };
        let blob = root.join("blobs").join(&name);
        // What lies there may be what a client took for it: its clients do not look.
        store
            .place(&file.digest, &blob, PlaceMode::Auto)
            .map_err(|source| CheckoutError::Place { path: blob.clone(), source })?;
        link(&snapshot, &file.path, &blob, &name)?;
    }
    if cache.revision == commit {
        return Ok(snapshot);
    }
    let reference = root.join("refs").join(&cache.revision);
    let made = |source| CheckoutError::Make { path: reference.clone(), source };
    if let Some(parent) = reference.parent() {
        fs::create_dir_all(parent).map_err(made)?;
    }
    // The snapshot is whole before anything means it.
    fs::write(&reference, &commit).map_err(made)?;
    Ok(snapshot)
}

/// Links a file of the snapshot to its blob, by a relative path as the clients do.
fn link(snapshot: &Path, path: &SafePath, blob: &Path, name: &str) -> Result<(), CheckoutError> {
    let place: PathBuf = path.segments().fold(snapshot.to_owned(), |dir, segment| dir.join(segment));
    let made = |source| CheckoutError::Make { path: place.clone(), source };
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).map_err(made)?;
    }
    drop(fs::remove_file(&place));
    #[cfg(unix)]
    {
        let up = "../".repeat(path.segments().count() + 1);
        let _unused = blob;
        std::os::unix::fs::symlink(format!("{up}blobs/{name}"), &place).map_err(made)
    }
    #[cfg(not(unix))]
    {
        let _unused = name;
        fs::hard_link(blob, &place).or_else(|_| fs::copy(blob, &place).map(drop)).map_err(made)
    }
}
