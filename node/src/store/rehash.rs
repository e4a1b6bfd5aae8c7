//! Rehashes blobs on all cores: with known states, every piece is checked by itself, two at once on each core.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use reg_proto::digest::Digest;
use reg_proto::piece::PieceIndex;
use reg_proto::states::{Claim, PieceStates};

use super::disk;
use super::error::ReadError;
use super::front::Store;

/// Most threads that hash: with more cores than this, the disk is slower than they are. Each holds 2 MiB.
const THREADS_MAX: usize = 16;

/// Returns how many threads to start for `tasks` pieces or files.
pub(super) fn threads(tasks: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    tasks.min(cores).min(THREADS_MAX)
}

/// Whether a search continues after it has found a wrong piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    First,
    All,
}

/// Fills bytes from an offset of a file.
pub(super) type ReadAt<'a> = dyn Fn(&mut [u8], u64) -> io::Result<()> + Sync + 'a;

/// Returns which of `pieces` do not match the states; a piece beyond the end of the file does not. Calls `on_bytes`
/// every 2 MiB.
pub(super) fn wrong_pieces(
    read: &ReadAt<'_>,
    (blob, states): (&Digest, &PieceStates),
    pieces: &[PieceIndex],
    search: Search,
    on_bytes: &(dyn Fn(u64) + Sync),
) -> io::Result<Vec<PieceIndex>> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut buffers = [Vec::new(), Vec::new()];
        let mut wrong = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let at = next.fetch_add(2, Ordering::Relaxed);
            let Some(two) = pieces.get(at..).filter(|left| !left.is_empty()) else { break };
            let found = check(read, (blob, states), &two[..two.len().min(2)], &mut buffers, on_bytes);
            if found.is_err() || (search == Search::First && matches!(&found, Ok(found) if !found.is_empty()))
            {
                stop.store(true, Ordering::Relaxed);
            }
            wrong.extend(found?);
        }
        Ok(wrong)
    };
    let mut wrong = match threads(pieces.len().div_ceil(2)) {
        0 | 1 => work()?,
        many => thread::scope(|scope| {
            let running: Vec<_> = (0..many).map(|_| scope.spawn(work)).collect();
            let found = running
                .into_iter()
                .map(|it| it.join().unwrap_or_else(|_| Err(ErrorKind::Interrupted.into())));
            found.collect::<io::Result<Vec<_>>>().map(|found| found.concat())
        })?,
    };
    wrong.sort_unstable();
    Ok(wrong)
}

/// Checks one or two pieces against the states.
fn check(
    read: &ReadAt<'_>,
    (blob, states): (&Digest, &PieceStates),
    pieces: &[PieceIndex],
    buffers: &mut [Vec<u8>; 2],
    on_bytes: &(dyn Fn(u64) + Sync),
) -> io::Result<Vec<PieceIndex>> {
    let layout = states.layout();
    for (piece, buffer) in pieces.iter().zip(buffers.iter_mut()) {
        buffer.resize(layout.piece_len(*piece), 0);
        match read(buffer, layout.offset(*piece)) {
            // The file is too short: an empty buffer matches no piece.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => buffer.clear(),
            filled => filled?,
        }
    }
    let claims =
        pieces.iter().zip(buffers.iter()).map(|(piece, bytes)| Claim { states, blob, piece: *piece, bytes });
    let right = match claims.collect::<Vec<_>>()[..] {
        [one, two] => {
            let (one, two) = Claim::verify_two(one, two);
            [one, two]
        }
        [one] => [one.verify(), true],
        _ => [true; 2],
    };
    on_bytes(pieces.iter().map(|piece| layout.piece_len(*piece) as u64).sum());
    Ok(pieces.iter().zip(right).filter(|(_, right)| !right).map(|(piece, _)| *piece).collect())
}

