//! Announcements of tags and declarations: this node receives them, verifies them, remembers them and passes them on.
//!
//! In: gossip, the pages of a new neighbour, and what this node publishes or pulls. Out: the newest known head of each
//! tag, with the peers that claim to hold the model. Promise: an announcement that does not verify is neither
//! remembered nor passed on.

mod comparing;
mod declarations;
mod heads;
mod hear;
mod holder;
mod rendezvous;
mod tell;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use reg_catalogue::{EntryName, KEPT_OF_PUBLISHER_MAX};
use reg_proto::announcement::Holder;
use reg_proto::catalogue::SignedTombstone;
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::tag::TagRecord;

use self::declarations::DeclarationsPassed;
use self::heads::Heads;
use crate::net::Network;
use crate::registry::catalogue::Cataloguing;
use crate::registry::limits::{CATALOGUE_COMPARED_EVERY, FOLLOWS_REMEMBERED, LISTED_HEADS_MAX};
use crate::registry::price::Verifier;
use crate::registry::trust::Trust;
use crate::store::Store;

pub use self::comparing::compare_catalogue;
pub use self::heads::Head;
pub use self::holder::holder_of;

/// When the listed heads of a publisher were returned, and the root of what was listed then.
type Returned = (Option<[u8; 32]>, Instant);

/// The announcements that this node has received, and the means to send its own.
#[derive(Debug)]
pub struct News {
    store: Store,
    network: Network,
    trust: Arc<Trust>,
    catalogue: Arc<Cataloguing>,
    heads: Mutex<Heads>,
    passed: Mutex<DeclarationsPassed>,
    /// The publishers of which keys are being asked for.
    asking: Mutex<BTreeSet<PublisherId>>,
    /// What was returned last of the catalogue, by the publisher and the time of a follow.
    followed: Mutex<BTreeMap<(PublisherId, u64), Returned>>,
    verifier: Arc<Verifier>,
    /// The number of revocations received since the start.
    revocations: AtomicU64,
    /// Whether a peer was connected since the start.
    has_met: AtomicBool,
    /// Held while the catalogue is compared with that of a peer.
    comparing: tokio::sync::Mutex<()>,
    /// Tells that a comparison was not ended.
    unfinished: tokio::sync::Notify,
}

impl News {
    /// Returns the state of a node that has received nothing yet.
    pub fn new(network: Network, catalogue: Arc<Cataloguing>, verifier: Arc<Verifier>) -> Self {
        let (store, trust) = (catalogue.store.clone(), catalogue.trust.clone());
        let (heads, passed, asking) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (revocations, has_met) = (AtomicU64::new(0), AtomicBool::new(false));
        let followed = Mutex::default();
        Self {
            store,
            network,
            trust,
            catalogue,
            heads,
            passed,
            asking,
            followed,
            verifier,
            revocations,
            has_met,
            comparing: tokio::sync::Mutex::default(),
            unfinished: tokio::sync::Notify::new(),
        }
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
        let mut heads: Vec<Head> = self.heads().of(publisher, model, tag).into_iter().cloned().collect();
        match (model, tag) {
            (Some(model), Some(tag)) if heads.is_empty() => {
                heads.extend(self.listed(publisher, model, tag));
            }
            (Some(_), Some(_)) => {}
            _ => {
                let folded = model.map(ModelName::folded);
                let is_meant = |it: &EntryName| {
                    folded.as_ref().is_none_or(|folded| *folded == it.model.folded())
                        && tag.is_none_or(|tag| *tag == it.tag)
                };
                self.add_listed(publisher, LISTED_HEADS_MAX, &is_meant, &mut heads);
            }
        }
        heads
    }

    /// Returns the heads of a publisher, or of one model, that were heard of since the start. Others are listed, without holders.
    pub fn heard_of(&self, publisher: PublisherId, model: Option<&ModelName>) -> Vec<Head> {
        self.heads().of(publisher, model, None).into_iter().cloned().collect()
    }

    /// Returns all heads of a publisher that are known. Blocks, the longer the more
    /// tags the publisher has.
    pub fn all_heads_of(&self, publisher: PublisherId) -> Vec<Head> {
        let mut heads = self.heard_of(publisher, None);
        self.add_listed(publisher, KEPT_OF_PUBLISHER_MAX, &|_| true, &mut heads);
        heads
    }

