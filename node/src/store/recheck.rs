//! Rehashing: is a blob still what its name says? What is damaged goes back to being a partial blob.

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

/// What a rehash has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recheck {
    Intact,
    /// These pieces are not what they should be; the others are kept as a partial blob.
    Damaged {
        bad: Vec<PieceIndex>,
    },
}

impl Store {
    /// Rehashes a blob, on all cores where its states are here. An intact one may be served again; a damaged one is taken
    /// out of service, and only its damaged pieces have to be fetched anew.
    ///
    /// # Errors
    /// It is not here, cannot be read, or cannot be set aside.
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
        // Damaged, or its states are: the digest alone decides. What was told of is not told of again.
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

    /// Tells whether all pieces are what the states say that are here: then the chain has closed, and the digest is proven.
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

    /// Rehashes one piece, and tells whether it is right. Without states the whole blob is rehashed.
    ///
    /// # Errors
    /// The blob is not here, or cannot be read.
    pub fn recheck_piece(&self, digest: &Digest, piece: PieceIndex) -> Result<bool, ReadError> {
        let path = self.paths().blob(digest);
        let states = self.states(digest)?;
        let mut bytes = vec![0; states.layout().piece_len(piece)];
        let file = fs::File::open(&path).map_err(|source| ReadError::Io { path: path.clone(), source })?;
        let read = disk::read_at(&file, &mut bytes, states.layout().offset(piece));
        Ok(read.is_ok() && states.verify(digest, piece, &bytes))
    }

    /// Turns a damaged blob into a partial one. Its bytes are copied, never moved: the file may be linked into a user's
    /// directory, and what the user has written there is not ours to mend.
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
