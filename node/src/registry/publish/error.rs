//! [`PublishError`]: why a model is not published, and what to do about it.

use std::time::Duration;

use reg_api::clock::age;
use reg_api::fault::{Fault, FaultKind};
use reg_keys::error::SignError;
use reg_keys::oms::bundle::BundleError;
use reg_proto::catalogue::CardError;
use reg_proto::digest::Digest;
use reg_proto::json::JsonError;
use reg_proto::key::{KeyError, KeyHistory};
use reg_proto::limits::BUNDLE_BYTES_MAX;
use reg_proto::name::{ModelName, PublisherId};
use reg_proto::provenance::ProvenanceError;
use reg_proto::tag::TagError;
use thiserror::Error;
use tokio::task::JoinError;

use super::assemble::AssembleError;
use crate::registry::limits::PREPARATIONS_MAX;
use crate::registry::publishers::TagsError;
use crate::registry::resolve::ResolveError;
use crate::registry::trust::TrustError;
use crate::store::WriteError;

/// Why a model is not published. No peer and no client can see the model then.
#[derive(Debug, Error)]
pub enum PublishError {
    #[error("keys of the publisher are refused")]
    Keys(#[from] KeyError),
    #[error("too many keys of {publisher} are revoked: {left} are left, and {threshold} must sign")]
    Revoked { publisher: PublisherId, left: usize, threshold: usize },
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    #[error("{digest} was withdrawn by its publisher, and a withdrawal cannot be undone")]
    Withdrawn { digest: Digest },
    #[error("{blob} is gone from the cache since the model was prepared")]
    Evicted { blob: Digest },
    #[error("signed bundle is refused")]
    BundleRefused(#[from] BundleError),
    #[error("store cannot keep the model")]
    Write(#[from] WriteError),
    #[error("tag cannot be moved")]
    Tags(#[from] TagsError),
    #[error("tag cannot be moved")]
    Frozen { source: TagsError },
    #[error("tag record that was prepared is not understood")]
    Record(#[from] JsonError),
    #[error("files are not those that were prepared: their manifest is {found}, not {prepared}")]
    OtherFiles { prepared: Digest, found: Digest },
    #[error("newest record of the tag cannot be determined")]
    Newest(#[source] Box<ResolveError>),
    #[error("model name {wanted} is taken: this publisher has {existing}, the same but for case")]
    NameTaken { wanted: ModelName, existing: ModelName },
    #[error("preparation {id} is not known: it has expired, or the daemon was restarted")]
    NoPreparation { id: u64 },
    #[error("preparation {id} was not signed in time, and another publication of the tag has taken its turn")]
    TakenOver { id: u64 },
    #[error(
        "other publications of the tag have been under way for {}",
        age(waited.as_secs())
    )]
    Busy { waited: Duration },
    #[error("publisher is not known")]
    Trust(#[from] TrustError),
    #[error("{PREPARATIONS_MAX} models wait for their signatures already")]
    TooManyPreparations,
    #[error("signed provenance is refused")]
    Provenance(#[from] ProvenanceError),
    #[error("signed card is refused")]
    Card(#[from] CardError),
    #[error("signed tag record is refused")]
    Tag(#[from] TagError),
    #[error("what was signed is not what was prepared")]
    OtherThanPrepared,
    #[error("bundle has {size} bytes, more than {BUNDLE_BYTES_MAX}")]
    Bundle { size: usize },
    #[error("model cannot be signed")]
    Sign(#[from] SignError),
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
}

impl PublishError {
    /// Refuses keys of which too many are revoked, before anything is signed with them.
    pub(super) fn refuse_dead(keys: &KeyHistory) -> Result<(), Self> {
        if !keys.is_dead() {
            return Ok(());
        }
        let left = keys.signers(keys.version()).len();
        Err(Self::Revoked { publisher: keys.publisher(), left, threshold: keys.newest().threshold })
    }
}

impl Fault for PublishError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Assemble(source) => source.kind(),
            Self::Evicted { .. } => FaultKind::RetryLater,
            Self::Withdrawn { .. } | Self::Revoked { .. } => FaultKind::Denied,
            Self::BundleRefused(_) => FaultKind::Verification,
            Self::Write(source) if source.is_disk_full() => FaultKind::DiskFull,
            Self::Keys(KeyError::Envelope(_)) => FaultKind::Invalid,
            Self::Keys(_)
            | Self::Provenance(_)
            | Self::Card(_)
            | Self::Tag(_)
            | Self::Sign(_)
            | Self::OtherThanPrepared => FaultKind::Verification,
            Self::Newest(source) => source.kind(),
            Self::Tags(source) | Self::Frozen { source } => source.kind(),
            Self::OtherFiles { .. } => FaultKind::Verification,
            Self::NoPreparation { .. } => FaultKind::NotFound,
            Self::Trust(source) => source.kind(),
            Self::TakenOver { .. } | Self::Busy { .. } | Self::TooManyPreparations => FaultKind::RetryLater,
            Self::Write(_) | Self::Interrupted(_) => FaultKind::Internal,
            _ => FaultKind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Assemble(source) => source.hint(),
            Self::Evicted { .. } => Some("publish again".into()),
            Self::Revoked { .. } => Some(
                "nodes refuse what a revoked key signs from now on: `reg key rotate NAME` lets a next key take over; then \
                 publish again"
                    .into(),
            ),
            Self::Withdrawn { .. } => Some("change the files: what is published is their content".into()),
            Self::NameTaken { existing, .. } => {
                Some(format!("publish as {existing}, or choose another name"))
            }
            Self::NoPreparation { .. } => Some("publish again".into()),
            Self::TakenOver { .. } | Self::Busy { .. } => Some("run the same command again".into()),
            Self::Trust(source) => source.hint(),
            Self::OtherFiles { .. } => Some("prepare again: reg publish … --prepare FILE".into()),
            Self::Frozen { .. } => Some(
                "if you have signed both, as on two machines, publish with --settle; if not, your key is stolen: reg key \
                 rotate NAME --floor N"
                    .into(),
            ),
            Self::Newest(source) => source.hint(),
            Self::Tags(source) => source.hint(),
            _ => None,
        }
    }

    fn client_hint(&self) -> Option<String> {
        match self {
            Self::Assemble(source) => source.client_hint(),
            error => error.hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::publish::DeclareError;

    #[test]
    fn a_key_document_that_is_no_envelope_is_a_wrong_request() {
        let refused = |documents: &[String]| KeyHistory::read(documents).unwrap_err();
        let no_envelope = || refused(&["{}".to_owned()]);
        assert_eq!(PublishError::from(no_envelope()).kind(), FaultKind::Invalid);
        assert_eq!(DeclareError::from(no_envelope()).kind(), FaultKind::Invalid);
        assert_eq!(PublishError::from(refused(&[])).kind(), FaultKind::Verification);
    }
}
