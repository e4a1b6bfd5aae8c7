//! Takes a model that its caller brings, as from an archive: proves it, lets the caller fill the store, and concludes it as a
//! pull without network does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use reg_api::report::Pulled;
use reg_api::reporter::Reporter;
use reg_api::request::PullRequest;
use reg_api::selection::Part;
use reg_proto::digest::Digest;
use reg_proto::piece::BlobLayout;

use super::Puller;
use super::early::Steps;
use super::error::PullError;
use crate::registry::model::whole;
use crate::registry::resolve::{Brought, ResolveOptions, Resolved, refuse};
use crate::store::Lease;

/// A model that was brought and proven, with what the store lacks of it.
#[derive(Debug)]
pub struct Proven {
    pub resolved: Resolved,
    /// The files that the request selects.
    pub part: Part,
    start: Instant,
}

/// The blobs that the store lacks of a part, in the order in which they are taken.
#[derive(Debug)]
pub struct Lacking {
    /// Small files, by which a model may be refused.
    pub small: BTreeMap<Digest, BlobLayout>,
    pub weights: BTreeMap<Digest, BlobLayout>,
    /// Holds the room for them, and protects the other blobs of the model.
    lease: Lease,
}

impl Puller {
    /// Proves a model by what the caller brings of it, and selects its files. Takes no blob.
    ///
    /// # Errors
    /// The model is not proven: see [`PullError`].
    pub async fn prove_brought(
        &self,
        request: &PullRequest,
        brought: Arc<Brought>,
        reporter: &Reporter,
    ) -> Result<Proven, PullError> {
        let start = Instant::now();
        let options = ResolveOptions {
            offline: true,
            allow_expired: request.allow_expired,
            newest: request.newest,
            brought: Some(brought),
            ..ResolveOptions::default()
        };
        let resolved = self.resolver.resolve_brought(&request.reference, &options, reporter).await?;
        let (resolved, part) = self.selected(request, resolved, reporter)?;
        Ok(Proven { resolved, part, start })
    }

    /// Asks the user's rules for a model, before its weights are taken.
    ///
    /// # Errors
    /// A rule refuses it.
    pub async fn admit_brought(&self, proven: &Proven) -> Result<(), PullError> {
        let Proven { resolved, .. } = proven;
        refuse(&self.resolver.consent(resolved).await?, resolved.keys.publisher(), &resolved.model)?;
        Ok(())
    }

    /// Returns the blobs of a part that are to be taken, and reserves the room for them.
    ///
    /// # Errors
    /// There is no room.
    pub async fn lacking_of(&self, proven: &Proven) -> Result<Lacking, PullError> {
        let manifest = &proven.resolved.manifest;
        let missing = whole::missing(&self.store, proven.part.blobs(manifest)).await?;
        let bytes = missing.values().map(|it| it.size()).sum();
        let protect: BTreeSet<Digest> =
            manifest.blobs().into_keys().chain([proven.resolved.digest]).collect();
        let lease = self.reserve(bytes, protect).await?;
        let Steps { small, weights } = Steps::of(missing, manifest);
        Ok(Lacking { small, weights, lease })
    }

    /// Judges those files of a part that are in the store, before the weights are taken.
    ///
    /// # Errors
    /// A file is refused.
    pub async fn judge_brought(
        &self,
        request: &PullRequest,
        proven: &mut Proven,
        reporter: &Reporter,
    ) -> Result<(), PullError> {
        let consent = self.consent_of(&proven.resolved, request).await?;
        let Proven { resolved, part, .. } = proven;
        self.judge_early(resolved, part, &consent, reporter).await
    }

    /// Judges and records a model that has all its blobs in the store now, and announces it where the node is online.
    ///
    /// # Errors
    /// A file is refused, or the model cannot be recorded.
    pub async fn take_brought(
        self: &Arc<Self>,
        request: &PullRequest,
        proven: Proven,
        lacking: Lacking,
        reporter: &Reporter,
    ) -> Result<Pulled, PullError> {
        let Proven { resolved, part, start } = proven;
        let head = resolved.tag.clone().filter(|_| resolved.behind.is_none());
        let keys = resolved.keys.clone();
        let pulled = self.pull_version(request, resolved, None, part, start, reporter).await?;
        drop::<Lease>(lacking.lease);
        if let Some(tag) = head.filter(|_| !pulled.is_part && !self.network.is_offline()) {
            self.news.announce(&tag, &keys).await;
        }
        Ok(pulled)
    }
}
