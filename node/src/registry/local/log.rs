//! Returns the log of a tag for `reg log`: the records that this node has seen, and the declarations of the publisher.

use std::sync::Arc;

use reg_api::fault::{Fault, FaultKind};
use reg_proto::digest::Digest;
use reg_proto::equivocation::Equivocation;
use reg_proto::key::KeyHistory;
use reg_proto::name::{PublisherId, Reference, Tag};
use reg_proto::revocation::{Revocation, Revoked};
use reg_proto::tag::{SignedTag, TagRecord};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::task::JoinError;

use super::Local;
use crate::registry::model::whole;
use crate::registry::publishers::{TagsError, declarations, history, keys, proofs};
use crate::registry::trust::TrustError;

/// The log of one tag.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TagLog {
    pub reference: Reference,
    pub publisher: PublisherId,
    /// The version of the publisher's newest key document.
    pub key_document: u64,
    /// Whether two records contradict each other and no record settles them.
    pub frozen: bool,
    /// The records in the order of key documents and numbers, the newest last.
    pub records: Vec<LoggedRecord>,
    pub proofs: Vec<LoggedProof>,
    /// All revocations of the publisher.
    pub revocations: Vec<Revocation>,
    pub delegations: Vec<LoggedDelegation>,
}

/// A record that this node has seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoggedRecord {
    /// The digest of the signed payload. The next record and proofs name the record by it.
    pub payload: Digest,
    pub record: TagRecord,
    /// When this node saw the record, in seconds since 1970; `None` for one that it did not follow.
    pub seen: Option<u64>,
    /// Why the record no longer counts: its keys are revoked, its number is voided, or its manifest is withdrawn.
    pub void: Option<String>,
    /// Whether the store has every file of the version that its user chose.
    #[serde(default)]
    pub is_here: bool,
    /// How many peers have announced that they hold the version.
    #[serde(default)]
    pub peers: usize,
}

/// Two records that contradict each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoggedProof {
    pub seq: u64,
    pub heads: [Digest; 2],
    pub manifests: [Digest; 2],
    pub settled: bool,
}

/// A delegate that may sign records of the publisher's models.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoggedDelegation {
    /// The digest of the signed delegation. A revocation names it by this digest.
    pub payload: Digest,
    pub models: String,
    pub to: PublisherId,
    pub expires: u64,
}

/// Why there is no log to show.
#[derive(Debug, Error)]
pub enum LogError {
    #[error("publisher of {reference} is not known")]
    Trust { reference: Reference, source: TrustError },
    #[error("this node has seen no record of {reference}")]
    Nothing { reference: Reference },
    #[error("log of the tag cannot be read")]
    Tags(#[from] TagsError),
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
}

impl Fault for LogError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Trust { source, .. } => source.kind(),
            Self::Nothing { .. } => FaultKind::NotFound,
            Self::Tags(source) => source.kind(),
            Self::Interrupted(_) => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Trust { source, .. } => source.hint(),
            Self::Nothing { .. } => Some("`reg pull REF` asks peers for it".to_owned()),
            _ => None,
        }
    }
}

impl Local {
    /// Returns the log of a tag: `latest` if the reference names none.
    ///
    /// # Errors
    /// This node has seen no record of the tag, or its log cannot be read.
    pub async fn log(self: &Arc<Self>, reference: &Reference) -> Result<TagLog, LogError> {
        let (local, reference) = (self.clone(), reference.clone());
        tokio::task::spawn_blocking(move || local.read_log(reference)).await?
    }

    fn read_log(&self, reference: Reference) -> Result<TagLog, LogError> {
        let publisher = self
            .trust
            .file
            .resolve(&reference.publisher)
            .map_err(|source| LogError::Trust { reference: reference.clone(), source })?;
        let tag = reference.tag.clone().unwrap_or_else(Tag::latest);
        let heads = self.heard(publisher, &reference, &tag);
        let heard_keys = heads.first().map(|(_, keys)| keys.clone());
        let Some(keys) = keys::keys(&self.store, publisher)?.or(heard_keys) else {
            return Err(LogError::Nothing { reference });
        };
        let mut records = Vec::new();
        for entry in history::entries(&self.store, &keys, &reference.model, &tag)? {
            records.extend(logged(&entry.envelope, Some(entry.seen), &keys));
        }
        for (head, _) in heads {
            if !records.iter().any(|it: &LoggedRecord| it.payload == head.payload_digest()) {
                records.extend(logged(head.envelope(), None, &keys));
            }
        }
        records.sort_by_key(|it| (it.record.order(), it.payload));
        for LoggedRecord { record, is_here, peers, .. } in &mut records {
            let manifest = &record.manifest.digest;
            *is_here = whole::is_kept(&self.store, manifest);
            *peers = self.news.holders_of(manifest).len();
        }
        let proofs = proofs::all(&self.store, &keys, Some(&reference.model), Some(&tag))?;
        if records.is_empty() && proofs.is_empty() {
            return Err(LogError::Nothing { reference });
        }
        let known: Vec<TagRecord> =
            records.iter().filter(|it| it.void.is_none()).map(|it| it.record.clone()).collect();
        let proofs: Vec<LoggedProof> = proofs.iter().map(|it| LoggedProof::of(it, &known)).collect();
        let delegations = declarations::delegations(&self.store, &keys)?;
        let delegations = delegations.iter().map(|signed| LoggedDelegation {
            payload: signed.payload_digest(),
            models: signed.delegation().models.to_string(),
            to: signed.delegation().to,
            expires: signed.delegation().expires,
        });
        Ok(TagLog {
            publisher,
            key_document: keys.version(),
            frozen: proofs.iter().any(|it| !it.settled),
            records,
            proofs,
            revocations: keys.revocations().map(|(revocation, _)| revocation.clone()).collect(),
            delegations: delegations.collect(),
            reference,
        })
    }

    fn heard(
        &self,
        publisher: PublisherId,
        reference: &Reference,
        tag: &Tag,
    ) -> Vec<(SignedTag, KeyHistory)> {
        let known = self.news.heads_of(publisher, Some(&reference.model), Some(tag));
        known.into_iter().map(|head| (head.tag, head.keys.as_ref().clone())).collect()
    }
}

/// Describes a record that was verified when this node saw it. Its keys may have been revoked since.
fn logged(envelope: &str, seen: Option<u64>, keys: &KeyHistory) -> Option<LoggedRecord> {
    let read = reg_proto::envelope::Envelope::from_bytes(envelope.as_bytes(), usize::MAX).ok()?;
    let record = TagRecord::from_payload(&read.payload).ok()?;
    let withdrawn = keys.revocation(&Revoked::Manifest(record.manifest.digest));
    let void = match (SignedTag::verify(envelope, keys), withdrawn) {
        (Err(error), _) => Some(match std::error::Error::source(&error) {
            Some(source) => source.to_string(),
            None => error.to_string(),
        }),
        (Ok(_), Some(revocation)) => Some(format!("withdrawn: {:?}", revocation.reason.as_str())),
        (Ok(_), None) => None,
    };
    Some(LoggedRecord { payload: Digest::of(&read.payload), record, seen, void, is_here: false, peers: 0 })
}

impl LoggedProof {
    fn of(proof: &Equivocation, known: &[TagRecord]) -> Self {
        Self {
            seq: proof.records()[1].record().seq,
            heads: proof.heads(),
            manifests: proof.records().map(|it| it.record().manifest.digest),
            settled: known.iter().any(|record| proof.is_settled_by(record)),
        }
    }
}
