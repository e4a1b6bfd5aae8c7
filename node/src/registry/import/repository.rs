//! Importing a repository from a Hugging Face endpoint: each file is fetched, checked against the name that the listing
//! gives it, and kept as a blob. What was fetched of a large file is not fetched again after a crash.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use reg_api::fault::{Fault, FaultKind};
use reg_api::progress::Progress;
use reg_api::report::ImportedRepository;
use reg_api::reporter::Reporter;
use reg_api::request::ImportRequest;
use reg_proto::digest::Digest;
use reg_proto::path::{PathError, SafePath};
use thiserror::Error;

use super::gather::{FileStream, GatherError, Gathered, gather};
use super::upload::UploadError;
use crate::endpoint::{Hub, HubError, RemoteFile, RemoteName};
use crate::registry::import::Importing;
use crate::registry::model::git_blob;
use crate::registry::model::tree::is_left_out;
use crate::registry::model::whole::is_whole;
use crate::store::{ReserveError, ResumeError, UploadError as StoreError, WriteError};

/// Bytes of a plain file: hubs keep larger ones in LFS.
const PLAIN_BYTES_MAX: u64 = 64 << 20;

/// Why a repository is not imported. What was fetched and checked stays for an hour, and large files for longer.
#[derive(Debug, Error)]
pub enum ImportRepositoryError {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error("{path:?} is a path that is refused")]
    Path { path: String, source: PathError },
    #[error("{path} has {size} bytes, and is not in LFS")]
    PlainTooLarge { path: SafePath, size: u64 },
    #[error("{path} is not what the endpoint lists: what came has another hash")]
    Other { path: SafePath },
    #[error("{path} has {found} bytes of {expected}")]
    Short { path: SafePath, expected: u64, found: u64 },
    #[error("there is no room for it")]
    Reserve(#[from] ReserveError),
    #[error("store does not take it")]
    Write(#[from] WriteError),
    #[error("it cannot be gone on with")]
    Resume(#[from] ResumeError),
    #[error("blob cannot be kept")]
    Keep(#[from] UploadError),
    #[error("a task ended early")]
    Interrupted,
}

impl From<GatherError> for ImportRepositoryError {
    fn from(error: GatherError) -> Self {
        match error {
            GatherError::Hub(source) => Self::Hub(source),
            GatherError::Write(source) => Self::Write(source),
            GatherError::Interrupted => Self::Interrupted,
        }
    }
}

impl Fault for ImportRepositoryError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Hub(HubError::NotFound { .. }) => FaultKind::NotFound,
            Self::Hub(HubError::Denied { .. }) => FaultKind::Denied,
            Self::Hub(HubError::Transport { .. } | HubError::Status { .. }) | Self::Short { .. } => {
                FaultKind::Unreachable
            }
            Self::Other { .. } | Self::Hub(HubError::Oid { .. } | HubError::Commit { .. }) => {
                FaultKind::Verification
            }
            Self::Resume(ResumeError::Busy { .. }) => FaultKind::RetryLater,
            Self::Resume(ResumeError::Write(source)) if source.is_disk_full() => FaultKind::DiskFull,
            Self::Reserve(_) => FaultKind::DiskFull,
            Self::Write(source) if source.is_disk_full() => FaultKind::DiskFull,
            Self::Path { .. } | Self::PlainTooLarge { .. } => FaultKind::Invalid,
            _ => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Hub(HubError::Denied { .. }) => Some("set HF_TOKEN to a token that may read it".to_owned()),
            Self::Hub(HubError::NotFound { .. }) => {
                Some("HF_ENDPOINT names another endpoint, HF_TOKEN a token for what is private".to_owned())
            }
            Self::Other { .. } => Some(
                "nothing of it was kept; if it stays so, the endpoint or what stands before it is broken"
                    .to_owned(),
            ),
            Self::Resume(ResumeError::Busy { .. }) => Some("wait for the other import to end".to_owned()),
            Self::Hub(HubError::Transport { .. }) => {
                Some("HF_ENDPOINT names another endpoint; run it again: what was fetched is kept".to_owned())
            }
            Self::Short { .. } => Some("run it again: what was fetched is kept".to_owned()),
            _ => None,
        }
    }
}

impl Importing {
    /// Copies the files of a repository here.
    ///
    /// # Errors
    /// See [`ImportRepositoryError`].
    pub async fn import_repository(
        self: &Arc<Self>,
        request: ImportRequest,
        reporter: &Reporter,
    ) -> Result<ImportedRepository, ImportRepositoryError> {
        let ImportRequest { endpoint, repository, revision, token } = request;
        let hub = Hub::new(&endpoint, token)?;
        reporter.stage("finding", format_args!("{repository} at {endpoint}"));
        let commit = hub.commit(repository.as_str(), &revision).await?;
        let mut wanted = Vec::new();
        for file in hub.files(repository.as_str(), &commit).await? {
            let path: SafePath = file
                .path
                .parse()
                .map_err(|source| ImportRepositoryError::Path { path: file.path.clone(), source })?;
            if !path.segments().any(is_left_out) {
                wanted.push((path, file));
            }
        }
        let total = wanted.iter().map(|(_, file)| file.size).sum();
        reporter.stage("fetching", format_args!("{} files", wanted.len()));
        let mut told = Count { done: 0, fetched: 0, total, reporter };
        let mut files = Vec::new();
        for (path, file) in wanted {
            let source = RepositorySource { hub: &hub, repository: repository.as_str(), commit: &commit };
            let digest = self.import_file_of(&source, &path, &file, &mut told).await?;
            files.push((path, digest));
        }
        Ok(ImportedRepository { commit, files, bytes: total, bytes_fetched: told.fetched })
    }

