//! Asks one peer for one piece, verifies it, and judges how long it took.
//!
//! A peer that does not hold a piece can fetch it from elsewhere when it is asked. Its first byte then comes later: by a search,
//! a dial, a sleeping store or a slow line. So a piece proves something only within [`first_byte`] and [`whole`]. They are wide
//! enough for a disk at work and a queue of some other pullers, and a piece that is late costs an honest peer no proof. A peer
//! with a fast line to another holder stays within them: that no time can find out. Such peers count as long as their source
//! lives.

use std::sync::Arc;
use std::time::Duration;

use reg_commons::{Answer, Ask, Zone};
use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::piece::PIECE_LEN;
use reg_proto::states::PieceStates;
use reg_proto::wire::Rejection;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::Health;
use crate::net::{FrameReader, FrameWriter, OpenStreamError};
use crate::registry::fetch::{OnePiece, ask_for_piece};

/// How long connecting to a peer and opening a stream may take: as long as a dial.
const OPEN_MAX: Duration = Duration::from_secs(20);
/// How long the first bytes of a piece may take, beside round trips: a disk at work, and its turn among a few other pullers.
const FIRST_BYTE: Duration = Duration::from_secs(2);
/// Round trips until the first bytes come: the stream's, the request's, and as many for packets that were lost.
const ROUND_TRIPS: u32 = 4;
/// The longest round trip that counts: a peer could answer pings late, to be allowed more time.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(1);
/// Bytes that come in a second from the slowest peer that is waited for: the least rate to which a node may limit itself.
const SLOWEST: u32 = 64_000;
/// Longest time of one ask: connecting, and the latest last byte of the largest piece.
pub(super) const ASK_MAX: Duration = Duration::from_secs(60);

/// What [`ASK_MAX`] must suffice for, in seconds.
const ASK_SECONDS: u64 = OPEN_MAX.as_secs()
    + FIRST_BYTE.as_secs()
    + ROUND_TRIP_MAX.as_secs() * ROUND_TRIPS as u64
    + PIECE_LEN / SLOWEST as u64;
const _: () = assert!(ASK_MAX.as_secs() > ASK_SECONDS);

/// What came of asking for a piece.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) answer: Answer,
    /// Bytes of the piece that came.
    pub(super) bytes: u64,
    /// Where the peer was reached; `None` if it was not.
    pub(super) zone: Option<Zone>,
}

/// What says which bytes are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The blob is in the store, and was verified.
    Store,
    /// A publisher has signed it for a model that is not in the store. It may have signed anything: where the bytes differ, the
    /// publisher may be wrong as well as the peer.
    Publisher,
}

/// What verifies a piece.
struct Proof {
    /// `None` for a blob of one piece, which is named by its digest.
    states: Option<PieceStates>,
    source: Source,
}

impl Proof {
    fn is_right(&self, ask: &Ask, bytes: &[u8]) -> bool {
        bytes.len() == ask.bytes as usize
            && match &self.states {
                None => Digest::of(bytes) == ask.blob,
                Some(states) => states.verify(&ask.blob, ask.piece, bytes),
            }
    }

    /// Returns what a piece says that came and is not right. A peer is found to lie only by what was verified.
    const fn wrong(&self) -> Answer {
        match self.source {
            Source::Store => Answer::Wrong,
            Source::Publisher => Answer::Late,
        }
    }
}

/// Returns how long the first bytes of a piece may take.
fn first_byte(round_trip: Option<Duration>) -> Duration {
    FIRST_BYTE + round_trip.unwrap_or(ROUND_TRIP_MAX).min(ROUND_TRIP_MAX) * ROUND_TRIPS
}

/// Returns how long a piece of `bytes` bytes may take in all.
fn whole(round_trip: Option<Duration>, bytes: u32) -> Duration {
    first_byte(round_trip) + Duration::from_secs(1) * bytes / SLOWEST
}

/// Tells what a piece says that came and is right.
fn judge(first: Duration, all: Duration, round_trip: Option<Duration>, bytes: u32) -> Answer {
    match first <= first_byte(round_trip) && all <= whole(round_trip, bytes) {
        true => Answer::Passed,
        false => Answer::Late,
    }
}

impl Health {
    /// Asks a peer for a piece; dials it first where it is not connected.
    pub(super) async fn ask(self: Arc<Self>, ask: Ask) -> Asked {
        let unreached = Asked { answer: Answer::Unreachable, bytes: 0, zone: None };
        let Some(proof) = self.proof_of(ask).await else { return unreached };
        let (reader, writer) = match timeout(OPEN_MAX, self.network.open_stream(ask.peer)).await {
            Ok(Ok(opened)) => opened,
            // The peer is in another private swarm, or in none, and this node asks it for no piece.
            Ok(Err(OpenStreamError::OtherNetwork)) => {
                return Asked { answer: Answer::NotGiven, ..unreached };
            }
            Ok(Err(error)) => {
                debug!(peer = %ask.peer, %error, "a peer is not audited");
                return unreached;
            }
            Err(_) => return unreached,
        };
        let info = self.network.peers().await.into_iter().find(|it| it.peer == ask.peer);
        let round_trip = info.as_ref().and_then(|it| it.rtt_ms).map(Duration::from_millis);
        let zone = info.map(|it| self.settings.zones.of_peer(&it.addresses));
        let (answer, bytes) = fetch((reader, writer), &ask, &proof, round_trip).await;
        let answer = match answer {
            Answer::Wrong => {
                self.resolver.ban(ask.peer);
                answer
            }
            answer => answer,
        };
        Asked { answer, bytes, zone }
    }

