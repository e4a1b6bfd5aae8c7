//! [`OpenStreams`]: counts the blob streams that are open to each peer, so that no peer is disconnected that pieces go to or
//! come from.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reg_proto::peer::PeerId;

/// How many blob streams are open, by peer. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenStreams(Arc<Mutex<BTreeMap<PeerId, usize>>>);

/// One open stream, for as long as it lives.
#[derive(Debug)]
pub(super) struct OpenStream {
    streams: OpenStreams,
    peer: PeerId,
}

impl OpenStreams {
    /// Counts one more stream.
    pub(super) fn enter(&self, peer: PeerId) -> OpenStream {
        *self.lock().entry(peer).or_default() += 1;
        OpenStream { streams: self.clone(), peer }
    }

    /// Tells whether any stream to or from a peer is open.
    pub(super) fn is_any(&self, peer: &PeerId) -> bool {
        self.lock().contains_key(peer)
    }

    /// The lock guards plain data that is consistent after every statement, so a panic of another thread does not spoil
    /// it.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PeerId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        if let Some(count) = open.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}
