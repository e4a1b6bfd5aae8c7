//! [`Inbound`]: the requests, streams, announcements and connection events of peers, on bounded channels.

use reg_proto::announcement::Announcement;
use reg_proto::peer::PeerId;
use reg_proto::wire::{Request, Response};
use tokio::sync::{mpsc, oneshot};

use super::frames::{FrameReader, FrameWriter};

/// Everything that peers send. While the registry does not empty a channel, requests are answered "busy", streams are
/// closed and announcements are ignored.
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

/// A gossiped announcement. It is passed on only when the registry accepts it.
#[derive(Debug)]
pub struct InboundAnnouncement {
    pub from: PeerId,
    pub announcement: Announcement,
    pub verdict: Responder<Verdict>,
}

/// What gossip does with an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Passes it on.
    Accept,
    /// Drops it.
    Ignore,
    /// Drops it, and lowers the score of the peer that sent it.
    Reject,
}

/// A change of the connected peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerEvent {
    /// The peer is connected, and speaks the protocols of this swarm.
    Connected(PeerId),
    Disconnected(PeerId),
}

/// Takes the answer to a peer. An answer that comes too late is dropped silently.
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
