//! Answers the owner of a node: lists and changes models in the store, tag histories, petnames, rules and denylists, and
//! reports the status.
//!
//! In: the owner's questions and changes. Out: reports. Promise: nothing in this room asks peers, except fetching denylists and
//! collections.

mod branches;
mod chat_template;
mod collections;
mod folder;
mod health;
mod inventory;
mod lineage;
mod listing;
mod log;
mod pages;
mod peers;
mod readings;
mod rows;
mod seeding;
mod share;
mod subscriptions;
mod transfers;
mod trust;
mod unfreed;

use std::sync::{Arc, Mutex};

use reg_api::clock;
use tokio::sync::Notify;

use self::readings::LastReadings;
use crate::net::Network;
use crate::registry::announce::News;
use crate::registry::catalogue::Cataloguing;
use crate::registry::fetch::Fetching;
use crate::registry::health::Health;
use crate::registry::pull::Puller;
use crate::registry::resolve::Resolver;
use crate::registry::trust::Trust;
use crate::store::Store;

pub use self::collections::CollectionError;
pub use self::inventory::{CatalogueError, shown};
pub use self::listing::{DescribedModel, Listed, Served};
pub use self::log::{LogError, LoggedRecord, TagLog};
pub use self::peers::PeersError;
pub use self::seeding::seed_all;
pub use self::share::ShareError;
pub use self::subscriptions::{SubscribeError, keep_lists};

/// Answers the owner of a node.
#[derive(Debug)]
pub struct Local {
    store: Store,
    network: Network,
    trust: Arc<Trust>,
    catalogue: Arc<Cataloguing>,
    news: Arc<News>,
    resolver: Arc<Resolver>,
    fetching: Arc<Fetching>,
    puller: Arc<Puller>,
    health: Arc<Health>,
    /// Held while rows of the list are derived.
    deriving: Mutex<()>,
    /// Tells that models were removed.
    removed: Notify,
    /// What monitoring was told last.
    readings: LastReadings,
    /// When the node started, in seconds since 1970.
    started: u64,
}

impl Local {
    /// Returns the owner's side of a node that starts now.
    pub fn new(puller: Arc<Puller>, catalogue: Arc<Cataloguing>, health: Arc<Health>) -> Self {
        let (store, network) = (puller.store.clone(), puller.network.clone());
        let (trust, news, resolver) = (puller.trust.clone(), puller.news.clone(), puller.resolver.clone());
        let fetching = puller.fetching.clone();
        let (deriving, removed, started) = (Mutex::default(), Notify::new(), clock::now());
        let readings = LastReadings::default();
        Self {
            store,
            network,
            trust,
            catalogue,
            news,
            resolver,
            fetching,
            puller,
            health,
            deriving,
            removed,
            readings,
            started,
        }
    }
}
