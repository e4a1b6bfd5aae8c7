//! [`Brought`]: the records and documents of one model that a caller brings, as from an archive. They are judged like the
//! answer of a peer, and no peer is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use reg_api::reporter::Reporter;
use reg_proto::digest::Digest;
use reg_proto::limits::VERIFICATIONS_PER_ANSWER_MAX;
use reg_proto::name::Reference;
use reg_proto::verification::Budget;
use reg_proto::wire::Records;

use super::Resolver;
use super::asking::Asking;
use super::resolved::{ResolveError, ResolveOptions, Resolved};
use super::sent::Sent;
use super::verified::VerifiedRecords;

/// What a caller brings of one model. Nothing of it is trusted.
#[derive(Debug)]
pub struct Brought {
    records: Records,
    manifest: Digest,
    referrers: Vec<Digest>,
    documents: BTreeMap<Digest, Vec<u8>>,
}

impl Brought {
    /// Names each document by the digest that is computed of it. `referrers` are those of `manifest`, by their digests.
    pub fn new(
        records: Records,
        manifest: Digest,
        referrers: Vec<Digest>,
        documents: impl IntoIterator<Item = Vec<u8>>,
    ) -> Self {
        let documents = documents.into_iter().map(|bytes| (Digest::of(&bytes), bytes)).collect();
        Self { records, manifest, referrers, documents }
    }

    /// Tells whether the caller has the blobs of this manifest too.
    pub(super) fn is_of(&self, manifest: &Digest) -> bool {
        self.manifest == *manifest
    }
}

impl Resolver {
    /// Resolves a reference by what the options bring and the store has. Peers, aliases and delegations have no part in it: an
    /// archive carries the records of the publisher that signed the model.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn resolve_brought(
        self: &Arc<Self>,
        reference: &Reference,
        options: &ResolveOptions,
        reporter: &Reporter,
    ) -> Result<Resolved, ResolveError> {
        // There is no peer to ask, online or not.
        self.resolve_at(reference, options, reporter).await.map_err(|error| match error {
            ResolveError::Offline { reference } => ResolveError::NotBrought { reference },
            error => error,
        })
    }
}

impl Asking {
    /// Takes what the caller brings, as the answer of this node itself.
    ///
    /// # Errors
    /// Verifying it costs more than an answer may, or the keys are not the publisher's.
    pub(super) async fn take_brought(
        &mut self,
        resolver: &Resolver,
        brought: &Brought,
    ) -> Result<(), ResolveError> {
        let (publisher, records) = (self.publisher, brought.records.clone());
        let verify = move || {
            let mut budget = Budget::new(VERIFICATIONS_PER_ANSWER_MAX);
            budget.run(|| VerifiedRecords::verify(publisher, &records)).ok()
        };
        let verified = resolver.verifier().documents(verify).await.map_err(|_| ResolveError::Search)?;
        let reference = || self.reference.clone();
        let verified = verified.ok_or_else(|| ResolveError::TooDear { reference: reference() })?;
        let own = resolver.network.peer_id();
        self.take_records(resolver, own, &brought.records, verified, None);
        // No question goes to this node itself.
        self.answers.holders.retain(|peer| *peer != own);
        let sent = Sent::brought(brought.manifest, brought.referrers.clone(), brought.documents.clone());
        self.answers.sent.add(own, sent);
        Ok(())
    }
}
