//! Verifies models: rehashes what is in the store against what was signed, and fetches damaged blobs again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reg_api::fault::{Fault, FaultKind};
use reg_api::progress::Progress;
use reg_api::report::{Damage, Verified};
use reg_api::reporter::Reporter;
use reg_api::request::{Priority, PullRequest, VerifyRequest, VerifyTarget};
use reg_api::selection::{Pattern, Selection};
use reg_proto::digest::Digest;
use reg_proto::manifest::Manifest;
use reg_proto::name::{Publisher, Reference};
use reg_proto::peer::Address;
use thiserror::Error;
use tokio::task::JoinError;

use super::Puller;
use crate::registry::model::checkout::{self, CheckoutError};
use crate::registry::model::record::{self, ModelError, ModelRecord};
use crate::registry::model::tree;
use crate::registry::resolve::{ModelHere, ResolveError};
use crate::store::{ReadError, Recheck};

/// Why a verification could not run. Damage that it finds is no error but part of its report.
#[derive(Debug, Error)]
pub enum VerifyError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("model cannot be read")]
    Model(#[from] ModelError),
    #[error("cache cannot be read")]
    Read(#[from] ReadError),
    #[error("{path} cannot be read")]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("{path} was not pulled by this node, so there is nothing to verify it against")]
    NotPulled { path: PathBuf },
    #[error("file cannot be examined")]
    File(#[from] CheckoutError),
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
}

impl Fault for VerifyError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Resolve(source) => source.kind(),
            Self::Model(ModelError::NotHere { .. }) | Self::Directory { .. } | Self::NotPulled { .. } => {
                FaultKind::NotFound
            }
            _ => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotPulled { .. } => {
                Some("pull into it: `reg pull REF DIR` takes files that are right as they are".into())
            }
            Self::Resolve(source) => source.hint(),
            _ => None,
        }
    }
}

