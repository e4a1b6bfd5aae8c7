//! [`Fetching`]: begins the download of one model: opens its partial blobs, its place among the pulls and its web seeds.

use std::collections::BTreeMap;

use reg_api::reporter::Reporter;
use reg_api::request::Priority;
use reg_api::web_seed::WebSeed;
use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::piece::BlobLayout;
use reg_proto::states::PieceStates;

use super::error::BeginError;
use super::{Fetching, Pull, Pulling, WebSeeds};
use crate::registry::resolve::Resolved;
use crate::store::Partial;

impl Fetching {
    /// Returns the URLs of a model's blobs at the web seeds of this pull (`more`) and at those of all pulls.
    pub fn web_seeds_of(&self, resolved: &Resolved, more: &[WebSeed]) -> WebSeeds {
        let seeds = more.iter().chain(&self.web_seeds);
        let Resolved { keys, model, digest, manifest, .. } = resolved;
        WebSeeds::new(seeds, &keys.publisher(), model, digest, manifest)
    }

    /// Registers a pull among the pulls that run, with its priority.
    pub fn enter(&self, resolved: &Resolved, priority: Priority) -> Pull {
        let pulling = Pulling {
            publisher: resolved.keys.publisher(),
            model: resolved.model.clone(),
            tag: resolved.tag.as_ref().map(|it| it.record().tag.clone()),
            manifest: resolved.digest,
        };
        self.priorities.enter(pulling, priority)
    }

    /// Opens a partial blob for each blob of `missing`, with the states that the provenance names.
    ///
    /// # Errors
    /// No peer sends the states, or a partial blob cannot be created.
    pub async fn open_partials(
        &self,
        missing: &BTreeMap<Digest, BlobLayout>,
        resolved: &mut Resolved,
        reporter: &Reporter,
    ) -> Result<Vec<Partial>, BeginError> {
        let states = self.states_of(missing, resolved, reporter).await?;
        let store = self.store.clone();
        let open = tokio::task::spawn_blocking(move || {
            let open = |(blob, states): (Digest, PieceStates)| {
                let size = states.layout().size();
                store.partial(blob, size, states).map_err(|source| BeginError::Partial { blob, source })
            };
            states.into_iter().map(open).collect::<Result<Vec<Partial>, BeginError>>()
        });
        open.await?
    }

    /// Tells whether the rate limits hold for a peer.
    pub async fn is_limited(&self, peer: PeerId) -> bool {
        self.limits.local || !self.network.is_near(peer).await
    }
}
