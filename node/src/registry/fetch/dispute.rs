//! [`Dispute`]: a piece did not match; who is wrong, the peer that sent it or the list of states it was checked by?
//!
//! A signed list is only a claim: anyone can sign a manifest that names a popular blob with false states. So the peer is
//! asked which states it goes by. The same list: the peer contradicts itself. Another list: the one piece where the two
//! part passes under at most one of them, and settles it. No protocol, no clock: the downloader drives it.

use reg_proto::digest::Digest;
use reg_proto::piece::PieceIndex;
use reg_proto::states::PieceStates;

/// Where a dispute stands.
#[derive(Debug)]
pub(super) enum Dispute {
    /// The peer has been asked for its states.
    AwaitingStates,
    /// The peer has been asked for the piece where the lists part.
    AwaitingPiece { theirs: PieceStates, piece: PieceIndex },
}

/// What a dispute has come to.
#[derive(Debug)]
pub(super) enum Ruling {
    /// Ask the peer for this piece.
    Ask { piece: PieceIndex, dispute: Dispute },
    /// The peer sends bytes that its own list does not pass, or a list that is false.
    PeerLies,
    /// The list that we go by is false: it does not belong to the blob.
    ListIsFalse,
}

/// Judges by the states that the peer says it goes by.
pub(super) fn on_states(ours: &PieceStates, theirs: &[u8]) -> Ruling {
    let Ok(theirs) = PieceStates::parse(ours.layout(), theirs) else { return Ruling::PeerLies };
    match ours.parting(&theirs) {
        None => Ruling::PeerLies,
        Some(piece) => Ruling::Ask { piece, dispute: Dispute::AwaitingPiece { theirs, piece } },
    }
}

/// Judges by the bytes that the peer sends of the piece where the lists part.
pub(super) fn on_piece(
    blob: &Digest,
    ours: &PieceStates,
    theirs: &PieceStates,
    piece: PieceIndex,
    bytes: &[u8],
) -> Ruling {
    if theirs.verify(blob, piece, bytes) && !ours.verify(blob, piece, bytes) {
        Ruling::ListIsFalse
    } else {
        Ruling::PeerLies
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reg_proto::piece::PIECE_LEN;
    use reg_proto::states::{Hashed, STATE_LEN, StateHasher};

    use super::*;

    fn hashed(bytes: &[u8]) -> Hashed {
        let mut hasher = StateHasher::new();
        hasher.update(bytes);
        hasher.finish().unwrap()
    }

    fn rule(blob: &Digest, ours: &PieceStates, theirs: &PieceStates, bytes: &[u8]) -> Ruling {
        match on_states(ours, &theirs.to_bytes()) {
            Ruling::Ask { piece, dispute: Dispute::AwaitingPiece { theirs, .. } } => {
                let start = ours.layout().offset(piece) as usize;
                on_piece(blob, ours, &theirs, piece, &bytes[start..start + ours.layout().piece_len(piece)])
            }
            ruling => ruling,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn the_true_list_wins_wherever_the_false_one_is_bent(bends in prop::collection::vec((0usize..4, 0usize..STATE_LEN), 1..6)) {
            let bytes: Vec<u8> = (0..4 * PIECE_LEN as usize + 77).map(|i| (i * 7 + (i >> 9)) as u8).collect();
            let Hashed { digest, states } = hashed(&bytes);
            let mut bent = states.to_bytes();
            for (state, byte) in bends {
                bent[state * STATE_LEN + byte] ^= 0x40;
            }
            let bent = PieceStates::parse(states.layout(), &bent).unwrap();
            if bent == states { return Ok(()); }
            prop_assert!(matches!(rule(&digest, &bent, &states, &bytes), Ruling::ListIsFalse));
            prop_assert!(matches!(rule(&digest, &states, &bent, &bytes), Ruling::PeerLies));
            prop_assert!(matches!(rule(&digest, &states, &states, &bytes), Ruling::PeerLies));
            prop_assert!(matches!(on_states(&states, b"short"), Ruling::PeerLies));
        }
    }
}
