//! Decides how many lanes to one peer are worth their cost.

/// Bytes per second that a lane carries before another one may help. It is more than a link of 1 Gbit/s brings, and
/// less than one core decrypts and copies, even on a virtual machine that touches its memory for the first time.
const LANE_BUSY: u64 = 160_000_000;

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
}

/// Returns how many lanes there should be: one at first, then one more while all are busy, up to the number of cores
/// that read them. With two lanes, one goes on while the thread of the other waits. An open lane stays open, because it
/// costs nothing while it is idle.
pub fn lanes_wanted(facts: LaneFacts) -> usize {
    let LaneFacts { open, rate, cores, max } = facts;
    let by_rate = usize::try_from(rate / LANE_BUSY).unwrap_or(max).saturating_add(1);
    by_rate.min(cores.max(1)).min(open + 1).max(open).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(open: usize, rate: u64, cores: usize) -> usize {
        lanes_wanted(LaneFacts { open, rate, cores, max: 4 })
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
