//! Blobs in doubt: the metadata of a file has changed since it was verified, so its bytes may have changed too.
//!
//! A changed time of change is doubt whatever caused it: a tool that edits a linked copy in place may set the time of
//! modification back. Bytes in doubt are verified before they leave. [`Store::open_blob`] rehashes the whole blob, once
//! for all concurrent callers. [`Store::open_pieces`] does not wait: each piece is verified when it is read, and once
//! all were, the doubt has ended.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reg_proto::digest::Digest;
use reg_proto::piece::{PieceIndex, PieceSet};
use reg_proto::states::PieceStates;

use super::error::{ReadError, WriteError};
use super::fingerprint::Fingerprint;
use super::front::Store;
use super::index::BlobRecord;
use super::recheck::{OnDamage, Recheck};

/// The blobs with pieces that are verified when they are read. Each entry belongs to a blob of the store, and is removed
/// with it or at the end of its doubt.
pub(super) type Doubts = Mutex<BTreeMap<Digest, Arc<Doubt>>>;

/// The pieces of a blob in doubt that were verified while its file had one fingerprint.
#[derive(Debug)]
pub(super) struct Doubt {
    fingerprint: Fingerprint,
    states: PieceStates,
    checked: Mutex<PieceSet>,
}

impl Doubt {
    pub(super) const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(super) fn is_checked(&self, piece: PieceIndex) -> bool {
        lock(&self.checked).contains(piece)
    }

    /// Tells whether these bytes are the piece.
    pub(super) fn verify(&self, digest: &Digest, piece: PieceIndex, bytes: &[u8]) -> bool {
        self.states.verify(digest, piece, bytes)
    }

    /// Notes that a piece was verified under the fingerprint. Returns whether all pieces are now.
    fn note(&self, piece: PieceIndex) -> bool {
        let mut checked = lock(&self.checked);
        checked.insert(piece);
        checked.is_full()
    }
}

impl Store {
    /// Returns the doubt about a blob with a file of the fingerprint `now`; `None` where its states are not stored.
    pub(super) fn doubt(&self, digest: &Digest, size: u64, now: Fingerprint) -> Option<Arc<Doubt>> {
        if let Some(doubt) = lock(self.doubts()).get(digest).filter(|it| it.fingerprint == now) {
            return Some(doubt.clone());
        }
        let states = self.kept_states(digest, size)?;
        let checked = Mutex::new(PieceSet::new(states.layout().piece_count()));
        let doubt = Arc::new(Doubt { fingerprint: now, states, checked });
        lock(self.doubts()).insert(*digest, doubt.clone());
        Some(doubt)
    }

    /// Notes that a piece of a blob in doubt was verified, and ends the doubt with the last piece.
    ///
    /// # Errors
    /// Fails where the index cannot be written.
    pub(super) fn note_checked(
        &self,
        digest: &Digest,
        doubt: &Doubt,
        piece: PieceIndex,
    ) -> Result<(), ReadError> {
        if !doubt.note(piece) {
            return Ok(());
        }
        self.record_if_same(digest, doubt.fingerprint)
            .map_err(|error| ReadError::SetAside(Box::new(error)))?;
        self.forget_doubt(digest);
        Ok(())
    }

    pub(super) fn forget_doubt(&self, digest: &Digest) {
        lock(self.doubts()).remove(digest);
    }

    /// Returns the fingerprint with which a blob was verified. Waits for a thread that links the blob or replaces it.
    pub(super) fn verified(&self, digest: &Digest) -> Result<Option<Fingerprint>, ReadError> {
        let _one = self.records_lock();
        Ok(self.index().blob(digest)?.and_then(|record| record.verified))
    }

    /// Records a fingerprint as verified, if the blob's file still has it. Returns whether it has.
    ///
    /// # Errors
    /// Fails where there is no file or the index cannot be written.
    pub(super) fn record_if_same(
        &self,
        digest: &Digest,
        fingerprint: Fingerprint,
    ) -> Result<bool, WriteError> {
        let path = self.paths().blob(digest);
        let _one = self.records_lock();
        let metadata = fs::metadata(&path).map_err(|source| WriteError::Io { path, source })?;
        if Fingerprint::of(&metadata) != fingerprint {
            return Ok(false);
        }
        self.put_record(digest, BlobRecord { size: metadata.len(), verified: Some(fingerprint) })?;
        Ok(true)
    }

    /// Records that it is unknown whether a blob is intact.
    ///
    /// # Errors
    /// Fails where the index cannot be written.
    pub(super) fn record_doubt(&self, digest: &Digest) -> Result<(), WriteError> {
        let _one = self.records_lock();
        match self.index().blob(digest)? {
            Some(record) => self.put_record(digest, BlobRecord { verified: None, ..record }),
            None => Ok(()),
        }
    }

    /// Writes the record of a blob and counts its bytes. The caller holds the lock of the records.
    pub(super) fn put_record(&self, digest: &Digest, record: BlobRecord) -> Result<(), WriteError> {
        let before = self.index().blob(digest)?;
        self.index().put_blob(digest, &record)?;
        self.count(record.size, before.map_or(0, |it| it.size));
        Ok(())
    }

    /// Rehashes a blob in doubt. Callers that come meanwhile wait, and do not rehash it again.
    ///
    /// # Errors
    /// Fails as [`Store::recheck`] does, and where the blob is damaged.
    pub(super) fn end_doubt(&self, digest: &Digest) -> Result<(), ReadError> {
        let _turn = self.rehash_turn(digest)?;
        if self.open_known(digest)?.is_as_verified()? {
            return Ok(());
        }
        match self.recheck_alone(digest, OnDamage::TakeApart, &|_| {})? {
            Recheck::Intact => Ok(()),
            Recheck::Damaged { .. } => {
                tracing::warn!(blob = %digest, "a blob of the store is damaged");
                Err(ReadError::Damaged { digest: *digest })
            }
        }
    }
}

/// These locks guard plain data that is consistent after every statement, so a panic of another thread does not spoil
/// it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
