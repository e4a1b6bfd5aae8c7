//! Takes uploads through gateways: a client appends bytes in order, under an id that cannot be guessed. A finished upload is a
//! blob that waits to become part of a model. Uploads and blobs that are not used for `UPLOAD_IDLE` are dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use bytes::Bytes;
use reg_api::fault::{Fault, FaultKind};
use reg_proto::digest::Digest;
use reg_proto::limits::BLOB_BYTES_MAX;
use thiserror::Error;

use super::Importing;
use crate::registry::limits::{UPLOAD_IDLE, UPLOADED_MAX, UPLOADS_MAX};
use crate::store::{Lease, ReserveError, Upload, UploadError as StoreError, WriteError};

/// Why an upload fails.
#[derive(Debug, Error)]
pub enum UploadError {
    #[error("upload is not known: it has ended, or was idle for too long")]
    NotKnown,
    #[error("{UPLOADS_MAX} uploads are under way already")]
    TooMany,
    #[error("upload continues at byte {expected}, not at {found}")]
    OtherOffset { expected: u64, found: u64 },
    #[error("upload has more than {expected} bytes")]
    TooLong { expected: u64 },
    #[error("upload has {found} bytes of {expected}")]
    TooShort { expected: u64, found: u64 },
    #[error("there is no room for the upload")]
    Reserve(#[from] ReserveError),
    #[error("store cannot keep the upload")]
    Write(#[from] WriteError),
    #[error(transparent)]
    Finish(#[from] StoreError),
    #[error("system gives no random bytes")]
    Chance,
    #[error("a task ended early")]
    Interrupted,
}

impl Fault for UploadError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::NotKnown => FaultKind::NotFound,
            Self::TooMany => FaultKind::RetryLater,
            Self::Reserve(source) => source.kind(),
            Self::Write(source) | Self::Finish(StoreError::Write(source)) if source.is_disk_full() => {
                FaultKind::DiskFull
            }
            Self::Finish(StoreError::Digest { .. })
            | Self::OtherOffset { .. }
            | Self::TooLong { .. }
            | Self::TooShort { .. } => FaultKind::Invalid,
            Self::Write(_) | Self::Finish(_) | Self::Chance | Self::Interrupted => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Reserve(source) => source.hint(),
            _ => None,
        }
    }
}

/// The uploads of a node.
#[derive(Debug, Default)]
pub(super) struct Uploads(Mutex<Sessions>);

#[derive(Debug, Default)]
struct Sessions {
    sessions: BTreeMap<String, Session>,
    /// Finished uploads, each with the lease that keeps it from being evicted until it is part of a model.
    uploaded: BTreeMap<Digest, (Lease, Instant)>,
}

/// An upload; `None` while bytes are being written to it.
type SharedUpload = Arc<tokio::sync::Mutex<Option<Upload>>>;

#[derive(Debug)]
struct Session {
    upload: SharedUpload,
    expected: Option<(Digest, u64)>,
    lease: Option<Lease>,
    last_use: Instant,
}

impl Uploads {
    fn lock(&self) -> MutexGuard<'_, Sessions> {
        let mut held = self.0.lock().expect("no holder of this lock panics");
        held.sessions.retain(|_, session| session.last_use.elapsed() < UPLOAD_IDLE);
        held.uploaded.retain(|_, (_, since)| since.elapsed() < UPLOAD_IDLE);
        held
    }

    fn session(&self, id: &str) -> Result<(SharedUpload, Option<(Digest, u64)>), UploadError> {
        let mut held = self.lock();
        let session = held.sessions.get_mut(id).ok_or(UploadError::NotKnown)?;
        session.last_use = Instant::now();
        Ok((session.upload.clone(), session.expected))
    }
}

impl Importing {
    /// Begins an upload and returns its id. `expected` is its digest and its size in bytes, if the client names them.
    ///
    /// # Errors
    /// See [`UploadError`].
    pub async fn begin_upload(
        self: &Arc<Self>,
        expected: Option<(Digest, u64)>,
    ) -> Result<String, UploadError> {
        let importing = self.clone();
        if importing.uploads.lock().sessions.len() >= UPLOADS_MAX {
            return Err(UploadError::TooMany);
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|_| UploadError::Chance)?;
        let id = data_encoding::HEXLOWER.encode(&id);
        let begin = tokio::task::spawn_blocking(move || {
            let size = expected.map_or(0, |(_, size)| size);
            let lease = importing.store.reserve(size, &BTreeSet::new())?;
            Ok::<_, UploadError>((importing.store.upload()?, lease))
        });
        let (upload, lease) = begin.await.map_err(|_| UploadError::Interrupted)??;
        let session = Session {
            upload: Arc::new(tokio::sync::Mutex::new(Some(upload))),
            expected,
            lease: Some(lease),
            last_use: Instant::now(),
        };
        self.uploads.lock().sessions.insert(id.clone(), session);
        Ok(id)
    }

    /// Returns how many bytes of an upload have arrived.
    ///
    /// # Errors
    /// The upload is not known.
    pub async fn upload_size(&self, id: &str) -> Result<u64, UploadError> {
        let (upload, _) = self.uploads.session(id)?;
        upload.lock().await.as_ref().map(Upload::size).ok_or(UploadError::NotKnown)
    }

