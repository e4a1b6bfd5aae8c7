//! Every bound of the scheduler, with its reason.

use std::time::Duration;

/// Pieces that a reader's request has at most: 4 MiB in order from one peer, so that several peers feed one reader.
pub const UNIT_PIECES: u32 = 4;

/// Units that a blob is cut into where it has so many pieces: with fewer, peers would have little to exchange.
pub(super) const UNITS_WANTED: u32 = 1000;

/// Pieces that are asked of one peer and not yet stored: 64 MiB, which is 100 ms at 640 MB/s. It is also what a kill
/// of the puller can waste for each peer it pulls from.
pub const PIECES_IN_FLIGHT_PER_PEER: u32 = 64;

/// Pieces that are under way from everybody together, and from one peer before anything is known of it, however slow they
/// are. In simulation (500 nodes, 1,000 units) 6 take 1.105 of the bound, 4 take 1.127: with fewer, ways out stand idle.
pub(super) const START_PIECES: u32 = 6;

/// Units that a peer may owe however slow it is: one that is sent, and one that waits so that it need not pause.
pub(super) const WINDOW_UNITS_MIN: u32 = 2;

/// Units that are under way from everybody together however slow they are, as [`START_PIECES`].
pub(super) const DEMAND_UNITS_MIN: u32 = 6;

/// Pieces per second that a peer is taken for which has not answered yet: so it is tried before those that are known.
pub(super) const RATE_UNKNOWN: f32 = 1e6;

/// No web server is asked while a far peer would bring another piece within this time: a swarm that is fast enough costs
/// nobody else traffic, and a slow far peer does not keep a fast server idle.
pub(super) const WEB_AFTER: Duration = Duration::from_secs(1);

/// Under way is kept this much more than rate × delay says, so that a rate can grow. In simulation 1.5 takes 1.138 of the
/// bound where 1.2 takes 1.106: more of it lets those who are ahead crowd out those who are behind.
pub(super) const GAIN: f32 = 1.2;

/// Time between a piece's coming and the next request's going that a rate should bridge: hashing, writing, scheduling, and the
/// checkpoint that a thread with two pieces makes: with 20 ms a server on the same machine waited a quarter of its time.
pub(super) const SLACK: Duration = Duration::from_millis(100);

/// The quickest answer is forgotten by this part of the difference to each slower one: after some 64 of them.
pub(super) const QUICK_DRIFT: u32 = 64;

/// A peer that owes pieces and has been quiet this many times longer than the quickest answer takes is late.
pub(super) const LATE_FACTOR: u32 = 8;

/// No peer is late before this: one lost packet costs some hundred milliseconds.
pub(super) const LATE_MIN: Duration = Duration::from_millis(750);

/// Once nothing is open, what has been waited for this many times longer than another peer would take is asked of that
/// peer as well.
pub(super) const HEDGE_FACTOR: f32 = 3.0;

/// Once nothing is open, what has been waited for this many times longer than another peer would take is taken away for
/// it, where no more may be asked for twice.
pub(super) const STEAL_FACTOR: f32 = 10.0;

/// Of a blob's pieces, one in so many may be asked for twice: 2 %.
pub(super) const DUPLICATES_ONE_IN: u32 = 50;

/// Pieces that may be asked for twice of a blob however small: a unit.
pub(super) const DUPLICATES_MIN: u32 = 1;

/// A peer that sends nothing for this long while it owes pieces loses them to others that hold them.
pub(super) const STALL: Duration = Duration::from_secs(5);

/// A peer that sends nothing for this long while it owes pieces loses them even where nobody else holds them, and is
/// asked again for one piece only.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

/// A peer that refuses requests with "busy" is not asked before this long, whatever shorter time it names.
pub(super) const BUSY_MIN: Duration = Duration::from_millis(50);

/// A peer that refuses requests with "busy" is asked again after this long, whatever longer time it names.
pub(super) const BUSY_MAX: Duration = Duration::from_secs(10);

/// A peer that goes on to be busy is asked again twice as late each time, up to so often: a place in its queue is soon free
/// again, and who stays away too long misses the end.
pub(super) const BUSY_DOUBLINGS: u32 = 2;
