//! Serves peers: answers their questions, and sends pieces over streams and lanes in the order of the upload queue.
//!
//! In: questions, streams and announcements of peers. Out: records, documents and pieces. Promise: this node sends no byte
//! that may have changed since it was verified, that a denylist denies, or that the user does not share.

mod answer;
mod documents;
mod donated;
mod lane;
mod pieces;
mod pullers;
mod queue;
mod serving;
mod stream;
mod suspects;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use reg_proto::peer::PeerId;
use tokio::sync::Semaphore;

use self::pullers::Pullers;
use self::queue::UploadQueue;
use self::suspects::Suspects;
use crate::net::Network;
use crate::registry::announce::News;
use crate::registry::catalogue::Cataloguing;
use crate::registry::fetch::Fetching;
use crate::registry::limits::STREAMS_SERVED_MAX;
use crate::registry::spread::Spreading;
use crate::registry::trust::Trust;
use crate::store::Store;

pub use self::donated::DonatedLimit;
pub use self::serving::{be_courteous, serve_all};

/// The state of serving peers. It has 15 fields, because it stands between the rooms that answer and the queues that send.
#[derive(Debug)]
pub struct Serving {
    store: Store,
    network: Network,
    trust: Arc<Trust>,
    catalogue: Arc<Cataloguing>,
    news: Arc<News>,
    fetching: Arc<Fetching>,
    spreading: Arc<Spreading>,
    pullers: Pullers,
    /// The upload queue of peers that no rate limit holds for.
    near: Arc<UploadQueue>,
    /// The upload queue of all other peers.
    far: Arc<UploadQueue>,
    /// Blobs that are being rehashed. They are not served meanwhile.
    suspects: Arc<Mutex<Suspects>>,
    ids: AtomicU64,
    streams: Arc<Semaphore>,
    streams_by_peer: Mutex<BTreeMap<PeerId, usize>>,
    donated: Arc<DonatedLimit>,
}

impl Serving {
    /// Returns the serving side of a node, without a stream yet.
    pub fn new(
        network: Network,
        catalogue: Arc<Cataloguing>,
        news: Arc<News>,
        fetching: Arc<Fetching>,
        donated: Arc<DonatedLimit>,
        spreading: Arc<Spreading>,
    ) -> Self {
        let (store, trust) = (catalogue.store.clone(), catalogue.trust.clone());
        let up = fetching.limits().up.fixed();
        Self {
            store,
            network,
            trust,
            catalogue,
            news,
            fetching,
            spreading,
            pullers: Pullers::default(),
            near: UploadQueue::new(None),
            far: UploadQueue::new(up),
            suspects: Arc::default(),
            ids: AtomicU64::new(1),
            streams: Arc::new(Semaphore::new(STREAMS_SERVED_MAX)),
            streams_by_peer: Mutex::default(),
            donated,
        }
    }
}
