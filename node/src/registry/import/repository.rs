//! Imports a repository from a Hugging Face endpoint: fetches each file, checks it against the hash in the listing, and keeps
//! it as a blob. After a crash the import of a large file continues where it stopped.

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

use super::Importing;
use super::gather::{FileStream, GatherError, Gathered, gather};
use super::upload::UploadError;
use crate::endpoint::{Hub, HubError, RemoteFile, RemoteName};
use crate::registry::limits::PLAIN_BYTES_MAX;
use crate::registry::model::git_blob;
use crate::registry::model::tree::is_left_out;
use crate::registry::model::whole::is_whole;
use crate::store::{ReserveError, ResumeError, UploadError as StoreError, WriteError};

/// Why a repository is not imported. Files that were checked stay for an hour, and large files for longer.
#[derive(Debug, Error)]
pub enum ImportRepositoryError {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error("path {path:?} is refused")]
    Path { path: String, source: PathError },
    #[error("{path} has {size} bytes, and is not in LFS")]
    PlainTooLarge { path: SafePath, size: u64 },
    #[error("{path} is not what the endpoint lists: the bytes that it sent have another hash")]
    Other { path: SafePath },
    #[error("{path} has {found} bytes of {expected}")]
    Short { path: SafePath, expected: u64, found: u64 },
    #[error("there is no room for the file")]
    Reserve(#[from] ReserveError),
    #[error("store cannot keep the file")]
    Write(#[from] WriteError),
    #[error("partial file cannot be resumed")]
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
            Self::Hub(HubError::Denied { .. } | HubError::Refused { .. }) => FaultKind::Denied,
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
            Self::Hub(HubError::Denied { .. }) => Some("set HF_TOKEN to a token that may read the repository".to_owned()),
            Self::Hub(HubError::Refused { .. }) => {
                Some("if the address is yours, set HF_ENDPOINT to that host".to_owned())
            }
            Self::Hub(HubError::NotFound { .. }) => {
                Some("HF_ENDPOINT names another endpoint, HF_TOKEN a token for private repositories".to_owned())
            }
            Self::Other { .. } => Some(
                "nothing of the file was kept; if the error stays, the endpoint or a proxy before it is broken"
                    .to_owned(),
            ),
            Self::Resume(ResumeError::Busy { .. }) => Some("wait for the other import to end".to_owned()),
            Self::Hub(HubError::Transport { .. }) => {
                Some("HF_ENDPOINT names another endpoint; run the same command again: what was fetched is kept".to_owned())
            }
            Self::Short { .. } => Some("run the same command again: what was fetched is kept".to_owned()),
            _ => None,
        }
    }
}

impl Importing {
    /// Fetches the files of a repository into the store.
    ///
    /// # Errors
    /// The endpoint does not answer, or sends other bytes than it lists: see [`ImportRepositoryError`].
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
        let mut count = Count { done: 0, fetched: 0, total, reporter };
        let mut files = Vec::new();
        for (path, file) in wanted {
            let source = RepositorySource { hub: &hub, repository: repository.as_str(), commit: &commit };
            let digest = self.import_file_of(&source, &path, &file, &mut count).await?;
            files.push((path, digest));
        }
        Ok(ImportedRepository { commit, files, bytes: total, bytes_fetched: count.fetched })
    }

    async fn import_file_of(
        self: &Arc<Self>,
        source: &RepositorySource<'_>,
        path: &SafePath,
        file: &RemoteFile,
        count: &mut Count<'_>,
    ) -> Result<Digest, ImportRepositoryError> {
        match file.name {
            RemoteName::Git(oid) => {
                if file.size > PLAIN_BYTES_MAX {
                    return Err(ImportRepositoryError::PlainTooLarge { path: path.clone(), size: file.size });
                }
                self.import_plain(source, path, file, oid, count).await
            }
            RemoteName::Lfs(digest) => {
                let store = self.store.clone();
                let look = move || store.contains(&digest) && is_whole(&store, &digest);
                let is_here = tokio::task::spawn_blocking(look).await;
                if is_here.map_err(|_| ImportRepositoryError::Interrupted)? {
                    count.add(file.size);
                } else {
                    self.import_large(source, path, file, digest, count).await?;
                }
                self.keep_uploaded(digest).await?;
                Ok(digest)
            }
        }
    }

    /// Imports a file that git's SHA-1 names. A file that an earlier import has kept is not fetched again.
    async fn import_plain(
        self: &Arc<Self>,
        source: &RepositorySource<'_>,
        path: &SafePath,
        file: &RemoteFile,
        oid: [u8; 20],
        count: &mut Count<'_>,
    ) -> Result<Digest, ImportRepositoryError> {
        let name = data_encoding::HEXLOWER.encode(&oid);
        let (store, noted) = (self.store.clone(), name.clone());
        let known = tokio::task::spawn_blocking(move || {
            let digest = store.noted_import(&noted)?;
            let bytes = store.read_blob(&digest, PLAIN_BYTES_MAX).ok()?;
            (git_blob(&bytes) == oid).then_some(digest)
        });
        if let Some(digest) = known.await.map_err(|_| ImportRepositoryError::Interrupted)? {
            count.add(file.size);
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
        count.add_fetched(bytes.len() as u64);
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
        count: &mut Count<'_>,
    ) -> Result<(), ImportRepositoryError> {
        let store = self.store.clone();
        let size = file.size;
        let begun = tokio::task::spawn_blocking(move || {
            let lease = store.reserve(size, &BTreeSet::new())?;
            Ok::<_, ImportRepositoryError>((store.resume_upload(&digest)?, lease))
        });
        let (upload, _lease) = begun.await.map_err(|_| ImportRepositoryError::Interrupted)??;
        count.add(upload.size().min(size));
        let upload = gather(upload, &mut Counted { source, file, count }).await?;
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

/// One commit of a repository at an endpoint.
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

/// A large file of a repository. Counts its bytes as they come.
struct Counted<'a, 'b> {
    source: &'a RepositorySource<'a>,
    file: &'a RemoteFile,
    count: &'a mut Count<'b>,
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
        self.count.add_fetched(count);
    }
}

/// The progress of an import, in bytes.
struct Count<'a> {
    done: u64,
    fetched: u64,
    total: u64,
    reporter: &'a Reporter,
}

impl Count<'_> {
    /// Counts bytes that the endpoint has sent.
    fn add_fetched(&mut self, bytes: u64) {
        self.fetched += bytes;
        self.add(bytes);
    }

    /// Counts bytes that the store has now, however they came.
    fn add(&mut self, bytes: u64) {
        self.done += bytes;
        self.reporter.tell(Progress::Bytes { done: self.done, total: self.total, peers: 1 });
    }
}
