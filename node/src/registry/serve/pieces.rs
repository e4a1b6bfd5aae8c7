//! Reads the pieces that one stream has requested, for its task or for the threads of its lanes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reg_proto::digest::Digest;
use reg_proto::wire::Rejection;
use reg_transfer::Turn;

use super::Serving;
use super::queue::QueuedStream;
use crate::store::{BlobFile, Partial, ReadError};

/// Blob files that one stream or lane keeps open. A puller requests the files of a sharded model one after another.
const OPEN_BLOBS_MAX: usize = 8;

/// The requests of one stream that are not served yet.
#[derive(Debug)]
pub(super) struct Requests {
    pub place: QueuedStream,
    /// Counts changes of the blobs that this node holds. After a change, open files may be outdated.
    changes: AtomicU64,
}

impl Requests {
    pub(super) const fn new(place: QueuedStream) -> Self {
        Self { place, changes: AtomicU64::new(0) }
    }

    /// Notes that the blobs that this node holds have changed.
    pub(super) fn change(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }
}

/// The file that the bytes of a blob are served from.
#[derive(Debug)]
pub(super) enum OpenBlob {
    Whole(BlobFile),
    Part(Partial),
}

/// Reads pieces for one stream or lane into one buffer. Blocks.
#[derive(Debug)]
pub(super) struct PieceReader {
    serving: Arc<Serving>,
    requests: Arc<Requests>,
    open: BTreeMap<Digest, OpenBlob>,
    changes: u64,
    buffer: Vec<u8>,
}

impl PieceReader {
    pub(super) fn new(serving: Arc<Serving>, requests: Arc<Requests>) -> Self {
        Self { serving, requests, open: BTreeMap::new(), changes: 0, buffer: Vec::new() }
    }

    /// Reads the piece of a turn and returns its bytes.
    ///
    /// # Errors
    /// The reason to reject the request: the piece is not in the store, or its file has changed.
    pub(super) fn read(&mut self, turn: &Turn) -> Result<&[u8], Rejection> {
        let changes = self.requests.changes();
        if std::mem::replace(&mut self.changes, changes) != changes {
            self.open.clear();
        }
        let serving = match self.open.remove(&turn.blob) {
            Some(serving) => serving,
            None => self.serving.open_serving(turn.blob)?,
        };
        let layout = match &serving {
            OpenBlob::Whole(file) => file.layout(),
            OpenBlob::Part(partial) => partial.states().layout(),
        };
        let piece = layout.piece(turn.piece).ok_or(Rejection::Malformed)?;
        match &serving {
            OpenBlob::Whole(file) => file.read_piece(piece, &mut self.buffer),
            OpenBlob::Part(partial) => partial.read_piece(piece, &mut self.buffer),
        }
        .map_err(|error| self.serving.on_read_error(turn.blob, &error))?;
        if self.open.len() >= OPEN_BLOBS_MAX {
            self.open.pop_first();
        }
        self.open.insert(turn.blob, serving);
        Ok(&self.buffer)
    }

    /// Returns the bytes that were read last.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }
}

impl Serving {
    fn open_serving(&self, blob: Digest) -> Result<OpenBlob, Rejection> {
        if !self.trust.gives_blob(&blob) {
            return Err(Rejection::NotHere);
        }
        if self.is_suspect(&blob) {
            return Err(Rejection::Unverified);
        }
        if self.trust.is_unserved(&blob) {
            return Err(Rejection::NotHere);
        }
        match self.store.open_pieces(&blob) {
            Ok(file) => return Ok(OpenBlob::Whole(file)),
            Err(ReadError::NotHere { .. }) => {}
            Err(error) => return Err(self.on_read_error(blob, &error)),
        }
        let partials = self.store.open_partial(&blob);
        let best = partials.into_iter().max_by_key(|partial| partial.have().count());
        best.map(OpenBlob::Part).ok_or(Rejection::NotHere)
    }
}
