//! Imports a repository from a Hugging Face endpoint: fetches each file, checks it against the hash in the listing, and keeps
//! it as a blob. After a crash the import of a large file continues where it stopped.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use reg_api::consent::Acceptance;
use reg_api::counted::counted;
use reg_api::fault::{Fault, FaultKind};
use reg_api::ingest::{IngestFile, IngestPlan, LeftOutList, LeftOutReason};
use reg_api::progress::Progress;
use reg_api::report::ImportedRepository;
use reg_api::reporter::Reporter;
use reg_api::repository_name::RepositoryName;
use reg_api::request::ImportRequest;
use reg_api::selection::{Pattern, listed};
use reg_api::size::Given;
use reg_proto::digest::Digest;
use reg_proto::limits::{BLOB_BYTES_MAX, FILES_MAX};
use reg_proto::path::{CollisionError, PathError, SafePath, check_collisions};
use thiserror::Error;
use tracing::warn;

use super::Importing;
use super::gather::{FileStream, GatherError, Gathered, gather};
use super::upload::UploadError;
use crate::endpoint::{Hub, HubError, RemoteFile, RemoteName};
use crate::registry::limits::PLAIN_BYTES_MAX;
use crate::registry::model::describe::{DescribeError, comes_first, describe_early};
use crate::registry::model::git_blob;
use crate::registry::model::tree::{Searched, is_secret_name, judge_path, search};
use crate::registry::model::whole::is_whole;
use crate::registry::trust::TrustError;
use crate::store::{ReserveError, ResumeError, UploadError as StoreError, WriteError};

