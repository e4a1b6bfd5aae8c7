//! Decides how many lanes to one peer are worth their cost.

/// Bytes per second that a lane carries before another one may help. It is more than a link of 1 Gbit/s brings, and
/// less than one core decrypts and copies, even on a virtual machine that touches its memory for the first time.
const LANE_BUSY: u64 = 160_000_000;

/// Bytes per second of a far peer below which another lane may help: what 16 Mbit/s bring. Where packets are lost, TCP sends slowly
/// over each connection for itself.
const FAR_SLOW: u64 = 2_000_000;

/// Lanes to a far peer that is slow. In measurements at 20 % loss, each of the first three made pulls shorter and the fourth did not.
const FAR_LANES: usize = 3;

/// The facts that decide the number of lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneFacts {
    /// Open lanes to the peer.
    pub open: usize,
    /// Bytes per second that all of them have carried recently.
    pub rate: u64,
    /// Cores of this machine.
    pub cores: usize,
    /// Most lanes to one peer.
    pub max: usize,
    /// Bytes per second that the lanes to a far peer have carried since the last one of them opened, once that has lasted long
    /// enough to tell; `None` before, and where lanes to other peers bring enough.
    pub far_rate: Option<u64>,
}

/// Returns how many lanes there should be: one at first, then one more while all are busy, up to the number of cores
/// that read them. With two lanes, one goes on while the thread of the other waits. To a far peer that is slow there are up to
/// [`FAR_LANES`], which keep no core busy. An open lane stays open, because it costs nothing while it is idle.
pub fn lanes_wanted(facts: LaneFacts) -> usize {
    let LaneFacts { open, rate, cores, max, far_rate } = facts;
    let by_rate = usize::try_from(rate / LANE_BUSY).unwrap_or(max).saturating_add(1).min(cores.max(1));
    let is_slow = far_rate.is_some_and(|rate| rate < FAR_SLOW);
    let wanted = if is_slow { by_rate.max(FAR_LANES) } else { by_rate };
    wanted.min(open + 1).max(open).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(open: usize, rate: u64, cores: usize) -> usize {
        lanes_wanted(LaneFacts { open, rate, cores, max: 4, far_rate: None })
    }

    #[test]
    fn a_far_peer_that_is_slow_gets_three_lanes_one_by_one() {
        let far =
            |open, far_rate| lanes_wanted(LaneFacts { open, rate: 1_000_000, cores: 2, max: 4, far_rate });
        assert_eq!([0, 1, 2, 3, 4].map(|open| far(open, Some(300_000))), [1, 2, 3, 3, 4]);
        assert_eq!(far(1, Some(5_000_000)), 1, "one is enough where it is quick");
        assert_eq!(far(1, None), 1, "it is not known yet");
    }

    #[test]
    fn one_lane_begins_and_more_come_one_by_one_where_they_help() {
        assert_eq!(wanted(0, 0, 2), 1, "one begins");
        assert_eq!(wanted(1, 120_000_000, 16), 1, "a gigabit needs one");
        assert_eq!(wanted(1, 900_000_000, 16), 2);
        assert_eq!(wanted(1, 4_000_000_000, 16), 2, "one after the other");
        assert_eq!(wanted(2, 900_000_000, 16), 3);
        assert_eq!(wanted(3, 1_300_000_000, 16), 4);
        assert_eq!(wanted(4, 9_000_000_000, 64), 4, "never more than may be");
        assert_eq!(wanted(1, 900_000_000, 2), 2);
        assert_eq!(wanted(2, 900_000_000, 2), 2, "no more than there are cores");
        assert_eq!(wanted(1, 900_000_000, 1), 1);
        assert_eq!(wanted(3, 0, 2), 3, "no idle lane is closed");
    }
}
