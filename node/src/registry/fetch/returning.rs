//! [`Returning`]: the peers that a download goes back to: those that were known to hold its blobs, where their streams have ended.

use std::collections::BTreeMap;
use std::time::Duration;

use reg_proto::peer::PeerId;
use tokio::time::Instant;

use crate::registry::limits::{RETURN_FIRST, RETURN_LATER, RETURNING_MAX};

/// The peers that are worth dialling again.
#[derive(Debug, Default)]
pub(super) struct Returning(BTreeMap<PeerId, Redial>);

#[derive(Debug)]
struct Redial {
    /// When to dial; `None` while the peer is connected or being dialled.
    due: Option<Instant>,
    wait: Duration,
    /// Whether it has sent a piece.
    has_sent: bool,
}

impl Returning {
    /// Adds a peer that is said to hold a wanted blob, within the bound.
    pub(super) fn expect(&mut self, peer: PeerId) {
        if self.0.len() < RETURNING_MAX {
            self.0.entry(peer).or_insert(Redial { due: None, wait: RETURN_FIRST, has_sent: false });
        }
    }

    /// Notes that the stream of a peer has ended, or that dialling it has failed: a known one is dialled again, each time after
    /// a longer wait.
    pub(super) fn lost(&mut self, peer: &PeerId, now: Instant) {
        if let Some(redial) = self.0.get_mut(peer) {
            redial.due = Some(now + redial.wait);
            redial.wait = (redial.wait * 2).min(RETURN_LATER);
        }
    }

    /// Notes that a peer has sent a verified piece. It takes the place of one that has not, so that a crowd of peers which only
    /// say that they hold a blob does not keep out the one that does.
    pub(super) fn has_sent(&mut self, peer: PeerId) {
        if self.0.len() >= RETURNING_MAX && !self.0.contains_key(&peer) {
            let Some(idle) = self.0.iter().find(|(_, it)| !it.has_sent).map(|(idle, _)| *idle) else {
                return;
            };
            self.0.remove(&idle);
        }
        self.0.insert(peer, Redial { due: None, wait: RETURN_FIRST, has_sent: true });
    }

    /// Tells whether a peer is known to have held a wanted blob.
    pub(super) fn knows(&self, peer: &PeerId) -> bool {
        self.0.contains_key(peer)
    }

    /// Never goes back to this peer.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }

    /// Returns the peers to dial now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<PeerId> {
        let due = self.0.iter_mut().filter(|(_, it)| it.due.is_some_and(|due| due <= now));
        due.map(|(peer, it)| {
            it.due = None;
            *peer
        })
        .collect()
    }

    /// Returns one of the peers, for a message, and how many more there are: one that has sent a piece, if any has.
    pub(super) fn shown(&self) -> Option<(PeerId, usize)> {
        let (peer, _) = self.0.iter().find(|(_, it)| it.has_sent).or_else(|| self.0.iter().next())?;
        Some((*peer, self.0.len() - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(byte: u8) -> PeerId {
        PeerId::from_public_key([byte; 32])
    }

    #[test]
    fn a_lost_peer_is_dialled_again_and_again_and_more_seldom() {
        let mut returning = Returning::default();
        let mut now = Instant::now();
        returning.lost(&peer(1), now);
        assert_eq!(returning.shown(), None, "it never held anything");
        returning.expect(peer(1));
        assert!(returning.due(now + RETURN_LATER).is_empty(), "it is connected");
        let mut waits = Vec::new();
        for _dial in 0..8 {
            returning.lost(&peer(1), now);
            let start = now;
            while returning.due(now).is_empty() {
                now += Duration::from_millis(50);
            }
            assert!(returning.due(now).is_empty(), "once");
            waits.push(now - start);
        }
        assert_eq!((waits[0], waits[7]), (RETURN_FIRST, RETURN_LATER), "{waits:?}");
        assert!(waits.is_sorted());
        returning.has_sent(peer(1));
        returning.lost(&peer(1), now);
        assert_eq!(returning.due(now + RETURN_FIRST), [peer(1)]);
        returning.forget(&peer(1));
        assert_eq!(returning.shown(), None);
    }

    #[test]
    fn they_are_bounded() {
        let mut returning = Returning::default();
        (0..=u8::MAX).for_each(|n| returning.expect(peer(n)));
        assert_eq!(returning.shown(), Some((peer(0), RETURNING_MAX - 1)));
        // One that serves is gone back to all the same.
        returning.has_sent(peer(255));
        assert_eq!(returning.shown(), Some((peer(255), RETURNING_MAX - 1)));
        (0..=u8::MAX).for_each(|n| returning.has_sent(peer(n)));
        assert!(returning.knows(&peer(255)), "none that has sent a piece is replaced");
        assert_eq!(returning.shown(), Some((peer(0), RETURNING_MAX - 1)));
    }
}
