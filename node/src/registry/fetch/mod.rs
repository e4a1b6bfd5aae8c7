//! Fetches pieces of blobs from peers and web seeds into the store.
//!
//! In: partial blobs with their piece states, and the peers and web seeds that may hold them. Out: verified pieces on the
//! disk, and how many bytes each source sent. Promise: a piece counts only once it is verified and written. A source that is
//! proven to send wrong bytes is not asked again.

mod downloads;
mod error;
mod fetching;
mod priorities;
mod room;
mod share;
mod states;
mod terms;

mod demand;
mod dialling;
mod dispute;
mod disputes;
mod downloader;
mod event;
mod lanes;
mod nearness;
mod one_piece;
mod patience;
mod peer_source;
mod peers;
mod returning;
mod small;
mod throttle;
mod traffic;
mod transfers;

mod web_request;
mod web_server;
mod web_source;

use std::sync::Arc;

use tokio::sync::watch;

use self::downloads::Downloads;
use self::small::SmallTurns;
use crate::metrics::Metrics;
use crate::net::{Network, PieceBytes, PiecePool};
use crate::registry::resolve::Resolver;
use crate::store::{Intake, Store};

pub use self::demand::{Demand, DownLimit, Sources, Wish, pieces_at_rest};
pub use self::downloader::{DownloadError, Downloaded};
pub use self::downloads::Begin;
pub use self::error::{BeginError, NAT_HINT, ShareError};
pub use self::nearness::{Subnet, SubnetError, Zone};
pub use self::one_piece::{OnePiece, ask_for_piece};
pub use self::priorities::{Meant, Priorities, Pull, Pulling, Registered};
pub use self::share::{Caller, Share};
pub use self::terms::Terms;
pub use self::throttle::{Throttle, TransferLimits, UpLimit};
pub use self::traffic::{Traffic, Way};
pub use self::transfers::Transfer;
pub use self::web_source::WebSeeds;

/// The state that all downloads of a node share.
#[derive(Debug)]
pub struct Fetching {
    store: Store,
    network: Network,
    resolver: Arc<Resolver>,
    /// Buffers for incoming pieces.
    pool: PiecePool,
    /// Verifies pieces and writes them.
    intake: Intake<PieceBytes>,
    pub priorities: Priorities,
    downloads: Downloads,
    pub traffic: Traffic,
    /// The counters of the node.
    pub metrics: Metrics,
    limits: watch::Sender<TransferLimits>,
    /// The limit on what is fetched, for all pulls together; it may be none.
    throttle: Arc<Throttle>,
    /// The subnets in which peers count as near.
    zone: Arc<Zone>,
    small: SmallTurns,
}

impl Fetching {
    /// Returns the state of a node that has not begun a download. Starts the threads that verify and write pieces.
    pub fn new(
        store: Store,
        network: Network,
        resolver: Arc<Resolver>,
        limits: TransferLimits,
        zone: Zone,
        metrics: Metrics,
    ) -> Self {
        Self {
            store,
            network,
            resolver,
            pool: PiecePool::new(),
            intake: Intake::start(),
            priorities: Priorities::default(),
            downloads: Downloads::default(),
            traffic: Traffic::new(metrics.clone()),
            metrics,
            limits: watch::Sender::new(limits),
            throttle: Throttle::new(limits.down),
            zone: Arc::new(zone),
            small: SmallTurns::default(),
        }
    }
}
