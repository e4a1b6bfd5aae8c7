//! [`Dispute`]: decides, after a piece did not match, whether the peer or the list of piece states is false.
//!
//! A signed list is only a claim: any publisher can sign a manifest that names a popular blob with false states. So the
//! downloader asks the peer for the states that it verifies by. If the peer sends the same list, it contradicts itself. If it
//! sends another list, the downloader requests the first piece where the lists differ: at most one list verifies it.
//!
//! This module has no protocol and no clock: the downloader drives it.

use reg_proto::digest::Digest;
use reg_proto::piece::PieceIndex;
use reg_proto::states::PieceStates;

/// The state of a dispute.
#[derive(Debug)]
pub(super) enum Dispute {
    /// The peer was asked for its states.
    AwaitingStates,
    /// The peer was asked for the piece where the lists differ.
    AwaitingPiece { theirs: PieceStates, piece: PieceIndex },
}

/// The outcome of a step of a dispute.
#[derive(Debug)]
pub(super) enum Ruling {
    /// Ask the peer for this piece.
    Ask { piece: PieceIndex, dispute: Dispute },
    /// The peer sent bytes that its own list does not verify, or a list that is false.
    PeerLies,
    /// The list that this node verifies by is false: it does not belong to the blob.
    ListIsFalse,
}

/// Judges by the states that the peer sent. `ours` are the states that this node verifies by.
pub(super) fn on_states(ours: &PieceStates, theirs: &[u8]) -> Ruling {
    let Ok(theirs) = PieceStates::parse(ours.layout(), theirs) else { return Ruling::PeerLies };
    match ours.parting(&theirs) {
        None => Ruling::PeerLies,
        Some(piece) => Ruling::Ask { piece, dispute: Dispute::AwaitingPiece { theirs, piece } },
    }
}

/// Judges by the bytes that the peer sent of the piece where the lists differ.
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
