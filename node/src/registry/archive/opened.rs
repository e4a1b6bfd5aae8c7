//! [`Opened`]: an archive to read from, and its documents and blobs by their digests.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use reg_api::archive::ArchiveForm;
use reg_proto::digest::Digest;
use reg_proto::layout::{CARRIED_BYTES_MAX, CarriedModel, LayoutIndex, check_marker};
use reg_proto::limits::{LAYOUT_INDEX_BYTES_MAX, MANIFEST_BYTES_MAX};
use reg_proto::referrer::Referrer;

use super::error::ArchiveError;
use super::member::Member;
use super::tarball::{self, Extent};

/// An archive after its members have been found. Nothing of it is verified yet.
#[derive(Debug)]
pub(super) struct Opened {
    path: PathBuf,
    members: Members,
}

#[derive(Debug)]
enum Members {
    Tar(File, BTreeMap<Member, Extent>),
    Directory,
}

/// The bytes of one member.
pub(super) struct MemberReader {
    pub(super) size: u64,
    start: u64,
    file: File,
}

impl MemberReader {
    /// Returns the bytes from `offset` on.
    pub(super) fn bytes_from(mut self, offset: u64) -> io::Result<io::Take<File>> {
        self.file.seek(SeekFrom::Start(self.start + offset))?;
        Ok(self.file.take(self.size.saturating_sub(offset)))
    }
}

impl Opened {
    /// Opens a tar archive or a directory, and checks that it is a layout.
    ///
    /// # Errors
    /// It cannot be read, or is not a whole layout.
    pub(super) fn open(path: &Path) -> Result<Self, ArchiveError> {
        let io = |source| ArchiveError::Read { path: path.to_owned(), source };
        let metadata = fs::metadata(path).map_err(io)?;
        let members = if metadata.is_dir() {
            Members::Directory
        } else if metadata.is_file() {
            let file = File::open(path).map_err(io)?;
            let found =
                tarball::scan(&file).map_err(|source| ArchiveError::Tar { path: path.to_owned(), source })?;
            Members::Tar(file, found)
        } else {
            return Err(ArchiveError::NoFile { path: path.to_owned() });
        };
        let opened = Self { path: path.to_owned(), members };
        let marker = opened.read(Member::Marker, LAYOUT_INDEX_BYTES_MAX)?;
        check_marker(&marker).map_err(|source| opened.layout(source))?;
        Ok(opened)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn form(&self) -> ArchiveForm {
        match self.members {
            Members::Tar(..) => ArchiveForm::Tar,
            Members::Directory => ArchiveForm::Directory,
        }
    }

    fn layout(&self, source: reg_proto::layout::LayoutError) -> ArchiveError {
        ArchiveError::Layout { path: self.path.clone(), source }
    }

    /// Reads the index.
    pub(super) fn index(&self) -> Result<LayoutIndex, ArchiveError> {
        let bytes = self.read(Member::Index, LAYOUT_INDEX_BYTES_MAX)?;
        LayoutIndex::from_bytes(&bytes).map_err(|source| self.layout(source))
    }

    /// Reads what the layout carries of one model, by the digest of the referrer that describes it.
    pub(super) fn carried(&self, referrer: Digest) -> Result<CarriedModel, ArchiveError> {
        let document = self.referrer(referrer)?.document.digest;
        let bytes = self.document(document, CARRIED_BYTES_MAX)?;
        CarriedModel::from_bytes(&bytes).map_err(|source| self.layout(source))
    }

    /// Reads and verifies a referrer.
    pub(super) fn referrer(&self, digest: Digest) -> Result<Referrer, ArchiveError> {
        let bytes = self.document(digest, MANIFEST_BYTES_MAX)?;
        Referrer::from_bytes(&bytes).map_err(|source| ArchiveError::Referrer {
            path: self.path.clone(),
            digest,
            source,
        })
    }

    /// Reads a small blob, and checks that its bytes are those that its digest names.
    ///
    /// # Errors
    /// It is not there, has more than `max` bytes, or is another blob.
    pub(super) fn document(&self, digest: Digest, max: usize) -> Result<Vec<u8>, ArchiveError> {
        let bytes = self.read(Member::Blob(digest), max)?;
        if Digest::of(&bytes) == digest {
            Ok(bytes)
        } else {
            Err(ArchiveError::Wrong { path: self.path.clone(), digest })
        }
    }

    fn read(&self, member: Member, max: usize) -> Result<Vec<u8>, ArchiveError> {
        let reader = self.open_member(member)?;
        if reader.size > max as u64 {
            let (path, what) = (self.path.clone(), member.name());
            return Err(ArchiveError::TooLarge { path, what, size: reader.size, max });
        }
        let mut bytes = Vec::new();
        reader
            .bytes_from(0)
            .and_then(|mut it| it.read_to_end(&mut bytes))
            .map_err(|source| self.io(source))?;
        Ok(bytes)
    }

    /// Opens a blob, which is not verified.
    pub(super) fn blob(&self, digest: Digest) -> Result<MemberReader, ArchiveError> {
        self.open_member(Member::Blob(digest))
    }

    pub(super) fn io(&self, source: io::Error) -> ArchiveError {
        ArchiveError::Read { path: self.path.clone(), source }
    }

    fn open_member(&self, member: Member) -> Result<MemberReader, ArchiveError> {
        let lacks = || ArchiveError::Lacks { path: self.path.clone(), what: member.name() };
        match &self.members {
            Members::Tar(file, members) => {
                let Extent { start, size } = *members.get(&member).ok_or_else(lacks)?;
                let file = file.try_clone().map_err(|source| self.io(source))?;
                Ok(MemberReader { size, start, file })
            }
            Members::Directory => {
                let path = self.path.join(member.name());
                let failed = |source: io::Error| match source.kind() {
                    io::ErrorKind::NotFound => lacks(),
                    _ => ArchiveError::Read { path: path.clone(), source },
                };
                let is_file = fs::symlink_metadata(&path).map_err(failed)?.is_file();
                let file = if is_file {
                    open_file(&path).map_err(failed)?
                } else {
                    return Err(Self::no_file(path));
                };
                let metadata = file.metadata().map_err(failed)?;
                if !metadata.is_file() {
                    return Err(Self::no_file(path));
                }
                Ok(MemberReader { size: metadata.len(), start: 0, file })
            }
        }
    }

    fn no_file(path: PathBuf) -> ArchiveError {
        ArchiveError::NoFile { path }
    }
}

/// Opens an ordinary file. A link, or a pipe that took its place meanwhile, is refused, and never waited for.
fn open_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;

        use rustix::fs::OFlags;
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
        options.custom_flags(i32::try_from(flags).unwrap_or(0));
    }
    options.open(path)
}
