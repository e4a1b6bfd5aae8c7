//! [`DonatedLimit`]: how fast models are sent that this node keeps for others.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reg_proto::digest::Digest;
use reg_proto::piece::PIECE_LEN;

/// How far requests may run ahead of the limit: a puller keeps some pieces under way.
const AHEAD: Duration = Duration::from_secs(1);

/// A limit on what is sent of donated models, all together and beside the limits of the node. A request beyond it is told to come
/// again later, so that it takes no place in the upload queue.
#[derive(Debug, Default)]
pub struct DonatedLimit(Mutex<Limit>);

#[derive(Debug, Default)]
struct Limit {
    /// Bytes per second; `None` without a limit.
    rate: Option<u64>,
    blobs: BTreeSet<Digest>,
    /// When what was allowed so far will have been sent at this rate.
    free_at: Option<Instant>,
}

impl DonatedLimit {
    /// Sets the limit, and the blobs that it holds for.
    pub fn set(&self, rate: Option<u64>, blobs: BTreeSet<Digest>) {
        let mut limit = self.lock();
        (limit.rate, limit.blobs) = (rate, blobs);
    }

    /// Allows `count` pieces of a blob to be sent.
    ///
    /// # Errors
    /// How long to wait, where that would be faster than the limit.
    pub(super) fn allow(&self, blob: &Digest, count: u32) -> Result<(), Duration> {
        self.allow_at(blob, count, Instant::now())
    }

    fn allow_at(&self, blob: &Digest, count: u32, now: Instant) -> Result<(), Duration> {
        let mut limit = self.lock();
        let Some(rate) = limit.rate.filter(|_| limit.blobs.contains(blob)) else { return Ok(()) };
        let free_at = limit.free_at.unwrap_or(now).max(now);
        let ahead = free_at - now;
        if ahead > AHEAD {
            return Err(ahead - AHEAD);
        }
        let bytes = u64::from(count).saturating_mul(PIECE_LEN);
        limit.free_at = Some(free_at + Duration::from_millis(bytes.saturating_mul(1000) / rate.max(1)));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Limit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_donated_models_stays_within_the_limit() {
        let (limit, blob, start) = (DonatedLimit::default(), Digest::of(b"donated"), Instant::now());
        limit.set(Some(2 * PIECE_LEN), [blob].into());
        let (mut now, mut pieces) = (Duration::ZERO, 0);
        while now < Duration::from_secs(60) {
            match limit.allow_at(&blob, 4, start + now) {
                Ok(()) => pieces += 4,
                Err(wait) => now += wait.max(Duration::from_millis(1)),
            }
        }
        assert!((120..=128).contains(&pieces), "{pieces}");
        assert_eq!(limit.allow_at(&Digest::of(b"own"), 1000, start + now), Ok(()));
        limit.set(None, [blob].into());
        assert_eq!(limit.allow_at(&blob, 1000, start + now), Ok(()));
    }
}
