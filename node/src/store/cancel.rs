//! [`Cancel`]: tells blocking work that no caller waits for it any more.
//!
//! A task that ends early drops its [`CancelOnDrop`]. The thread that hashes for it sees that at its next read, and ends.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the caller has gone. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Tells whether no caller waits any more.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns a reader of the same bytes that fails once no caller waits any more.
    pub fn over<R>(&self, inner: R) -> Cancelling<R> {
        Cancelling { inner, cancel: self.clone() }
    }
}

/// A file that is read for a caller, and fails once that caller has gone.
#[derive(Debug)]
pub struct Cancelling<R> {
    inner: R,
    cancel: Cancel,
}

impl<R: Read> Read for Cancelling<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            // Not `Interrupted`: that kind means to read again.
            return Err(io::Error::other("no caller waits for it any more"));
        }
        self.inner.read(into)
    }
}

impl<R: Seek> Seek for Cancelling<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// Cancels when it is dropped.
#[derive(Debug, Default)]
pub struct CancelOnDrop(Cancel);

impl CancelOnDrop {
    /// Returns what the work looks at.
    pub fn cancel(&self) -> Cancel {
        self.0.clone()
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_no_further_once_its_caller_has_gone() {
        let caller = CancelOnDrop::default();
        let mut endless = caller.cancel().over(io::repeat(0));
        let mut chunk = [0; 16];
        assert_eq!(endless.read(&mut chunk).ok(), Some(16));
        drop(caller);
        assert!(endless.read_to_end(&mut Vec::new()).is_err(), "it ends");
    }
}
