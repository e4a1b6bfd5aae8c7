//! Rehashes a blob to find out whether it still has its digest, and turns a damaged one back into a partial blob.

use std::cell::Cell;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use reg_proto::digest::Digest;
use reg_proto::piece::{BlobLayout, PieceIndex};
use reg_proto::states::PieceStates;

use super::disk;
use super::error::{PartialError, ReadError, WriteError};
use super::front::Store;
use super::partial::Partial;
use super::rehash::{self, Search};

/// The result of a rehash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recheck {
    Intact,
    /// These pieces are damaged; the others are kept as a partial blob.
    Damaged {
        bad: Vec<PieceIndex>,
    },
}

impl Store {
    /// Rehashes a blob, on all cores where its states are stored. An intact blob is served again. A damaged one becomes
    /// a partial blob, and a pull fetches only its damaged pieces. Calls `on_bytes` with the number of bytes hashed.
    ///
    /// # Errors
    /// Fails where the store does not hold the blob, or it cannot be read or turned into a partial blob.
    pub fn recheck(&self, digest: &Digest, on_bytes: &(dyn Fn(u64) + Sync)) -> Result<Recheck, ReadError> {
        let _one = self.recheck_lock();
        let record = self.index().blob(digest)?.ok_or(ReadError::NotHere { digest: *digest })?;
        let set_aside = |error: WriteError| ReadError::SetAside(Box::new(error));
        let told = AtomicU64::new(0);
        let tell = |bytes: u64| {
            told.fetch_add(bytes, Ordering::Relaxed);
            on_bytes(bytes);
        };
        if self.is_intact_by_states(digest, record.size, &tell)? {
            self.record_verified(digest).map_err(set_aside)?;
            return Ok(Recheck::Intact);
        }
        // The blob or its states are damaged: only the digest decides. Bytes that were reported are not reported again.
        let untold = Cell::new(told.into_inner());
        let tell = |bytes: u64| {
            let again = untold.get().min(bytes);
            untold.set(untold.get() - again);
            on_bytes(bytes - again);
        };
        let hashed = match self.hash_blob(digest, &tell) {
            Err(ReadError::NotHere { .. }) => {
                self.remove_blob(digest).map_err(|error| ReadError::SetAside(Box::new(error)))?;
                return Err(ReadError::NotHere { digest: *digest });
            }
            hashed => hashed?,
        };
        if hashed.digest == *digest {
            self.put_states(digest, &hashed.states).map_err(set_aside)?;
            self.record_verified(digest).map_err(set_aside)?;
            return Ok(Recheck::Intact);
        }
        let states = self.kept_states(digest, record.size);
        match states {
            Some(states) if states.layout().piece_count() > 1 => {
                self.split(digest, states).map_err(|error| match error {
                    PartialError::Write(error) => ReadError::SetAside(Box::new(error)),
                    PartialError::Io { path, source } => ReadError::Io { path, source },
                    PartialError::OtherSize { .. } | PartialError::Incomplete { .. } => {
                        ReadError::Damaged { digest: *digest }
                    }
                })
            }
            _ => {
                self.remove_blob(digest).map_err(set_aside)?;
                let layout = BlobLayout::new(record.size).map_err(|error| set_aside(error.into()))?;
                Ok(Recheck::Damaged { bad: layout.pieces().collect() })
            }
        }
    }

    /// Tells whether all pieces match the stored states: then the chain has closed, which proves the digest.
    fn is_intact_by_states(
        &self,
        digest: &Digest,
        size: u64,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<bool, ReadError> {
        let path = self.paths().blob(digest);
        let Some(states) = self.kept_states(digest, size) else { return Ok(false) };
        let Ok(file) = fs::File::open(&path) else { return Ok(false) };
        let io = |source| ReadError::Io { path: path.clone(), source };
        if file.metadata().map_err(io)?.len() != size {
            return Ok(false);
        }
        let pieces: Vec<PieceIndex> = states.layout().pieces().collect();
        let wrong = rehash::wrong_pieces(&file, (digest, &states), &pieces, Search::First, on_bytes);
        Ok(wrong.map_err(io)?.is_empty())
    }

    /// Rehashes one piece, or the whole blob where its states are not stored, and tells whether it is intact.
    ///
    /// # Errors
    /// Fails where the store does not hold the blob, or it cannot be read.
    pub fn recheck_piece(&self, digest: &Digest, piece: PieceIndex) -> Result<bool, ReadError> {
        let path = self.paths().blob(digest);
        let states = self.states(digest)?;
        let mut bytes = vec![0; states.layout().piece_len(piece)];
        let file = fs::File::open(&path).map_err(|source| ReadError::Io { path: path.clone(), source })?;
        let read = disk::read_at(&file, &mut bytes, states.layout().offset(piece));
        Ok(read.is_ok() && states.verify(digest, piece, &bytes))
    }

    /// Turns a damaged blob into a partial one. Copies its bytes and never moves the file: it may be linked into a
    /// user's directory, and the store must not change what the user has written to it.
    fn split(&self, digest: &Digest, states: PieceStates) -> Result<Recheck, PartialError> {
        let path = self.paths().blob(digest);
        let file = fs::File::open(&path).map_err(|source| PartialError::Io { path: path.clone(), source })?;
        let layout = states.layout();
        let partial: Partial = self.partial(*digest, layout.size(), states)?;
        let mut bad = Vec::new();
        for piece in layout.pieces() {
            let mut bytes = vec![0; layout.piece_len(piece)];
            let read = disk::read_at(&file, &mut bytes, layout.offset(piece));
            if read.is_err() || partial.write_piece(piece, &bytes).is_err() {
                bad.push(piece);
            }
        }
        partial.checkpoint()?;
        self.remove_blob(digest)?;
        if bad.is_empty() {
            partial.finish()?;
            return Ok(Recheck::Intact);
        }
        Ok(Recheck::Damaged { bad })
    }
}
