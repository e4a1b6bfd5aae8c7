//! Adopts a model from the store of another tool: links its large files, reads each once, and checks it against its name.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reg_api::adopt::{AdoptRequest, Adoptable, FoundModels, OllamaName, OtherStore};
use reg_api::consent::Acceptance;
use reg_api::fault::{Fault, FaultKind};
use reg_api::ingest::{IngestPlan, LeftOutList};
use reg_api::report::ImportedRepository;
use reg_api::reporter::Reporter;
use reg_api::repository_name::RepositoryName;
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId};
use thiserror::Error;

use super::Importing;
use super::upload::UploadError;
use super::{hf_cache, ollama};
use crate::registry::model::describe::{DescribeError, Description};
use crate::registry::model::kept::{self, Kept};
use crate::registry::model::record::ModelRecord;
use crate::registry::model::take::{self, TakeError, Taken, Terms};
use crate::registry::model::tree::{Listing, SourceFile, TreeError};
use crate::registry::pull::{LISTED_BYTES_MAX, commit};
use crate::registry::trust::TrustError;
use crate::store::{Cancel, CancelOnDrop, ImportError, ReadError, ReserveError, Store, Taking};

/// Why a model of another tool's store is not imported.
#[derive(Debug, Error)]
pub enum AdoptError {
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("{repository} at {revision} is not in {dir}")]
    NotThere { repository: RepositoryName, revision: String, dir: PathBuf },
    #[error("cache of {repository} is partial: it lacks {first}{}", more_of(*more))]
    Partial { repository: RepositoryName, first: String, more: usize },
    #[error(
        "{repository} was put into this cache by reg: it is {publisher}/{model}@{manifest}, which is signed already"
    )]
    Own { repository: RepositoryName, publisher: PublisherId, model: ModelName, manifest: Digest },
    #[error("store cannot be read")]
    Store(#[from] ReadError),
    #[error("{name} is not in {dir}")]
    NoModel { name: OllamaName, dir: PathBuf },
    #[error("{path} is not a manifest of Ollama")]
    Manifest { path: PathBuf, source: reg_proto::json::JsonError },
    #[error("{name} has a layer of type {media_type:?}, which is no file that other tools read")]
    Layer { name: OllamaName, media_type: String },
    #[error("{name} has no weights: it runs elsewhere")]
    NoWeights { name: OllamaName },
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Describe(#[from] DescribeError),
    #[error("{path} cannot be imported")]
    Import { path: PathBuf, source: ImportError },
    #[error("{path} is not what its name says: its hash is {found}")]
    Other { path: PathBuf, found: String },
    #[error("there is no room for the model")]
    Reserve(#[from] ReserveError),
    #[error("blob cannot be kept")]
    Keep(#[from] UploadError),
    #[error("a task ended early")]
    Interrupted,
}

impl Fault for AdoptError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::NotThere { .. } | Self::NoModel { .. } => FaultKind::NotFound,
            Self::Partial { .. } | Self::Own { .. } => FaultKind::Denied,
            Self::Other { .. } | Self::Import { source: ImportError::Changed { .. }, .. } => {
                FaultKind::Verification
            }
            Self::Import { source, .. } if source.is_disk_full() => FaultKind::DiskFull,
            Self::Import { source: ImportError::Source { source, .. }, .. } | Self::Read { source, .. } => {
                FaultKind::of_path(source)
            }
            Self::Reserve(source) => source.kind(),
            Self::Trust(source) => source.kind(),
            Self::Tree(source) => source.kind(),
            Self::Describe(source) => source.kind(),
            Self::Manifest { .. } | Self::Layer { .. } | Self::NoWeights { .. } => FaultKind::Invalid,
            _ => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotThere { .. } => Some(
                "`hf cache ls` lists the repositories of the cache; leave --from out to download".to_owned(),
            ),
            Self::Own { publisher, model, manifest, .. } => Some(format!(
                "`reg pull {publisher}/{model}@{manifest} DIR` puts it into a folder; `reg publish DIR NAME --key KEY` signs the \
                 files of a folder as yours"
            )),
            Self::NoModel { .. } => Some(
                "`ollama list` lists the models; OLLAMA_MODELS names the folder of another store".to_owned(),
            ),
            Self::Other { .. } => {
                Some("remove the file from that store, and let its own tool download it again".to_owned())
            }
            Self::Reserve(source) => source.hint(),
            Self::Trust(source) => source.hint(),
            Self::Tree(source) => source.hint(),
            Self::Describe(source) => source.publish_hint(),
            Self::Partial { .. } => Some(
                "fetch the rest with `hf download`, or publish what is there with --incomplete".to_owned(),
            ),
            _ => None,
        }
    }
}

fn more_of(count: usize) -> String {
    if count == 0 { String::new() } else { format!(", and {count} more") }
}

/// A model in the store of another tool, with its files found.
pub(super) struct Adoption {
    /// How that store names the version.
    pub(super) commit: String,
    pub(super) files: Vec<SourceFile>,
    pub(super) left_out: LeftOutList,
}

