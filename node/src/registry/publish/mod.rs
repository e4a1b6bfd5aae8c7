//! Publishes models: assembles a manifest, prepares the documents to sign, checks what was signed, and moves the tag. Takes
//! attestations, declarations and pushed manifests too.
//!
//! In: files or blobs, key documents, signatures. Out: a model that is recorded, announced and provided. Promise: this room
//! takes no key. It checks signed documents as strictly as those of a peer. It records a tag before it announces it.

mod announcing;
mod assemble;
mod attest;
mod commit;
mod declare;
mod error;
mod ingest;
mod inherit;
mod preparation;
mod prepare;
mod push;
mod signatory;
mod turns;
mod unlist;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use self::announcing::Announcing;
use self::preparation::Preparations;
use self::push::Held;
use self::turns::Turns;
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
pub use self::unlist::UnlistError;

/// Publishes models, attestations and declarations.
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
    preparations: Preparations,
    /// Publications of one tag are one after the other.
    turns: Turns,
    ids: AtomicU64,
    /// Pushed manifests that wait for their provenance.
    held: Held,
    announcing: Announcing,
}

impl Publishing {
    /// Returns the publishing side of a node, without a preparation yet.
    pub fn new(puller: Arc<Puller>, importing: Arc<Importing>) -> Self {
        let (store, network) = (puller.store.clone(), puller.network.clone());
        let (trust, news, resolver) = (puller.trust.clone(), puller.news.clone(), puller.resolver.clone());
        let (preparations, turns) = (Preparations::default(), Turns::default());
        let (ids, held, announcing) = (AtomicU64::new(1), Held::default(), Announcing::default());
        Self {
            store,
            network,
            trust,
            news,
            resolver,
            puller,
            importing,
            preparations,
            turns,
            ids,
            held,
            announcing,
        }
    }

    /// Waits, within a bound, until what was published is announced.
    pub async fn end(&self) {
        self.announcing.end().await;
    }
}
