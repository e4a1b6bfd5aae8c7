//! [`surplus`]: which peers to disconnect where more are connected than are of use.

use std::cmp::Reverse;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use reg_proto::peer::PeerId;

use super::limits::{FREE_KEPT, OUTGOING_KEPT, PEER_OF_USE, PEER_SETTLES, PEERS_TARGET};

/// What decides whether a connected peer stays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub peer: PeerId,
    /// Whether something depends on the connection now: a stream, a relay, gossip, or the user's configuration.
    pub is_needed: bool,
    /// Whether this node dialled it. No stranger makes this node dial at will.
    pub is_outgoing: bool,
    /// How long ago it connected.
    pub age: Duration,
    /// How long ago it, or this node, last asked the other for something.
    pub used: Option<Duration>,
    /// How long ago it last sent what this node had asked for, and it verified.
    pub of_use: Option<Duration>,
}

/// Returns the peers to disconnect, so that [`PEERS_TARGET`] remain, or more where more are needed: beside these,
/// [`FREE_KEPT`] stay.
///
/// Peers stay that something depends on, the oldest that this node dialled, and those that have just come. Of the others,
/// those go first that neither end has asked lately, by chance, so that neither the early nor the late crowd has all the
/// places. Then those go that were asked and sent nothing that verified: a search asks many peers in turn, and the one that
/// has answered must not go because it was asked first.
pub(super) fn surplus(connected: &[Facts]) -> Vec<PeerId> {
    let over = connected.len().saturating_sub(PEERS_TARGET);
    if over == 0 {
        return Vec::new();
    }
    let mut free: Vec<&Facts> = connected.iter().filter(|it| !it.is_needed).collect();
    free.sort_by_key(|it| (Reverse(it.is_outgoing), Reverse(it.age)));
    let over = over.min(free.len().saturating_sub(FREE_KEPT));
    let kept = free.iter().take_while(|it| it.is_outgoing).count().min(OUTGOING_KEPT);
    let mut free: Vec<&Facts> = free.into_iter().skip(kept).filter(|it| it.age >= PEER_SETTLES).collect();
    let chance = RandomState::new();
    free.sort_by_key(|it| {
        let [of_use, used] = [it.of_use, it.used].map(|ago| ago.filter(|ago| *ago < PEER_OF_USE));
        (
            of_use.is_some(),
            used.is_some(),
            Reverse(of_use),
            Reverse(used),
            chance.hash_one(it.peer.public_key()),
        )
    });
    free.into_iter().take(over).map(|it| it.peer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(n: usize) -> Facts {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_be_bytes());
        let peer = PeerId::from_public_key(key);
        Facts {
            peer,
            is_needed: false,
            is_outgoing: false,
            age: Duration::from_secs(100),
            used: None,
            of_use: None,
        }
    }

    #[test]
    fn there_is_no_surplus_up_to_the_target() {
        let all: Vec<Facts> = (0..PEERS_TARGET).map(idle).collect();
        assert_eq!(surplus(&all), []);
    }

    #[test]
    fn peers_that_are_of_use_stay_and_a_crowd_goes() {
        let second = Duration::from_secs(1);
        let mut all: Vec<Facts> = (0..PEERS_TARGET + 30).map(idle).collect();
        all[0].is_needed = true;
        all[1].used = Some(second);
        all[2].age = second;
        all[3].is_outgoing = true;
        let gone = surplus(&all);
        assert_eq!(gone.len(), 30);
        assert!(all[..4].iter().all(|it| !gone.contains(&it.peer)), "{gone:?}");
        let by_chance = (0..100).any(|_| surplus(&all) != gone);
        assert!(by_chance, "no crowd can foresee which peers go");
    }

    #[test]
    fn where_all_are_of_use_those_go_that_were_used_longest_ago() {
        let mut all: Vec<Facts> = (0..PEERS_TARGET + 2).map(idle).collect();
        for (n, it) in all.iter_mut().enumerate() {
            it.used = Some(Duration::from_millis(n as u64));
        }
        let last = [PEERS_TARGET + 1, PEERS_TARGET].map(|n| all[n].peer);
        assert_eq!(surplus(&all), last);
    }

    #[test]
    fn a_peer_that_has_answered_stays_longer_than_those_that_were_only_asked_after_it() {
        let mut all: Vec<Facts> = (0..2 * PEERS_TARGET).map(idle).collect();
        for (n, it) in all.iter_mut().enumerate() {
            it.used = Some(Duration::from_secs(100 - n as u64));
        }
        all[0].of_use = Some(Duration::from_secs(100));
        let gone = surplus(&all);
        assert!(gone.len() == PEERS_TARGET && !gone.contains(&all[0].peer));
        all[0].of_use = Some(PEER_OF_USE);
        assert!(surplus(&all).contains(&all[0].peer), "it was of use long ago");
    }

    #[test]
    fn of_those_that_this_node_dialled_the_oldest_stay() {
        let mut all: Vec<Facts> = (0..2 * PEERS_TARGET).map(idle).collect();
        for (n, it) in all.iter_mut().enumerate() {
            it.is_outgoing = true;
            it.age = Duration::from_secs(1000 - n as u64);
        }
        let gone = surplus(&all);
        assert!(all[..OUTGOING_KEPT].iter().all(|it| !gone.contains(&it.peer)) && gone.len() == PEERS_TARGET);
    }

    #[test]
    fn a_crowd_that_is_needed_does_not_take_all_the_places() {
        let mut all: Vec<Facts> =
            (0..2 * PEERS_TARGET).map(|n| Facts { is_needed: true, ..idle(n) }).collect();
        all.extend((0..FREE_KEPT + 3).map(|n| idle(1000 + n)));
        assert_eq!(surplus(&all).len(), 3);
    }

    #[test]
    fn what_is_needed_stays_whatever_their_number() {
        let all: Vec<Facts> = (0..2 * PEERS_TARGET).map(|n| Facts { is_needed: true, ..idle(n) }).collect();
        assert_eq!(surplus(&all), []);
    }
}