impl Importing {
    /// Imports the files of a model from another tool's store. A large file becomes a second link to the same bytes where the
    /// file system allows it, and is read once to prove its digest.
    ///
    /// # Errors
    /// The model is not there, or a file does not match its name: see [`AdoptError`].
    pub async fn adopt(
        self: &Arc<Self>,
        request: AdoptRequest,
        reporter: &Reporter,
    ) -> Result<ImportedRepository, AdoptError> {
        let (store, reporter) = (self.store.clone(), reporter.clone());
        let caller = CancelOnDrop::default();
        let cancel = caller.cancel();
        let accepted = self.trust.accepted(&request.accepted)?;
        let take = move || take(&store, find(&store, &request, &cancel)?, &accepted, &reporter, &cancel);
        let adopted = tokio::task::spawn_blocking(take).await.map_err(|_| AdoptError::Interrupted)??;
        for (_, digest) in &adopted.files {
            self.keep_uploaded(*digest).await?;
        }
        Ok(adopted)
    }

    /// Says what an import from another tool's store would take, and refuses what an import would refuse. Hashes nothing.
    ///
    /// # Errors
    /// The model is not there, or is refused: see [`AdoptError`].
    pub async fn plan_adopt(&self, request: AdoptRequest) -> Result<IngestPlan, AdoptError> {
        let caller = CancelOnDrop::default();
        let cancel = caller.cancel();
        let accepted = self.trust.accepted(&request.accepted)?;
        let store = self.store.clone();
        let plan = move || {
            let Adoption { files, left_out, .. } = find(&store, &request, &cancel)?;
            Description::judge_sources(&files, &accepted, &cancel)?;
            Ok(Listing { files, left_out }.plan())
        };
        tokio::task::spawn_blocking(plan).await.map_err(|_| AdoptError::Interrupted)?
    }

    /// Lists the models in another tool's store, with the names under which they would be published.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list_adoptable(&self, of: OtherStore) -> Result<FoundModels, AdoptError> {
        let list = move || match of {
            OtherStore::HubCache(dir) => hf_cache::list(&dir),
            OtherStore::Ollama(dir) => ollama::list(&dir),
        };
        tokio::task::spawn_blocking(list).await.map_err(|_| AdoptError::Interrupted)?
    }
}

fn find(store: &Store, request: &AdoptRequest, cancel: &Cancel) -> Result<Adoption, AdoptError> {
    match &request.model {
        Adoptable::HubCache(cache) => {
            let found = hf_cache::find(cache, &request.ingest, request.accepted.incomplete, cancel)?;
            // A pull or a gateway of this node has named the commit by the manifest of a model in the store.
            let keys = ModelRecord::keys(store)?;
            // What was published here is the user's own, and its signature says nothing new.
            let is_own = |key: &&String| kept::kept(store, key).is_ok_and(|it| it == Some(Kept::Published));
            let own = keys.iter().filter(|key| !is_own(key)).filter_map(|key| ModelRecord::of_key(key));
            match own.into_iter().find(|(manifest, _, _)| commit(manifest) == found.commit) {
                Some((manifest, publisher, model)) => {
                    let repository = cache.repository.clone();
                    Err(AdoptError::Own { repository, publisher, model, manifest })
                }
                None => Ok(found),
            }
        }
        Adoptable::Ollama { dir, name } => ollama::find(dir, name, &request.ingest, cancel),
    }
}

fn take(
    store: &Store,
    Adoption { commit, files: sources, left_out }: Adoption,
    accepted: &Acceptance,
    reporter: &Reporter,
    cancel: &Cancel,
) -> Result<ImportedRepository, AdoptError> {
    Description::judge_sources(&sources, accepted, cancel)?;
    let taking = |size| if size > LISTED_BYTES_MAX { Taking::Link } else { Taking::Copy };
    let terms = Terms { taking: &taking, expected: &|it| stated(&it.source) };
    let taken = take::take(store, &sources, &terms, reporter, cancel).map_err(|error| match error {
        TakeError::Reserve(source) => AdoptError::Reserve(source),
        TakeError::Import(path, ImportError::Digest { found, .. }) => {
            AdoptError::Other { path, found: found.hex() }
        }
        TakeError::Import(path, source) => AdoptError::Import { path, source },
    });
    let Taken { imported, lease: _lease, .. } = taken?;
    let bytes = sources.iter().map(|it| it.size).sum();
    let mut files = Vec::new();
    for (source, imported) in sources.into_iter().zip(imported) {
        check_name(store, &source.source, &imported.digest)?;
        files.push((source.path, imported.digest));
    }
    Ok(ImportedRepository { commit, files, bytes, bytes_fetched: 0, left_out })
}

/// Returns the name of a file in a folder of blobs. A file that is in none has another name, which proves nothing.
fn blob_name(path: &Path) -> Option<&str> {
    path.parent().and_then(Path::file_name).filter(|it| *it == "blobs")?;
    path.file_name()?.to_str()
}

/// Returns the digest that the name of a file states.
fn stated(path: &Path) -> Option<Digest> {
    let name = blob_name(path)?;
    Digest::from_hex(name.strip_prefix(ollama::BLOB_PREFIX).unwrap_or(name)).ok()
}

/// Checks a file against its name in the cache of Hugging Face's clients where that is git's SHA-1.
fn check_name(store: &Store, path: &Path, digest: &Digest) -> Result<(), AdoptError> {
    let Some(name) = blob_name(path).filter(|_| stated(path).is_none()) else { return Ok(()) };
    let found = hf_cache::name_of(store, path, name, digest)?;
    if found == name { Ok(()) } else { Err(AdoptError::Other { path: path.to_owned(), found }) }
}
