//! Rehashing: is a blob still what its name says? What is damaged goes back to being a partial blob.

use std::fs;

use reg_proto::digest::Digest;
use reg_proto::piece::{BlobLayout, PieceIndex};
use reg_proto::states::PieceStates;

use super::disk;
use super::error::{PartialError, ReadError, WriteError};
use super::front::Store;
use super::partial::Partial;

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
    /// Rehashes a blob. An intact one may be served again; a damaged one is taken out of service, and only its damaged
    /// pieces have to be fetched anew.
    ///
    /// # Errors
    /// It is not here, cannot be read, or cannot be set aside.
    pub fn recheck(&self, digest: &Digest, on_bytes: &dyn Fn(u64)) -> Result<Recheck, ReadError> {
        let _one = self.recheck_lock();
        let record = self.index().blob(digest)?.ok_or(ReadError::NotHere { digest: *digest })?;
        let hashed = match self.hash_blob(digest, on_bytes) {
            Err(ReadError::NotHere { .. }) => {
                self.remove_blob(digest).map_err(|error| ReadError::SetAside(Box::new(error)))?;
                return Err(ReadError::NotHere { digest: *digest });
            }
            hashed => hashed?,
        };
        let set_aside = |error: WriteError| ReadError::SetAside(Box::new(error));
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
