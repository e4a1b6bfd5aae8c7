//! [`Pace`]: a limit on what is read or written, as whoever keeps it tells.

use std::time::Duration;

/// Bytes that go at once where there is a limit, so that it is felt as one by the line and not as a stutter.
pub(super) const PACED_BYTES: usize = 64 << 10;

/// How fast bytes may go.
#[derive(Clone, Copy)]
pub enum Pace<'a> {
    /// As fast as they can.
    Free,
    /// Is told of every run of bytes, and says how long to wait before them.
    Kept(&'a (dyn Fn(usize) -> Duration + Sync)),
}

impl Pace<'_> {
    /// Returns how many bytes may go at once, where `free` may without a limit.
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

    /// Waits on a thread of its own.
    pub(super) fn sleep(&self, bytes: usize) {
        let wait = self.wait(bytes);
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
    }

    /// Waits on a task.
    pub(super) async fn pass(&self, bytes: usize) {
        let wait = self.wait(bytes);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}
