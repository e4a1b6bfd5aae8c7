//! Verifies models: rehashes what is in the store against what was signed, and fetches damaged blobs again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use reg_api::fault::{Fault, FaultKind, chain};
use reg_api::progress::Progress;
use reg_api::report::{Damage, Verified};
use reg_api::reporter::Reporter;
use reg_api::request::{Priority, PullRequest, VerifyRequest, VerifyTarget};
use reg_api::selection::{Part, Pattern, Selection};
use reg_proto::digest::Digest;
use reg_proto::manifest::Manifest;
use reg_proto::name::{Publisher, PublisherId, Reference};
use reg_proto::peer::Address;
use thiserror::Error;
use tokio::task::JoinError;

use super::Puller;
use super::error::PullError;
use crate::registry::limits::REPAIR_PATIENCE;
use crate::registry::model::checkout::{self, CheckoutError};
use crate::registry::model::record::{self, ModelError, ModelRecord};
use crate::registry::model::{file_path, tree};
use crate::registry::resolve::{ModelHere, RecordChoice, ResolveError};
use crate::store::{ReadError, Recheck, Store};

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

/// What a repair fetches.
enum Meant {
    Everything,
    /// A version of a publisher's model.
    Model(Digest, PublisherId),
    /// A directory, the version that was pulled into it, and its files.
    Directory(PathBuf, Digest, Part),
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

    /// Pulls damaged models by their digests, and looks again at what was damaged. A directory gets files of the version that
    /// was put into it, whatever other models have the same blobs. What the store has is put back without asking a peer.
    async fn repair(
        self: &Arc<Self>,
        target: &VerifyTarget,
        verified: &mut Verified,
        from: &[Address],
        reporter: &Reporter,
    ) -> Result<(), VerifyError> {
        let (puller, aim) = (self.clone(), target.clone());
        let meant = tokio::task::spawn_blocking(move || puller.meant(&aim)).await??;
        for (manifest, record) in ModelRecord::all(&self.store)? {
            let is_meant = match &meant {
                Meant::Everything => true,
                Meant::Model(digest, publisher) => *digest == manifest && *publisher == record.publisher,
                Meant::Directory(_, digest, _) => *digest == manifest,
            };
            let is_damaged = |verified: &Verified| {
                verified.damaged.iter().any(|it| !it.repaired && record.blobs.contains(&it.digest))
            };
            if !is_meant || !is_damaged(verified) {
                continue;
            }
            let request = to_repair(&meant, &record, manifest, from);
            let from_store = PullRequest { offline: true, ..request.clone() };
            let before = match self.pull(from_store, &Reporter::silent()).await {
                Ok(_) | Err(PullError::Offline) => String::new(),
                Err(error) => format!("{}; ", chain(&error)),
            };
            self.look_again(verified).await?;
            if is_damaged(verified) {
                if let Err(why) = self.fetch_again(&request, reporter).await {
                    let Reference { publisher, model, .. } = reference_of(&record, manifest);
                    reporter.note(format_args!("{publisher}/{model} could not be repaired: {before}{why}"));
                }
                self.look_again(verified).await?;
            }
        }
        Ok(())
    }

    /// Pulls what is damaged from peers. Ends soon where none of them is known to have it. Returns why it could not be done.
    async fn fetch_again(self: &Arc<Self>, request: &PullRequest, reporter: &Reporter) -> Result<(), String> {
        let start = Instant::now();
        let (mut resolved, part) =
            self.find(request, &RecordChoice::default(), reporter).await.map_err(|error| chain(&error))?;
        if resolved.holders.is_empty() && request.web_seeds.is_empty() && self.fetching.web_seeds.is_empty() {
            return Err("no peer could be asked; --from MULTIADDR names one that has it".to_owned());
        }
        let is_known = resolved.holders.iter().any(|peer| !resolved.strangers.contains(peer));
        let timeout = (!is_known).then_some(REPAIR_PATIENCE.as_secs());
        let request = PullRequest { timeout, ..request.clone() };
        let later = resolved.later.take();
        let pulled = self.pull_version(&request, resolved, later, part, start, reporter).await;
        pulled.map(drop).map_err(|error| chain(&error))
    }

