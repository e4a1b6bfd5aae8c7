//! Announcements of tags and declarations: this node receives them, verifies them, remembers them and passes them on.
//!
//! In: gossip, the pages of a new neighbour, and what this node publishes or pulls. Out: the newest known head of each
//! tag, with the peers that claim to hold the model. Promise: an announcement that does not verify is neither
//! remembered nor passed on.

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

/// The announcements that this node has received, and the means to send its own.
#[derive(Debug)]
pub struct News {
    store: Store,
    network: Network,
    trust: Arc<Trust>,
    pub heads: Mutex<Heads>,
    passed: Mutex<DeclarationsPassed>,
    /// The number of revocations received since the start.
    revocations: AtomicU64,
}

impl News {
    /// Returns the state of a node that has received nothing yet.
    pub fn new(store: Store, network: Network, trust: Arc<Trust>) -> Self {
        let (heads, passed) = (Mutex::default(), Mutex::default());
        Self { store, network, trust, heads, passed, revocations: AtomicU64::new(0) }
    }

    /// Returns the number of revocations since the start. What was resolved under a lower number must be resolved
    /// again.
    pub fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::Acquire)
    }
}
