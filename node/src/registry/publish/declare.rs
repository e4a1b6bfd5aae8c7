//! What changes who speaks for a publisher: the first key document, rotation, revocation, delegation. Each is written here
//! for signing; what was signed is taken by [`Registry::take_declarations`], and told to the network.

use std::sync::Arc;

use reg_api::declarations::{Declarations, DeclarationsTaken};
use reg_api::fault::{Fault, FaultKind};
use reg_proto::delegation::{DelegationError, SignedDelegation};
use reg_proto::key::{KeyError, KeyHistory};
use thiserror::Error;
use tokio::task::JoinError;

use crate::registry::publish::Publishing;
use crate::registry::publishers::key_pin::{self, joined};
use crate::registry::publishers::{TagsError, declarations, documents, keys};

/// Why declarations are not taken.
#[derive(Debug, Error)]
pub enum DeclareError {
    #[error("key documents are refused")]
    Keys(#[from] KeyError),
    #[error("what the publisher has said cannot be kept")]
    Tags(#[from] TagsError),
    #[error("a revocation is not signed by those who may revoke this")]
    Revocation,
    #[error("delegation is refused")]
    Delegation(#[from] DelegationError),
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
}

impl Fault for DeclareError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Keys(_) => FaultKind::Verification,
            Self::Tags(source) => source.kind(),
            Self::Revocation | Self::Delegation(_) => FaultKind::Verification,
            Self::Interrupted(_) => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Tags(source) => source.hint(),
            _ => None,
        }
    }
}

impl Publishing {
    /// Takes what a publisher has said, checks it like a stranger's, keeps it, and tells it along with the publisher's tags.
    ///
    /// # Errors
    /// Something does not verify, or cannot be kept.
    pub async fn take_declarations(
        self: &Arc<Self>,
        told: Declarations,
    ) -> Result<DeclarationsTaken, DeclareError> {
        let publishing = self.clone();
        let (keys, mut taken) =
            tokio::task::spawn_blocking(move || publishing.keep_declarations(&told)).await??;
        taken.announced = self.announce_all(&keys).await;
        Ok(taken)
    }
}

impl Publishing {
    fn keep_declarations(
        &self,
        told: &Declarations,
    ) -> Result<(KeyHistory, DeclarationsTaken), DeclareError> {
        let mut keys = KeyHistory::read(&told.key_documents)?;
        let publisher = keys.publisher();
        let pinned = keys::keys(&self.store, publisher)?;
        key_pin::follow(pinned.as_ref(), &keys).map_err(TagsError::from)?;
        if let Some(pinned) = pinned {
            keys = joined(pinned, &keys);
        }
        for revocation in &told.revocations {
            let before = keys.revocations().any(|(_, text)| text == revocation);
            let count = keys.revocations().count();
            keys.take_revocations([revocation.as_str()]);
            if !before && keys.revocations().count() == count {
                return Err(DeclareError::Revocation);
            }
        }
        for delegation in &told.delegations {
            SignedDelegation::verify(delegation, &keys)?;
        }
        keys::pin_keys(&self.store, &keys)?;
        declarations::keep_delegations(&self.store, &keys, told.delegations.iter().map(String::as_str))?;
        let taken = DeclarationsTaken {
            publisher,
            version: keys.version(),
            revocations: keys.revocations().count(),
            delegations: declarations::delegations(&self.store, &keys)?.len(),
            announced: 0,
        };
        Ok((keys, taken))
    }

    /// Announces the keys of a publisher and what it has revoked, and every tag of its that is here anew.
    async fn announce_all(self: &Arc<Self>, keys: &KeyHistory) -> usize {
        self.news.heads.lock().expect("no holder of this lock panics").revoke(keys);
        let records = documents::envelopes(&self.store, keys.publisher()).unwrap_or_default();
        self.news.announce_declarations(keys).await;
        for text in &records {
            self.news.announce_text(text, keys).await;
        }
        records.len()
    }
}
