//! Every bound of the scheduler, with its reason.

use std::time::Duration;

/// Most pieces of a request for a reader: 4 MiB in order from one peer, so that several peers feed one reader.
pub const UNIT_PIECES: u32 = 4;

/// Units that a blob is cut into, where it has so many pieces: with fewer, peers would have little to exchange.
pub(super) const UNITS_WANTED: u32 = 1000;

/// Pieces that one peer owes: 64 MiB, which is 100 ms at 640 MB/s. A killed puller wastes at most so much for each peer
/// that it pulls from.
pub const PIECES_IN_FLIGHT_PER_PEER: u32 = 64;

/// Least pieces under way from all peers together, and from one peer before its speed is known. In simulation (500
/// nodes, 1,000 units), 6 take 1.105 of the bound and 4 take 1.127: with fewer, uplinks stand idle.
pub(super) const START_PIECES: u32 = 6;

/// Units that even the slowest peer may owe: one that it sends, and one that waits so that it need not pause.
pub(super) const WINDOW_UNITS_MIN: u32 = 2;

/// Least units under way from all peers together, as [`START_PIECES`].
pub(super) const DEMAND_UNITS_MIN: u32 = 6;

/// Assumed rate of a peer that has not answered yet, in pieces per second: so it is tried before the known ones.
pub(super) const RATE_UNKNOWN: f32 = 1e6;

/// No web server is asked while a peer would bring another piece within this time, and all peers together bring
/// [`WEB_SPARED`]. So a fast swarm costs web servers no traffic, and slow peers do not keep a fast server idle.
pub(super) const WEB_AFTER: Duration = Duration::from_secs(1);

/// Pieces per second from peers at which web servers are spared: a line of 134 Mbit/s, which most pullers do not have.
pub(super) const WEB_SPARED: f32 = 16.0;

/// Pieces under way are rate × delay × this, so that a rate can grow. In simulation, 1.5 takes 1.138 of the bound and
/// 1.2 takes 1.106: with more, pullers that are ahead crowd out those that are behind.
pub(super) const GAIN: f32 = 1.2;

/// Time between a piece's arrival and the next request that the pieces under way should bridge. It covers hashing,
/// writing, scheduling, and a checkpoint. With 20 ms, a server on the same machine waited a quarter of its time.
pub(super) const SLACK: Duration = Duration::from_millis(100);

/// Each slower answer moves the quickest one up by this fraction of the difference, so it is forgotten after about 64.
pub(super) const QUICK_DRIFT: u32 = 64;

/// A peer that owes pieces and has been quiet this many times longer than the quickest answer takes is late.
pub(super) const LATE_FACTOR: u32 = 8;

/// No peer is late before this: one lost packet costs some hundred milliseconds.
pub(super) const LATE_MIN: Duration = Duration::from_millis(750);

/// Once no piece is open, a request that has taken this many times longer than another peer would need is sent to that
/// peer as well.
pub(super) const HEDGE_FACTOR: f32 = 3.0;

/// Once no piece is open, and no more may be asked for twice, a request that has taken this many times longer than
/// another peer would need is moved to that peer.
pub(super) const STEAL_FACTOR: f32 = 10.0;

/// One in so many of a blob's pieces may be asked for twice: 2 %.
pub(super) const DUPLICATES_ONE_IN: u32 = 50;

/// Pieces of even the smallest blob that may be asked for twice: a unit.
pub(super) const DUPLICATES_MIN: u32 = 1;

/// Units of even the smallest blob of six pieces or more that one peer may be asked for twice, because another of its connections
/// does not get on: where packets are lost, one of a few connections may be ten times slower than the others.
pub(super) const DUPLICATES_OF_WAYS: u32 = 2;

/// Pieces of a blob that a peer must have brought before it is known how long one of its ways takes for a piece.
pub(super) const STREAK_MIN: u32 = 3;

/// A peer that sends nothing for this long while it owes pieces loses them to others that hold them.
pub(super) const STALL: Duration = Duration::from_secs(5);

/// A peer that sends nothing for this long while it owes pieces loses them even where no other peer holds them, and is
/// then asked for one piece only.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

/// Bytes of a piece after which a peer counts as heard, though the piece is not whole: it brings more than 3 KiB/s while
/// it is not quiet for [`STALL`]. A piece takes 8 s at 1 Mbit/s.
pub const HEARD_BYTES: u64 = 16 << 10;

/// How long a peer may be heard without a whole piece before other peers are asked as well, where the others have not shown
/// how quick they are: three pieces of 1 MiB, from three peers at once, over a line of 1 Mbit/s. Else it is as long as for a
/// late peer, and [`STALL`] at least.
pub(super) const HEARD_TRUSTED: Duration = Duration::from_secs(30);

/// How long a peer may be heard in all without a whole piece before it counts as silent: a piece of 1 MiB takes so long at
/// [`HEARD_BYTES`] in every [`STALL`].
pub const HEARD_MAX: Duration = Duration::from_secs(320);

/// Shortest pause after a peer has answered "busy", even where it names a shorter one.
pub(super) const BUSY_MIN: Duration = Duration::from_millis(50);

/// Longest pause after a peer has answered "busy", even where it names a longer one.
pub(super) const BUSY_MAX: Duration = Duration::from_secs(10);

/// How often the pause doubles while a peer remains busy. Few: room in its queue is soon free again, and a puller that
/// stays away too long misses it.
pub(super) const BUSY_DOUBLINGS: u32 = 2;
