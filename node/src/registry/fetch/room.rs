//! [`Room`]: room on the disk that a pull sets aside before it fetches.

use std::time::Duration;

use super::error::OpenError;
use crate::store::Partial;

/// Room of the disk for blobs that are on their way. What is not used of it is given back when their pull ends, however it
/// ends.
pub struct Room(Vec<Partial>);

impl Room {
    /// Sets room aside for what these blobs lack.
    ///
    /// # Errors
    /// The disk is full, or the file of a partial blob cannot be used.
    pub fn set_aside(partials: Vec<Partial>) -> Result<Self, OpenError> {
        let room = Self(partials);
        for partial in &room.0 {
            let blob = partial.digest();
            partial.set_aside().map_err(|source| OpenError::Partial { blob, source })?;
        }
        Ok(room)
    }

    /// Gives back what is not used. Blocks.
    pub fn give_back(mut self) {
        std::mem::take(&mut self.0).iter().for_each(Partial::give_back);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let partials = std::mem::take(&mut self.0);
        // Whoever drops a pull must not wait for the disk. Outside a runtime, the next start gives the room back.
        if let Some(runtime) = tokio::runtime::Handle::try_current().ok().filter(|_| !partials.is_empty()) {
            runtime.spawn_blocking(move || partials.iter().for_each(Partial::give_back));
        }
    }
}

/// Returns how long pieces of these blobs were verified and written, of all threads together.
pub fn busy(partials: &[Partial]) -> (Duration, Duration) {
    let each = partials.iter().map(Partial::busy);
    each.fold(Default::default(), |sum, it| (sum.0 + it.0, sum.1 + it.1))
}
