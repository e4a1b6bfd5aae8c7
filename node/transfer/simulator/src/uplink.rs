//! [`Uplink`]: what a node sends: the node's own choice of what goes next, one piece after another.

use std::time::Duration;

use reg_proto::digest::Digest;
use reg_proto::piece::PIECE_LEN;
use reg_transfer::{Asked, Instant, Line, RequestId, Turn, Uplink as Queue};

/// A request for one piece after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    /// The asker, by its place among the node's neighbours, and its life.
    pub(super) slot: u32,
    pub(super) life: u32,
    pub(super) request: RequestId,
    pub(super) piece: u32,
    pub(super) count: u32,
}

/// A neighbour that waits, or has waited.
#[derive(Debug, Clone, Copy)]
struct Asker {
    line: Line,
    life: u32,
}

/// The way out of a node.
#[derive(Debug)]
pub(super) struct Uplink {
    queue: Queue<u32>,
    /// By their places among the neighbours.
    askers: Vec<Option<Asker>>,
    sending: Option<(Turn, Waiting)>,
    pub(super) sent: u32,
}

impl Uplink {
    pub(super) fn new() -> Self {
        // Links are sent on one piece at a time.
        Self { queue: Queue::new(1), askers: Vec::new(), sending: None, sent: 0 }
    }

    /// Takes a request, or says after how long it should be asked again.
    pub(super) fn take(&mut self, now: Instant, blob: Digest, request: Waiting) -> Result<(), Duration> {
        let place = request.slot as usize;
        if self.askers.len() <= place {
            self.askers.resize(place + 1, None);
        }
        if let Some(gone) = self.askers[place].filter(|it| it.life != request.life) {
            self.queue.leave(gone.line);
            self.askers[place] = None;
        }
        let queue = &mut self.queue;
        let asker = self.askers[place].get_or_insert_with(|| {
            let line = queue.join(request.slot);
            queue.ready(line);
            Asker { line, life: request.life }
        });
        let Waiting { request: RequestId(id), piece: first, count, .. } = request;
        self.queue.admit(now, asker.line, Asked { id, blob, first, count })
    }

    /// Begins to send the next piece, where nothing is being sent.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        if self.sending.is_some() {
            return false;
        }
        let Some(turn) = self.queue.grant(now) else { return false };
        let askers = (0u32..).zip(&self.askers).filter_map(|(slot, it)| Some((slot, (*it)?)));
        let Some((slot, Asker { life, .. })) = askers.into_iter().find(|(_, it)| it.line == turn.line) else {
            return false;
        };
        let request = RequestId(turn.id);
        self.sending = Some((turn, Waiting { slot, life, request, piece: turn.piece, count: 1 }));
        true
    }

    /// Ends sending a piece.
    pub(super) fn end(&mut self, now: Instant) -> Option<Waiting> {
        let (turn, sent) = self.sending.take()?;
        self.sent += 1;
        self.queue.sent(now, turn.ticket, PIECE_LEN);
        self.queue.ready(turn.line);
        Some(sent)
    }

    /// Forgets a request of a neighbour, or all of them.
    pub(super) fn cancel(&mut self, slot: u32, request: Option<RequestId>) {
        let Some(asker) = self.askers.get_mut(slot as usize) else { return };
        match request {
            Some(RequestId(id)) => asker.iter().for_each(|it| self.queue.cancel(it.line, id)),
            None => asker.take().into_iter().for_each(|it| self.queue.leave(it.line)),
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self { sent: self.sent, ..Self::new() };
    }
}
