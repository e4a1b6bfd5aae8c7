//! Finds what a request names: a version of a model, and a file of it with the name that this dialect gives it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use reg_proto::digest::Digest;
use reg_proto::manifest::ModelFile;
use reg_proto::path::SafePath;

use super::error::HfError;
use super::name::{At, revision};
use super::oid::Oid;
use super::state::HfGateway;
use crate::registry::model::git_blob;
use crate::registry::pull::{LISTED_BYTES_MAX, plain_files};
use crate::registry::resolve::ModelView;

/// Plain files that are fetched at once.
const FETCHED_AT_ONCE: usize = 8;

impl HfGateway {
    /// Finds a file of a version.
    ///
    /// # Errors
    /// Fails where the repository, the revision or the file does not exist, or cannot be fetched.
    pub(super) async fn file(&self, at: &At) -> Result<(Arc<ModelView>, ModelFile), HfError> {
        let view = self.view(at).await?;
        let path: SafePath = at.path.parse().map_err(|_| HfError::no_entry(&view, &at.path))?;
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
        match self.registry().view(&publisher, &model, &wanted).await {
            Ok(view) => Ok(view),
            Err(error) => {
                let error = HfError::of_view(&error);
                // Where the model has other tags, the revision is missing and not the repository.
                let tags = self.registry().tags(&publisher, &model);
                match error {
                    HfError::RepoNotFound(_) if tags.await.is_ok_and(|tags| !tags.is_empty()) => {
                        Err(HfError::RevisionNotFound(at.revision.clone()))
                    }
                    error => Err(error),
                }
            }
        }
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
