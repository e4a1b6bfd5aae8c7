//! Tells the rendezvous under which publishers' keys this node is announced: its own, and those that the user has named.

use std::collections::BTreeSet;

use reg_proto::name::{ModelName, PublisherId};

use super::News;
use crate::registry::model::kept::{self, Kept};
use crate::store::{ReadError, Store};

impl News {
    /// Announces this node, where it is announced at all, under the keys of the publishers of models that were published here and are
    /// shared, and of those that the user has named.
    pub async fn stand_up(&self) {
        let Some(rendezvous) = self.network.rendezvous().filter(|it| it.announces()) else { return };
        let store = self.store.clone();
        let own = match tokio::task::spawn_blocking(move || published_here(&store)).await {
            Ok(Ok(own)) => own,
            Ok(Err(error)) => {
                tracing::warn!(%error, "this node's own publishers cannot be read");
                return;
            }
            Err(_ended) => return,
        };
        let shared = own.into_iter().filter(|(publisher, model)| self.trust.sharing.gives(publisher, model));
        let mut publishers: BTreeSet<PublisherId> = shared.map(|(publisher, _)| publisher).collect();
        for named in rendezvous.opted_in() {
            match self.trust.file.resolve(named) {
                Ok(publisher) => drop(publishers.insert(publisher)),
                Err(error) => {
                    tracing::warn!(%error, "network.rendezvous_publishers names an unknown publisher")
                }
            }
        }
        let left_out = rendezvous.stand_up_for(publishers);
        if left_out > 0 {
            tracing::warn!(
                left_out,
                "this node is not announced under the keys of all of its publishers: too many"
            );
        }
    }
}

/// Returns the models that were published on this node.
fn published_here(store: &Store) -> Result<Vec<(PublisherId, ModelName)>, ReadError> {
    let published = kept::all(store)?.into_iter().filter(|(_, why)| *why == Kept::Published);
    // The key of a record: manifest, publisher, model.
    let named = |key: String| {
        let (publisher, model) = key.split_once(' ')?.1.split_once('/')?;
        Some((publisher.parse().ok()?, model.parse().ok()?))
    };
    Ok(published.filter_map(|(key, _)| named(key)).collect())
}