impl Puller {
    /// Rehashes what `request` names. A damaged piece is no longer served. Without `repair`, the store stays as it is; with
    /// it, what is damaged is fetched again.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub async fn verify(
        self: &Arc<Self>,
        request: VerifyRequest,
        reporter: &Reporter,
    ) -> Result<Verified, VerifyError> {
        let (target, from) = (request.target.clone(), request.from.clone());
        let (puller, teller) = (self.clone(), reporter.clone());
        let mut verified = tokio::task::spawn_blocking(move || puller.check(&target, &teller)).await??;
        if request.repair && !verified.damaged.is_empty() {
            self.repair(&request.target, &mut verified, &from, reporter).await?;
        }
        Ok(verified)
    }

    /// Pulls every damaged model by its digest, and verifies it again.
    async fn repair(
        self: &Arc<Self>,
        target: &VerifyTarget,
        verified: &mut Verified,
        from: &[Address],
        reporter: &Reporter,
    ) -> Result<(), VerifyError> {
        let damaged: BTreeSet<Digest> = verified.damaged.iter().map(|it| it.digest).collect();
        for (manifest, record) in ModelRecord::all(&self.store)? {
            if record.blobs.is_disjoint(&damaged) {
                continue;
            }
            let dest = match target {
                VerifyTarget::Directory(path) => Some(path.clone()),
                _ => None,
            };
            let chosen = record.chosen.iter().flatten();
            let selection =
                Selection { include: chosen.filter_map(Pattern::exactly).collect(), ..Selection::default() };
            let request = PullRequest {
                reference: reference_of(&record, manifest),
                dest,
                from: from.to_vec(),
                web_seeds: Vec::new(),
                allow_unsafe: true,
                offline: false,
                copy: false,
                overwrite: true,
                allow_expired: true,
                newest: false,
                selection,
                tensors: Vec::new(),
                hub_cache: None,
                priority: Priority::default(),
                limit_down: None,
                timeout: None,
                limit_local: false,
                receipt: false,
            };
            if let Err(error) = self.pull(request, reporter).await {
                reporter.note(format_args!(
                    "{}/{} could not be repaired: {error}",
                    record.publisher, record.model
                ));
            }
        }
        let store = &self.store;
        for damage in &mut verified.damaged {
            let is_right = |path: &Path| {
                let size = store.blob_size(&damage.digest).unwrap_or(0);
                store.is_file_of(path, &damage.digest, size, &|_| {}).unwrap_or(false)
            };
            damage.repaired =
                store.open_blob(&damage.digest).is_ok() && damage.path.as_deref().is_none_or(is_right);
        }
        Ok(())
    }

    fn check(&self, target: &VerifyTarget, reporter: &Reporter) -> Result<Verified, VerifyError> {
        match target {
            VerifyTarget::Everything => {
                let mut blobs: BTreeSet<Digest> = self.store.blobs()?.into_iter().collect();
                for (_, record) in ModelRecord::all(&self.store)? {
                    if record.complete {
                        blobs.extend(record.blobs);
                    }
                }
                self.verify_blobs(&blobs, reporter)
            }
            VerifyTarget::Model(reference) => {
                let ModelHere { manifest: digest, record, .. } = self.resolver.model_here(reference)?;
                self.verify_blobs(&self.wanted_blobs(&digest, &record)?, reporter)
            }
            VerifyTarget::Directory(path) => self.verify_directory(path, reporter),
        }
    }

    /// Returns the blobs of a model that should be in the store: those of the selected files and the documents that prove it.
    fn wanted_blobs(&self, digest: &Digest, record: &ModelRecord) -> Result<BTreeSet<Digest>, VerifyError> {
        let manifest = record::manifest(&self.store, digest)?;
        let (all, wanted) = (manifest.blobs(), record.part().blobs(&manifest));
        let is_wanted = |blob: &&Digest| !all.contains_key(*blob) || wanted.contains_key(*blob);
        Ok(record.blobs.iter().filter(is_wanted).copied().collect())
    }

    fn verify_blobs(&self, blobs: &BTreeSet<Digest>, reporter: &Reporter) -> Result<Verified, VerifyError> {
        let total = blobs.iter().filter_map(|blob| self.store.blob_size(blob)).sum();
        reporter.stage("verifying", format_args!("{} blobs", blobs.len()));
        let mut verified = Verified::default();
        for blob in blobs {
            let before = verified.bytes;
            let done = AtomicU64::new(before);
            let size = self.store.blob_size(blob).unwrap_or(0);
            let tell = |bytes: u64| {
                let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
                reporter.tell(Progress::Bytes { done, total, peers: 0 });
            };
            let problem = match self.store.look_at(blob, &tell) {
                Ok(Recheck::Intact) => None,
                Ok(Recheck::Damaged { bad }) => Some(format!("{} of its pieces are damaged", bad.len())),
                Err(ReadError::NotHere { .. }) => Some("it is missing".to_owned()),
                Err(error) => return Err(error.into()),
            };
            verified.checked += 1;
            verified.bytes = before + size;
            verified.damaged.extend(problem.map(|problem| Damage {
                digest: *blob,
                path: None,
                problem,
                repaired: false,
            }));
        }
        Ok(verified)
    }

    fn verify_directory(&self, path: &Path, reporter: &Reporter) -> Result<Verified, VerifyError> {
        let dir =
            path.canonicalize().map_err(|source| VerifyError::Directory { path: path.to_owned(), source })?;
        let found = checkout::checked_out(&self.store, &dir)?;
        let (digest, part) = found.ok_or_else(|| VerifyError::NotPulled { path: dir.clone() })?;
        let manifest = record::manifest(&self.store, &digest)?;
        reporter.stage("verifying", dir.display());
        let total = part.bytes(&manifest);
        let mut verified = Verified::default();
        for file in part.files(&manifest) {
            let done = AtomicU64::new(verified.bytes);
            let tell = |bytes: u64| {
                let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
                reporter.tell(Progress::Bytes { done, total, peers: 0 });
            };
            let problem = match checkout::walk(&dir, file) {
                Ok(None) => Some("it is missing".to_owned()),
                Ok(Some((path, _))) => (!checkout::is_there(&self.store, &path, file, &tell)?)
                    .then(|| "it is not what was signed".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            verified.checked += 1;
            verified.bytes += file.layout.size();
            reporter.tell(Progress::Bytes { done: verified.bytes, total, peers: 0 });
            if let Some(problem) = problem {
                let path = Some(dir.join(file.path.as_str()));
                verified.damaged.push(Damage { digest: file.digest, path, problem, repaired: false });
                // A hard link shares the bytes of the cache, so the blob in the cache is damaged too.
                drop(self.store.look_at(&file.digest, &|_| {}));
            }
        }
        verified.unlisted = unlisted(&dir, &manifest);
        Ok(verified)
    }
}

/// Names a model by its digest.
pub(super) fn reference_of(record: &ModelRecord, manifest: Digest) -> Reference {
    Reference {
        publisher: Publisher::Id(record.publisher),
        model: record.model.clone(),
        tag: None,
        digest: Some(manifest),
    }
}

/// Returns the files of a directory that the manifest does not name, without those that are never part of a model.
fn unlisted(dir: &Path, manifest: &Manifest) -> Vec<String> {
    /// How many names are listed. A wrong directory may hold millions.
    const UNLISTED_MAX: usize = 1000;
    let named: BTreeSet<&str> = manifest.files().iter().map(|file| file.path.as_str()).collect();
    let (mut found, mut dirs) = (Vec::new(), vec![(dir.to_owned(), String::new())]);
    while let Some((dir, prefix)) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if tree::is_left_out(&name) {
                continue;
            }
            let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push((entry.path(), path));
            } else if !named.contains(path.as_str()) && found.len() < UNLISTED_MAX {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
