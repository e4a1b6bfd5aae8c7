//! What peers ask of this node, on bounded channels.

use reg_proto::announcement::Announcement;
use reg_proto::peer::PeerId;
use reg_proto::wire::{Request, Response};
use tokio::sync::{mpsc, oneshot};

use super::frames::{FrameReader, FrameWriter};

/// Everything that comes in. A channel that is not emptied makes peers wait, or be told "busy"; nothing piles up.
#[derive(Debug)]
pub struct Inbound {
    pub requests: mpsc::Receiver<InboundRequest>,
    pub streams: mpsc::Receiver<InboundStream>,
    pub announcements: mpsc::Receiver<InboundAnnouncement>,
    pub peers: mpsc::Receiver<PeerEvent>,
}

/// A question of a peer.
#[derive(Debug)]
pub struct InboundRequest {
    pub peer: PeerId,
    pub request: Request,
    pub reply: Responder<Response>,
}

/// A blob stream that a peer has opened.
#[derive(Debug)]
pub struct InboundStream {
    pub peer: PeerId,
    pub reader: FrameReader,
    pub writer: FrameWriter,
}

/// A gossiped announcement, which travels on only when it is accepted.
#[derive(Debug)]
pub struct InboundAnnouncement {
    pub from: PeerId,
    pub announcement: Announcement,
    pub verdict: Responder<Verdict>,
}

/// What becomes of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is passed on.
    Accept,
    /// It goes no further.
    Ignore,
    /// It goes no further, and who sent it loses standing.
    Reject,
}

/// A peer has come or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerEvent {
    /// It is connected, and speaks our protocols.
    Connected(PeerId),
    Disconnected(PeerId),
}

/// Where an answer goes. One that nobody waits for any more is dropped silently.
#[derive(Debug)]
pub struct Responder<T>(oneshot::Sender<T>);

impl<T> Responder<T> {
    pub(super) fn new() -> (Self, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// Sends the answer.
    pub fn send(self, answer: T) {
        drop(self.0.send(answer));
    }
}