/// Why a repository is not imported. Files that were checked stay for an hour, and large files for longer.
#[derive(Debug, Error)]
pub enum ImportRepositoryError {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error("path {path:?} is refused")]
    Path { path: String, source: PathError },
    #[error("{path} has {size} bytes, and a file of a model may have {}", Given(BLOB_BYTES_MAX))]
    TooLarge { path: SafePath, size: u64 },
    #[error("{repository} has {count} files, and a model may have {FILES_MAX}")]
    TooMany { repository: RepositoryName, count: usize },
    #[error("{repository} has two files that would be one")]
    Collision { repository: RepositoryName, source: CollisionError },
    #[error("no file of {repository} matches {pattern}")]
    NoMatch { repository: RepositoryName, pattern: Pattern, names: Vec<String> },
    #[error("{repository} has no file that would be imported")]
    Empty { repository: RepositoryName, left_out: LeftOutList },
    #[error("{path} has {size} bytes, and is not in LFS")]
    PlainTooLarge { path: SafePath, size: u64 },
    #[error("{path} is not what the endpoint lists: the bytes that it sent have another hash")]
    Other { path: SafePath },
    #[error("{path} has {found} bytes of {expected}")]
    Short { path: SafePath, expected: u64, found: u64 },
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Describe(#[from] DescribeError),
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
            Self::Trust(source) => source.kind(),
            Self::Describe(source) => source.kind(),
            Self::Reserve(source) => source.kind(),
            Self::Write(source) if source.is_disk_full() => FaultKind::DiskFull,
            Self::Keep(source) if source.kind() == FaultKind::DiskFull => FaultKind::DiskFull,
            Self::NoMatch { .. } => FaultKind::NoMatch,
            Self::Path { .. }
            | Self::PlainTooLarge { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::Collision { .. }
            | Self::Empty { .. } => FaultKind::Invalid,
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
            Self::Trust(source) => source.hint(),
            Self::Describe(source) => source.publish_hint(),
            Self::Path { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::Collision { .. }
            | Self::PlainTooLarge { .. } => Some("leave files out with --exclude".to_owned()),
            Self::NoMatch { names, .. } => Some(format!("it has {}", listed(names))),
            Self::Empty { left_out, .. } if left_out.count() > 0 => {
                Some(format!("it has {}; --hidden takes hidden files", left_out.named()))
            }
            Self::Short { .. } => Some("run the same command again: what was fetched is kept".to_owned()),
            Self::Reserve(source) => source.hint(),
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
        let ImportRequest { endpoint, repository, .. } = &request;
        reporter.stage("finding", format_args!("{repository} at {endpoint}"));
        let accepted = self.trust.accepted(&request.accepted)?;
        let Wanted { hub, commit, first, large, left_out } = wanted(&request).await?;
        let total = first.iter().chain(&large).map(|(_, file)| file.size).sum();
        reporter.stage("fetching", counted(first.len() + large.len(), "file"));
        let source = RepositorySource { hub: &hub, repository: repository.as_str(), commit: &commit };
        let mut count = Count { done: 0, fetched: 0, total, reporter };
        let mut taken = Taken { files: Vec::new(), left_out };
        // What the publication would refuse because of a small file is refused before the large ones are fetched.
        self.take(&request, &source, &first, &mut count, &mut taken).await?;
        self.judge_first(&taken.files, &large, &accepted).await?;
        self.take(&request, &source, &large, &mut count, &mut taken).await?;
        let Taken { mut files, left_out } = taken;
        if files.is_empty() {
            return Err(ImportRepositoryError::Empty { repository: repository.clone(), left_out });
        }
        files.sort();
        Ok(ImportedRepository { commit, files, bytes: total, bytes_fetched: count.fetched, left_out })
    }

    /// Says what an import of a repository would take, and refuses what an import would refuse before it fetches the large files.
    /// Fetches the listing and the small files.
    ///
    /// # Errors
    /// As for [`Self::import_repository`].
    pub async fn plan_repository(
        self: &Arc<Self>,
        request: ImportRequest,
    ) -> Result<IngestPlan, ImportRepositoryError> {
        let accepted = self.trust.accepted(&request.accepted)?;
        let Wanted { hub, commit, first, large, left_out } = wanted(&request).await?;
        let source = RepositorySource { hub: &hub, repository: request.repository.as_str(), commit: &commit };
        let mut count = Count { done: 0, fetched: 0, total: 0, reporter: &Reporter::silent() };
        let mut taken = Taken { files: Vec::new(), left_out };
        self.take(&request, &source, &first, &mut count, &mut taken).await?;
        self.judge_first(&taken.files, &large, &accepted).await?;
        let of_first: BTreeSet<&SafePath> = taken.files.iter().map(|(path, _)| path).collect();
        let first = first.into_iter().filter(|(path, _)| of_first.contains(path));
        let mut files: Vec<IngestFile> =
            first.chain(large).map(|(path, file)| IngestFile { path, size: file.size }).collect();
        files.sort_by(|one, two| one.path.cmp(&two.path));
        Ok(IngestPlan { bytes: files.iter().map(|it| it.size).sum(), files, left_out: taken.left_out })
    }

    /// Fetches files into the store. Leaves out those that look like a secret, unless the user wants them.
    async fn take(
        self: &Arc<Self>,
        request: &ImportRequest,
        source: &RepositorySource<'_>,
        wanted: &[(SafePath, RemoteFile)],
        count: &mut Count<'_>,
        taken: &mut Taken,
    ) -> Result<(), ImportRepositoryError> {
        for (path, file) in wanted {
            let digest = self.import_file_of(source, path, file, count).await?;
            let is_wanted = request.ingest.secrets.iter().any(|it| it.matches(path.as_str()));
            let Searched { found, is_cut } = self.search(path, digest).await?;
            if is_cut {
                taken.left_out.push_unsearched(path.as_str());
            }
            match found.filter(|_| !is_wanted) {
                Some(found) => taken.left_out.push(path.to_string(), LeftOutReason::Secret, Some(found)),
                None => taken.files.push((path.clone(), digest)),
            }
        }
        Ok(())
    }

    /// Searches a file that has come for secrets: a repository that needed a token is not public. A file that cannot be read
    /// counts as not searched to its end.
    ///
    /// # Errors
    /// A task ended early.
    pub async fn search(&self, path: &SafePath, digest: Digest) -> Result<Searched, ImportRepositoryError> {
        let (store, name) = (self.store.clone(), path.file_name().to_owned());
        let unread = Searched { found: None, is_cut: true };
        let search = move || store.open_file(&digest).map_or(unread, |it| search(&name, it));
        tokio::task::spawn_blocking(search).await.map_err(|_| ImportRepositoryError::Interrupted)
    }

    /// Judges the files that have come, as the publication that follows will.
    async fn judge_first(
        self: &Arc<Self>,
        files: &[(SafePath, Digest)],
        to_come: &[(SafePath, RemoteFile)],
        accepted: &Acceptance,
    ) -> Result<(), ImportRepositoryError> {
        let (store, files, accepted) = (self.store.clone(), files.to_vec(), accepted.clone());
        let to_come: Vec<SafePath> = to_come.iter().map(|(path, _)| path.clone()).collect();
        let judge = move || {
            let size = |digest: &Digest| store.blob_size(digest).unwrap_or(0);
            let here: Vec<_> = files.iter().map(|(path, digest)| (path, *digest, size(digest))).collect();
            let to_come: Vec<&SafePath> = to_come.iter().collect();
            describe_early(&store, here, &to_come, &accepted.consent, accepted.incomplete).map(drop)
        };
        let judged = tokio::task::spawn_blocking(judge).await;
        Ok(judged.map_err(|_| ImportRepositoryError::Interrupted)??)
    }

    /// Returns what makes a file in the store look like a secret, by its name or its text. What cannot be searched may be one: it
    /// would become public.
    pub async fn secret_in(&self, path: &SafePath, digest: Digest) -> Option<String> {
        if path.segments().any(is_secret_name) {
            return Some("its name".to_owned());
        }
        let Ok(Searched { found, is_cut }) = self.search(path, digest).await else {
            return Some("it cannot be searched now".to_owned());
        };
        if is_cut {
            warn!(%path, "an uploaded text is too long to be searched for secrets to its end");
        }
        found
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

/// The files of a repository that become a model.
struct Wanted {
    hub: Hub,
    commit: String,
    /// What is fetched before the others: small files, and lists of weights.
    first: Vec<(SafePath, RemoteFile)>,
    large: Vec<(SafePath, RemoteFile)>,
    left_out: LeftOutList,
}

/// The files that were fetched, and those that are not part of the model.
struct Taken {
    files: Vec<(SafePath, Digest)>,
    left_out: LeftOutList,
}

/// Asks an endpoint for the files of a repository, and judges them by their names and sizes.
async fn wanted(request: &ImportRequest) -> Result<Wanted, ImportRepositoryError> {
    let ImportRequest { endpoint, repository, revision, token, ingest, .. } = request;
    let hub = Hub::new(endpoint, token.clone())?;
    let commit = hub.commit(repository.as_str(), revision).await?;
    let (mut files, mut left_out) = (Vec::new(), LeftOutList::default());
    for file in hub.files(repository.as_str(), &commit).await? {
        let path = match SafePath::in_any_form(&file.path) {
            Ok(path) => path,
            Err(_) if ingest.exclude.iter().any(|it| it.matches(&file.path)) => {
                left_out.push(file.path, LeftOutReason::Excluded, None);
                continue;
            }
            Err(source) => return Err(ImportRepositoryError::Path { path: file.path, source }),
        };
        match judge_path(&path, ingest) {
            Some(reason) => left_out.push(path.to_string(), reason, None),
            None if file.size > BLOB_BYTES_MAX => {
                return Err(ImportRepositoryError::TooLarge { path, size: file.size });
            }
            None => files.push((path, file)),
        }
    }
    check_choice(&files, &left_out, request)?;
    files.sort_by(|(one, _), (two, _)| one.cmp(two));
    let (first, large) = files.into_iter().partition(|(path, file)| comes_first(path, file.size));
    Ok(Wanted { hub, commit, first, large, left_out })
}

/// Checks that the files that are left make a model.
fn check_choice(
    files: &[(SafePath, RemoteFile)],
    left_out: &LeftOutList,
    request: &ImportRequest,
) -> Result<(), ImportRepositoryError> {
    let ImportRequest { repository, ingest, .. } = request;
    let repository = || repository.clone();
    let is_matched = |pattern: &&Pattern| files.iter().any(|(path, _)| pattern.matches(path.as_str()));
    if let Some(pattern) = ingest.include.iter().find(|it| !is_matched(it)) {
        let others = left_out.entries.iter().filter(|it| it.reason == LeftOutReason::NotIncluded);
        let mut names: Vec<String> = files.iter().map(|(path, _)| path.to_string()).collect();
        names.extend(others.map(|it| it.path.clone()));
        names.sort();
        let (repository, pattern) = (repository(), pattern.clone());
        return Err(ImportRepositoryError::NoMatch { repository, pattern, names });
    }
    if files.is_empty() {
        return Err(ImportRepositoryError::Empty { repository: repository(), left_out: left_out.clone() });
    }
    if files.len() > FILES_MAX {
        return Err(ImportRepositoryError::TooMany { repository: repository(), count: files.len() });
    }
    check_collisions(files.iter().map(|(path, _)| path))
        .map_err(|source| ImportRepositoryError::Collision { repository: repository(), source })
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
