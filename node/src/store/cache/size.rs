//! [`CacheSize`]: how large a store may become, as its user has said it.

/// The share of the disk, in percent, that a store takes where its user has set no size. Other programs need the rest.
pub const SHARE_OF_DISK: u64 = 80;

/// How large a store may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheSize {
    /// [`SHARE_OF_DISK`] of the disk, whatever else is on it, and at least what the store holds when it is opened: no model
    /// is evicted because of an upgrade. So the size stays the same while other programs come and go, and
    /// [`CacheLimits::min_free`](super::CacheLimits::min_free) leaves them room.
    Share,
    /// As much as the disk holds.
    #[default]
    Unlimited,
    /// At most so many bytes of whole blobs.
    Bytes(u64),
}

impl CacheSize {
    /// Returns the most bytes of a store that holds `used` bytes, on a disk of `disk` bytes if that is known.
    pub(super) fn bytes(self, used: u64, disk: Option<u64>) -> Option<u64> {
        match (self, disk) {
            (Self::Share, Some(disk)) => {
                let share = u128::from(disk) * u128::from(SHARE_OF_DISK) / 100;
                Some(u64::try_from(share).unwrap_or(u64::MAX).max(used))
            }
            (Self::Share, None) | (Self::Unlimited, _) => None,
            (Self::Bytes(bytes), _) => Some(bytes),
        }
    }
}
