//! Tells which version a directory of the user holds, whether a newer one is known, and which files differ.

use std::sync::Arc;

use reg_api::folder::{FolderReport, FolderRequest, NewerVersion};
use reg_api::progress::Progress;
use reg_api::reporter::Reporter;
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference};

use super::{CatalogueError, Local};
use crate::registry::model::checked_out::{ByTag, Named};
use crate::registry::model::folder::{FileState, Folder, FolderError, Look};
use crate::registry::model::record::ModelRecord;
use crate::registry::model::whole;
use crate::registry::publishers::{TagsError, keys, revoked, tags};

impl Local {
    /// Compares a directory with the version that a pull has put there. Hashes a file if its metadata have
    /// changed since, or if the request asks for it. Writes nothing, and asks no peer.
    ///
    /// # Errors
    /// No pull of this node has filled the directory, or it cannot be read.
    pub async fn folder(
        self: &Arc<Self>,
        request: FolderRequest,
        reporter: &Reporter,
    ) -> Result<FolderReport, CatalogueError> {
        let reporter = reporter.clone();
        self.on_blocking_thread(move |local| local.compare(&request, &reporter)).await
    }

    fn compare(&self, request: &FolderRequest, reporter: &Reporter) -> Result<FolderReport, CatalogueError> {
        let folder = Folder::open(&self.store, &request.dir)?;
        let unknown = || FolderError::NotPulled { path: folder.dir.clone() };
        let Named { publisher, model } = folder.held.named.first().cloned().ok_or_else(unknown)?;
        let manifest = folder.held.manifest;
        let look = if request.hash { Look::Hash } else { Look::ByMetadata };
        let (mut hashed, mut changed, mut missing) = (0, Vec::new(), Vec::new());
        reporter.stage("comparing", folder.dir.display());
        let size = |(path, digest)| folder.size_of(&self.store, path, digest);
        let (total, mut done) = (folder.files().iter().map(size).sum(), 0);
        for (path, digest) in folder.files() {
            let (state, was_hashed) = folder.look(&self.store, path, digest, look, &|_| {})?;
            done += size((path, digest));
            reporter.tell(Progress::Bytes { done, total, peers: 0 });
            hashed += usize::from(was_hashed);
            match state {
                FileState::Same => {}
                FileState::Missing => missing.push(path.clone()),
                FileState::Edited | FileState::Damaged | FileState::Blocked(_) => changed.push(path.clone()),
            }
        }
        let by_tag = match &folder.held.by_tag {
            Some(by_tag) => Some(by_tag.clone()),
            None => self.tag_of(publisher, &model, &manifest)?,
        };
        let newer = match &by_tag {
            Some(by_tag) => self.newer(publisher, &model, by_tag, &manifest)?,
            None => None,
        };
        let (own, own_more) = folder.own();
        let record = ModelRecord::load(&self.store, &manifest, publisher, &model)?;
        Ok(FolderReport {
            reference: Reference {
                publisher: Publisher::Id(publisher),
                model: model.clone(),
                tag: None,
                digest: Some(manifest),
            },
            publisher,
            petname: self.trust.petnames().get(&publisher).cloned(),
            tag: by_tag.as_ref().map(|it| it.tag.clone()),
            seq: by_tag.as_ref().map(|it| it.seq),
            in_store: record.is_some_and(|it| whole::has_part(&self.store, &manifest, &it)),
            newer,
            withdrawn: revoked::withdrawn(&self.store, publisher, &manifest),
            files: folder.files().len(),
            left: folder.left(),
            dir: folder.dir,
            model,
            manifest,
            hashed,
            changed,
            missing,
            own,
            own_more,
        })
    }

    /// Returns the newest record that means a manifest, for a directory that does not name its record.
    fn tag_of(
        &self,
        publisher: PublisherId,
        model: &ModelName,
        manifest: &Digest,
    ) -> Result<Option<ByTag>, TagsError> {
        let known = tags::records(&self.store, publisher, Some(model))?;
        let found = known.iter().map(|it| it.record()).find(|it| it.manifest.digest == *manifest);
        Ok(found.map(|it| ByTag { tag: it.tag.clone(), key_document: it.key_document, seq: it.seq }))
    }

    /// Returns the newest version of a tag that this node has or has heard of, if it is newer than the one in
    /// a directory.
    fn newer(
        &self,
        publisher: PublisherId,
        model: &ModelName,
        held: &ByTag,
        manifest: &Digest,
    ) -> Result<Option<NewerVersion>, TagsError> {
        let mut known = Vec::new();
        if let Some(keys) = keys::keys(&self.store, publisher)? {
            let here = self.resolver.tag_here(&keys, model, &held.tag)?;
            known.extend(here.map(|it| it.tag.record().clone()));
        }
        known.extend(tags::record(&self.store, publisher, model, &held.tag)?.map(|it| it.record().clone()));
        known.extend(self.news.head_of(publisher, model, &held.tag));
        let order = (held.key_document, held.seq);
        let newer = known.into_iter().filter(|it| it.order() > order && it.manifest.digest != *manifest);
        Ok(newer.max_by_key(|it| it.order()).map(|it| NewerVersion {
            seq: it.seq,
            manifest: it.manifest.digest,
            in_store: whole::is_complete(&self.store, &it.manifest.digest),
        }))
    }
}
