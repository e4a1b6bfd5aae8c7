//! [`Spread`]: how often each piece has been sent, so that what was sent the least can go first (super-seeding).
//!
//! When a sole holder sends a piece a second time before it has sent all once, the whole swarm loses time: the peer
//! with the first copy could pass it on meanwhile.

use std::collections::BTreeMap;

use reg_proto::digest::Digest;
use reg_proto::limits::BLOB_BYTES_MAX;
use reg_proto::piece::PIECE_LEN;

/// Pieces of all blobs together that are remembered: those of two of the largest blobs, 4 MiB. Beyond it, the blob is
/// forgotten that was sent least recently.
const PIECES_REMEMBERED_MAX: usize = 2 * BLOB_PIECES_MAX as usize;
/// Pieces of the largest blob; a piece beyond, which no blob has, is not counted.
const BLOB_PIECES_MAX: u32 = (BLOB_BYTES_MAX / PIECE_LEN) as u32;

/// How often each piece of each blob has been sent, to all peers together.
#[derive(Debug, Clone, Default)]
pub(super) struct Spread {
    blobs: BTreeMap<Digest, Sent>,
    /// Pieces of all blobs that take memory.
    remembered: usize,
    /// Counts the pieces that were sent.
    clock: u64,
}

#[derive(Debug, Clone, Default)]
struct Sent {
    times: Vec<u16>,
    last: u64,
}

impl Spread {
    /// Returns how often a piece has been sent.
    pub(super) fn times(&self, blob: &Digest, piece: u32) -> u16 {
        self.blobs.get(blob).and_then(|sent| sent.times.get(piece as usize)).copied().unwrap_or(0)
    }

    /// Counts a piece that is sent.
    pub(super) fn sent(&mut self, blob: Digest, piece: u32) {
        if piece >= BLOB_PIECES_MAX {
            return;
        }
        self.clock += 1;
        let sent = self.blobs.entry(blob).or_default();
        sent.last = self.clock;
        let len = piece as usize + 1;
        if sent.times.len() < len {
            self.remembered += len - sent.times.len();
            sent.times.resize(len, 0);
        }
        let times = &mut sent.times[piece as usize];
        *times = times.saturating_add(1);
        while self.remembered > PIECES_REMEMBERED_MAX {
            self.forget_one();
        }
    }

    /// Takes back the count of a piece that was not sent after all.
    pub(super) fn unsent(&mut self, blob: &Digest, piece: u32) {
        let times = self.blobs.get_mut(blob).and_then(|sent| sent.times.get_mut(piece as usize));
        if let Some(times) = times {
            *times = times.saturating_sub(1);
        }
    }

    fn forget_one(&mut self) {
        let oldest = self.blobs.iter().min_by_key(|(_, sent)| sent.last).map(|(blob, _)| *blob);
        let forgotten = oldest.and_then(|blob| self.blobs.remove(&blob));
        self.remembered -= forgotten.map_or(self.remembered, |sent| sent.times.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(n: u8) -> Digest {
        Digest::from_bytes([n; 32])
    }

    #[test]
    fn what_is_sent_is_counted_for_each_blob_and_can_be_taken_back() {
        let mut spread = Spread::default();
        for piece in [4, 4, 7, u32::MAX] {
            spread.sent(blob(1), piece);
        }
        spread.unsent(&blob(1), 7);
        spread.unsent(&blob(1), 9);
        assert_eq!([4, 7, 9, u32::MAX].map(|piece| spread.times(&blob(1), piece)), [2, 0, 0, 0]);
        assert_eq!(spread.times(&blob(2), 4), 0);
    }

    #[test]
    fn whoever_asks_for_whatever_what_is_remembered_is_bounded() {
        let mut spread = Spread::default();
        for n in 0..20 {
            spread.sent(blob(n), BLOB_PIECES_MAX - 1 - u32::from(n));
            spread.sent(blob(100), 0);
        }
        assert!(spread.blobs.values().map(|sent| sent.times.len()).sum::<usize>() <= PIECES_REMEMBERED_MAX);
        assert_eq!((spread.times(&blob(100), 0), spread.times(&blob(0), BLOB_PIECES_MAX - 1)), (20, 0));
    }
}
