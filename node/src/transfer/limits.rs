//! Every bound of the scheduler, with its reason.

use std::time::Duration;

/// Pieces of one request: 4 MiB from one peer in one run keeps disk and stream sequential and a retry cheap.
pub const UNIT_PIECES: u32 = 4;

/// Pieces that are asked of one peer and not yet stored: 16 MiB, which is 100 ms at 160 MB/s. It is also what a kill
/// of the puller can waste for each peer it pulls from, and what one peer can make us hold in memory.
pub const PIECES_IN_FLIGHT_PER_PEER: u32 = 16;

/// A peer that sends nothing for this long while it owes pieces loses them to others that hold them.
pub(super) const STALL: Duration = Duration::from_secs(5);

/// A peer that sends nothing for this long while it owes pieces loses them even where nobody else holds them, and is
/// asked again for one piece only.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

/// A peer that refuses requests with "busy" is not asked before this long, whatever shorter time it names.
pub(super) const BUSY_MIN: Duration = Duration::from_millis(50);

/// A peer that refuses requests with "busy" is asked again after this long, whatever longer time it names.
pub(super) const BUSY_MAX: Duration = Duration::from_secs(10);
