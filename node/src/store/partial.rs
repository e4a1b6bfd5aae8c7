//! [`Partial`]: a blob that arrives piece by piece. Each piece is verified before it is written.
//!
//! Partial data is keyed by the blob and the list of piece states that verifies it, because a list is a claim until it
//! has closed the chain. A false list affects only its own partial data, for which no peer can make pieces.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use reg_proto::digest::Digest;
use reg_proto::piece::{BlobLayout, PIECE_LEN, PieceIndex, PieceSet};
use reg_proto::states::{Claim, Hashed, PieceStates};

use super::error::{PartialError, ReadError, WriteError, WritePieceError};
use super::front::Store;
use super::rehash::{self, Search};
use super::uncached::Uncached;
use super::{disk, paths};

/// Most bytes that are written between two checkpoints. A crash costs rehashing them, and the end of a pull waits for
/// the last of them. With four times as many, a pull of 2 GiB took 5 % longer.
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// Longest time between two checkpoints while pieces are written.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);

/// A partial blob. Cheap to clone; several threads may write different pieces at once.
#[derive(Debug, Clone)]
pub struct Partial(Arc<PartialState>);

/// The open partial blobs, by blob and states.
pub(super) type Partials = Mutex<BTreeMap<(Digest, Digest), Partial>>;

#[derive(Debug)]
struct PartialState {
    store: Store,
    digest: Digest,
    states: PieceStates,
    states_digest: Digest,
    dir: PathBuf,
    data: File,
    /// Held by the thread that writes or frees disk space. A file system lets one thread at a time write to a file and
    /// has the others spin; with this lock they sleep.
    writing: Mutex<()>,
    progress: Mutex<Progress>,
    /// Held during a checkpoint, so that there is one at a time.
    checkpoint: Mutex<()>,
    busy: Busy,
}

/// Microseconds that threads have spent on pieces, which shows what a pull waited for.
#[derive(Debug, Default)]
struct Busy {
    verifying: AtomicU64,
    writing: AtomicU64,
}

impl Busy {
    /// Runs `work`, and adds its duration to `counter`.
    fn count<T>(counter: &AtomicU64, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        counter.fetch_add(micros, Ordering::Relaxed);
        done
    }
}

#[derive(Debug)]
struct Progress {
    have: PieceSet,
    /// Pieces that are verified and written, but not yet recorded in the index.
    unrecorded: BTreeSet<PieceIndex>,
    bytes: u64,
    since: Instant,
    /// Whether the file has its final name. Nothing writes to it from then on.
    is_finished: bool,
}

impl Store {
    /// Opens a partial blob, creating it where there is none. Rehashes what was written but not recorded before a
    /// crash.
    ///
    /// # Errors
    /// Fails where the states are those of another size, or its files cannot be read or written.
    pub fn partial(&self, digest: Digest, size: u64, states: PieceStates) -> Result<Partial, PartialError> {
        if states.layout().size() != size {
            return Err(PartialError::OtherSize { digest });
        }
        let partial = self.open_or_make(digest, states)?;
        partial.rescan()?;
        Ok(partial)
    }

