//! [`Tokens`]: the one-time tokens that admit pullers to lanes. Time and chance are arguments.

use std::collections::BTreeMap;
use std::time::Instant;

use reg_proto::lane::LaneToken;
use reg_proto::peer::PeerId;

use crate::net::limits::{LANE_TOKEN_TTL, LANE_TOKENS_MAX, LANE_TOKENS_PER_PEER_MAX};

/// The tokens that wait for their puller, each with a value of the caller.
#[derive(Debug)]
pub(super) struct Tokens<T>(BTreeMap<LaneToken, Waiting<T>>);

#[derive(Debug)]
struct Waiting<T> {
    peer: PeerId,
    until: Instant,
    admits: T,
}

impl<T> Tokens<T> {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a token for `peer`, valid for [`LANE_TOKEN_TTL`]; returns `false` where the table or the peer's share is
    /// full.
    pub(super) fn add(&mut self, now: Instant, token: LaneToken, peer: PeerId, admits: T) -> bool {
        self.0.retain(|_, it| it.until > now);
        let of_peer = self.0.values().filter(|it| it.peer == peer).count();
        if self.0.len() >= LANE_TOKENS_MAX || of_peer >= LANE_TOKENS_PER_PEER_MAX {
            return false;
        }
        self.0.insert(token, Waiting { peer, until: now + LANE_TOKEN_TTL, admits });
        true
    }

    /// Removes the token that `peer` has sent, and returns its value if the token is this peer's and still valid. A
    /// token that another peer sends is used up, too.
    pub(super) fn redeem(&mut self, now: Instant, token: &LaneToken, peer: &PeerId) -> Option<T> {
        let waiting = self.0.remove(token)?;
        (waiting.peer == *peer && waiting.until > now).then_some(waiting.admits)
    }

    /// Tells whether any token waits.
    pub(super) fn is_any(&self, now: Instant) -> bool {
        self.0.values().any(|it| it.until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_public_key([n; 32])
    }

    fn token(n: u8) -> LaneToken {
        LaneToken::from_bytes([n; 16])
    }

    #[test]
    fn a_token_admits_its_peer_once_and_in_time() {
        let (mut tokens, now) = (Tokens::new(), Instant::now());
        assert!(!tokens.is_any(now));
        assert!(tokens.add(now, token(1), peer(1), "a"));
        assert_eq!(tokens.redeem(now, &token(9), &peer(1)), None, "a wrong token");
        assert_eq!(tokens.redeem(now, &token(1), &peer(1)), Some("a"));
        assert_eq!(tokens.redeem(now, &token(1), &peer(1)), None, "a token used twice");
        assert!(tokens.add(now, token(2), peer(1), "b"));
        assert_eq!(tokens.redeem(now, &token(2), &peer(2)), None, "another peer's token");
        assert_eq!(tokens.redeem(now, &token(2), &peer(1)), None, "which is used up");
        assert!(tokens.add(now, token(3), peer(1), "c"));
        assert_eq!(tokens.redeem(now + LANE_TOKEN_TTL, &token(3), &peer(1)), None, "too late");
    }

    #[test]
    fn the_table_is_bounded_and_forgets() {
        let (mut tokens, now) = (Tokens::new(), Instant::now());
        let mut added = 0;
        for n in 0..=255u8 {
            for at in 0..=255u8 {
                let token = LaneToken::from_bytes([n, at, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                added += usize::from(tokens.add(now, token, peer(n), ()));
            }
            assert!(added <= (usize::from(n) + 1) * LANE_TOKENS_PER_PEER_MAX);
        }
        assert_eq!(added, LANE_TOKENS_MAX);
        let later = now + LANE_TOKEN_TTL;
        assert!(!tokens.is_any(later));
        assert!(tokens.add(later, token(1), peer(1), ()));
        assert_eq!(tokens.0.len(), 1);
    }
}
