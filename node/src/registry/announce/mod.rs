//! Announcements of tags and declarations: this node receives them, verifies them, remembers them and passes them on.
//!
//! In: gossip, the pages of a new neighbour, and what this node publishes or pulls. Out: the newest known head of each
//! tag, with the peers that claim to hold the model. Promise: an announcement that does not verify is neither
//! remembered nor passed on.

mod declarations;
mod heads;
mod hear;
mod holder;
mod rendezvous;
mod tell;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use reg_proto::announcement::Holder;
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::tag::TagRecord;

use self::declarations::DeclarationsPassed;
use self::heads::Heads;
use crate::net::Network;
use crate::registry::price::Verifier;
use crate::registry::trust::Trust;
use crate::store::Store;

pub use self::heads::Head;
pub use self::holder::holder_of;

/// The announcements that this node has received, and the means to send its own.
#[derive(Debug)]
pub struct News {
    store: Store,
    network: Network,
    trust: Arc<Trust>,
    heads: Mutex<Heads>,
    passed: Mutex<DeclarationsPassed>,
    /// The publishers of which keys are being asked for.
    asking: Mutex<BTreeSet<PublisherId>>,
    verifier: Arc<Verifier>,
    /// The number of revocations received since the start.
    revocations: AtomicU64,
    /// Whether a peer was connected since the start.
    has_met: AtomicBool,
}

impl News {
    /// Returns the state of a node that has received nothing yet.
    pub fn new(store: Store, network: Network, trust: Arc<Trust>, verifier: Arc<Verifier>) -> Self {
        let (heads, passed, asking) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (revocations, has_met) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { store, network, trust, heads, passed, asking, verifier, revocations, has_met }
    }

    /// Tells whether a peer was connected since the start.
    pub fn has_met_peers(&self) -> bool {
        self.has_met.load(Ordering::Acquire)
    }

    /// Returns what verifies the messages of peers.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Returns the number of revocations since the start. What was resolved under a lower number must be resolved
    /// again.
    pub fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::Acquire)
    }

    /// Returns the heads of a publisher, the heads of one model, or the head of one tag.
    pub fn heads_of(
        &self,
        publisher: PublisherId,
        model: Option<&ModelName>,
        tag: Option<&Tag>,
    ) -> Vec<Head> {
        self.heads().of(publisher, model, tag).into_iter().cloned().collect()
    }

    /// Returns the record of one tag's head.
    pub fn head_of(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) -> Option<TagRecord> {
        self.heads().get(publisher, model, tag).map(|head| head.tag.record().clone())
    }

    /// Returns the peers that claim to hold a manifest.
    pub fn holders_of(&self, manifest: &Digest) -> Vec<Holder> {
        self.heads().holders(manifest)
    }

    /// Forgets the heads of a publisher that `keys` no longer stand for.
    pub fn revoke(&self, keys: &KeyHistory) {
        self.heads().revoke(keys);
    }

    /// Forgets the head of a tag that this node has removed.
    pub fn forget_tag(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) {
        self.heads().remove(publisher, model, tag);
    }

    fn heads(&self) -> MutexGuard<'_, Heads> {
        self.heads.lock().expect("no holder of this lock panics")
    }
}