    /// Opens a partial blob once: two open files could write to one that has its final name.
    fn open_or_make(&self, digest: Digest, states: PieceStates) -> Result<Partial, PartialError> {
        let key = (digest, states.digest());
        let _opening = self.opening_lock();
        if let Some(partial) = lock(self.partials()).get(&key) {
            return Ok(partial.clone());
        }
        let size = states.layout().size();
        if let Some((file, path)) = self.verified_file(&digest, size) {
            return Ok(self.whole(digest, states, path, file));
        }
        let dir = self.paths().partial(&key.0, &key.1);
        let io = |source| PartialError::Io { path: dir.clone(), source };
        fs::create_dir_all(&dir).map_err(io)?;
        self.paths().write_file(&dir.join("states"), &states.to_bytes())?;
        let data = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join("data"))
            .map_err(io)?;
        data.set_len(size).map_err(io)?;
        disk::sync_dir(&dir).map_err(io)?;
        disk::sync_dir(&self.paths().partials()).map_err(io)?;
        let partial = self.load(digest, states, dir.clone(), data)?;
        lock(self.partials()).insert(key, partial.clone());
        Ok(partial)
    }

    /// Returns a partial blob that another thread has finished: the file is that of the whole blob.
    fn whole(&self, digest: Digest, states: PieceStates, path: PathBuf, data: File) -> Partial {
        let have = PieceSet::full(states.layout().piece_count());
        let dir = path.parent().map_or_else(PathBuf::new, ToOwned::to_owned);
        let partial = self.assembled(digest, states, dir, data, have);
        lock(&partial.0.progress).is_finished = true;
        partial
    }

    /// Returns the partial copies of a blob, one for each list of states.
    pub fn open_partial(&self, digest: &Digest) -> Vec<Partial> {
        let from = (*digest, Digest::from_bytes([0; 32]));
        let partials = lock(self.partials());
        partials
            .range(from..)
            .take_while(|((blob, _), _)| blob == digest)
            .map(|(_, partial)| partial.clone())
            .collect()
    }

    fn load(
        &self,
        digest: Digest,
        states: PieceStates,
        dir: PathBuf,
        data: File,
    ) -> Result<Partial, PartialError> {
        let states_digest = states.digest();
        let mut have = self
            .index()
            .pieces(&digest, &states_digest, states.layout().piece_count())
            .map_err(|error| PartialError::Write(error.into()))?;
        // The record may be of an earlier file of this name: what lies in a hole was never written to this one.
        let written = written_pieces(&data, states.layout());
        for piece in states.layout().pieces().filter(|piece| !written.contains(*piece)) {
            have.remove(piece);
        }
        Ok(self.assembled(digest, states, dir, data, have))
    }

    fn assembled(
        &self,
        digest: Digest,
        states: PieceStates,
        dir: PathBuf,
        data: File,
        have: PieceSet,
    ) -> Partial {
        let progress = Progress {
            have,
            unrecorded: BTreeSet::new(),
            bytes: 0,
            since: Instant::now(),
            is_finished: false,
        };
        Partial(Arc::new(PartialState {
            store: self.clone(),
            digest,
            states_digest: states.digest(),
            states,
            dir,
            data,
            writing: Mutex::new(()),
            progress: Mutex::new(progress),
            busy: Busy::default(),
            checkpoint: Mutex::new(()),
        }))
    }

    /// Opens every partial blob on the disk with the pieces that the index records, so that they can be served. Ignores
    /// other files.
    pub(super) fn load_partials(&self) -> Result<(), std::io::Error> {
        for entry in fs::read_dir(self.paths().partials())? {
            let dir = entry?.path();
            let name = dir.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('-'));
            let Some((Ok(digest), Ok(named))) =
                name.map(|(blob, it)| (Digest::from_hex(blob), Digest::from_hex(it)))
            else {
                continue;
            };
            let Ok(data) = OpenOptions::new().read(true).write(true).open(dir.join("data")) else { continue };
            let Ok(layout) = BlobLayout::new(data.metadata()?.len()) else { continue };
            let Ok(bytes) = fs::read(dir.join("states")) else { continue };
            let Ok(states) = PieceStates::parse(layout, &bytes) else { continue };
            if states.digest() != named {
                continue;
            }
            if let Ok(partial) = self.load(digest, states, dir, data) {
                partial.give_back();
                lock(self.partials()).insert((digest, named), partial);
            }
        }
        Ok(())
    }
}

impl Partial {
    /// Returns the digest of the blob.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Returns the piece states that verify it.
    pub fn states(&self) -> &PieceStates {
        &self.0.states
    }

    /// Returns what tells it from others: the blob and the states.
    pub(super) fn key(&self) -> (Digest, Digest) {
        (self.0.digest, self.0.states_digest)
    }

    /// Returns the verified pieces.
    pub fn have(&self) -> PieceSet {
        lock(&self.0.progress).have.clone()
    }

    /// Tells whether a piece is verified and written.
    pub fn has(&self, piece: PieceIndex) -> bool {
        lock(&self.0.progress).have.contains(piece)
    }

    /// Verifies a piece and writes it.
    ///
    /// # Errors
    /// Fails where it does not match the states or cannot be written; then the piece counts as missing.
    pub fn write_piece(&self, piece: PieceIndex, bytes: &[u8]) -> Result<(), WritePieceError> {
        let matches = Busy::count(&self.0.busy.verifying, || self.claim(piece, bytes).verify());
        Busy::count(&self.0.busy.writing, || self.write_if(matches, piece, bytes))
    }

