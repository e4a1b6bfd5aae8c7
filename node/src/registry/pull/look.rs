//! Looks at a model that is not in the store: proves it, and computes what a pull would cost. Fetches no file of it.

use std::sync::Arc;

use reg_api::lineage::Lineage;
use reg_api::looked::Looked;
use reg_api::report::AttestationInfo;
use reg_api::reporter::Reporter;
use reg_api::request::PullRequest;
use reg_proto::tag::SignedTag;

use super::Puller;
use super::error::PullError;
use crate::registry::model::whole;
use crate::registry::resolve::{RecordChoice, proof_checks};

impl Puller {
    /// Resolves a model, and returns what is proven of it, what the user's rules say, and what a pull would fetch.
    ///
    /// # Errors
    /// The model cannot be resolved, or is not proven: see [`PullError`].
    pub async fn look(
        self: &Arc<Self>,
        request: PullRequest,
        reporter: &Reporter,
    ) -> Result<Looked, PullError> {
        let looked = self.look_once(&request, reporter).await;
        looked.map_err(|error| self.with_versions(&request.reference, error))
    }

    async fn look_once(
        self: &Arc<Self>,
        request: &PullRequest,
        reporter: &Reporter,
    ) -> Result<Looked, PullError> {
        self.meet_first(request, reporter).await;
        let (mut resolved, mut part) = self.find(request, &RecordChoice::default(), reporter).await?;
        if self.settle(resolved.later.as_mut()).await.is_err() {
            (resolved, part) = self.find(request, &RecordChoice::default(), reporter).await?;
        }
        let missing = whole::missing(&self.store, part.blobs(&resolved.manifest)).await?;
        let petnames = self.trust.petnames();
        let mut checks = proof_checks(&resolved, &petnames);
        checks.extend(self.resolver.consent(&resolved).await?);
        let (puller, of) = (self.clone(), request.clone());
        let planning = tokio::task::spawn_blocking(move || {
            let planned = puller.planned(&of, &resolved, &part, &missing);
            (planned, resolved)
        });
        let (planned, resolved) = planning.await?;
        let publisher = resolved.keys.publisher();
        Ok(Looked {
            publisher,
            petname: petnames.get(&publisher).cloned(),
            tag: resolved.tag.as_ref().map(|it| it.record().tag.clone()),
            seq: resolved.tag.as_ref().map(|it| it.record().seq),
            tag_age: resolved.tag_age(),
            key_document: resolved.keys.version(),
            checks,
            attestations: resolved.said.iter().map(|it| AttestationInfo::of(it, &petnames)).collect(),
            peers: resolved.holders.iter().filter(|peer| !resolved.strangers.contains(peer)).count(),
            planned,
            record: resolved.tag.as_ref().map(SignedTag::payload_digest),
            collected: Vec::new(),
            model: resolved.model,
            lineage: Lineage::default(),
        })
    }
}