    /// Returns the heads of a publisher's models that `is_followed`, for a follow since this time: what was heard of, and what is
    /// listed where that has changed since it was returned for this follow, or was returned a while ago. So most calls verify nothing.
    /// Blocks.
    pub fn heads_to_follow(
        &self,
        publisher: PublisherId,
        since: u64,
        is_followed: &dyn Fn(&ModelName) -> bool,
    ) -> Vec<Head> {
        let mut heads = self.heard_of(publisher, None);
        let root = self.catalogue.root_of(&publisher);
        let now = Instant::now();
        let mut followed = self.followed.lock().expect("no holder of this lock panics");
        let is_known = followed.get(&(publisher, since)).is_some_and(|(of, at)| {
            *of == root && now.saturating_duration_since(*at) < CATALOGUE_COMPARED_EVERY
        });
        if !is_known {
            if followed.len() >= FOLLOWS_REMEMBERED {
                followed.clear();
            }
            followed.insert((publisher, since), (root, now));
            drop(followed);
            let is_wanted = |it: &EntryName| is_followed(&it.model);
            self.add_listed(publisher, KEPT_OF_PUBLISHER_MAX, &is_wanted, &mut heads);
        }
        heads
    }

    /// Adds the heads of tags that the catalogue lists and `heads` lacks, the newest `max` of them. They are remembered where there is
    /// room, so that they are not verified again.
    fn add_listed(
        &self,
        publisher: PublisherId,
        max: usize,
        is_meant: &dyn Fn(&EntryName) -> bool,
        heads: &mut Vec<Head>,
    ) {
        let name = |head: &Head| (head.tag.record().model.folded(), head.tag.record().tag.clone());
        let known: BTreeSet<(String, Tag)> = heads.iter().map(name).collect();
        let is_wanted =
            |it: &EntryName| is_meant(it) && !known.contains(&(it.model.folded(), it.tag.clone()));
        let Some((tags, keys)) = self.catalogue.heads(publisher, max, &is_wanted) else { return };
        let keys = Arc::new(keys);
        let head = |tag| Head { tag, keys: keys.clone(), holders: Vec::new(), proofs: Vec::new() };
        let listed: Vec<Head> = tags.into_iter().map(head).collect();
        let mut remembered = self.heads();
        for head in &listed {
            if !remembered.has_room() {
                break;
            }
            remembered.hear(head.clone());
        }
        drop(remembered);
        heads.extend(listed);
    }

    /// Returns the head of one tag that the catalogue lists. Its holders are not known.
    fn listed(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) -> Option<Head> {
        let (tag, keys) = self.catalogue.head(publisher, model, tag)?;
        Some(Head { tag, keys: Arc::new(keys), holders: Vec::new(), proofs: Vec::new() })
    }

    /// Returns the record of one tag's head.
    pub fn head_of(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) -> Option<TagRecord> {
        let known = self.heads().get(publisher, model, tag).map(|head| head.tag.record().clone());
        known.or_else(|| self.listed(publisher, model, tag).map(|head| head.tag.record().clone()))
    }

    /// Tells whether a record that comes from the catalogue of a peer is kept among the news: where there is room, and always where
    /// the user knows its publisher, or its tag is among them.
    fn has_place_for(&self, record: &TagRecord) -> bool {
        let heads = self.heads();
        let is_known = heads.get(record.publisher, &record.model, &record.tag).is_some();
        let has_room = heads.has_room();
        drop(heads);
        is_known
            || has_room
            || self.trust.has_named(&record.publisher)
            || self.catalogue.keeps_for_user(&record.publisher)
    }

    /// Returns the peers that claim to hold a manifest.
    pub fn holders_of(&self, manifest: &Digest) -> Vec<Holder> {
        self.heads().holders(manifest)
    }

    /// Forgets the heads of a publisher that `keys` no longer stand for.
    pub fn revoke(&self, keys: &KeyHistory) {
        self.heads().revoke(keys);
        self.catalogue.revoke(keys);
    }

    /// Takes a tag out of the catalogue, as its publisher wants.
    pub fn unlist(&self, tombstone: &SignedTombstone, keys: &KeyHistory) {
        self.catalogue.take_tombstone(tombstone, keys);
    }

    /// Forgets the head of a tag that this node has removed.
    pub fn forget_tag(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) {
        self.heads().remove(publisher, model, tag);
        self.catalogue.forget(publisher, model, tag);
    }

    fn heads(&self) -> MutexGuard<'_, Heads> {
        self.heads.lock().expect("no holder of this lock panics")
    }
}
