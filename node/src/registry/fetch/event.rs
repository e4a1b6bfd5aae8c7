//! [`SourceEvent`]: what the sources of a download report to it: frames, pieces, and news of web seeds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use reg_proto::bounded::Bounded;
use reg_proto::digest::Digest;
use reg_proto::lane::{LANE_PORTS_MAX, LaneToken};
use reg_proto::peer::PeerId;
use reg_proto::wire::Frame;
use tokio::sync::mpsc;

use super::throttle::Throttle;
use super::traffic::Way;
use crate::net::{PieceBytes, PiecePool};
use crate::webseed::WebError;

/// A peer or a web seed that pieces are requested from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SourceId {
    Peer(PeerId),
    Web(WebId),
}

/// What a source reports to the downloader.
#[derive(Debug)]
pub(super) enum SourceEvent {
    Frame { peer: PeerId, frame: Frame },
    Piece { peer: PeerId, id: u32, piece: u32, bytes: PieceBytes, way: Way },
    Gone { peer: PeerId },
    WebPiece { id: WebId, request: u32, piece: u32, bytes: PieceBytes },
    Web { id: WebId, news: WebNews },
}

/// A peer's answer to [`Frame::WantLane`].
#[derive(Debug)]
pub(super) enum Answer {
    Offer { ports: Bounded<u16, LANE_PORTS_MAX>, token: LaneToken },
    None,
}

/// Where the pieces of a peer go.
#[derive(Debug, Clone)]
pub(super) struct Deliver {
    pub peer: PeerId,
    pub pool: PiecePool,
    pub events: mpsc::Sender<SourceEvent>,
    /// The rate limits that hold for this peer.
    pub throttles: Arc<[Arc<Throttle>]>,
    /// Counts the bytes of pieces as they arrive, before a piece is whole.
    pub heard: Arc<AtomicU64>,
    /// How many pieces the peer sends beside each other.
    pub ways: Arc<AtomicU32>,
}

impl Deliver {
    /// Returns how long to wait before reading `bytes` bytes; zero without a limit. It is asked for every run of bytes, and
    /// not once for a piece: a limit may begin while a stream waits for its next piece.
    pub(super) fn wait(&self, bytes: usize) -> Duration {
        self.throttles.iter().map(|throttle| throttle.pace(bytes)).max().unwrap_or_default()
    }
}

/// Names a web seed within one download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WebId(pub(super) usize);

/// What a web seed reports to the downloader beside pieces.
#[derive(Debug)]
pub(super) enum WebNews {
    /// The rest of a request does not come. It may be sent again after `wait`.
    Later { request: u32, wait: Duration, error: Option<WebError> },
    /// The rest of a request does not come, and the seed does not have the blob.
    Never { request: u32, blob: Digest, error: WebError },
}
