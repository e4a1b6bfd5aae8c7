//! [`OpenLanes`]: counts the lanes that are open, and bounds them. [`LaneEnd`]: closes one from outside.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reg_proto::peer::PeerId;

use crate::net::limits::{LANES_PER_PEER_MAX, LANES_SERVED_MANY, LANES_SERVED_MAX};

/// Which way the pieces of a lane go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    /// This node pulls.
    FromPeer,
    /// This node serves.
    ToPeer,
}

/// How many lanes are open, by peer and direction. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenLanes(Arc<Mutex<BTreeMap<(PeerId, Direction), usize>>>);

/// A lane's share of the bounds, for as long as it lives.
#[derive(Debug)]
pub(super) struct OpenLane {
    lanes: OpenLanes,
    key: (PeerId, Direction),
}

impl OpenLanes {
    /// Tells whether one more lane may open.
    pub(super) fn has_room(&self, peer: PeerId, direction: Direction) -> bool {
        has_room(&self.lock(), (peer, direction))
    }

    /// Counts one more lane; returns `None` where there is no room for it.
    pub(super) fn enter(&self, peer: PeerId, direction: Direction) -> Option<OpenLane> {
        let key = (peer, direction);
        let mut open = self.lock();
        if !has_room(&open, key) {
            return None;
        }
        *open.entry(key).or_default() += 1;
        Some(OpenLane { lanes: self.clone(), key })
    }

    /// Returns how many lanes are open to a peer and from it.
    pub(super) fn count(&self, peer: PeerId) -> usize {
        let open = self.lock();
        let both = [Direction::FromPeer, Direction::ToPeer];
        both.into_iter().filter_map(|direction| open.get(&(peer, direction))).sum()
    }

    /// Returns how many lanes are open from all peers.
    pub(super) fn of_all(&self) -> usize {
        let open = self.lock();
        open.iter()
            .filter(|((_, direction), _)| *direction == Direction::FromPeer)
            .map(|(_, lanes)| lanes)
            .sum()
    }

    /// The lock guards plain data that is consistent after every statement, so a panic of another thread does not spoil
    /// it.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(PeerId, Direction), usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_room(open: &BTreeMap<(PeerId, Direction), usize>, key: (PeerId, Direction)) -> bool {
    let of_peer = open.get(&key).copied().unwrap_or(0);
    let served = open.iter().filter(|((_, direction), _)| *direction == Direction::ToPeer);
    let served: usize = served.map(|(_, lanes)| lanes).sum();
    let most = if of_peer == 0 { LANES_SERVED_MAX } else { LANES_SERVED_MANY };
    of_peer < LANES_PER_PEER_MAX && !(key.1 == Direction::ToPeer && served >= most)
}

impl Drop for OpenLane {
    fn drop(&mut self) {
        let mut open = self.lanes.lock();
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}

/// Ends a lane from outside, whatever its thread waits for.
#[derive(Debug, Clone)]
pub struct LaneEnd(Arc<TcpStream>);

impl LaneEnd {
    pub(super) fn of(socket: &TcpStream) -> io::Result<Self> {
        Ok(Self(Arc::new(socket.try_clone()?)))
    }

    /// Closes the lane.
    pub fn close(&self) {
        let _closed_already = self.0.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_pullers_have_one_lane_each_before_one_has_several() {
        let (open, mut held) = (OpenLanes::default(), Vec::new());
        let peer = |n: usize| PeerId::from_public_key([n as u8; 32]);
        for n in 0..LANES_SERVED_MANY {
            assert_eq!(open.has_room(peer(0), Direction::ToPeer), n < LANES_PER_PEER_MAX);
            let next = if n < LANES_PER_PEER_MAX { peer(0) } else { peer(n) };
            held.extend(open.enter(next, Direction::ToPeer));
        }
        assert_eq!(held.len(), LANES_SERVED_MANY);
        let later = peer(LANES_SERVED_MANY);
        held.extend(open.enter(later, Direction::ToPeer));
        assert_eq!(held.len(), LANES_SERVED_MANY + 1, "a peer without a lane");
        assert!(open.enter(later, Direction::ToPeer).is_none(), "it has one");
        assert!(open.enter(later, Direction::FromPeer).is_some(), "this node pulls");
        for n in held.len()..LANES_SERVED_MAX {
            held.extend(open.enter(peer(100 + n), Direction::ToPeer));
        }
        assert_eq!(held.len(), LANES_SERVED_MAX);
        assert!(open.enter(peer(99), Direction::ToPeer).is_none(), "none is left");
        assert_eq!(open.of_all(), 0, "the lane of the pull was dropped");
    }
}
