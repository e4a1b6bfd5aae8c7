//! Measures hashing alone, from the page cache, on one core and on all cores.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use reg_proto::piece::PieceIndex;
use reg_proto::states::{Claim, Hashed, StateHasher};
use sha2::{Digest as _, Sha256};

use super::cost::{Cost, own, run};
use super::world::World;

const PIECE: usize = 1 << 20;

/// Runs `openssl dgst -sha256` on every shard, one after the other.
pub(crate) fn openssl(world: &mut World) -> Option<Cost> {
    run(Command::new("openssl").args(["dgst", "-sha256"]).args(world.shards()))
}

/// Hashes on one core with the sha2 crate, which keeps no states.
pub(crate) fn sha2(world: &mut World) -> Option<Cost> {
    let files = world.shards();
    Some(own(|| {
        for path in &files {
            let mut hasher = Sha256::new();
            each_mebibyte(path, |bytes| hasher.update(bytes));
            assert_ne!(hasher.finalize()[..], [0; 32]);
        }
    }))
}

/// Hashes one chain on one core, and keeps the states.
pub(crate) fn one_chain(world: &mut World) -> Option<Cost> {
    let files = world.shards();
    Some(own(|| {
        for path in &files {
            hash(path);
        }
    }))
}

/// Hashes two files with interleaved rounds on one core, as an import does.
pub(crate) fn two_chains(world: &mut World) -> Option<Cost> {
    let files = world.shards();
    Some(own(|| files.chunks(2).for_each(hash_two)))
}

/// Hashes two files with interleaved rounds on each core.
pub(crate) fn two_chains_on_all_cores(world: &mut World) -> Option<Cost> {
    let files = world.shards();
    Some(own(|| {
        thread::scope(|scope| {
            for two in files.chunks(2) {
                scope.spawn(move || hash_two(two));
            }
        });
    }))
}

/// Verifies pieces against known states, two with interleaved rounds on one core, as a pull and `reg verify` do.
pub(crate) fn pieces(world: &mut World) -> Option<Cost> {
    check_pieces(world, 1)
}

/// Verifies pieces against known states on all cores.
pub(crate) fn pieces_on_all_cores(world: &mut World) -> Option<Cost> {
    check_pieces(world, thread::available_parallelism().map_or(1, usize::from))
}

fn check_pieces(world: &mut World, threads: usize) -> Option<Cost> {
    let files: Vec<(PathBuf, Hashed)> = world.hashed_shards().to_vec();
    Some(own(|| {
        for (path, hashed) in &files {
            let file = File::open(path).expect("a shard");
            let layout = hashed.states.layout();
            let pieces: Vec<PieceIndex> = layout.pieces().collect();
            let next = AtomicUsize::new(0);
            let work = || {
                let mut buffers = [vec![0; PIECE], vec![0; PIECE]];
                while let Some([one, two]) = pieces.chunks(2).nth(next.fetch_add(1, Ordering::Relaxed)) {
                    let claims = [one, two].into_iter().zip(&mut buffers).map(|(piece, buffer)| {
                        buffer.resize(layout.piece_len(*piece), 0);
                        file.read_exact_at(buffer, layout.offset(*piece)).expect("read");
                        Claim { states: &hashed.states, blob: &hashed.digest, piece: *piece, bytes: &*buffer }
                    });
                    let claims: Vec<_> = claims.collect();
                    assert_eq!(Claim::verify_two(claims[0], claims[1]), (true, true));
                }
            };
            thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        }
    }))
}

/// Returns the digest and states of a file.
pub(crate) fn hash(path: &Path) -> Hashed {
    let mut hasher = StateHasher::new();
    each_mebibyte(path, |bytes| hasher.update(bytes));
    hasher.finish().expect("a blob")
}

fn hash_two(files: &[PathBuf]) {
    let [one, two] = files else { return files.iter().for_each(|path| drop(hash(path))) };
    let (mut one, mut two) = (File::open(one).expect("a shard"), File::open(two).expect("a shard"));
    let (mut first, mut second) = (StateHasher::new(), StateHasher::new());
    let mut buffers = [vec![0; PIECE], vec![0; PIECE]];
    loop {
        let [here, there] = &mut buffers;
        let lengths = (one.read(here).expect("read"), two.read(there).expect("read"));
        if lengths == (0, 0) {
            break;
        }
        StateHasher::update_two(&mut first, &here[..lengths.0], &mut second, &there[..lengths.1]);
    }
    drop((first.finish().expect("a blob"), second.finish().expect("a blob")));
}

fn each_mebibyte(path: &Path, mut take: impl FnMut(&[u8])) {
    let mut file = File::open(path).expect("a shard");
    let mut buffer = vec![0; PIECE];
    loop {
        match file.read(&mut buffer).expect("read") {
            0 => break,
            length => take(&buffer[..length]),
        }
    }
}
