//! Announces at the start of a node which models it holds, and later gives up the DHT keys of what has left
//! the store.
//!
//! The announcements come from the rows of the list. When a document of a row has changed, the row is derived
//! again and its signatures are verified. So a start verifies only what has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use reg_api::request::ListRequest;
use reg_proto::dht::DhtKey;
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::name::{PublisherId, Tag};
use reg_proto::tag::SignedTag;
use tracing::warn;

use super::rows::Row;
use super::{CatalogueError, Local};
use crate::net::HeldKeys;
use crate::registry::limits::{HOLD_AGAIN, START_ANNOUNCEMENTS_MAX};
use crate::registry::model::kept::{self, Kept};
use crate::registry::model::record::ModelRecord;
use crate::registry::publishers::{TagsError, keys, tags};

/// What a node announces at its start.
#[derive(Debug, Default)]
struct Held {
    /// Each key, and whether it is of a model that was published on this node.
    keys: BTreeMap<DhtKey, bool>,
    publishers: Vec<OfPublisher>,
    /// The payloads of the newest records, which are gossiped.
    newest: BTreeSet<Digest>,
}

/// The tags of a publisher's models that are whole.
#[derive(Debug)]
struct OfPublisher {
    keys: Arc<KeyHistory>,
    heads: Vec<SignedTag>,
    /// Records that are not the heads of their tags, or that others contradict.
    others: Vec<SignedTag>,
}

/// The tags of whole models, with the manifest that each means, and whether that is the head. The name of a model is in lower
/// case.
type Meant = BTreeMap<(String, Tag), (Digest, bool)>;

/// Provides the models in the store in the DHT, and announces their tags. Then gives up the DHT keys of what
/// leaves the store, until the node stops.
pub async fn seed_all(local: Arc<Local>) {
    seed_first(&local).await;
    loop {
        local.hold().await;
        // An eviction does not notify this task, so it also looks after some time.
        let _elapsed = tokio::time::timeout(HOLD_AGAIN, local.removed.notified()).await;
    }
}

async fn seed_first(local: &Arc<Local>) {
    local.news.stand_up().await;
    let Held { keys, publishers, newest } = match local.on_blocking_thread(|local| local.held()).await {
        Ok(held) => held,
        Err(error) => {
            warn!(%error, "the models in the store are not announced: they cannot be listed");
            return;
        }
    };
    for (key, is_own) in keys {
        match is_own {
            true => local.network.provide_own(key).await,
            false => local.network.provide(key).await,
        }
    }
    for OfPublisher { keys, heads, others } in publishers {
        let is_newest = |tag: &SignedTag| newest.contains(&tag.payload_digest());
        local.news.tell_held(heads, &keys, is_newest).await;
        for tag in others {
            local.news.announce(&tag, &keys).await;
        }
    }
}

impl Local {
    /// Tells the DHT which keys the store has now.
    async fn hold(self: &Arc<Self>) {
        match self.on_blocking_thread(|local| local.held_keys()).await {
            Ok(held) => self.network.hold(held).await,
            Err(error) => warn!(%error, "the DHT keys of what was removed are not given up"),
        }
    }

    fn held_keys(&self) -> Result<HeldKeys, CatalogueError> {
        let since = Instant::now();
        let keys = self.keys_of(&self.rows(&ListRequest::default())?.models)?;
        let blobs = self.store.blobs()?.into_iter();
        let loose = blobs.filter_map(|it| DhtKey::blob(&it, self.store.blob_size(&it)?)).collect();
        Ok(HeldKeys { since, keys, loose })
    }

    /// Returns the keys of models, each with whether it is of a model that was published on this node.
    fn keys_of(&self, rows: &[Row]) -> Result<BTreeMap<DhtKey, bool>, CatalogueError> {
        let (mut keys, kept) = (BTreeMap::new(), kept::all(&self.store)?);
        for row in rows.iter().filter(|it| self.trust.sharing.gives(&it.publisher, &it.model)) {
            // Of a model in part, the node provides the publisher's records and the large blobs, but neither name nor manifest.
            if row.is_here || row.part.is_some() {
                let record = ModelRecord::key(&row.manifest, row.publisher, &row.model);
                let is_own = kept.get(&record) == Some(&Kept::Published);
                let whole = [DhtKey::model(&row.publisher, &row.model), DhtKey::manifest(&row.manifest)];
                let large = row.large.iter();
                let of_row = [DhtKey::publisher(&row.publisher)]
                    .into_iter()
                    .chain(whole.into_iter().filter(|_| row.is_here))
                    .chain(large.filter_map(|it| DhtKey::blob(it, self.store.blob_size(it)?)));
                of_row.for_each(|key| *keys.entry(key).or_insert(false) |= is_own);
            }
        }
        Ok(keys)
    }

    fn held(&self) -> Result<Held, CatalogueError> {
        let rows = self.rows(&ListRequest::default())?.models;
        let mut held = Held { keys: self.keys_of(&rows)?, ..Held::default() };
        let mut meant: BTreeMap<PublisherId, Meant> = BTreeMap::new();
        for row in rows.into_iter().filter(|it| self.trust.sharing.gives(&it.publisher, &it.model)) {
            if row.is_here {
                let of = meant.entry(row.publisher).or_default();
                let name = row.model.folded();
                let tags = row.tags.into_iter();
                of.extend(tags.map(|(tag, behind)| ((name.clone(), tag), (row.manifest, behind.is_none()))));
            }
        }
        for (publisher, meant) in meant {
            let Ok(Some(keys)) = keys::keys(&self.store, publisher) else { continue };
            match self.of_publisher(keys, meant) {
                Ok(of) => held.publishers.push(of),
                Err(error) => warn!(%publisher, %error, "the models of a publisher are not announced"),
            }
        }
        held.note_newest();
        Ok(held)
    }

    fn of_publisher(&self, keys: KeyHistory, mut meant: Meant) -> Result<OfPublisher, TagsError> {
        let publisher = keys.publisher();
        let whole: BTreeSet<Digest> = meant.values().map(|(manifest, _)| *manifest).collect();
        let mut heads = tags::kept_heads(&self.store, publisher)?;
        heads.retain(|tag| {
            let record = tag.record();
            let name = (record.model.folded(), record.tag.clone());
            meant.get(&name) == Some(&(record.manifest.digest, true)) && meant.remove(&name).is_some()
        });
        let mut others = Vec::new();
        for (name, tag) in meant.into_keys() {
            let Ok(model) = name.parse() else { continue };
            match tags::record(&self.store, publisher, &model, &tag) {
                Ok(record) => {
                    others.extend(record.filter(|it| whole.contains(&it.record().manifest.digest)));
                }
                Err(error) => warn!(%publisher, %model, %tag, %error, "a tag is not announced"),
            }
        }
        Ok(OfPublisher { keys: Arc::new(keys), heads, others })
    }
}

impl Held {
    fn note_newest(&mut self) {
        let all = self.publishers.iter().flat_map(|it| &it.heads);
        let mut all: Vec<(u64, Digest)> =
            all.map(|tag| (tag.record().issued, tag.payload_digest())).collect();
        all.sort_unstable_by(|one, two| two.cmp(one));
        self.newest.extend(all.into_iter().take(START_ANNOUNCEMENTS_MAX).map(|(_, payload)| payload));
    }
}
