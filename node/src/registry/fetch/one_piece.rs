//! [`ask_for_piece`]: asks a peer for one piece that is not stored, only judged.

use reg_proto::digest::Digest;
use reg_proto::piece::PieceIndex;
use reg_proto::wire::{Frame, Rejection};
use tokio::time::{Instant, timeout_at};

use crate::net::{FrameReader, FrameWriter};
use crate::registry::limits::FRAMES_BEFORE_PIECE_MAX;

/// The number of the only request on a stream.
const REQUEST: u32 = 1;

/// What came of asking for a piece.
#[derive(Debug, PartialEq, Eq)]
pub enum OnePiece {
    /// Bytes came, `first` the first of them. They are the piece where `is_right`.
    Came {
        is_right: bool,
        bytes: u64,
        first: Instant,
    },
    Rejected(Rejection),
    /// The peer ended its stream, or sent other frames only.
    Ended,
    /// The stream broke.
    Broken,
    /// The request could not be sent in time.
    NotSent,
    /// The piece did not come in time, or not all of it.
    TooLate,
}

/// Asks for a piece on a stream that carries nothing else, and waits until `end`. `is_right` judges its bytes.
pub async fn ask_for_piece(
    (mut reader, mut writer): (FrameReader, FrameWriter),
    blob: Digest,
    asked: PieceIndex,
    end: Instant,
    is_right: impl Fn(&[u8]) -> bool,
) -> OnePiece {
    let request = Frame::Request { id: REQUEST, blob, first: asked.get(), count: 1 };
    match timeout_at(end, writer.send(&request)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return OnePiece::Broken,
        Err(_) => return OnePiece::NotSent,
    }
    for _frame in 0..FRAMES_BEFORE_PIECE_MAX {
        let (frame, first) = match timeout_at(end, reader.next_timed()).await {
            Ok(Ok(Some(came))) => came,
            Ok(Ok(None)) => return OnePiece::Ended,
            Ok(Err(_)) => return OnePiece::Broken,
            Err(_) => return OnePiece::TooLate,
        };
        match frame {
            Frame::Piece { id: REQUEST, piece, bytes } => {
                let is_right = piece == asked.get() && is_right(&bytes);
                return OnePiece::Came { is_right, bytes: bytes.len() as u64, first };
            }
            Frame::Reject { id: REQUEST, reason } => return OnePiece::Rejected(reason),
            _ => {}
        }
    }
    OnePiece::Ended
}
