//! Watches a node while a tab reads the feed, and adds each change to the feed.

use std::collections::BTreeMap;
use std::time::Duration;

use reg_api::report::{PeerReport, Status};
use reg_proto::peer::PeerId;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::feed::Feed;
use super::pulls::Pulls;
use crate::registry::Registry;

/// The time between two looks at transfers.
const LOOK: Duration = Duration::from_secs(1);
/// Looks at transfers for each look at the peers, and for each look at the figures of the node.
const PEERS_EVERY: u32 = 3;
const STATUS_EVERY: u32 = 5;
/// Peers of one change. A node has at most as many connections.
const PEERS_MAX: usize = 1024;

/// Watches until the last stream has ended.
pub(super) async fn watch(feed: Feed, registry: Registry, pulls: Pulls) {
    let mut seen = Seen::default();
    let mut looks: u32 = 0;
    while feed.goes_on() {
        seen.transfers(&feed, &registry, &pulls);
        if looks.is_multiple_of(PEERS_EVERY) {
            seen.peers(&feed, registry.peers().await);
        }
        if looks.is_multiple_of(STATUS_EVERY)
            && let Ok(status) = registry.status().await
        {
            seen.status(&feed, status);
        }
        looks = looks.wrapping_add(1);
        // Events come in bursts, so the next look waits a moment.
        drop(timeout(LOOK, feed.woken()).await);
        tokio::time::sleep(LOOK / 5).await;
    }
}

/// The values that were added to the feed last.
#[derive(Debug, Default)]
struct Seen {
    transfers: Value,
    pulls: Value,
    peers: Option<BTreeMap<PeerId, Value>>,
    status: Value,
}

impl Seen {
    /// Adds the transfers and pulls if they have changed. The first look always adds them, because earlier
    /// values are not known.
    fn transfers(&mut self, feed: &Feed, registry: &Registry, pulls: &Pulls) {
        let transfers = json!(registry.transfers());
        if transfers != self.transfers {
            feed.push("transfers", &transfers);
            self.transfers = transfers;
        }
        let pulls = json!(pulls.list());
        if pulls != self.pulls {
            feed.push("pulls", &pulls);
            self.pulls = pulls;
        }
    }

    /// Adds the peers that are new, changed or gone. The first look adds all peers.
    fn peers(&mut self, feed: &Feed, peers: Vec<PeerReport>) {
        let now: BTreeMap<PeerId, Value> =
            peers.into_iter().take(PEERS_MAX).map(|it| (it.peer, json!(it))).collect();
        let Some(before) = &self.peers else {
            let all: Vec<&Value> = now.values().collect();
            feed.push("peers", json!({ "all": true, "changed": all, "gone": [] }));
            self.peers = Some(now);
            return;
        };
        let changed: Vec<&Value> =
            now.iter().filter(|(peer, it)| before.get(peer) != Some(it)).map(|(_, it)| it).collect();
        let gone: Vec<&PeerId> = before.keys().filter(|peer| !now.contains_key(peer)).collect();
        if !changed.is_empty() || !gone.is_empty() {
            feed.push("peers", json!({ "all": false, "changed": changed, "gone": gone }));
        }
        self.peers = Some(now);
    }

    /// Adds the figures of the node, unless only its uptime has changed.
    fn status(&mut self, feed: &Feed, status: Status) {
        let status = json!(Status { uptime_seconds: 0, ..status });
        if status != self.status {
            feed.push("status", &status);
            self.status = status;
        }
    }
}
