//! What the sources of a download tell it: frames, pieces, news of web seeds.

use std::sync::Arc;
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

/// Who can be asked for pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SourceId {
    Peer(PeerId),
    Web(WebId),
}

/// What a source tells the downloader.
#[derive(Debug)]
pub(super) enum SourceEvent {
    Frame { peer: PeerId, frame: Frame },
    Piece { peer: PeerId, id: u32, piece: u32, bytes: PieceBytes, way: Way },
    Gone { peer: PeerId },
    WebPiece { id: WebId, request: u32, piece: u32, bytes: PieceBytes },
    Web { id: WebId, news: WebNews },
}

/// What a peer answers to the wish for a lane.
#[derive(Debug)]
pub(super) enum Answer {
    Offer { ports: Bounded<u16, LANE_PORTS_MAX>, token: LaneToken },
    None,
}

/// Where pieces of a peer go.
#[derive(Debug, Clone)]
pub(super) struct Deliver {
    pub peer: PeerId,
    pub pool: PiecePool,
    pub events: mpsc::Sender<SourceEvent>,
    /// Limits that hold for this peer.
    pub throttles: Arc<[Arc<Throttle>]>,
}

impl Deliver {
    /// How long to wait before these bytes are read, where there is a limit.
    pub(super) fn wait(&self, bytes: usize) -> Duration {
        self.throttles.iter().map(|throttle| throttle.pace(bytes)).max().unwrap_or_default()
    }
}

/// Names a web seed within one download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WebId(pub(super) usize);

/// What a web seed tells the downloader beside pieces.
#[derive(Debug)]
pub(super) enum WebNews {
    /// A request is not answered to its end; it may be made anew after a while.
    Later { request: u32, wait: Duration, error: Option<WebError> },
    /// A request is not answered to its end, and the blob will not be had there.
    Never { request: u32, blob: Digest, error: WebError },
}
