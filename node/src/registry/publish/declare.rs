//! Takes declarations, which a publisher makes beside its models: the first key document, rotations, revocations, delegations,
//! profiles and tombstones. Verifies, keeps and announces them. The key tools write and sign them.

use std::sync::Arc;

use reg_api::declarations::{Declarations, DeclarationsTaken};
use reg_api::fault::{Fault, FaultKind};
use reg_proto::catalogue::{SignedTombstone, TombstoneError};
use reg_proto::delegation::{DelegationError, SignedDelegation};
use reg_proto::key::{KeyError, KeyHistory};
use reg_proto::profile::{ProfileError, SignedProfile};
use reg_proto::revocation::{Revocation, RevocationError};
use thiserror::Error;
use tokio::task::JoinError;

use super::Publishing;
use crate::registry::publishers::key_pin::{self, joined};
use crate::registry::publishers::{TagsError, declarations, documents, forks, keys, profiles, tombstones};
use crate::store::Store;

/// Why declarations are not taken.
#[derive(Debug, Error)]
pub enum DeclareError {
    #[error("key documents are refused")]
    Keys(#[from] KeyError),
    #[error("declarations of the publisher cannot be kept")]
    Tags(#[from] TagsError),
    #[error("a revocation is not signed by the keys that may revoke this")]
    Revocation,
    #[error("a revocation cannot be read")]
    NoRevocation(#[source] RevocationError),
    #[error("delegation is refused")]
    Delegation(#[from] DelegationError),
    #[error("profile is refused")]
    Profile(#[from] ProfileError),
    #[error("a profile with number {number} or a higher one is known already")]
    ProfileNumber { number: u64 },
    #[error("tombstone is refused")]
    Tombstone(#[from] TombstoneError),
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
}

impl Fault for DeclareError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Keys(KeyError::Envelope(_)) | Self::NoRevocation(_) => FaultKind::Invalid,
            Self::Keys(_) => FaultKind::Verification,
            Self::Tags(source) => source.kind(),
            Self::Revocation
            | Self::Delegation(_)
            | Self::Profile(_)
            | Self::ProfileNumber { .. }
            | Self::Tombstone(_) => FaultKind::Verification,
            Self::Interrupted(_) => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Tags(source) => source.hint(),
            Self::ProfileNumber { .. } => Some(
                "another machine of the publisher has signed one meanwhile: run `reg publisher set` again"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

impl Publishing {
    /// Verifies the declarations of a publisher as strictly as those from a peer, keeps them, and announces them together with
    /// the publisher's tags.
    ///
    /// # Errors
    /// A declaration does not verify, or cannot be kept.
    pub async fn take_declarations(
        self: &Arc<Self>,
        declared: Declarations,
    ) -> Result<DeclarationsTaken, DeclareError> {
        let publishing = self.clone();
        // A tag that is taken out of catalogues is not announced for that: peers find it when they compare theirs.
        let is_announced = declared.tombstones.is_empty();
        let (keys, mut taken) =
            tokio::task::spawn_blocking(move || publishing.keep_declarations(&declared)).await??;
        if is_announced {
            taken.announced = self.announce_all(&keys).await;
        }
        Ok(taken)
    }

    fn keep_declarations(
        &self,
        declared: &Declarations,
    ) -> Result<(KeyHistory, DeclarationsTaken), DeclareError> {
        let mut keys = KeyHistory::read(&declared.key_documents)?;
        let publisher = keys.publisher();
        let pinned = keys::keys(&self.store, publisher)?;
        let accepted = forks::accepted(&self.store, publisher)?;
        key_pin::follow(pinned.as_ref(), &keys, accepted.as_ref()).map_err(TagsError::from)?;
        if let Some(pinned) = pinned {
            keys = joined(pinned, &keys);
        }
        for revocation in &declared.revocations {
            let subject = Revocation::read_subject(revocation).map_err(DeclareError::NoRevocation)?;
            // Another revocation of the same subject says nothing new, and none of other subjects matters.
            keys.take_revocations([revocation.as_str()]);
            if keys.revocation(&subject).is_none() {
                return Err(DeclareError::Revocation);
            }
        }
        for delegation in &declared.delegations {
            SignedDelegation::verify(delegation, &keys)?;
        }
        for profile in &declared.profiles {
            SignedProfile::verify(profile, &keys)?;
        }
        let tombstones = declared.tombstones.iter().map(|text| SignedTombstone::verify(text, &keys));
        let tombstones = tombstones.collect::<Result<Vec<_>, _>>()?;
        keys::pin_keys(&self.store, &keys)?;
        for tombstone in &tombstones {
            tombstones::keep(&self.store, &keys, tombstone)?;
            self.news.unlist(tombstone, &keys);
        }
        for profile in &declared.profiles {
            keep_profile(&self.store, &keys, profile)?;
        }
        declarations::keep_delegations(&self.store, &keys, declared.delegations.iter().map(String::as_str))?;
        let taken = DeclarationsTaken {
            publisher,
            version: keys.version(),
            revocations: keys.revocations().count(),
            delegations: declarations::delegations(&self.store, &keys)?.len(),
            announced: 0,
        };
        Ok((keys, taken))
    }

    /// Announces the keys and declarations of a publisher, and again every tag of it in the store. Returns how many tags.
    async fn announce_all(self: &Arc<Self>, keys: &KeyHistory) -> usize {
        self.news.revoke(keys);
        let records = documents::envelopes(&self.store, keys.publisher()).unwrap_or_default();
        self.news.announce_declarations(keys).await;
        for text in &records {
            self.news.announce_text(text, keys).await;
        }
        records.len()
    }
}

/// Keeps a profile. Its user must know if a newer one is known, because then it counts nowhere.
fn keep_profile(store: &Store, keys: &KeyHistory, text: &str) -> Result<(), DeclareError> {
    let is_new = profiles::keep(store, keys, text)?;
    match profiles::profile(store, keys)? {
        Some(known) if !is_new && known.envelope() != text => {
            Err(DeclareError::ProfileNumber { number: known.profile().seq })
        }
        _ => Ok(()),
    }
}