    /// Verifies two pieces, of one partial blob or of two, on one core in little more than the time for one. Writes
    /// those that match, and returns the outcome of each.
    ///
    /// # Errors
    /// Each outcome fails as [`Self::write_piece`] does.
    pub fn write_two(
        first: (&Self, PieceIndex, &[u8]),
        second: (&Self, PieceIndex, &[u8]),
    ) -> [Result<(), WritePieceError>; 2] {
        let claims = [first, second].map(|(partial, piece, bytes)| partial.claim(piece, bytes));
        let matches = Busy::count(&first.0.0.busy.verifying, || Claim::verify_two(claims[0], claims[1]));
        [(first, matches.0), (second, matches.1)].map(|((partial, piece, bytes), matches)| {
            Busy::count(&partial.0.busy.writing, || partial.write_if(matches, piece, bytes))
        })
    }

    fn claim<'a>(&'a self, piece: PieceIndex, bytes: &'a [u8]) -> Claim<'a> {
        Claim { states: &self.0.states, blob: &self.0.digest, piece, bytes }
    }

    fn write_if(&self, matches: bool, piece: PieceIndex, bytes: &[u8]) -> Result<(), WritePieceError> {
        let PartialState { digest, states, data, dir, .. } = &*self.0;
        if !matches {
            return Err(WritePieceError::Mismatch { digest: *digest, piece });
        }
        let due = {
            let _alone = lock(&self.0.writing);
            // Two sources may send one piece. The second must not write: the file may have its final name already.
            if self.has(piece) {
                return Ok(());
            }
            let written = disk::write_at(data, bytes, states.layout().offset(piece));
            written.map_err(|source| WritePieceError::Io { path: dir.join("data"), source })?;
            let mut progress = lock(&self.0.progress);
            progress.have.insert(piece);
            progress.unrecorded.insert(piece);
            progress.bytes += bytes.len() as u64;
            progress.bytes >= CHECKPOINT_BYTES || progress.since.elapsed() >= CHECKPOINT_INTERVAL
        };
        if due && let Ok(_first) = self.0.checkpoint.try_lock() {
            self.record().map_err(|error| WritePieceError::Checkpoint(Box::new(error)))?;
        }
        Ok(())
    }

    /// Reads a verified piece into `bytes`, replacing their content.
    ///
    /// # Errors
    /// Fails where the piece is missing or cannot be read.
    pub fn read_piece(&self, piece: PieceIndex, bytes: &mut Vec<u8>) -> Result<(), ReadError> {
        let PartialState { digest, states, data, dir, .. } = &*self.0;
        if !lock(&self.0.progress).have.contains(piece) {
            return Err(ReadError::NoPiece { digest: *digest, piece });
        }
        bytes.resize(states.layout().piece_len(piece), 0);
        disk::read_at(data, bytes, states.layout().offset(piece))
            .map_err(|source| ReadError::Io { path: dir.join("data"), source })
    }

    /// Syncs the verified pieces to disk, and records them in the index.
    ///
    /// # Errors
    /// Fails where the file cannot be synced or the index cannot be written.
    pub fn checkpoint(&self) -> Result<(), PartialError> {
        let _one = lock(&self.0.checkpoint);
        self.record()
    }

    /// Syncs the data first and then writes the record, so that every piece in the index is on the disk.
    fn record(&self) -> Result<(), PartialError> {
        let PartialState { store, digest, states_digest, data, dir, .. } = &*self.0;
        let (have, unrecorded) = {
            let mut progress = lock(&self.0.progress);
            if progress.is_finished {
                return Ok(());
            }
            progress.bytes = 0;
            progress.since = Instant::now();
            (progress.have.clone(), std::mem::take(&mut progress.unrecorded))
        };
        if let Err(source) = data.sync_data() {
            self.lose(&unrecorded);
            return Err(PartialError::Io { path: dir.join("data"), source });
        }
        let recorded = store
            .index()
            .put_pieces(digest, states_digest, &have, &unrecorded.into_iter().collect::<Vec<_>>())
            .and_then(|()| store.index().commit());
        recorded.map_err(|error| PartialError::Write(error.into()))
    }

