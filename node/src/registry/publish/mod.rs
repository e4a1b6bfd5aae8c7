//! Publishes: assembles a manifest, prepares what is to be signed, checks what was signed, and moves the tag.
//!
//! In: files or blobs, key documents, signatures. Out: a model that is recorded, announced and provided. Promise: no key is
//! taken here; what was signed is checked as if a stranger had sent it; a number is remembered before it is given out.

mod assemble;
mod attest;
mod commit;
mod declare;
mod error;
mod preparation;
mod push;
mod signatory;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use self::preparation::Preparation;
use self::push::Held;
use crate::net::Network;
use crate::registry::announce::News;
use crate::registry::import::Importing;
use crate::registry::pull::Puller;
use crate::registry::resolve::Resolver;
use crate::registry::trust::Trust;
use crate::store::Store;

pub use self::assemble::AssembleError;
pub use self::attest::AttestError;
pub use self::declare::DeclareError;
pub use self::error::PublishError;
pub use self::push::{INDEX_TYPE, PushError, Pushed};
pub use self::signatory::{Sign, Signatory};

/// Publishes models and what is said of them.
#[derive(Debug)]
pub struct Publishing {
    store: Store,
    network: Network,
    trust: Arc<Trust>,
    news: Arc<News>,
    resolver: Arc<Resolver>,
    puller: Arc<Puller>,
    importing: Arc<Importing>,
    /// Models that wait for their signatures.
    preparations: Mutex<BTreeMap<u64, Preparation>>,
    ids: AtomicU64,
    /// Manifests that were pushed and wait for their provenance.
    held: Held,
}

impl Publishing {
    /// Returns the publications of a node, of which none has begun.
    pub fn new(puller: Arc<Puller>, importing: Arc<Importing>) -> Self {
        let (store, network) = (puller.store.clone(), puller.network.clone());
        let (trust, news, resolver) = (puller.trust.clone(), puller.news.clone(), puller.resolver.clone());
        let (preparations, ids, held) = (Mutex::default(), AtomicU64::new(1), Held::default());
        Self { store, network, trust, news, resolver, puller, importing, preparations, ids, held }
    }
}