impl Store {
    /// Tells whether a file of the user has this digest. Hashes it on all cores where the states of that blob are
    /// stored.
    ///
    /// # Errors
    /// Fails where the file cannot be read.
    pub fn is_file_of(
        &self,
        path: &Path,
        digest: &Digest,
        size: u64,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<bool, ReadError> {
        let io = |source| ReadError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.len() != size {
            return Ok(false);
        }
        if let Some(states) = self.kept_states(digest, size) {
            let pieces: Vec<PieceIndex> = states.layout().pieces().collect();
            let read = |bytes: &mut [u8], offset| disk::read_at(&file, bytes, offset);
            let wrong =
                wrong_pieces(&read, (digest, &states), &pieces, Search::First, on_bytes).map_err(io)?;
            if wrong.is_empty() {
                return Ok(true);
            }
        }
        // There are no states, or they may be wrong: only the digest decides.
        let hashed = crate::store::blobs::hash(file, &|_| {}).map_err(io)?;
        Ok(hashed.is_some_and(|hashed| hashed.digest == *digest))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use reg_proto::states::Hashed;

    use super::*;
    use crate::store::{CacheLimits, Recheck};

    const MIB: usize = 1 << 20;

    fn sample(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at as u8) ^ (at >> 10) as u8).collect()
    }

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn finds_just_the_pieces_that_were_changed_or_are_not_there() {
        let mut bytes = sample(9 * MIB + 5);
        let whole = file(&bytes);
        let Hashed { digest, states } =
            crate::store::blobs::hash(File::open(whole.path()).unwrap(), &|_| {}).unwrap().unwrap();
        let pieces: Vec<PieceIndex> = states.layout().pieces().collect();
        let told = std::sync::atomic::AtomicU64::new(0);
        let tell = |bytes| {
            told.fetch_add(bytes, Ordering::Relaxed);
        };
        let wrong = |bytes: &[u8], pieces: &[PieceIndex], search| {
            let changed = file(bytes);
            let file = File::open(changed.path()).unwrap();
            let read = |bytes: &mut [u8], offset| disk::read_at(&file, bytes, offset);
            let wrong = wrong_pieces(&read, (&digest, &states), pieces, search, &tell).unwrap();
            wrong.into_iter().map(PieceIndex::get).collect::<Vec<u32>>()
        };
        assert_eq!(wrong(&bytes, &pieces, Search::All), [0; 0]);
        assert_eq!(told.load(Ordering::Relaxed), bytes.len() as u64);
        for at in [0, 3 * MIB, 6 * MIB - 1, 9 * MIB + 4] {
            bytes[at] ^= 0x80;
        }
        assert_eq!(wrong(&bytes, &pieces, Search::All), [0, 3, 5, 9]);
        assert_eq!(wrong(&bytes, &pieces[4..7], Search::All), [5]);
        assert!(!wrong(&bytes, &pieces, Search::First).is_empty());
        assert_eq!(wrong(&bytes[..8 * MIB + 1], &pieces, Search::All), [0, 3, 5, 8, 9]);
        assert_eq!(wrong(&bytes, &[], Search::All), [0; 0]);
    }

    #[test]
    fn states_that_are_damaged_do_not_damn_a_blob() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), CacheLimits::default()).unwrap();
        let bytes = sample(5 * MIB);
        let source = file(&bytes);
        let imported = store.import_file(source.path(), &|_| {}).unwrap();
        let (digest, size) = (imported.digest, imported.size);
        let path = store.paths().states(&digest);
        let mut false_states = fs::read(&path).unwrap();
        false_states[40] ^= 1;
        fs::write(&path, &false_states).unwrap();
        assert!(store.is_file_of(source.path(), &digest, size, &|_| {}).unwrap());
        let told = std::sync::atomic::AtomicU64::new(0);
        let tell = |bytes| {
            told.fetch_add(bytes, Ordering::Relaxed);
        };
        assert_eq!(store.recheck(&digest, &tell).unwrap(), Recheck::Intact);
        assert_eq!(told.into_inner(), size);
        assert_eq!(fs::read(&path).unwrap(), imported.states.to_bytes());
        let mut changed = bytes;
        changed[4 * MIB] ^= 1;
        let changed = file(&changed);
        assert!(!store.is_file_of(changed.path(), &digest, size, &|_| {}).unwrap());
        assert!(!store.is_file_of(changed.path(), &digest, size + 1, &|_| {}).unwrap());
    }
}
