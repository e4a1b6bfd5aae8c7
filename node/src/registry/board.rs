//! What changes who speaks for a publisher: the first key document, rotation, revocation, delegation. Each is written here
//! for signing; what was signed is taken by [`Registry::take_vows`], and told to the network.

use std::sync::Arc;

use reg_proto::delegation::{DELEGATION_TYPE, Delegation, DelegationError, SignedDelegation};
use reg_proto::digest::Digest;
use reg_proto::envelope::PublicKey;
use reg_proto::glob::ModelGlob;
use reg_proto::key::{KEY_DOCUMENT_TYPE, KeyDocument, KeyHistory, publisher_id};
use reg_proto::name::PublisherId;
use reg_proto::revocation::{REVOCATION_TYPE, Reason, Revocation, Revoked};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::task::JoinError;

use super::answer::joined;
use super::fault::{Fault, FaultKind};
use super::publish::{PublishError, keys_of};
use super::signing::SigningFile;
use super::tags::{self, TagsError};
use super::{Inner, Registry, clock, key_pin, vows};

/// The keys that are to speak for a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    pub keys: Vec<PublicKey>,
    pub threshold: usize,
    /// What the next keys will be: then nobody can rotate to others, also with stolen keys.
    pub next: Option<Digest>,
    /// The number from which tags count anew.
    pub floor: Option<u64>,
}

/// What a publisher has said beside its tags, on its way to the network.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Vows {
    pub key_documents: Vec<String>,
    #[serde(default)]
    pub revocations: Vec<String>,
    #[serde(default)]
    pub delegations: Vec<String>,
}

/// What came of telling.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VowsTaken {
    pub publisher: PublisherId,
    /// Newest key document.
    pub version: u64,
    /// What the publisher has revoked, all in all.
    pub revocations: usize,
    pub delegations: usize,
    /// Tags that were announced anew, with what is new.
    pub announced: usize,
}

/// Why vows are not taken.
#[derive(Debug, Error)]
pub enum VowsError {
    #[error("key documents are refused")]
    Keys(#[from] PublishError),
    #[error("what the publisher has said cannot be kept")]
    Tags(#[from] TagsError),
    #[error("a revocation is not signed by those who may revoke this")]
    Revocation,
    #[error("delegation is refused")]
    Delegation(#[from] DelegationError),
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
}

impl Fault for VowsError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Keys(source) => source.kind(),
            Self::Tags(source) => source.kind(),
            Self::Revocation | Self::Delegation(_) => FaultKind::Verification,
            Self::Interrupted(_) => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Keys(source) => source.hint(),
            Self::Tags(source) => source.hint(),
            _ => None,
        }
    }
}

/// Returns the first key document of a publisher with these keys, for signing.
pub fn found(board: Board) -> SigningFile {
    let Board { keys, threshold, next, floor } = board;
    let document = KeyDocument { version: 1, keys, threshold, previous: None, next, floor };
    let payload = document.to_payload();
    let mut file = SigningFile::new(publisher_id(&payload), Vec::new());
    file.add(KEY_DOCUMENT_TYPE, String::from_utf8_lossy(&payload).into_owned());
    file
}

/// Returns the next key document of a publisher, for signing by the old keys and the new ones.
pub fn rotate(history: &KeyHistory, board: Board) -> SigningFile {
    let Board { keys, threshold, next, floor } = board;
    let previous = Some(history.head());
    let document = KeyDocument { version: history.version() + 1, keys, threshold, previous, next, floor };
    let mut file = SigningFile::new(history.publisher(), history.envelopes().to_vec());
    file.add(KEY_DOCUMENT_TYPE, String::from_utf8_lossy(&document.to_payload()).into_owned());
    file
}

/// Returns a revocation, for signing.
pub fn revoke(history: &KeyHistory, subject: Revoked, reason: Reason) -> SigningFile {
    let revocation = Revocation {
        publisher: history.publisher(),
        subject,
        key_document: history.version(),
        issued: clock::now(),
        reason,
    };
    let mut file = SigningFile::new(history.publisher(), history.envelopes().to_vec());
    file.add(REVOCATION_TYPE, String::from_utf8_lossy(&revocation.to_payload()).into_owned());
    file
}

/// Returns a delegation that ends after `seconds`, for signing.
pub fn delegate(history: &KeyHistory, models: ModelGlob, to: PublisherId, seconds: u64) -> SigningFile {
    let issued = clock::now();
    let delegation = Delegation {
        publisher: history.publisher(),
        models,
        to,
        key_document: history.version(),
        issued,
        expires: issued.saturating_add(seconds),
    };
    let mut file = SigningFile::new(history.publisher(), history.envelopes().to_vec());
    file.add(DELEGATION_TYPE, String::from_utf8_lossy(&delegation.to_payload()).into_owned());
    file
}

impl Registry {
    /// Takes what a publisher has said, checks it like a stranger's, keeps it, and tells it along with the publisher's tags.
    ///
    /// # Errors
    /// Something does not verify, or cannot be kept.
    pub async fn take_vows(&self, told: Vows) -> Result<VowsTaken, VowsError> {
        let inner = self.inner.clone();
        let (keys, mut taken) = tokio::task::spawn_blocking(move || inner.keep_vows(&told)).await??;
        taken.announced = self.inner.announce_all(&keys).await;
        Ok(taken)
    }
}

impl Inner {
    fn keep_vows(&self, told: &Vows) -> Result<(KeyHistory, VowsTaken), VowsError> {
        let mut keys = keys_of(&told.key_documents)?;
        let publisher = keys.publisher();
        let pinned = tags::keys(&self.store, publisher)?;
        key_pin::follow(pinned.as_ref(), &keys).map_err(TagsError::from)?;
        if let Some(pinned) = pinned {
            keys = joined(pinned, &keys);
        }
        for revocation in &told.revocations {
            let before = keys.revocations().any(|(_, text)| text == revocation);
            let count = keys.revocations().count();
            keys.take_revocations([revocation.as_str()]);
            if !before && keys.revocations().count() == count {
                return Err(VowsError::Revocation);
            }
        }
        for delegation in &told.delegations {
            SignedDelegation::verify(delegation, &keys)?;
        }
        tags::pin_keys(&self.store, &keys)?;
        vows::keep_delegations(&self.store, &keys, told.delegations.iter().map(String::as_str))?;
        let taken = VowsTaken {
            publisher,
            version: keys.version(),
            revocations: keys.revocations().count(),
            delegations: vows::delegations(&self.store, &keys)?.len(),
            announced: 0,
        };
        Ok((keys, taken))
    }

    /// Announces the keys of a publisher and what it has revoked, and every tag of its that is here anew.
    async fn announce_all(self: &Arc<Self>, keys: &KeyHistory) -> usize {
        self.heads.lock().expect("no holder of this lock panics").revoke(keys);
        let records = tags::envelopes(&self.store, keys.publisher()).unwrap_or_default();
        self.announce_vows(keys).await;
        for text in &records {
            self.announce_text(text, keys).await;
        }
        records.len()
    }
}
