//! Writes an archive: a tar file, which is named once it is whole, or a directory, which a later export continues.
//!
//! Each blob is hashed while it is written. So what is damaged in the store leaves it in no archive.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use reg_api::archive::{ArchiveForm, ExportRequest, Exported, ExportedModel};
use reg_api::counted::counted;
use reg_api::progress::Progress;
use reg_api::reporter::Reporter;
use reg_api::size::Size;
use reg_proto::digest::Digest;
use reg_proto::layout::marker;
use reg_proto::states::StateHasher;
use tar::Header;

use super::Archiving;
use super::contents::Contents;
use super::error::ExportError;
use super::member::Member;
use super::new_file::NewFile;
use super::tarball::{self, BLOCK};
use crate::registry::limits::COPIED_AT_ONCE;
use crate::registry::publishers::revoked;
use crate::store::{Cancel, CancelOnDrop, Store, free_space};

/// The progress of an export, in bytes.
pub(super) struct Writing<'a> {
    pub(super) store: &'a Store,
    pub(super) reporter: &'a Reporter,
    pub(super) cancel: Cancel,
    pub(super) done: u64,
    pub(super) total: u64,
}

impl Archiving {
    /// Writes models of the store into an archive.
    ///
    /// # Errors
    /// A model is not in the store, or the archive cannot be written: see [`ExportError`].
    pub async fn export(
        self: &Arc<Self>,
        request: ExportRequest,
        reporter: &Reporter,
    ) -> Result<Exported, ExportError> {
        let caller = CancelOnDrop::default();
        let (archiving, reporter, cancel) = (self.clone(), reporter.clone(), caller.cancel());
        let exported = tokio::task::spawn_blocking(move || archiving.write(&request, &reporter, cancel));
        exported.await?
    }

    fn write(
        &self,
        request: &ExportRequest,
        reporter: &Reporter,
        cancel: Cancel,
    ) -> Result<Exported, ExportError> {
        let (start, store) = (Instant::now(), &self.puller.store);
        let contents = self.contents(request)?;
        let protect: BTreeSet<Digest> = contents.blobs.keys().copied().collect();
        let _lease = store.reserve(0, &protect)?;
        let (count, bytes) = (contents.blobs.len() + contents.own.len(), contents.bytes());
        reporter.stage(
            "writing",
            format_args!("{} in {} to {}", Size(bytes), counted(count, "blob"), request.dest.display()),
        );
        let mut writing = Writing { store, reporter, cancel, done: 0, total: bytes };
        let bytes_kept = match request.form {
            ArchiveForm::Tar => writing.tar(&contents, &request.dest).map(|()| 0)?,
            ArchiveForm::Directory => writing.directory(&contents, &request.dest)?,
        };
        let withdrawn = |it: &ExportedModel| {
            let why = revoked::withdrawn(store, it.publisher, &it.manifest)?;
            let reference = &it.reference;
            Some(format!(
                "{reference} was withdrawn by its publisher: {why}; a node that knows that does not take it"
            ))
        };
        let withdrawn: Vec<String> = contents.models.iter().filter_map(withdrawn).collect();
        let notes = contents.models.iter().filter_map(|it| it.behind.as_ref()).map(ToString::to_string);
        Ok(Exported {
            path: request.dest.clone(),
            form: request.form,
            notes: withdrawn.into_iter().chain(notes).chain(contents.notes).collect(),
            models: contents.models,
            blobs: count,
            bytes,
            bytes_kept,
            seconds: start.elapsed().as_secs_f64(),
        })
    }
}

/// Returns an error if a disk has too little room.
pub(super) fn check_room(path: &Path, needed: u64) -> Result<(), ExportError> {
    match free_space(path).filter(|free| *free < needed) {
        Some(free) => Err(ExportError::NoRoom { path: path.to_owned(), needed, free }),
        None => Ok(()),
    }
}

