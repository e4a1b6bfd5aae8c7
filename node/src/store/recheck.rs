//! Rehashes a blob to find out whether it still has its digest, and turns a damaged one back into a partial blob.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use reg_proto::digest::Digest;
use reg_proto::piece::{BlobLayout, PieceIndex};
use reg_proto::states::PieceStates;

use super::blobs::BlobFile;
use super::disk;
use super::error::{PartialError, ReadError, WriteError, WritePieceError};
use super::front::Store;
use super::partial::Partial;
use super::rehash::Search;

/// What is done with a damaged blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnDamage {
    /// It becomes a partial blob.
    TakeApart,
    /// It stays as it is, and is in doubt.
    Leave,
}

/// How often a blob is rehashed if its file changes meanwhile.
const TRIES_MAX: usize = 3;

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
        let _turn = self.rehash_turn(digest)?;
        self.recheck_alone(digest, OnDamage::TakeApart, on_bytes)
    }

    /// Rehashes a blob as [`Self::recheck`] does, and leaves a damaged one as it is. Its damaged pieces are not served from
    /// then on.
    ///
    /// # Errors
    /// Fails where the store does not hold the blob, or it cannot be read.
    pub fn look_at(&self, digest: &Digest, on_bytes: &(dyn Fn(u64) + Sync)) -> Result<Recheck, ReadError> {
        let _turn = self.rehash_turn(digest)?;
        self.recheck_alone(digest, OnDamage::Leave, on_bytes)
    }

    /// Rehashes a blob as [`Self::recheck`] does, in the hands of the thread that has the turn of the blob.
    pub(super) fn recheck_alone(
        &self,
        digest: &Digest,
        on_damage: OnDamage,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<Recheck, ReadError> {
        let set_aside = |error: WriteError| ReadError::SetAside(Box::new(error));
        let known = self.index().blob(digest)?.ok_or(ReadError::NotHere { digest: *digest })?;
        // Bytes that were reported are not reported again when the blob is hashed once more.
        let (told, untold) = (AtomicU64::new(0), AtomicU64::new(0));
        let tell = |bytes: u64| {
            let again = untold.load(Ordering::Relaxed).min(bytes);
            untold.fetch_sub(again, Ordering::Relaxed);
            told.fetch_add(bytes - again, Ordering::Relaxed);
            on_bytes(bytes - again);
        };
        for _ in 0..TRIES_MAX {
            untold.store(told.load(Ordering::Relaxed), Ordering::Relaxed);
            let blob = match self.open_known(digest) {
                Err(ReadError::NotHere { .. }) => {
                    if on_damage == OnDamage::TakeApart {
                        self.remove_blob(digest).map_err(set_aside)?;
                    }
                    return Err(ReadError::NotHere { digest: *digest });
                }
                blob => blob?,
            };
            let before = blob.fingerprint()?;
            let is_intact = self.is_intact_by_states(digest, &blob, &tell)? || {
                // The blob or its states are damaged: only the digest decides.
                untold.store(told.load(Ordering::Relaxed), Ordering::Relaxed);
                let hashed = self.hash_blob(digest, &tell)?;
                let is_intact = hashed.digest == *digest;
                if is_intact {
                    self.put_states(digest, &hashed.states).map_err(set_aside)?;
                }
                is_intact
            };
            if !is_intact {
                return match on_damage {
                    OnDamage::TakeApart => self.take_apart(digest, known.size),
                    OnDamage::Leave => self.damage(digest, &blob),
                };
            }
            // A write or a link while it was hashed leaves it in doubt.
            if blob.fingerprint()? == before && self.record_if_same(digest, before).map_err(set_aside)? {
                self.forget_doubt(digest);
                return Ok(Recheck::Intact);
            }
        }
        Err(ReadError::Unverified { digest: *digest })
    }

    /// Notes that a blob is damaged, and returns which of its pieces are.
    fn damage(&self, digest: &Digest, blob: &BlobFile) -> Result<Recheck, ReadError> {
        self.record_doubt(digest).map_err(|error| ReadError::SetAside(Box::new(error)))?;
        let pieces: Vec<PieceIndex> = blob.layout().pieces().collect();
        let bad = match self.kept_states(digest, blob.layout().size()) {
            Some(states) => blob.wrong_pieces(&states, &pieces, Search::All, &|_| {})?,
            None => Vec::new(),
        };
        // Where no piece is known to be right, all are wrong.
        Ok(Recheck::Damaged { bad: if bad.is_empty() { pieces } else { bad } })
    }

    /// Turns a damaged blob into a partial one, or deletes it where none of its pieces could be kept.
    fn take_apart(&self, digest: &Digest, size: u64) -> Result<Recheck, ReadError> {
        let set_aside = |error: WriteError| ReadError::SetAside(Box::new(error));
        self.record_doubt(digest).map_err(set_aside)?;
        match self.kept_states(digest, size) {
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
                let layout = BlobLayout::new(size).map_err(|error| set_aside(error.into()))?;
                Ok(Recheck::Damaged { bad: layout.pieces().collect() })
            }
        }
    }

    /// Tells whether all pieces match the stored states: then the chain has closed, which proves the digest.
    fn is_intact_by_states(
        &self,
        digest: &Digest,
        blob: &BlobFile,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<bool, ReadError> {
        let size = blob.layout().size();
        if blob.fingerprint()?.size() != size {
            return Ok(false);
        }
        let Some(states) = self.kept_states(digest, size) else { return Ok(false) };
        let pieces: Vec<PieceIndex> = states.layout().pieces().collect();
        Ok(blob.wrong_pieces(&states, &pieces, Search::First, on_bytes)?.is_empty())
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
            let read = || disk::read_at(&file, &mut bytes, layout.offset(piece));
            if twice(read).is_err() {
                bad.push(piece);
                continue;
            }
            // Where the disk takes no copy, the blob stays as it is: its other pieces are the only ones.
            match partial.write_piece(piece, &bytes) {
                Ok(()) => {}
                Err(WritePieceError::Mismatch { .. }) => bad.push(piece),
                Err(WritePieceError::Io { path, source }) => return Err(PartialError::Io { path, source }),
                Err(WritePieceError::Checkpoint(error)) => return Err(*error),
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

/// Reads again where a read fails: a disk may fail once.
fn twice(mut read: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    read().or_else(|_| read())
}
