//! [`ExportError`] and [`ArchiveError`]: why an archive is not written, and why nothing is taken out of one.

use std::io;
use std::path::PathBuf;

use reg_api::fault::{self, Fault, FaultKind};
use reg_api::selection::SelectError;
use reg_api::size::Size;
use reg_proto::digest::Digest;
use reg_proto::layout::LayoutError;
use reg_proto::name::Reference;
use reg_proto::referrer::ReferrerError;
use thiserror::Error;
use tokio::task::JoinError;

use super::tarball::TarError;
use crate::registry::model::record::ModelError;
use crate::registry::publishers::TagsError;
use crate::registry::pull::PullError;
use crate::registry::resolve::ResolveError;
use crate::store::{ReadError, ReserveError, ResumeError, UploadError, WriteError};

/// Why models are not written into an archive. Nothing of a tar archive is left; the verified blobs of a directory are.
#[derive(Debug, Error)]
pub enum ExportError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("model cannot be read")]
    Model(#[from] ModelError),
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error("records of {reference} cannot be read")]
    Tags { reference: Reference, source: TagsError },
    #[error("{reference} is not whole in the store: {missing} of the blobs to export are missing")]
    NotWhole { reference: Reference, missing: usize },
    #[error(
        "records and files of {reference} take {size} bytes as a document, more than an archive may carry"
    )]
    TooMuch { reference: Reference, size: usize },
    #[error("an archive of these models has {count} {what}, and at most {max} can be imported")]
    TooMany { what: &'static str, count: usize, max: usize },
    #[error("store cannot read a blob of the model")]
    Read(#[from] ReadError),
    #[error("{digest} is damaged in the store")]
    Damaged { digest: Digest },
    #[error("blobs cannot be kept while they are exported")]
    Reserve(#[from] ReserveError),
    #[error("{path} cannot be written")]
    Write { path: PathBuf, source: io::Error },
    #[error("{} are needed at {path}, and {} are free there", Size(*.needed), Size(*.free))]
    NoRoom { path: PathBuf, needed: u64, free: u64 },
    #[error("{path} is a directory, and a tar archive is a file")]
    IsDirectory { path: PathBuf },
    #[error("{path} is a directory with other content")]
    NotEmpty { path: PathBuf },
    #[error("{path} holds other models too: {first}")]
    OtherModels { path: PathBuf, first: String },
    #[error("layout in {path} cannot be continued")]
    Before { path: PathBuf, source: Box<ArchiveError> },
    #[error("another export is writing {path}")]
    Busy { path: PathBuf },
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
    #[error("caller has gone")]
    Cancelled,
}

impl Fault for ExportError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Resolve(source) => source.kind(),
            Self::Model(ModelError::NotHere { .. }) | Self::NotWhole { .. } => FaultKind::NotFound,
            Self::Select(_) => FaultKind::NoMatch,
            Self::Tags { source, .. } => source.kind(),
            Self::Damaged { .. } | Self::Read(ReadError::Damaged { .. }) => FaultKind::Verification,
            Self::Reserve(source) => source.kind(),
            Self::Write { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => FaultKind::Invalid,
            Self::Write { source, .. } => FaultKind::of_path(source),
            Self::NoRoom { .. } => FaultKind::DiskFull,
            Self::IsDirectory { .. } | Self::NotEmpty { .. } | Self::OtherModels { .. } => FaultKind::Denied,
            Self::TooMuch { .. } | Self::TooMany { .. } => FaultKind::Invalid,
            Self::Before { source, .. } => source.kind(),
            Self::Busy { .. } => FaultKind::RetryLater,
            _ => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve(source) => source.hint(),
            Self::Select(source) => source.hint(),
            Self::Tags { source, .. } => source.hint(),
            Self::NotWhole { .. } => Some(
                "pull the rest with `reg pull REF`, or export the files that are here with --include".to_owned(),
            ),
            Self::Damaged { .. } | Self::Read(ReadError::Damaged { .. }) => {
                Some("`reg verify REF --repair` fetches the damaged bytes again".to_owned())
            }
            Self::TooMany { .. } => Some("export fewer models at once, into more archives".to_owned()),
            Self::TooMuch { .. } => Some("export fewer of its files with --quant or --include".to_owned()),
            Self::Busy { .. } => Some("wait until that export has ended, or name another file".to_owned()),
            Self::Reserve(source) => source.hint(),
            Self::Write { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => {
                Some("that file system takes no file of this size: use one that does, such as exFAT or ext4".to_owned())
            }
            Self::Write { source, .. } => fault::disk_hint(source).map(ToOwned::to_owned),
            Self::NoRoom { .. } => Some(
                "free some space on that disk, export to another one, or export a part with --quant or --include".to_owned(),
            ),
            Self::IsDirectory { .. } => {
                Some("name a file that ends with .tar, or a directory without it".to_owned())
            }
            Self::NotEmpty { .. } => Some("name a directory that is empty or does not exist".to_owned()),
            Self::OtherModels { .. } => Some(
                "name these models in the same command, or choose another directory".to_owned(),
            ),
            Self::Before { .. } => Some("choose another directory, or remove this one".to_owned()),
            _ => None,
        }
    }
}

/// Why nothing is taken out of an archive. Verified blobs stay in the store for the next try.
#[derive(Debug, Error)]
pub enum ArchiveError {
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is no ordinary file")]
    NoFile { path: PathBuf },
    #[error("{path} is refused")]
    Tar { path: PathBuf, source: TarError },
    #[error("{path} has no {what}")]
    Lacks { path: PathBuf, what: String },
    #[error("{what} in {path} has {size} bytes, at most {max} are read")]
    TooLarge { path: PathBuf, what: String, size: u64, max: usize },
    #[error("{path} is refused")]
    Layout { path: PathBuf, source: LayoutError },
    #[error("referrer {digest} in {path} is refused")]
    Referrer { path: PathBuf, digest: Digest, source: ReferrerError },
    #[error("{path} has no model with the records of its publisher")]
    NoModels { path: PathBuf },
    #[error("{path} has no model {carried}")]
    NoModel { path: PathBuf, carried: Digest },
    #[error("{path} has {count} models, and at most {max} are taken out of one archive")]
    TooManyModels { path: PathBuf, count: usize, max: usize },
    #[error("documents of {reference} in {path} take more than {max} bytes")]
    TooManyDocuments { path: PathBuf, reference: Reference, max: usize },
    #[error("{digest} in {path} is not what its name says")]
    Wrong { path: PathBuf, digest: Digest },
    #[error("{digest} in {path} has {found} bytes, and the manifest says {expected}")]
    OtherSize { path: PathBuf, digest: Digest, found: u64, expected: u64 },
    #[error("{path} says that it has {file:?}, which is no file of the model")]
    NoSuchFile { path: PathBuf, file: String },
    #[error("{path} has none of the files that were asked for")]
    NoneOfThem { path: PathBuf },
    #[error(
        "{reference} is {offered} in the archive, and this node has the newer version {seen}: an older version never takes its place"
    )]
    Older { reference: Reference, offered: Digest, seen: Digest },
    #[error("piece states of {digest} are not those that its publisher signed")]
    FalseStates { digest: Digest },
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error("store cannot keep the model")]
    Write(#[from] WriteError),
    #[error("store cannot read the model")]
    Store(#[from] ReadError),
    #[error(transparent)]
    Resume(#[from] ResumeError),
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
    #[error("caller has gone")]
    Cancelled,
}

impl ArchiveError {
    /// Returns the error of a blob that the store has not taken.
    pub(super) fn of_upload(path: PathBuf, error: UploadError) -> Self {
        match error {
            UploadError::Digest { expected, .. } => Self::Wrong { path, digest: expected },
            UploadError::Write(source) => Self::Write(source),
        }
    }
}

impl Fault for ArchiveError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Read { source, .. } | Self::Tar { source: TarError::Io(source), .. } => match source.kind()
            {
                io::ErrorKind::NotFound => FaultKind::NotFound,
                _ => FaultKind::of_path(source),
            },
            Self::NoFile { .. } => FaultKind::Invalid,
            Self::Tar { .. } | Self::TooLarge { .. } | Self::Layout { .. } => FaultKind::Verification,
            Self::Lacks { .. } | Self::NoModels { .. } | Self::NoSuchFile { .. } => FaultKind::Verification,
            Self::Referrer { .. } | Self::TooManyDocuments { .. } | Self::TooManyModels { .. } => {
                FaultKind::Verification
            }
            Self::NoModel { .. } => FaultKind::NotFound,
            Self::NoneOfThem { .. } => FaultKind::NoMatch,
            Self::Wrong { .. } | Self::OtherSize { .. } | Self::Older { .. } | Self::FalseStates { .. } => {
                FaultKind::Verification
            }
            Self::Pull(source) => source.kind(),
            Self::Write(source) | Self::Resume(ResumeError::Write(source)) if source.is_disk_full() => {
                FaultKind::DiskFull
            }
            Self::Resume(ResumeError::Busy { .. }) => FaultKind::RetryLater,
            _ => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoFile { .. } => Some("copy the archive to a file first".to_owned()),
            Self::Tar { source: TarError::Compressed { with }, .. } => {
                Some(format!("decompress it with {with} first: weights hardly shrink"))
            }
            Self::Tar { source: TarError::Cut { .. }, .. } => {
                Some("it was not copied whole: copy it again".to_owned())
            }
            Self::Lacks { what, .. } if what.starts_with("blobs") => {
                Some("it was not copied whole: copy it again, or export it again".to_owned())
            }
            Self::Lacks { path, what } if what == reg_proto::layout::INDEX_FILE && path.is_dir() => {
                Some("the export has not ended: run `reg export` again with the same directory".to_owned())
            }
            Self::TooManyModels { .. }
            | Self::Tar { source: TarError::TooMany, .. }
            | Self::Layout { source: LayoutError::TooManyEntries { .. }, .. } => {
                Some("export fewer models at once, into more archives".to_owned())
            }
            Self::TooManyDocuments { reference, .. } => Some(format!(
                "`reg export {reference} -o FILE.tar` by this version leaves out attestations that do not fit"
            )),
            Self::Lacks { .. } => Some("`reg export REF… -o FILE.tar` writes an archive that can be imported".to_owned()),
            Self::Wrong { .. } | Self::OtherSize { .. } => {
                Some("nothing of it was kept: copy the archive again, or get it from another source".to_owned())
            }
            Self::Layout { source: LayoutError::CarriedVersion { .. } | LayoutError::Version { .. }, .. } => {
                Some("a later version of reg has written it: upgrade this one".to_owned())
            }
            Self::NoModels { .. } => Some(
                "only `reg export` writes the records of a publisher into it; push another layout to this node with \
                 `skopeo copy oci:DIR docker://…`, and it is published under your own key"
                    .to_owned(),
            ),
            Self::Older { offered, .. } => Some(format!(
                "an export of the older version by its digest can be imported: reg export REF@{offered} -o FILE.tar"
            )),
            Self::FalseStates { .. } => Some("the publisher has to publish again".to_owned()),
            Self::Pull(source) => source.hint(),
            Self::Resume(ResumeError::Busy { .. }) => {
                Some("another import of this model runs: wait until it has ended".to_owned())
            }
            error if error.kind() == FaultKind::DiskFull => {
                Some("free the disk and run the same command again: what was verified is kept".to_owned())
            }
            _ => None,
        }
    }
}
