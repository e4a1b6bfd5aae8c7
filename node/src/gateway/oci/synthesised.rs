//! [`Synthesised`]: remembers the config blobs that were synthesised for Ollama, which asks for them by their digests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use reg_proto::digest::Digest;

/// Config blobs that are remembered, of about 500 bytes each.
const SYNTHESISED_MAX: usize = 1024;

/// The remembered config blobs.
#[derive(Debug, Default)]
pub(super) struct Synthesised(Mutex<BTreeMap<Digest, Arc<[u8]>>>);

impl Synthesised {
    /// Returns a config blob.
    pub(super) fn get(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        self.0.lock().expect("no holder of this lock panics").get(digest).cloned()
    }

    /// Remembers a blob, and returns its digest and length in bytes; a full table is emptied first.
    pub(super) fn keep(&self, bytes: Vec<u8>) -> (Digest, usize) {
        let (digest, size) = (Digest::of(&bytes), bytes.len());
        let mut kept = self.0.lock().expect("no holder of this lock panics");
        if kept.len() >= SYNTHESISED_MAX {
            kept.clear();
        }
        kept.insert(digest, bytes.into());
        (digest, size)
    }
}