    /// Discards the bytes of an upload, which then begins again at byte 0.
    ///
    /// # Errors
    /// The upload is not known, or no new file can be created.
    pub async fn restart_upload(&self, id: &str) -> Result<(), UploadError> {
        let (slot, _) = self.uploads.session(id)?;
        let mut slot = slot.lock_owned().await;
        if slot.as_ref().is_none_or(|upload| upload.size() > 0) {
            let store = self.store.clone();
            let begun = tokio::task::spawn_blocking(move || store.upload()).await;
            *slot = Some(begun.map_err(|_| UploadError::Interrupted)??);
        }
        Ok(())
    }

    /// Appends bytes to an upload and returns how many bytes it has. `offset`, if the client names one, must be its end.
    ///
    /// # Errors
    /// See [`UploadError`]. After an error of the store the upload is removed.
    pub async fn append_upload(
        &self,
        id: &str,
        offset: Option<u64>,
        bytes: Bytes,
    ) -> Result<u64, UploadError> {
        let (slot, expected) = self.uploads.session(id)?;
        let mut slot = slot.lock_owned().await;
        let size = slot.as_ref().map(Upload::size).ok_or(UploadError::NotKnown)?;
        if let Some(found) = offset.filter(|offset| *offset != size) {
            return Err(UploadError::OtherOffset { expected: size, found });
        }
        let max = expected.map_or(BLOB_BYTES_MAX, |(_, size)| size);
        if size.saturating_add(bytes.len() as u64) > max {
            return Err(UploadError::TooLong { expected: max });
        }
        let Some(mut upload) = slot.take() else { return Err(UploadError::NotKnown) };
        let write = tokio::task::spawn_blocking(move || upload.write(&bytes).map(|()| upload));
        match write.await.map_err(|_| UploadError::Interrupted)? {
            Ok(upload) => {
                let size = upload.size();
                *slot = Some(upload);
                Ok(size)
            }
            Err(error) => {
                self.cancel_upload(id);
                Err(error.into())
            }
        }
    }

    /// Finishes an upload and returns its digest, which must be `digest`, or else the one that was expected at its beginning.
    ///
    /// # Errors
    /// See [`UploadError`]. The upload is removed.
    pub async fn finish_upload(&self, id: &str, digest: Option<Digest>) -> Result<Digest, UploadError> {
        let (slot, expected) = self.uploads.session(id)?;
        let Some(digest) = digest.or(expected.map(|(digest, _)| digest)) else {
            return Err(UploadError::NotKnown);
        };
        let upload = slot.lock().await.take();
        let session = self.uploads.lock().sessions.remove(id);
        let (Some(upload), Some(session)) = (upload, session) else { return Err(UploadError::NotKnown) };
        if let Some((_, expected)) = expected.filter(|(_, expected)| upload.size() != *expected) {
            return Err(UploadError::TooShort { expected, found: upload.size() });
        }
        let finished = tokio::task::spawn_blocking(move || upload.finish(digest));
        let imported = finished.await.map_err(|_| UploadError::Interrupted)??;
        let mut held = self.uploads.lock();
        if let Some(lease) = session.lease.filter(|_| held.uploaded.len() < UPLOADED_MAX) {
            held.uploaded.insert(imported.digest, (lease, Instant::now()));
        }
        Ok(imported.digest)
    }

    /// Removes an upload. Returns whether there was one.
    pub fn cancel_upload(&self, id: &str) -> bool {
        self.uploads.lock().sessions.remove(id).is_some()
    }

    /// Keeps bytes as a blob and returns its digest.
    ///
    /// # Errors
    /// See [`UploadError`].
    pub async fn put_small(self: &Arc<Self>, bytes: Vec<u8>) -> Result<Digest, UploadError> {
        let importing = self.clone();
        let keep = move || {
            let lease = importing.store.reserve(bytes.len() as u64, &BTreeSet::new())?;
            let digest = importing.store.put_blob(&bytes)?;
            let mut uploads = importing.uploads.lock();
            if uploads.uploaded.len() < UPLOADED_MAX {
                uploads.uploaded.insert(digest, (lease, Instant::now()));
            }
            Ok(digest)
        };
        tokio::task::spawn_blocking(keep).await.map_err(|_| UploadError::Interrupted)?
    }

    /// Keeps a blob of the store from being evicted until it is part of a model, or for `UPLOAD_IDLE`.
    pub async fn keep_uploaded(self: &Arc<Self>, digest: Digest) -> Result<(), UploadError> {
        let importing = self.clone();
        let keep = move || {
            let lease = importing.store.reserve(0, &BTreeSet::from([digest]))?;
            let mut uploads = importing.uploads.lock();
            if uploads.uploaded.len() < UPLOADED_MAX {
                uploads.uploaded.insert(digest, (lease, Instant::now()));
            }
            Ok(())
        };
        tokio::task::spawn_blocking(keep).await.map_err(|_| UploadError::Interrupted)?
    }

    /// Returns the size in bytes of a whole blob of the store; `None` if there is none.
    pub fn blob_size(&self, digest: &Digest) -> Option<u64> {
        self.store.blob_size(digest)
    }
}
