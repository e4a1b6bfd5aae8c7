//! [`Uplink`]: what a node sends, one piece after another, and what waits for it.

use reg_node::transfer::{RequestId, Spread};

/// Requests that wait at a node beside the one that is answered; more are told to come back. As with a server's slots, few:
/// what waits long was asked for by what was rare long ago.
const WAITING_MAX: usize = 6;

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

/// The way out of a node.
#[derive(Debug)]
pub(super) struct Uplink {
    waiting: Vec<Waiting>,
    sending: Option<Waiting>,
    /// Askers are named by their places among the neighbours.
    pub(super) spread: Spread<u32>,
    pub(super) sent: u32,
}

impl Uplink {
    pub(super) fn new(pieces: u32) -> Self {
        Self { waiting: Vec::new(), sending: None, spread: Spread::new(pieces), sent: 0 }
    }

    /// Takes a request, and tells whether there was room for it.
    pub(super) fn take(&mut self, request: Waiting) -> bool {
        let has_room = self.waiting.len() < WAITING_MAX;
        if has_room {
            self.waiting.push(request);
        }
        has_room
    }

    /// Begins to send the next piece, where nothing is being sent.
    pub(super) fn begin(&mut self) -> bool {
        if self.sending.is_some() {
            return false;
        }
        let Some(place) = self.spread.first(self.waiting.iter().map(|it| it.piece)) else { return false };
        let waiting = self.waiting.remove(place);
        self.spread.sent(waiting.piece);
        self.sending = Some(waiting);
        true
    }

    /// Ends sending a piece; the rest of its request goes on first.
    pub(super) fn end(&mut self) -> Option<Waiting> {
        let sent = self.sending.take()?;
        self.sent += 1;
        if sent.count > 1 {
            self.waiting.insert(0, Waiting { piece: sent.piece + 1, count: sent.count - 1, ..sent });
        }
        Some(sent)
    }

    /// Forgets a request of a neighbour, or all of them.
    pub(super) fn cancel(&mut self, slot: u32, request: Option<RequestId>) {
        let is_meant = |it: &Waiting| it.slot == slot && request.is_none_or(|request| request == it.request);
        self.waiting.retain(|it| !is_meant(it));
        if let Some(sending) = self.sending.as_mut().filter(|it| is_meant(it)) {
            sending.count = 1;
        }
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.sending = None;
    }
}