    /// Forgets pieces that a failed sync was to make durable, and those written since: whether they are on the disk is
    /// unknown, and no later sync tells. They are read from the disk when the partial blob is opened next, or fetched
    /// again.
    fn lose(&self, pieces: &BTreeSet<PieceIndex>) {
        let _alone = lock(&self.0.writing);
        let mut progress = lock(&self.0.progress);
        let since = std::mem::take(&mut progress.unrecorded);
        for piece in pieces.iter().chain(&since) {
            progress.have.remove(*piece);
        }
        drop(progress);
        self.empty(pieces.iter().chain(&since));
    }

    /// Empties pieces that have to be fetched again. The caller holds the lock of the file.
    fn empty<'a>(&self, pieces: impl Iterator<Item = &'a PieceIndex>) {
        let layout = self.0.states.layout();
        let range = |piece: &PieceIndex| {
            // Beyond the end of the file too: a page that the range covers in part would stay.
            let start = layout.offset(*piece);
            start..start + PIECE_LEN
        };
        disk::punch(&self.0.data, pieces.map(range));
    }

    /// Rehashes the data that was written but not recorded, as it is on the disk.
    fn rescan(&self) -> Result<(), PartialError> {
        let PartialState { digest, states, data, dir, .. } = &*self.0;
        if self.have().is_full() {
            return self.checkpoint();
        }
        // An error of a sync that no process has seen yet is of no use later: this looks at the disk itself.
        // The system tells an error of one file once, so no other thread may wait for a sync meanwhile.
        {
            let _one = lock(&self.0.checkpoint);
            if data.sync_data().is_err() {
                self.lose(&BTreeSet::new());
            }
        }
        let have = self.have();
        let written = written_pieces(data, states.layout());
        let found: Vec<PieceIndex> = written.iter().filter(|piece| !have.contains(*piece)).collect();
        if found.is_empty() {
            return self.checkpoint();
        }
        let io = |source| PartialError::Io { path: dir.join("data"), source };
        let on_disk = match Uncached::open(&dir.join("data")) {
            // Another thread has finished it.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(io)?,
        };
        // What cannot be read is fetched again.
        let read = |bytes: &mut [u8], offset| {
            on_disk.read_at(bytes, offset).map_err(|_| std::io::Error::from(ErrorKind::UnexpectedEof))
        };
        let wrong =
            rehash::wrong_pieces(&read, (digest, states), &found, Search::All, &|_| {}).map_err(io)?;
        let alone = lock(&self.0.writing);
        let mut progress = lock(&self.0.progress);
        // Another thread may have written a wrong one anew meanwhile.
        self.empty(wrong.iter().filter(|piece| !progress.have.contains(**piece)));
        for piece in found.into_iter().filter(|piece| wrong.binary_search(piece).is_err()) {
            progress.have.insert(piece);
            progress.unrecorded.insert(piece);
        }
        drop(progress);
        drop(alone);
        self.checkpoint()
    }

    /// Stores the blob under its final name. Every piece is verified, which proves the digest of the whole.
    ///
    /// # Errors
    /// Fails where pieces are missing, or files cannot be written.
    pub fn finish(&self) -> Result<(), PartialError> {
        let PartialState { store, digest, states, data, dir, .. } = &*self.0;
        let _one = lock(&self.0.checkpoint);
        if lock(&self.0.progress).is_finished {
            return Ok(());
        }
        // A thread that writes the last piece still holds the lock of the file.
        let have = {
            let _alone = lock(&self.0.writing);
            self.have()
        };
        if !have.is_full() {
            return Err(PartialError::Incomplete { digest: *digest, missing: have.len() - have.count() });
        }
        if let Err(source) = data.sync_all() {
            self.lose(&BTreeSet::new());
            return Err(PartialError::Io { path: dir.join("data"), source });
        }
        if let Err(error) = store.keep(&Hashed { digest: *digest, states: states.clone() }, &dir.join("data"))
        {
            if !dir.join("data").exists() {
                self.forget()?;
            }
            return Err(error.into());
        }
        store.settle_leases(digest, states.layout().size());
        lock(&self.0.progress).is_finished = true;
        self.forget()?;
        store.index().commit().map_err(|error| PartialError::Write(error.into()))
    }

    /// Deletes the partial blob.
    ///
    /// # Errors
    /// Fails where its files cannot be removed or the index cannot be written.
    pub fn discard(&self) -> Result<(), PartialError> {
        let _one = lock(&self.0.checkpoint);
        self.forget()
    }

    /// Deletes the partial blob although a download may still write to it, and frees its disk space at once. That download fails.
    ///
    /// # Errors
    /// As for [`Self::discard`].
    pub(super) fn release(&self) -> Result<(), PartialError> {
        let _one = lock(&self.0.checkpoint);
        if lock(&self.0.progress).is_finished {
            return Ok(());
        }
        let _alone = lock(&self.0.writing);
        // Where it cannot be cut, its space is free once the download has ended.
        let _cut = self.0.data.set_len(0);
        self.forget()
    }

    fn forget(&self) -> Result<(), PartialError> {
        let PartialState { store, digest, states_digest, dir, .. } = &*self.0;
        let _opening = store.opening_lock();
        let key = (*digest, *states_digest);
        let is_open = |open: &Self| Arc::ptr_eq(&open.0, &self.0);
        if !lock(store.partials()).get(&key).is_some_and(is_open) {
            // It was deleted before, and the files are those of one that was opened since.
            return Ok(());
        }
        lock(store.partials()).remove(&key);
        store
            .index()
            .remove_pieces(digest, states_digest)
            .map_err(|error| PartialError::Write(error.into()))?;
        paths::remove(&dir.join("data"))?;
        paths::remove(&dir.join("states"))?;
        match fs::remove_dir(dir) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(WriteError::Io { path: dir.clone(), source }.into())
            }
            _ => Ok(()),
        }
    }

    /// Allocates disk space for the whole blob. Pieces that arrive in any order then lie in order on the disk, and a
    /// blob that does not fit fails before it is fetched.
    ///
    /// # Errors
    /// Fails where the disk has too little space.
    pub fn set_aside(&self) -> Result<(), PartialError> {
        let PartialState { states, data, dir, .. } = &*self.0;
        let _alone = lock(&self.0.writing);
        if self.have().is_full() {
            return Ok(());
        }
        let set_aside = disk::set_aside(data, states.layout().size());
        set_aside.map_err(|source| PartialError::Io { path: dir.join("data"), source })
    }

    /// Frees the allocated disk space that no piece was written to. A later pull allocates it again.
    pub fn give_back(&self) {
        // No thread writes between the search for empty space and its release.
        let _alone = lock(&self.0.writing);
        // A whole blob has no space to free, and its file may be in use under its final name.
        if !self.have().is_full() {
            disk::give_back(&self.0.data, self.0.states.layout().size());
        }
    }

    /// Returns how many bytes of disk space are allocated for missing pieces.
    pub(crate) fn unused_bytes(&self) -> u64 {
        disk::taken(&self.0.data).saturating_sub(self.verified_bytes())
    }

    /// Returns how many bytes of disk space it takes, up to its size: for verified pieces, for others that were written, and for
    /// those that are allocated.
    pub(super) fn taken_bytes(&self) -> u64 {
        disk::taken(&self.0.data).max(self.verified_bytes()).min(self.0.states.layout().size())
    }

    /// Returns how long threads have verified and written, in sum, since this was opened.
    pub fn busy(&self) -> (Duration, Duration) {
        let Busy { verifying, writing } = &self.0.busy;
        (
            Duration::from_micros(verifying.load(Ordering::Relaxed)),
            Duration::from_micros(writing.load(Ordering::Relaxed)),
        )
    }

    /// Returns how many bytes are verified.
    pub fn verified_bytes(&self) -> u64 {
        let layout = self.0.states.layout();
        self.have().iter().map(|piece| layout.piece_len(piece) as u64).sum()
    }
}

/// Returns the pieces of a file that holes do not cover.
fn written_pieces(file: &File, layout: BlobLayout) -> PieceSet {
    let mut written = PieceSet::new(layout.piece_count());
    for extent in disk::data_extents(file, layout.size()) {
        let first = u32::try_from(extent.start / PIECE_LEN).unwrap_or(u32::MAX);
        let end = u32::try_from(extent.end.div_ceil(PIECE_LEN)).unwrap_or(u32::MAX);
        for piece in (first..end).filter_map(|index| layout.piece(index)) {
            written.insert(piece);
        }
    }
    written
}

/// These locks guard plain data that is consistent after every statement, so a panic of another thread does not spoil
/// it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