    /// Notes what is no longer damaged.
    async fn look_again(&self, verified: &mut Verified) -> Result<(), VerifyError> {
        let (store, mut damaged) = (self.store.clone(), std::mem::take(&mut verified.damaged));
        let look = move || {
            damaged.iter_mut().filter(|it| !it.repaired).for_each(|it| it.repaired = is_right(&store, it));
            damaged
        };
        verified.damaged = tokio::task::spawn_blocking(look).await?;
        Ok(())
    }

    /// Returns what a repair of a target fetches.
    fn meant(&self, target: &VerifyTarget) -> Result<Meant, VerifyError> {
        Ok(match target {
            VerifyTarget::Everything => Meant::Everything,
            VerifyTarget::Model(reference) => {
                let ModelHere { manifest, record, .. } = self.resolver.model_here(reference)?;
                Meant::Model(manifest, record.publisher)
            }
            VerifyTarget::Directory(path) => {
                let (dir, digest, part) = self.pulled_into(path)?;
                Meant::Directory(dir, digest, part)
            }
        })
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

    /// Returns a directory with the version and the files that were pulled into it.
    fn pulled_into(&self, path: &Path) -> Result<(PathBuf, Digest, Part), VerifyError> {
        let dir =
            path.canonicalize().map_err(|source| VerifyError::Directory { path: path.to_owned(), source })?;
        let found = checkout::checked_out(&self.store, &dir)?;
        let (digest, part) = found.ok_or_else(|| VerifyError::NotPulled { path: dir.clone() })?;
        Ok((dir, digest, part))
    }

    fn verify_directory(&self, path: &Path, reporter: &Reporter) -> Result<Verified, VerifyError> {
        let (dir, digest, part) = self.pulled_into(path)?;
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
                let path = Some(dir.join(file_path::of(&dir, &file.path)));
                verified.damaged.push(Damage { digest: file.digest, path, problem, repaired: false });
                // A hard link shares the bytes of the cache, so the blob in the cache is damaged too.
                drop(self.store.look_at(&file.digest, &|_| {}));
            }
        }
        verified.unlisted = unlisted(&dir, &manifest);
        Ok(verified)
    }
}

/// Tells whether what was damaged is right now.
fn is_right(store: &Store, damage: &Damage) -> bool {
    let is_file = |path: &Path| {
        let size = store.blob_size(&damage.digest).unwrap_or(0);
        store.is_file_of(path, &damage.digest, size, &|_| {}).unwrap_or(false)
    };
    store.open_blob(&damage.digest).is_ok() && damage.path.as_deref().is_none_or(is_file)
}

/// Returns the request that fetches again what is damaged of a model.
fn to_repair(meant: &Meant, record: &ModelRecord, manifest: Digest, from: &[Address]) -> PullRequest {
    let (dest, chosen) = match meant {
        Meant::Directory(dir, _, part) => (Some(dir.clone()), part.paths()),
        Meant::Everything | Meant::Model(..) => (None, record.chosen.as_ref()),
    };
    let include = chosen.into_iter().flatten().filter_map(Pattern::exactly).collect();
    PullRequest {
        reference: reference_of(record, manifest),
        dest,
        from: from.to_vec(),
        web_seeds: Vec::new(),
        allow_unsafe: true,
        allow: BTreeSet::new(),
        offline: false,
        public: false,
        copy: false,
        overwrite: true,
        allow_expired: true,
        newest: false,
        selection: Selection { include, ..Selection::default() },
        tensors: Vec::new(),
        hub_cache: None,
        priority: Priority::default(),
        limit_down: None,
        timeout: None,
        limit_local: false,
        receipt: false,
        allow_unsigned_dns: false,
        ticket: None,
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
    let named: BTreeSet<PathBuf> =
        manifest.files().iter().map(|file| file_path::of(dir, &file.path)).collect();
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
            } else if !named.contains(Path::new(&path)) && found.len() < UNLISTED_MAX {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
