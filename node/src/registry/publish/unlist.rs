//! Finds out what a publisher has to sign to take a tag out of catalogues.

use std::sync::Arc;

use reg_api::declarations::{Unlist, Unlistable};
use reg_api::fault::{Fault, FaultKind};
use reg_api::reporter::Reporter;
use reg_proto::key::{KeyError, KeyHistory};
use reg_proto::name::{ModelName, PublisherId, Tag};
use thiserror::Error;
use tokio::task::JoinError;

use super::Publishing;
use super::error::PublishError;
use crate::registry::publishers::{TagsError, revoked, tags, tombstones};

/// Why a tag cannot be taken out of catalogues.
#[derive(Debug, Error)]
pub enum UnlistError {
    #[error("key documents are refused")]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Newest(#[from] PublishError),
    #[error("records of the tag cannot be read")]
    Tags(#[from] TagsError),
    #[error("{publisher} has published no {model}:{tag} that this node or a peer in reach knows")]
    Unknown { publisher: PublisherId, model: ModelName, tag: Tag },
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
}

impl Fault for UnlistError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Keys(_) => FaultKind::Verification,
            Self::Newest(source) => source.kind(),
            Self::Tags(source) => source.kind(),
            Self::Unknown { .. } => FaultKind::NotFound,
            Self::Interrupted(_) => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Newest(source) => source.hint(),
            Self::Tags(source) => source.hint(),
            Self::Unknown { .. } => Some("`reg ls` shows the models in the store with their tags".to_owned()),
            _ => None,
        }
    }
}

impl Publishing {
    /// Returns the highest number of a tag that the store or a peer in reach knows, and whether it is taken out already.
    ///
    /// # Errors
    /// The tag is not known, or a peer knows newer keys of the publisher: see [`UnlistError`].
    pub async fn unlistable(
        self: &Arc<Self>,
        request: Unlist,
        reporter: &Reporter,
    ) -> Result<Unlistable, UnlistError> {
        let Unlist { key_documents, model, tag } = request;
        let mut keys = KeyHistory::read(&key_documents)?;
        let elsewhere = self.newest_record(&keys, &model, &tag, reporter).await?;
        let publishing = self.clone();
        let look = move || {
            let (publisher, store) = (keys.publisher(), &publishing.store);
            revoked::revoke(store, &mut keys)?;
            let here = tags::seen(store, &keys, &model, &tag)?.map(|it| (it.key_document, it.seq));
            let heard = publishing.news.head_of(publisher, &model, &tag).map(|it| it.order());
            let highest = elsewhere.map(|it| it.record().order()).max(here).max(heard);
            let Some((version, seq)) = highest else {
                return Err(UnlistError::Unknown { publisher, model, tag });
            };
            let known = tombstones::tombstone(store, &keys, &model, &tag)?;
            let is_unlisted = known.is_some_and(|it| it.tombstone().order() >= (version, seq));
            Ok(Unlistable { publisher, model, tag, seq, is_unlisted })
        };
        tokio::task::spawn_blocking(look).await?
    }
}
