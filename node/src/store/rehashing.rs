//! [`Rehashing`]: which blobs are being rehashed. Each is rehashed by one thread at a time, and few at once: one rehash uses
//! all cores and the whole disk. Small blobs do not wait for large ones.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use reg_proto::digest::Digest;

/// Blobs of up to so many bytes are small: each is rehashed within a second.
const SMALL_BYTES: u64 = 64 << 20;
/// Large blobs that are rehashed at once. Two, so that a disk's waits are used by the other.
const LARGE_MAX: usize = 2;
/// Small blobs that are rehashed at once.
const SMALL_MAX: usize = 8;

/// The blobs that are being rehashed.
#[derive(Debug, Default)]
pub(super) struct Rehashing {
    table: Mutex<Table>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Table {
    blobs: BTreeSet<Digest>,
    large: usize,
    small: usize,
}

impl Table {
    /// Returns how many blobs of this size are being rehashed, and how many may be at once.
    const fn places(&mut self, size: u64) -> (&mut usize, usize) {
        if size > SMALL_BYTES { (&mut self.large, LARGE_MAX) } else { (&mut self.small, SMALL_MAX) }
    }
}

/// Lets this thread alone rehash a blob, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    rehashing: &'a Rehashing,
    digest: Digest,
    size: u64,
}

impl Rehashing {
    /// Waits until no other thread rehashes this blob of `size` bytes, and there is a place.
    pub(super) fn turn(&self, digest: &Digest, size: u64) -> Turn<'_> {
        let must_wait = |table: &mut Table| {
            let (taken, max) = table.places(size);
            *taken >= max || table.blobs.contains(digest)
        };
        let waited = self.freed.wait_while(self.lock(), must_wait);
        let mut table = waited.unwrap_or_else(PoisonError::into_inner);
        *table.places(size).0 += 1;
        table.blobs.insert(*digest);
        Turn { rehashing: self, digest: *digest, size }
    }

    /// The lock guards plain data that is consistent whenever it is free, so a panic of another thread does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut table = self.rehashing.lock();
        *table.places(self.size).0 -= 1;
        table.blobs.remove(&self.digest);
        drop(table);
        self.rehashing.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_blob_waits_for_itself_and_for_a_place_among_its_like() {
        let (rehashing, large) = (Rehashing::default(), SMALL_BYTES + 1);
        let [a, b, c, d] = [b"a", b"b", b"c", b"d"].map(|it| Digest::of(it));
        let mut turns = vec![rehashing.turn(&a, large), rehashing.turn(&b, large)];
        let small = rehashing.turn(&c, SMALL_BYTES);
        thread::scope(|scope| {
            let (done, taken) = sync_channel(2);
            for (blob, size) in [(d, large), (c, 1)] {
                let (done, rehashing) = (done.clone(), &rehashing);
                scope.spawn(move || {
                    let _turn = rehashing.turn(&blob, size);
                    done.send(blob).unwrap();
                });
            }
            assert!(taken.recv_timeout(Duration::from_millis(100)).is_err(), "both wait");
            turns.pop();
            assert_eq!(taken.recv(), Ok(d));
            drop(small);
            assert_eq!(taken.recv(), Ok(c));
        });
    }
}
