//! Attests: keeps an attestation as an OCI referrer of the manifest that it is about, and announces it.

use std::sync::Arc;

use reg_api::fault::{Fault, FaultKind};
use reg_api::report::AttestationInfo;
use reg_api::request::AttestRequest;
use reg_proto::attestation::{ATTESTATION_ARTIFACT_TYPE, Said};
use reg_proto::descriptor::Descriptor;
use reg_proto::digest::Digest;
use reg_proto::key::{KeyError, KeyHistory};
use reg_proto::limits::ATTESTATIONS_MAX;
use reg_proto::manifest::MANIFEST_TYPE;
use reg_proto::provenance::ProvenanceError;
use reg_proto::referrer::{ENVELOPE_MEDIA_TYPE, KEYS_ARTIFACT_TYPE};
use thiserror::Error;
use tokio::task::JoinError;

use super::Publishing;
use crate::registry::model::record::ModelRecord;
use crate::registry::model::refer;
use crate::registry::publishers::{TagsError, keys, tags};
use crate::registry::resolve::{ModelHere, ResolveError};
use crate::store::WriteError;

/// Why an attestation is not kept.
#[derive(Debug, Error)]
pub enum AttestError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("keys of the attestor are refused")]
    Keys(#[from] KeyError),
    #[error("attestation is refused")]
    Statement(#[from] ProvenanceError),
    #[error("keys of the attestor cannot be recorded")]
    Tags(#[from] TagsError),
    #[error(
        "model already has {ATTESTATIONS_MAX} attestations, by attestors that you have named or that were kept earlier"
    )]
    Full,
    #[error("store cannot keep the attestation")]
    Write(#[from] WriteError),
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
}

impl Fault for AttestError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Resolve(source) => source.kind(),
            Self::Keys(_) | Self::Statement(_) | Self::Tags(_) => FaultKind::Verification,
            Self::Full => FaultKind::Denied,
            Self::Write(source) if source.is_disk_full() => FaultKind::DiskFull,
            Self::Write(_) | Self::Interrupted(_) => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve(source) => source.hint(),
            Self::Full => Some("name the attestor first: `reg trust add NAME ID`".to_owned()),
            _ => None,
        }
    }
}

impl Publishing {
    /// Verifies an attestation as strictly as one from a peer, keeps it beside its model, and announces the model again.
    ///
    /// # Errors
    /// The model is not in the store, or the attestation does not verify: see [`AttestError`].
    pub async fn attest(self: &Arc<Self>, request: AttestRequest) -> Result<AttestationInfo, AttestError> {
        let publishing = self.clone();
        let (said, manifest) = tokio::task::spawn_blocking(move || publishing.keep_said(&request)).await??;
        self.news.seed_model(&manifest).await;
        let (store, publishers) = (&self.store, ModelRecord::of_manifest(&self.store, &manifest));
        for record in publishers.into_iter().filter(|it| it.complete) {
            let Ok(Some(keys)) = keys::keys(store, record.publisher) else { continue };
            let known = tags::records(store, record.publisher, Some(&record.model)).unwrap_or_default();
            for tag in known.into_iter().filter(|it| it.record().manifest.digest == manifest) {
                self.news.announce(&tag, &keys).await;
            }
        }
        Ok(AttestationInfo::of(&said, &self.trust.petnames()))
    }

    fn keep_said(&self, request: &AttestRequest) -> Result<(Said, Digest), AttestError> {
        let AttestRequest { reference, envelope, key_documents, attestor } = request;
        let ModelHere { manifest, record, .. } = self.resolver.model_here(reference)?;
        let keys = KeyHistory::verify(*attestor, key_documents)?;
        let said = Said::verify(envelope, &keys, &manifest)?;
        keys::pin_keys(&self.store, &keys)?;
        let size = self.store.blob_size(&manifest).unwrap_or_default();
        let subject = Descriptor::new(MANIFEST_TYPE, manifest, size);
        let documents = keys.to_json();
        for mut record in ModelRecord::of_manifest(&self.store, &manifest) {
            let before = record.referrers.clone();
            refer::refer(
                &self.store,
                &mut record,
                &subject,
                ATTESTATION_ARTIFACT_TYPE,
                ENVELOPE_MEDIA_TYPE,
                envelope,
            )?;
            // The keys of the model's publisher are sent with the model anyway.
            if record.publisher != *attestor {
                refer::refer(
                    &self.store,
                    &mut record,
                    &subject,
                    KEYS_ARTIFACT_TYPE,
                    KEYS_ARTIFACT_TYPE,
                    &documents,
                )?;
            }
            let new: Vec<Digest> = record.referrers.drain(before.len()..).collect();
            record.referrers.extend(new.into_iter().filter(|it| !before.contains(it)));
            record.save(&self.store, &manifest)?;
        }
        self.store.commit();
        let kept = self.resolver.said_here(&manifest, &record);
        if kept.contains(&said) { Ok((said, manifest)) } else { Err(AttestError::Full) }
    }
}
