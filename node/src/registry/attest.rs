//! Attesting: keeping what somebody says of a model as an OCI referrer of its manifest, and telling the network.

use std::collections::BTreeMap;

use reg_proto::attestation::{ATTESTATION_ARTIFACT_TYPE, AttestationKind, AttestationResult, Said};
use reg_proto::content::label::Label;
use reg_proto::descriptor::Descriptor;
use reg_proto::digest::Digest;
use reg_proto::json;
use reg_proto::key::{KeyError, KeyHistory};
use reg_proto::limits::ATTESTATIONS_MAX;
use reg_proto::manifest::MANIFEST_TYPE;
use reg_proto::name::{Petname, PublisherId, Reference};
use reg_proto::provenance::ProvenanceError;
use reg_proto::referrer::{ENVELOPE_MEDIA_TYPE, KEYS_ARTIFACT_TYPE};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::task::JoinError;

use super::documents::{Referrers, referrers_here};
use super::fault::{Fault, FaultKind};
use super::model::{self, ModelRecord};
use super::resolve::ResolveError;
use super::tags::{self, TagsError};
use super::{Inner, Registry};
use crate::store::WriteError;

/// Keep what somebody says of a model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttestRequest {
    /// The model, which must be here.
    pub reference: Reference,
    /// The statement in its envelope.
    pub envelope: String,
    /// The envelopes of the attestor's key documents, from the first on.
    pub key_documents: Vec<String>,
    pub attestor: PublisherId,
}

/// An attestation as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestationInfo {
    pub by: PublisherId,
    /// What the user calls who says so.
    pub petname: Option<Petname>,
    pub kind: AttestationKind,
    pub result: AttestationResult,
    pub tool: Option<Label>,
    pub note: Option<String>,
    /// Seconds since 1970.
    pub issued: u64,
    pub key_document: u64,
}

/// Why an attestation is not kept.
#[derive(Debug, Error)]
pub enum AttestError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("keys of the attestor are refused")]
    Keys(#[from] KeyError),
    #[error("attestation is refused")]
    Statement(#[from] ProvenanceError),
    #[error("keys of the attestor cannot be remembered")]
    Tags(#[from] TagsError),
    #[error("model has {ATTESTATIONS_MAX} attestations by attestors that you have named or that came before")]
    Full,
    #[error("store does not take it")]
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

impl AttestationInfo {
    /// Shows what was said, with the name that the user has for who says it.
    pub(super) fn of(said: &Said, petnames: &BTreeMap<PublisherId, Petname>) -> Self {
        let (tool, note) = match said {
            Said::Attestation(it) => (it.tool.clone(), it.note.as_ref().map(ToString::to_string)),
            Said::Mirror(it) => {
                (None, Some(format!("{} at {}, commit {}", it.repository, it.endpoint, it.commit)))
            }
        };
        Self {
            by: said.by(),
            petname: petnames.get(&said.by()).cloned(),
            kind: said.kind(),
            result: said.result(),
            tool,
            note,
            issued: said.issued(),
            key_document: said.key_document(),
        }
    }
}

impl Registry {
    /// Checks an attestation like a stranger's, keeps it beside its model, and tells peers who holds it.
    ///
    /// # Errors
    /// See [`AttestError`].
    pub async fn attest(&self, request: AttestRequest) -> Result<AttestationInfo, AttestError> {
        let inner = self.inner.clone();
        let (said, manifest) = tokio::task::spawn_blocking(move || inner.keep_said(&request)).await??;
        self.inner.seed_model(&manifest).await;
        let (store, publishers) = (&self.inner.store, ModelRecord::of_manifest(&self.inner.store, &manifest));
        for record in publishers.into_iter().filter(|it| it.complete) {
            let Ok(Some(keys)) = tags::keys(store, record.publisher) else { continue };
            let known = tags::records(store, record.publisher, Some(&record.model)).unwrap_or_default();
            for tag in known.into_iter().filter(|it| it.record().manifest.digest == manifest) {
                self.inner.announce(&tag, &keys).await;
            }
        }
        Ok(AttestationInfo::of(&said, &self.inner.petnames()))
    }
}

impl Inner {
    fn keep_said(&self, request: &AttestRequest) -> Result<(Said, Digest), AttestError> {
        let AttestRequest { reference, envelope, key_documents, attestor } = request;
        let (manifest, record) = self.model_here(reference)?;
        let keys = KeyHistory::verify(*attestor, key_documents)?;
        let said = Said::verify(envelope, &keys, &manifest)?;
        tags::pin_keys(&self.store, &keys)?;
        let size = self.store.blob_size(&manifest).unwrap_or_default();
        let subject = Descriptor::new(MANIFEST_TYPE, manifest, size);
        let documents = String::from_utf8(json::to_vec(&keys.envelopes())).expect("JSON is UTF-8");
        for mut record in ModelRecord::of_manifest(&self.store, &manifest) {
            let before = record.referrers.clone();
            self.refer(&mut record, &subject, ATTESTATION_ARTIFACT_TYPE, ENVELOPE_MEDIA_TYPE, envelope)?;
            // The publisher's own keys travel with its model already.
            if record.publisher != *attestor {
                self.refer(&mut record, &subject, KEYS_ARTIFACT_TYPE, KEYS_ARTIFACT_TYPE, &documents)?;
            }
            let new: Vec<Digest> = record.referrers.drain(before.len()..).collect();
            record.referrers.extend(new.into_iter().filter(|it| !before.contains(it)));
            record.save(&self.store, &manifest)?;
        }
        self.store.commit();
        let kept = self.said_here(&manifest, &record);
        if kept.contains(&said) { Ok((said, manifest)) } else { Err(AttestError::Full) }
    }

    /// Returns what is said of a model that is here, verified anew.
    pub(super) fn said_here(&self, manifest: &Digest, record: &ModelRecord) -> Vec<Said> {
        let Ok(Some(keys)) = tags::keys(&self.store, record.publisher) else { return Vec::new() };
        let record = ModelRecord::load(&self.store, manifest, record.publisher, &record.model);
        let Ok(Some(record)) = record else { return Vec::new() };
        let mut candidates = Referrers::default();
        for (digest, referrer) in referrers_here(self, &record) {
            if let Some(document) = model::document(&self.store, &referrer.document.digest) {
                candidates.add(digest, referrer, document);
            }
        }
        self.attestors().gather(&candidates, &keys, manifest).said
    }
}
