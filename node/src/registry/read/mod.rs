//! Reads files of models for gateways: from the store if the blob is whole there, else piece by piece as sources send them.
//!
//! In: a resolved model, a blob and a range in bytes. Out: a stream of verified bytes. Promise: each piece is fetched once for
//! all readers, and a file that the user has not consented to is refused before its first byte.

mod admit;
mod error;
mod on_demand;
mod reader;

use std::sync::Arc;

use reg_api::consent::Consent;
use reg_proto::peer::PeerId;
use tokio::sync::{Mutex, Semaphore};

use crate::net::Network;
use crate::registry::fetch::Fetching;
use crate::registry::limits::READERS_MAX;
use crate::registry::pull::Puller;
use crate::registry::resolve::Resolver;
use crate::store::Store;

pub use self::admit::AdmitError;
pub use self::error::ReaderError;
pub use self::reader::{BlobReader, Sender, send_from_store};

/// Reads files for the clients of gateways.
#[derive(Debug)]
pub struct Reading {
    pub store: Store,
    pub network: Network,
    resolver: Arc<Resolver>,
    pub fetching: Arc<Fetching>,
    puller: Arc<Puller>,
    /// One permit for each reader: `READERS_MAX` read at once.
    readers: Arc<Semaphore>,
    /// Held by the one caller that goes through the records of all models.
    searching: Arc<Mutex<()>>,
}

impl Reading {
    /// Returns the reading side of a node, without a reader yet.
    pub fn new(puller: Arc<Puller>) -> Self {
        let (store, network) = (puller.store.clone(), puller.network.clone());
        let (resolver, fetching) = (puller.resolver.clone(), puller.fetching.clone());
        let readers = Arc::new(Semaphore::new(READERS_MAX));
        Self { store, network, resolver, fetching, puller, readers, searching: Arc::default() }
    }

    /// Returns the kinds of files that gateways take and serve although they are more than data.
    pub fn consent(&self) -> &Consent {
        &self.resolver.consent
    }

    /// Tells whether a peer is banned because it sent wrong bytes.
    pub fn is_banned(&self, peer: &PeerId) -> bool {
        self.resolver.bans.is_banned(peer)
    }
}