impl Writing<'_> {
    /// Writes a tar archive: the small documents first, so that a reader that goes through it once knows what follows.
    fn tar(&mut self, contents: &Contents, path: &Path) -> Result<(), ExportError> {
        let failed = |source| ExportError::Write { path: path.to_owned(), source };
        if path.is_dir() {
            return Err(ExportError::IsDirectory { path: path.to_owned() });
        }
        let index = contents.index.to_bytes();
        let headers = (contents.blobs.len() + contents.own.len() + 4) as u64 * 2 * BLOCK;
        check_room(path, self.total + index.len() as u64 + headers)?;
        let file = NewFile::create(path)?;
        let mut out = BufWriter::with_capacity(COPIED_AT_ONCE, file.file());
        let mut document = |member: Member, bytes: &[u8]| {
            let mut write = || {
                out.write_all(tarball::header(&member, bytes.len() as u64).as_bytes())?;
                out.write_all(bytes)?;
                pad(&mut out, bytes.len() as u64)
            };
            write().map_err(failed)
        };
        document(Member::Marker, &marker())?;
        document(Member::Index, &index)?;
        for (digest, bytes) in &contents.own {
            document(Member::Blob(*digest), bytes)?;
            self.done += bytes.len() as u64;
        }
        let mut blobs: Vec<(u64, Digest)> = contents.blobs.iter().map(|(it, size)| (*size, *it)).collect();
        blobs.sort_unstable();
        for (size, digest) in blobs {
            let header: Header = tarball::header(&Member::Blob(digest), size);
            out.write_all(header.as_bytes()).map_err(failed)?;
            self.copy(digest, size, StateHasher::new(), 0, &mut out).map_err(|it| it.at(path))?;
            pad(&mut out, size).map_err(failed)?;
        }
        // Two empty blocks end an archive.
        out.write_all(&[0; 2 * BLOCK as usize]).and_then(|()| out.flush()).map_err(failed)?;
        drop(out);
        file.finish().map_err(failed)
    }

    /// Copies a blob of the store from `offset` on, of which `hasher` has hashed what is before. Checks its digest at the end.
    ///
    /// # Errors
    /// The blob is damaged, or the copy cannot be written.
    pub(super) fn copy(
        &mut self,
        digest: Digest,
        size: u64,
        mut hasher: StateHasher,
        offset: u64,
        out: &mut impl Write,
    ) -> Result<(), CopyError> {
        let mut file: File = self.store.open_file(&digest)?;
        let read = |source| CopyError::store(ExportError::Write { path: "the store".into(), source });
        file.seek(SeekFrom::Start(offset)).map_err(read)?;
        let (mut buffer, mut left) = (vec![0; COPIED_AT_ONCE], size - offset);
        while left > 0 {
            if self.cancel.is_cancelled() {
                return Err(CopyError::store(ExportError::Cancelled));
            }
            let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let bytes = &mut buffer[..length];
            // A file that ends early has been changed.
            file.read_exact(bytes).map_err(|_| CopyError::store(ExportError::Damaged { digest }))?;
            hasher.update(bytes);
            out.write_all(bytes).map_err(CopyError::Out)?;
            left -= length as u64;
            self.count(length as u64);
        }
        match hasher.finish() {
            Ok(hashed) if hashed.digest == digest => Ok(()),
            _ => Err(CopyError::store(ExportError::Damaged { digest })),
        }
    }

    /// Counts bytes that the archive has now.
    pub(super) fn count(&mut self, bytes: u64) {
        self.done += bytes;
        self.reporter.tell(Progress::Bytes { done: self.done, total: self.total, peers: 0 });
    }
}

fn pad(out: &mut impl Write, size: u64) -> std::io::Result<()> {
    let zeros = [0; BLOCK as usize];
    out.write_all(&zeros[..tarball::padding(size) as usize])
}

/// Why a blob is not copied: because of the store, or because of where it goes.
pub(super) enum CopyError {
    Store(Box<ExportError>),
    Out(std::io::Error),
}

impl CopyError {
    fn store(error: ExportError) -> Self {
        Self::Store(Box::new(error))
    }

    /// Returns the error, with the path to which the blob was copied.
    pub(super) fn at(self, path: &Path) -> ExportError {
        match self {
            Self::Store(error) => *error,
            Self::Out(source) => ExportError::Write { path: path.to_owned(), source },
        }
    }
}

impl From<crate::store::ReadError> for CopyError {
    fn from(error: crate::store::ReadError) -> Self {
        Self::store(error.into())
    }
}
