//! [`OpenStreams`]: counts the blob streams that are open to each peer, and notes when frames last moved on them, so that no
//! peer is disconnected that pieces go to or come from. A stream that is open and idle protects no peer: it costs nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reg_proto::peer::PeerId;

/// The open blob streams, by peer. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenStreams(Arc<Mutex<BTreeMap<PeerId, Open>>>);

/// The open streams of one peer.
#[derive(Debug)]
struct Open {
    count: usize,
    moves: Moves,
}

/// When a frame last moved on any stream of a peer. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Moves(Arc<Mutex<Moved>>);

#[derive(Debug)]
struct Moved {
    frame: Instant,
    /// When bytes of a piece last moved; `None` if none has.
    piece: Option<Instant>,
}

impl Moves {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Moved { frame: Instant::now(), piece: None })))
    }

    /// Notes that a frame moves now.
    pub(super) fn note(&self) {
        self.lock().frame = Instant::now();
    }

    /// Notes that bytes of a piece move now.
    pub(super) fn note_piece(&self) {
        let now = Instant::now();
        *self.lock() = Moved { frame: now, piece: Some(now) };
    }

    /// As [`OpenStreams::lock`].
    fn lock(&self) -> MutexGuard<'_, Moved> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open stream, for as long as it lives.
#[derive(Debug)]
pub(super) struct OpenStream {
    streams: OpenStreams,
    peer: PeerId,
    moves: Moves,
}

impl OpenStream {
    /// Returns what notes the frames of this stream.
    pub(super) const fn moves(&self) -> &Moves {
        &self.moves
    }
}

impl OpenStreams {
    /// Counts one more stream.
    pub(super) fn enter(&self, peer: PeerId) -> OpenStream {
        let new = || Open { count: 0, moves: Moves::new() };
        let mut streams = self.lock();
        let open = streams.entry(peer).or_insert_with(new);
        open.count += 1;
        open.moves.note();
        OpenStream { streams: self.clone(), peer, moves: open.moves.clone() }
    }

    /// Tells whether a frame has moved on an open stream to or from a peer, less than `within` ago.
    pub(super) fn is_moving(&self, peer: &PeerId, within: Duration) -> bool {
        self.lock().get(peer).is_some_and(|open| open.moves.lock().frame.elapsed() < within)
    }

    /// Tells whether bytes of a piece have moved on an open stream to or from a peer, less than `within` ago.
    pub(super) fn moves_pieces(&self, peer: &PeerId, within: Duration) -> bool {
        let last = self.lock().get(peer).and_then(|open| open.moves.lock().piece);
        last.is_some_and(|at| at.elapsed() < within)
    }

    /// The lock guards plain data that is consistent after every statement, so a panic of another thread does not spoil
    /// it.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PeerId, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut streams = self.streams.lock();
        if let Some(open) = streams.get_mut(&self.peer) {
            open.count -= 1;
            if open.count == 0 {
                streams.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_protects_its_peer_while_frames_move_on_it() {
        let (streams, peer) = (OpenStreams::default(), PeerId::from_public_key([1; 32]));
        let lately = Duration::from_secs(3600);
        assert!(!streams.is_moving(&peer, lately));
        let open = [streams.enter(peer), streams.enter(peer)];
        assert!(streams.is_moving(&peer, lately));
        assert!(!streams.is_moving(&peer, Duration::ZERO), "it was idle for longer");
        let [first, second] = open;
        drop(first);
        assert!(streams.is_moving(&peer, lately));
        drop(second);
        assert!(!streams.is_moving(&peer, lately), "no stream is open");
    }

    #[test]
    fn a_stream_that_moves_pieces_is_told_from_one_that_moves_other_frames() {
        let (streams, peer) = (OpenStreams::default(), PeerId::from_public_key([1; 32]));
        let lately = Duration::from_secs(3600);
        let open = streams.enter(peer);
        open.moves().note();
        assert!(streams.is_moving(&peer, lately) && !streams.moves_pieces(&peer, lately));
        open.moves().note_piece();
        assert!(streams.moves_pieces(&peer, lately));
        assert!(!streams.moves_pieces(&peer, Duration::ZERO), "that was longer ago");
        drop(open);
        assert!(!streams.moves_pieces(&peer, lately), "no stream is open");
    }
}
