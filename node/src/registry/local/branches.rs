//! Shows the branches of a publisher's keys that this node knows, and follows the one that the user accepts.

use std::sync::Arc;

use reg_api::report::{KeyBranch, KeyBranches};
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::name::PublisherId;
use reg_proto::tag::SignedTag;

use super::Local;
use super::inventory::CatalogueError;
use crate::registry::publishers::{TagsError, documents, forks, keys, revoked};
use crate::store::Store;

impl Local {
    /// Returns the branches of a publisher's keys that this node knows, with the tags in the store that count under each.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn key_branches(
        self: &Arc<Self>,
        publisher: PublisherId,
    ) -> Result<KeyBranches, CatalogueError> {
        self.on_blocking_thread(move |local| Ok(branches(&local.store, publisher)?)).await
    }

    /// Follows the branch of a publisher's keys that has the key document `head`, in place of any other. Returns the
    /// branches after that.
    ///
    /// # Errors
    /// No branch that this node knows has the document. For others see [`CatalogueError`].
    pub async fn accept_keys(
        self: &Arc<Self>,
        publisher: PublisherId,
        head: Digest,
    ) -> Result<KeyBranches, CatalogueError> {
        let branches = self
            .on_blocking_thread(move |local| {
                forks::accept(&local.store, publisher, head)?;
                Ok(branches(&local.store, publisher)?)
            })
            .await?;
        self.resolver.views.forget_all();
        Ok(branches)
    }
}

fn branches(store: &Store, publisher: PublisherId) -> Result<KeyBranches, TagsError> {
    let followed = keys::keys(store, publisher)?;
    let accepted = forks::accepted(store, publisher)?;
    let envelopes = documents::envelopes(store, publisher)?;
    let mut found = Vec::new();
    for mut branch in followed.iter().cloned().chain(forks::branches(store, publisher)?) {
        revoked::revoke(store, &mut branch)?;
        found.push(shown(&branch, followed.as_ref(), accepted.as_ref(), &envelopes));
    }
    Ok(KeyBranches { publisher, accepted, branches: found })
}

fn shown(
    branch: &KeyHistory,
    followed: Option<&KeyHistory>,
    accepted: Option<&Digest>,
    envelopes: &[String],
) -> KeyBranch {
    let common = followed.map(|it| it.chain().common(branch.chain()));
    let is_followed = followed.is_some_and(|it| it.head() == branch.head());
    // The document that the branch follows says whether its publisher had committed to the next keys.
    let parting = match common {
        Some(common) if !is_followed => common,
        _ => branch.version().saturating_sub(1),
    };
    let is_committed = branch.document(parting).is_some_and(|it| it.next.keys().is_some());
    let tags: Vec<SignedTag> =
        envelopes.iter().filter_map(|text| SignedTag::verify(text, branch).ok()).collect();
    let newest = branch.newest();
    KeyBranch {
        head: branch.head(),
        version: branch.version(),
        common,
        is_followed,
        is_accepted: accepted.is_some_and(|head| branch.chain().contains(head)),
        is_dead: branch.is_dead(),
        is_committed,
        keys: newest.keys.clone(),
        threshold: newest.threshold,
        tags: tags.iter().map(|tag| format!("{}:{}", tag.record().model, tag.record().tag)).collect(),
        newest_tag: tags.iter().map(|tag| tag.record().issued).max(),
    }
}
