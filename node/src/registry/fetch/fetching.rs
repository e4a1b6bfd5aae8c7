//! [`Fetching`]: a pull's place among the pulls that run, its web seeds, and whether the rate limits hold for a peer.

use reg_api::request::Priority;
use reg_api::web_seed::WebSeed;
use reg_proto::peer::{Address, PeerId};
use tokio::sync::watch;

use super::{Fetching, Pull, Pulling, TransferLimits, WebSeeds, nearness};
use crate::registry::resolve::Resolved;

impl Fetching {
    /// Returns the URLs of a model's blobs at the web seeds of this pull (`more`) and at those of all pulls.
    pub fn web_seeds_of(&self, resolved: &Resolved, more: &[WebSeed]) -> WebSeeds {
        let own = self.resolver.web_seeds();
        let seeds = more.iter().chain(own.iter());
        let Resolved { keys, model, digest, manifest, .. } = resolved;
        WebSeeds::new(seeds, &keys.publisher(), model, digest, manifest)
    }

    /// Registers a pull among the pulls that run, with its priority.
    pub fn enter(&self, resolved: &Resolved, priority: Priority) -> Pull {
        self.priorities.enter(Pulling::of(resolved), priority)
    }

    /// Returns the rate limits of the node.
    pub fn limits(&self) -> TransferLimits {
        *self.limits.borrow()
    }

    /// Returns the rate limits of the node as they change.
    pub fn watch_limits(&self) -> watch::Receiver<TransferLimits> {
        self.limits.subscribe()
    }

    /// Replaces the rate limits of the node. Rates count at once; whether they hold for near peers, for peers that come from now on.
    pub fn set_limits(&self, limits: TransferLimits) {
        self.throttle.set(limits.down);
        self.limits.send_replace(limits);
    }

    /// Tells whether the rate limits hold for a peer.
    pub async fn is_limited(&self, peer: PeerId) -> bool {
        self.limits().local || !self.network.is_near(peer).await
    }

    /// Tells whether a connected peer is on this machine or in the zone.
    pub async fn is_in_zone(&self, peer: PeerId) -> bool {
        nearness::of(&self.network, peer, &self.zone).await.is_near()
    }

    /// Tells whether a peer that is connected at these addresses is on this machine or in the zone.
    pub fn are_in_zone(&self, addresses: &[Address]) -> bool {
        self.zone.nearest(addresses).is_near()
    }
}

impl Pulling {
    /// Returns what a pull of a resolved model pulls.
    pub fn of(resolved: &Resolved) -> Self {
        Self {
            publisher: resolved.keys.publisher(),
            model: resolved.model.clone(),
            tag: resolved.tag.as_ref().map(|it| it.record().tag.clone()),
            manifest: resolved.digest,
        }
    }
}
