//! Finds what a request names: a version of a model, and a file of it with the name that this dialect gives it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use reg_api::fault::FaultKind;
use reg_proto::digest::Digest;
use reg_proto::manifest::ModelFile;
use reg_proto::name::{ModelName, Publisher, Tag};
use reg_proto::path::SafePath;

use super::error::HfError;
use super::name::{At, revision};
use super::oid::Oid;
use super::state::HfGateway;
use crate::registry::model::git_blob;
use crate::registry::pull::{LISTED_BYTES_MAX, plain_files};
use crate::registry::resolve::{ModelView, Revision, TagPlace, ViewError};

/// Plain files that are fetched at once.
const FETCHED_AT_ONCE: usize = 8;

impl HfGateway {
    /// Finds a file of a version.
    ///
    /// # Errors
    /// Fails where the repository, the revision or the file does not exist, or cannot be fetched.
    pub(super) async fn file(&self, at: &At) -> Result<(Arc<ModelView>, ModelFile), HfError> {
        let view = self.view(at).await?;
        let path = SafePath::in_any_form(&at.path).map_err(|_| HfError::no_entry(&view, &at.path))?;
        let file = view.file(&path).cloned().ok_or_else(|| HfError::no_entry(&view, &at.path))?;
        Ok((view, file))
    }

    /// Finds a version of a repository.
    ///
    /// # Errors
    /// Fails where the repository or the revision does not exist, or cannot be fetched.
    pub(super) async fn view(&self, at: &At) -> Result<Arc<ModelView>, HfError> {
        let (publisher, model) = self.names(&at.owner, &at.model)?;
        let wanted = revision(&at.revision)?;
        let is_own = self.signer().is_some_and(|it| publisher == Publisher::Id(it.publisher()));
        let place = match &wanted {
            Revision::Tag(tag) if is_own => self.registry().place_of(&publisher, &model, tag).await.ok(),
            _ => None,
        };
        if place == Some(TagPlace::Removed) {
            // Reading it would make it a tag of this node again.
            return Err(HfError::RevisionNotFound(at.revision.clone()));
        }
        match self.registry().view(&publisher, &model, &wanted).await {
            Ok(view) => Ok(view),
            Err(error) => {
                // A client that publishes asks for the repository first, and creates it where it is not found. Where no peer can
                // be asked, it may do so: a commit looks again for a version that it must keep. What this node has is there, also
                // where it cannot be read now.
                let is_here = place == Some(TagPlace::Here) || matches!(error, ViewError::Damaged { .. });
                let error = match HfError::of_view(&error) {
                    HfError::Failed { kind: FaultKind::Unreachable | FaultKind::RetryLater, message }
                        if is_own && !is_here =>
                    {
                        HfError::RepoNotFound(message)
                    }
                    error => error,
                };
                // Where the model has other tags, the revision is missing and not the repository.
                let tags = self.registry().tags(&publisher, &model);
                match error {
                    HfError::RepoNotFound(_)
                        if tags.await.is_ok_and(|tags| !tags.is_empty())
                            || self.is_created(&publisher, &model).await =>
                    {
                        Err(HfError::RevisionNotFound(at.revision.clone()))
                    }
                    error => Err(error),
                }
            }
        }
    }

    /// Tells whether a client has created a repository, which need not have a version yet.
    pub(super) async fn is_created(&self, publisher: &Publisher, model: &ModelName) -> bool {
        match self.registry().publisher(publisher).await {
            Ok(id) => self.created().has_repository(id, model),
            Err(_) => false,
        }
    }

    /// Tells whether a request is for the branch `main`, or another branch, that a client has created and that has no
    /// version yet.
    pub(super) async fn is_empty_branch(&self, at: &At) -> bool {
        let Ok((publisher, model)) = self.names(&at.owner, &at.model) else { return false };
        let (Ok(Revision::Tag(tag)), Ok(id)) =
            (revision(&at.revision), self.registry().publisher(&publisher).await)
        else {
            return false;
        };
        let is_main = tag == Tag::latest() && self.created().has_repository(id, &model);
        is_main || self.created().has_branch(id, &model, &tag)
    }

    /// Returns the name of one file; reads a plain file for it.
    pub(super) async fn oid(&self, view: &Arc<ModelView>, file: &ModelFile) -> Result<Oid, HfError> {
        if plain_files(view.manifest()).any(|it| it.digest == file.digest) {
            self.git_oid(view, file).await.map(|(_, oid)| oid)
        } else {
            Ok(Oid::Lfs(file.digest))
        }
    }

    /// Returns the names of a model's plain files; the names of the others are their digests.
    pub(super) async fn plain_oids(&self, view: &Arc<ModelView>) -> Result<BTreeMap<Digest, Oid>, HfError> {
        let oids = plain_files(view.manifest()).map(|file| self.git_oid(view, file));
        let oids: Vec<_> = oids.collect();
        stream::iter(oids).buffer_unordered(FETCHED_AT_ONCE).try_collect().await
    }

    async fn git_oid(&self, view: &Arc<ModelView>, file: &ModelFile) -> Result<(Digest, Oid), HfError> {
        let oid = match self.oids().get(&file.digest) {
            Some(oid) => oid,
            None => {
                let size = file.layout.size();
                let failed = |error| HfError::of(&error);
                let reader = self.registry().read(view, file.digest, file.layout, 0..size).await;
                let bytes =
                    reader.map_err(failed)?.to_end(LISTED_BYTES_MAX as usize).await.map_err(failed)?;
                let oid = git_blob(&bytes);
                self.oids().keep(file.digest, oid);
                oid
            }
        };
        Ok((file.digest, Oid::Git(data_encoding::HEXLOWER.encode(&oid))))
    }
}