    /// Returns what verifies the piece; `None` where the store cannot say.
    async fn proof_of(&self, ask: Ask) -> Option<Proof> {
        let (store, blob) = (self.store.clone(), ask.blob);
        let Some(size) = store.blob_size(&blob) else {
            let (layout, states) = self.candidate_blob(&ask.model, &blob)?;
            let is_verifiable = layout.piece_count() == 1 || states.is_some();
            return is_verifiable.then_some(Proof { states, source: Source::Publisher });
        };
        if size <= PIECE_LEN {
            return Some(Proof { states: None, source: Source::Store });
        }
        let states = tokio::task::spawn_blocking(move || store.states(&blob)).await.ok()?;
        let states = states.inspect_err(|error| debug!(%blob, %error, "a blob is not audited")).ok()?;
        Some(Proof { states: Some(states), source: Source::Store })
    }
}

/// Requests a piece on a stream, and judges what comes. Returns the bytes that came, too.
async fn fetch(
    opened: (FrameReader, FrameWriter),
    ask: &Ask,
    proof: &Proof,
    round_trip: Option<Duration>,
) -> (Answer, u64) {
    let begun = Instant::now();
    let end = begun + whole(round_trip, ask.bytes);
    let is_right = |bytes: &[u8]| proof.is_right(ask, bytes);
    match ask_for_piece(opened, ask.blob, ask.piece, end, is_right).await {
        OnePiece::Came { is_right: true, bytes, first } => {
            let first = first.saturating_duration_since(begun);
            (judge(first, begun.elapsed(), round_trip, ask.bytes), bytes)
        }
        OnePiece::Came { is_right: false, bytes, .. } => {
            debug!(peer = %ask.peer, blob = %ask.blob, source = ?proof.source, "a piece is not the one that was signed");
            (proof.wrong(), bytes)
        }
        OnePiece::Rejected(reason) => (rejected(&reason), 0),
        // So does an honest peer that serves as many streams as it can, and one that disconnects.
        OnePiece::Ended => (Answer::Busy, 0),
        OnePiece::Broken => (Answer::Unreachable, 0),
        OnePiece::NotSent => (Answer::Late, 0),
        // A part of the piece may have come.
        OnePiece::TooLate => (Answer::Late, ask.bytes.into()),
    }
}

/// A peer that is busy, or verifies its copy again, may hold the piece and may not.
const fn rejected(reason: &Rejection) -> Answer {
    match reason {
        Rejection::Busy { .. } | Rejection::Unverified => Answer::Busy,
        Rejection::NotHere | Rejection::Malformed => Answer::NotGiven,
    }
}

/// Returns the peers of which `network` says where they are.
pub(super) async fn zones(health: &Health) -> Vec<(PeerId, Zone)> {
    let peers = health.network.peers().await.into_iter().filter(|it| !it.outdated);
    peers.map(|it| (it.peer, health.settings.zones.of_peer(&it.addresses))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_piece_proves_nothing() {
        let (ms, piece) = (Duration::from_millis, 1 << 20);
        for (first, all, round_trip, bytes, is_passed) in [
            (ms(10), ms(50), Some(ms(1)), piece, true),
            (ms(2004), ms(2100), Some(ms(1)), piece, true),
            (ms(2005), ms(2100), Some(ms(1)), piece, false),
            (ms(2800), ms(2900), Some(ms(200)), piece, true),
            // No peer gains more than a second for each round trip, however late it answers pings.
            (ms(6000), ms(6100), Some(ms(60_000)), piece, true),
            (ms(6001), ms(6100), Some(ms(60_000)), piece, false),
            (ms(6000), ms(6100), None, piece, true),
            // A line of 64 kB/s takes 16.4 s for a piece.
            (ms(100), ms(18_384), Some(ms(0)), piece, true),
            (ms(100), ms(18_385), Some(ms(0)), piece, false),
            (ms(100), ms(2100), Some(ms(0)), 6400, true),
            (ms(100), ms(2101), Some(ms(0)), 6400, false),
        ] {
            let answer = judge(first, all, round_trip, bytes);
            let expected = if is_passed { Answer::Passed } else { Answer::Late };
            assert_eq!(answer, expected, "{first:?} {all:?} {round_trip:?} {bytes}");
        }
    }

    /// A publisher that re-signs a model of another one with false states would have each true holder banned.
    #[test]
    fn states_that_only_a_publisher_has_signed_convict_no_peer() {
        let layout = reg_proto::piece::BlobLayout::new(2 * PIECE_LEN).unwrap();
        let bytes = vec![7; PIECE_LEN as usize];
        let ask = Ask {
            model: Digest::of(b"model"),
            peer: PeerId::from_public_key([1; 32]),
            blob: Digest::of(b"blob"),
            piece: layout.last(),
            bytes: PIECE_LEN as u32,
        };
        let false_states = PieceStates::parse(layout, &vec![0; PieceStates::byte_len(layout)]).unwrap();
        for states in [Some(false_states), None] {
            for (source, answer) in [(Source::Store, Answer::Wrong), (Source::Publisher, Answer::Late)] {
                let proof = Proof { states: states.clone(), source };
                assert!(!proof.is_right(&ask, &bytes));
                assert_eq!(proof.wrong(), answer, "{source:?}");
            }
        }
    }

    #[test]
    fn a_rejection_is_judged_by_its_reason() {
        for (reason, answer) in [
            (Rejection::Busy { retry_ms: 5 }, Answer::Busy),
            (Rejection::Unverified, Answer::Busy),
            (Rejection::NotHere, Answer::NotGiven),
            (Rejection::Malformed, Answer::NotGiven),
        ] {
            assert_eq!(rejected(&reason), answer, "{reason:?}");
        }
    }
}
