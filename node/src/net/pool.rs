//! [`PiecePool`]: reuses the buffers of pieces, and bounds how many there are.
//!
//! Allocating 1 MiB for each piece costs as much as hashing it, because the system takes the memory back and zeroes it
//! each time. A receiver waits while all buffers are in use, so a slow disk slows the sockets down.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use reg_proto::piece::PIECE_LEN;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::PIECES_IN_MEMORY_MAX;

/// Bytes of a piece, and one more for the type that TLS puts behind the content of a record.
const BUFFER_LEN: usize = PIECE_LEN as usize + 1;

/// The buffers of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PiecePool(Arc<Pool>);

pub(super) struct Pool {
    room: Arc<Semaphore>,
    free: Mutex<Vec<Vec<u8>>>,
    users: AtomicUsize,
}

/// The bytes of a piece. Dropping them returns the buffer to its pool.
pub struct PieceBytes {
    buffer: Vec<u8>,
    length: usize,
    pool: Arc<Pool>,
    _room: OwnedSemaphorePermit,
}

impl PiecePool {
    /// Returns a pool that has allocated no buffer yet.
    pub fn new() -> Self {
        let room = Arc::new(Semaphore::new(PIECES_IN_MEMORY_MAX));
        Self(Arc::new(Pool { room, free: Mutex::default(), users: AtomicUsize::new(0) }))
    }

    /// Waits for a buffer. Its content is arbitrary; the caller writes a piece and sets its length with
    /// [`PieceBytes::set_len`].
    pub async fn take(&self) -> PieceBytes {
        let room = self.0.room.clone().acquire_owned().await.expect("this semaphore is never closed");
        self.buffer(room)
    }

    /// The same, blocking the thread.
    pub(super) fn take_blocking(&self, runtime: &Handle) -> PieceBytes {
        match self.0.room.clone().try_acquire_owned() {
            Ok(room) => self.buffer(room),
            Err(_) => runtime.block_on(self.take()),
        }
    }

    fn buffer(&self, room: OwnedSemaphorePermit) -> PieceBytes {
        let free = self.0.free().pop();
        let buffer = free.unwrap_or_else(|| vec![0; BUFFER_LEN]);
        PieceBytes { buffer, length: 0, pool: self.0.clone(), _room: room }
    }

    /// Keeps unused buffers for as long as the guard lives. When the last guard is dropped, they are freed.
    pub fn enter(&self) -> PoolUse {
        self.0.users.fetch_add(1, Ordering::AcqRel);
        PoolUse(self.0.clone())
    }
}

/// Keeps the unused buffers of a pool: a pull holds it while it receives pieces.
#[derive(Debug)]
pub struct PoolUse(Arc<Pool>);

impl Drop for PoolUse {
    fn drop(&mut self) {
        if self.0.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.free().clear();
        }
    }
}

impl Default for PiecePool {
    fn default() -> Self {
        Self::new()
    }
}

impl Pool {
    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PieceBytes {
    /// Sets how many bytes of the buffer are the piece, [`PIECE_LEN`] at most.
    pub fn set_len(&mut self, length: usize) {
        self.length = length.min(PIECE_LEN as usize);
    }

    /// Returns the whole buffer, for writing: a piece and one byte more.
    pub fn buffer_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }
}

impl Deref for PieceBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl AsRef<[u8]> for PieceBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for PieceBytes {
    fn drop(&mut self) {
        if self.pool.users.load(Ordering::Acquire) > 0 {
            self.pool.free().push(std::mem::take(&mut self.buffer));
        }
    }
}

impl fmt::Debug for PieceBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a piece of {} bytes", self.length)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} buffers not in use", self.free().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn buffers_come_back_and_there_are_only_so_many() {
        let pool = PiecePool::new();
        let using = pool.enter();
        let mut taken = Vec::new();
        for _ in 0..PIECES_IN_MEMORY_MAX {
            taken.push(pool.take().await);
        }
        assert!(futures::FutureExt::now_or_never(Box::pin(pool.take())).is_none());
        let mut one = taken.pop().unwrap();
        one.buffer_mut()[0] = 7;
        one.set_len(1);
        assert_eq!(&*one, [7]);
        drop(one);
        let again = pool.take().await;
        assert!(again.is_empty(), "the former content is not shown");
        drop((again, taken));
        assert_eq!(pool.0.free().len(), PIECES_IN_MEMORY_MAX);
        drop(using);
        assert!(pool.0.free().is_empty(), "no guard keeps them");
        drop(pool.take().await);
        assert!(pool.0.free().is_empty());
    }
}