    async fn import_file_of(
        self: &Arc<Self>,
        source: &RepositorySource<'_>,
        path: &SafePath,
        file: &RemoteFile,
        told: &mut Count<'_>,
    ) -> Result<Digest, ImportRepositoryError> {
        match file.name {
            RemoteName::Git(oid) => {
                if file.size > PLAIN_BYTES_MAX {
                    return Err(ImportRepositoryError::PlainTooLarge { path: path.clone(), size: file.size });
                }
                self.import_plain(source, path, file, oid, told).await
            }
            RemoteName::Lfs(digest) => {
                let store = self.store.clone();
                let look = move || store.contains(&digest) && is_whole(&store, &digest);
                let is_here = tokio::task::spawn_blocking(look).await;
                if is_here.map_err(|_| ImportRepositoryError::Interrupted)? {
                    told.had(file.size);
                } else {
                    self.import_large(source, path, file, digest, told).await?;
                }
                self.keep_uploaded(digest).await?;
                Ok(digest)
            }
        }
    }

    /// Imports a file whose name is git's; one that an earlier import has brought is not fetched again.
    async fn import_plain(
        self: &Arc<Self>,
        source: &RepositorySource<'_>,
        path: &SafePath,
        file: &RemoteFile,
        oid: [u8; 20],
        told: &mut Count<'_>,
    ) -> Result<Digest, ImportRepositoryError> {
        let name = data_encoding::HEXLOWER.encode(&oid);
        let (store, noted) = (self.store.clone(), name.clone());
        let known = tokio::task::spawn_blocking(move || {
            let digest = store.noted_import(&noted)?;
            let bytes = store.read_blob(&digest, PLAIN_BYTES_MAX).ok()?;
            (git_blob(&bytes) == oid).then_some(digest)
        });
        if let Some(digest) = known.await.map_err(|_| ImportRepositoryError::Interrupted)? {
            told.had(file.size);
            self.keep_uploaded(digest).await?;
            return Ok(digest);
        }
        let mut stream = source.open(file, 0).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() as u64 > file.size {
                break;
            }
        }
        told.came(bytes.len() as u64);
        if git_blob(&bytes) != oid {
            return Err(ImportRepositoryError::Other { path: path.clone() });
        }
        let digest = self.put_small(bytes).await?;
        let store = self.store.clone();
        let note = tokio::task::spawn_blocking(move || store.note_import(&name, &digest));
        note.await.map_err(|_| ImportRepositoryError::Interrupted)??;
        Ok(digest)
    }

    async fn import_large(
        &self,
        source: &RepositorySource<'_>,
        path: &SafePath,
        file: &RemoteFile,
        digest: Digest,
        told: &mut Count<'_>,
    ) -> Result<(), ImportRepositoryError> {
        let store = self.store.clone();
        let size = file.size;
        let begun = tokio::task::spawn_blocking(move || {
            let lease = store.reserve(size, &BTreeSet::new())?;
            Ok::<_, ImportRepositoryError>((store.resume_upload(&digest)?, lease))
        });
        let (upload, _lease) = begun.await.map_err(|_| ImportRepositoryError::Interrupted)??;
        told.had(upload.size().min(size));
        let upload = gather(upload, &mut Counted { source, file, told }).await?;
        if upload.size() < size {
            let found = upload.size();
            return Err(ImportRepositoryError::Short { path: path.clone(), expected: size, found });
        }
        let finished = tokio::task::spawn_blocking(move || upload.finish(digest));
        match finished.await.map_err(|_| ImportRepositoryError::Interrupted)? {
            Ok(_) => Ok(()),
            Err(StoreError::Digest { .. }) => Err(ImportRepositoryError::Other { path: path.clone() }),
            Err(StoreError::Write(error)) => Err(error.into()),
        }
    }
}

/// One version of a repository.
struct RepositorySource<'a> {
    hub: &'a Hub,
    repository: &'a str,
    commit: &'a str,
}

impl RepositorySource<'_> {
    async fn open(&self, file: &RemoteFile, from: u64) -> Result<FileStream, HubError> {
        Ok(self.hub.open(self.repository, self.commit, &file.path, from).await?.boxed())
    }
}

/// A large file of a repository, whose bytes are counted as they come.
struct Counted<'a, 'b> {
    source: &'a RepositorySource<'a>,
    file: &'a RemoteFile,
    told: &'a mut Count<'b>,
}

impl Gathered for Counted<'_, '_> {
    type Error = ImportRepositoryError;

    const BREAKS_MAX: u32 = 5;

    fn size(&self) -> u64 {
        self.file.size
    }

    async fn open(&self, from: u64) -> Result<FileStream, HubError> {
        self.source.open(self.file, from).await
    }

    fn on_bytes(&mut self, count: u64) {
        self.told.came(count);
    }
}

/// How far an import is.
struct Count<'a> {
    done: u64,
    fetched: u64,
    total: u64,
    reporter: &'a Reporter,
}

impl Count<'_> {
    fn came(&mut self, bytes: u64) {
        self.fetched += bytes;
        self.had(bytes);
    }

    fn had(&mut self, bytes: u64) {
        self.done += bytes;
        self.reporter.tell(Progress::Bytes { done: self.done, total: self.total, peers: 1 });
    }
}
