//! News of tags and of publishers' declarations: heard from peers, verified, remembered, passed on and announced.
//!
//! In: gossip, pages that a new neighbour sends, what this node publishes and pulls. Out: the newest head known of each tag,
//! with the peers that are said to hold the model. Promise: what does not verify is neither remembered nor passed on.

mod declarations;
pub mod heads;
mod hear;
mod holder;
mod tell;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use self::declarations::DeclarationsPassed;
use self::heads::Heads;
use crate::net::Network;
use crate::registry::trust::Trust;
use crate::store::Store;

pub use self::holder::holder_of;
pub use self::tell::seed_all;

/// The news that this node has heard, and its voice.
#[derive(Debug)]
pub struct News {
    store: Store,
    network: Network,
    trust: Arc<Trust>,
    pub heads: Mutex<Heads>,
    passed: Mutex<DeclarationsPassed>,
    /// How many times a declaration has taken something back.
    revocations: AtomicU64,
}

impl News {
    /// Returns the news of a node that has heard nothing yet.
    pub fn new(store: Store, network: Network, trust: Arc<Trust>) -> Self {
        let (heads, passed) = (Mutex::default(), Mutex::default());
        Self { store, network, trust, heads, passed, revocations: AtomicU64::new(0) }
    }

    /// Returns how many times something was revoked since the start: what was resolved before the last one is resolved anew.
    pub fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::Acquire)
    }
}
