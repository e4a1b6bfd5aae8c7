//! [`Room`]: the disk space that a download reserves before it begins.

use std::time::Duration;

use super::error::BeginError;
use crate::store::Partial;

/// Disk space for blobs that are being fetched. Dropping it gives back the space that was not used, so it is given back
/// however the download ends.
#[derive(Debug)]
pub(super) struct Room(Vec<Partial>);

impl Room {
    /// Reserves disk space for the missing pieces of these blobs. Blocks.
    ///
    /// # Errors
    /// The disk is full, or the file of a partial blob cannot be used.
    pub(super) fn set_aside(partials: Vec<Partial>) -> Result<Self, BeginError> {
        let room = Self(partials);
        for partial in &room.0 {
            let blob = partial.digest();
            partial.set_aside().map_err(|source| BeginError::Partial { blob, source })?;
        }
        Ok(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut partials = std::mem::take(&mut self.0);
        // A whole blob has used all its space.
        partials.retain(|it| !it.have().is_full());
        // The task that drops a download must not block on the disk. Outside a runtime, the next start gives the space back.
        if let Some(runtime) = tokio::runtime::Handle::try_current().ok().filter(|_| !partials.is_empty()) {
            runtime.spawn_blocking(move || partials.iter().for_each(Partial::give_back));
        }
    }
}

/// Returns how long threads verified pieces of these blobs, and how long they wrote them: sums over all threads.
pub(super) fn busy(partials: &[Partial]) -> (Duration, Duration) {
    let each = partials.iter().map(Partial::busy);
    each.fold(Default::default(), |sum, it| (sum.0 + it.0, sum.1 + it.1))
}
