//! [`Pace`]: how fast a stream or a lane reads and writes.

use std::time::Duration;

/// Bytes that are read at once under a limit, and written at once: few, so that the line carries them evenly.
pub(super) const PACED_BYTES: usize = 64 << 10;

/// How fast bytes are read or written.
#[derive(Clone, Copy)]
pub enum Pace<'a> {
    /// Without a limit.
    Free,
    /// Under a limit: the function takes the number of bytes of the next run, and returns how long to wait before it.
    Kept(&'a (dyn Fn(usize) -> Duration + Sync)),
}

impl Pace<'_> {
    /// Returns how many bytes to read or write at once: `free` without a limit.
    pub(super) const fn run(&self, free: usize) -> usize {
        match self {
            Self::Free => free,
            Self::Kept(_) => PACED_BYTES,
        }
    }

    pub(super) fn wait(&self, bytes: usize) -> Duration {
        match self {
            Self::Free => Duration::ZERO,
            Self::Kept(ask) => ask(bytes),
        }
    }

    /// Waits before `bytes` more bytes, blocking the thread.
    pub(super) fn sleep(&self, bytes: usize) {
        let wait = self.wait(bytes);
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
    }

    /// Waits before `bytes` more bytes, in a task.
    pub(super) async fn pass(&self, bytes: usize) {
        let wait = self.wait(bytes);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}
