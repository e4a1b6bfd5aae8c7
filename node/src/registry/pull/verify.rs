//! Verifies models: rehashes what is in the store against what was signed, and fetches damaged blobs again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use reg_api::counted::counted;
use reg_api::fault::{Fault, FaultKind, chain};
use reg_api::progress::Progress;
use reg_api::report::{Damage, Verified, WithdrawnVersion};
use reg_api::reporter::Reporter;
use reg_api::request::{Priority, PullRequest, VerifyRequest, VerifyTarget};
use reg_api::selection::{Pattern, Selection};
use reg_proto::digest::Digest;
use reg_proto::name::{Publisher, PublisherId, Reference};
use reg_proto::path::SafePath;
use reg_proto::peer::Address;
use thiserror::Error;
use tokio::task::JoinError;

use super::Puller;
use super::error::PullError;
use crate::registry::limits::REPAIR_PATIENCE;
use crate::registry::model::checked_out::CheckedOut;
use crate::registry::model::checkout::CheckoutError;
use crate::registry::model::folder::{FileState, Folder, FolderError, Look, strange};
use crate::registry::model::record::{self, ModelError, ModelRecord};
use crate::registry::publishers::revoked;
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
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("file cannot be examined")]
    File(#[from] CheckoutError),
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
}

impl Fault for VerifyError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Resolve(source) => source.kind(),
            Self::Folder(source) => source.kind(),
            Self::Model(ModelError::NotHere { .. }) => FaultKind::NotFound,
            _ => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Folder(source) => source.hint(),
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
    /// The version that a directory was filled with, and those of its files that are damaged.
    Directory(Digest, BTreeSet<SafePath>),
}

/// Files in directories of the user that are links to damaged blobs.
type Links = BTreeMap<PathBuf, Vec<(SafePath, Digest)>>;

impl Puller {
    /// Rehashes what `request` names. A damaged piece is no longer served. Without `repair`, the store and the directories stay as
    /// they are; with it, what is damaged is fetched again, and links to it in directories of the user are made anew. A file that
    /// the user has edited is kept, unless the request says otherwise.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub async fn verify(
        self: &Arc<Self>,
        request: VerifyRequest,
        reporter: &Reporter,
    ) -> Result<Verified, VerifyError> {
        let (target, from, overwrite) = (request.target.clone(), request.from.clone(), request.overwrite);
        let (puller, teller) = (self.clone(), reporter.clone());
        let check = move || {
            let mut verified = puller.check(&target, &teller)?;
            let links = puller.links(&mut verified)?;
            Ok::<_, VerifyError>((verified, links))
        };
        let (mut verified, links) = tokio::task::spawn_blocking(check).await??;
        if request.repair && verified.damaged.iter().any(|it| overwrite || !it.edited) {
            self.repair(&request.target, &mut verified, (&from, overwrite), reporter).await?;
            let puller = self.clone();
            let mend = move || {
                puller.mend(&request.target, &mut verified, links, overwrite)?;
                Ok::<_, VerifyError>(verified)
            };
            verified = tokio::task::spawn_blocking(mend).await??;
        }
        Ok(verified)
    }

    /// Finds the files in directories of the user that are links to damaged blobs, and reports them. Reads no file.
    fn links(&self, verified: &mut Verified) -> Result<Links, VerifyError> {
        let mut links = Links::new();
        let damaged: BTreeSet<Digest> =
            verified.damaged.iter().filter(|it| !it.edited).map(|it| it.digest).collect();
        if damaged.is_empty() {
            return Ok(links);
        }
        for (dir, held) in CheckedOut::with_any(&self.store, &damaged)? {
            let folder = Folder { dir, held };
            let files = folder.links_to(&self.store, &damaged);
            for (path, _) in &files {
                let at = folder.path_of(path);
                if !verified.damaged.iter().any(|it| it.path.as_ref() == Some(&at)) {
                    verified.links.push(at);
                }
            }
            if !files.is_empty() {
                links.insert(folder.dir, files);
            }
        }
        Ok(links)
    }

    /// Puts back, from the store, the files of the directory that was verified, and the links of other directories.
    fn mend(
        &self,
        target: &VerifyTarget,
        verified: &mut Verified,
        mut links: Links,
        overwrite: bool,
    ) -> Result<(), VerifyError> {
        if let VerifyTarget::Directory(path) = target {
            let folder = Folder::open(&self.store, path)?;
            let of_damage = |it: &Damage| it.path.clone().filter(|_| overwrite || !it.edited);
            let damaged: BTreeSet<PathBuf> = verified.damaged.iter().filter_map(of_damage).collect();
            let files = folder.files().iter().map(|(path, digest)| (path.clone(), *digest));
            let files = files.filter(|(path, _)| damaged.contains(&folder.path_of(path))).collect();
            links.insert(folder.dir, files);
        }
        for (dir, files) in links {
            // A directory may be gone or changed meanwhile.
            let Ok(mut folder) = Folder::open(&self.store, &dir) else { continue };
            let files: Vec<(SafePath, Digest)> =
                files.into_iter().filter(|(_, digest)| self.store.open_blob(digest).is_ok()).collect();
            let places: BTreeMap<SafePath, PathBuf> =
                files.iter().map(|(path, _)| (path.clone(), folder.path_of(path))).collect();
            for path in folder.mend(&self.store, &files)? {
                let at = places.get(&path).cloned().unwrap_or_else(|| folder.path_of(&path));
                match verified.damaged.iter_mut().find(|it| it.path.as_ref() == Some(&at)) {
                    Some(damage) => damage.repaired = true,
                    None => verified.mended.push(at),
                }
            }
        }
        let mended = &verified.mended;
        verified.links.retain(|it| !mended.contains(it));
        Ok(())
    }

    /// Pulls damaged models into the store by their digests, and looks again at what was damaged. What is fetched for a directory
    /// is of the version that was put into it, whatever other models have the same blobs.
    async fn repair(
        self: &Arc<Self>,
        target: &VerifyTarget,
        verified: &mut Verified,
        (from, overwrite): (&[Address], bool),
        reporter: &Reporter,
    ) -> Result<(), VerifyError> {
        let (puller, aim) = (self.clone(), target.clone());
        let of_damage = |it: &Damage| it.path.clone().filter(|_| overwrite || !it.edited);
        let paths: BTreeSet<PathBuf> = verified.damaged.iter().filter_map(of_damage).collect();
        let meant = tokio::task::spawn_blocking(move || puller.meant(&aim, &paths)).await??;
        let mut is_here = false;
        for (manifest, record) in ModelRecord::all(&self.store)? {
            let is_meant = match &meant {
                Meant::Everything => true,
                Meant::Model(digest, publisher) => *digest == manifest && *publisher == record.publisher,
                Meant::Directory(digest, _) => *digest == manifest,
            };
            is_here |= is_meant;
            let lacks = |it: &&Digest| record.blobs.contains(*it) && self.store.open_blob(it).is_err();
            let is_damaged = |verified: &Verified| {
                let wanted = verified.damaged.iter().filter(|it| overwrite || !it.edited);
                wanted.filter(|it| !it.repaired).any(|it| lacks(&&it.digest))
            };
            if !is_meant || !is_damaged(verified) {
                continue;
            }
            let request = to_repair(&meant, &record, manifest, from);
            let from_store = PullRequest { offline: true, ..request.clone() };
            let records = RecordChoice::default();
            let pulled = self.pull_uncounted(from_store, records, &Reporter::silent()).await;
            let before = match pulled.map_err(|error| self.with_versions(&request.reference, error)) {
                Ok(_) | Err(PullError::Offline) => String::new(),
                Err(error) => format!("{}; ", chain(&error)),
            };
            if is_damaged(verified)
                && let Err(why) = self.fetch_again(&request, reporter).await
            {
                let Reference { publisher, model, .. } = reference_of(&record, manifest);
                reporter.note(format_args!("{publisher}/{model} could not be repaired: {before}{why}"));
            }
        }
        let is_gone = verified.damaged.iter().any(|it| self.store.open_blob(&it.digest).is_err());
        if let (Meant::Directory(manifest, _), false, true) = (&meant, is_here, is_gone) {
            reporter.note(format_args!(
                "the store no longer has the version {manifest}: `reg pull PUBLISHER/MODEL@{manifest} DIR` fetches it again"
            ));
        }
        self.look_again(verified).await
    }

    /// Pulls what is damaged from peers. Ends soon where none of them is known to have it. Returns why it could not be done.
    async fn fetch_again(self: &Arc<Self>, request: &PullRequest, reporter: &Reporter) -> Result<(), String> {
        let start = Instant::now();
        let (mut resolved, part) =
            self.find(request, &RecordChoice::default(), reporter).await.map_err(|error| chain(&error))?;
        if resolved.holders.is_empty() && request.web_seeds.is_empty() && self.resolver.web_seeds().is_empty()
        {
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

    /// Returns what a repair of a target fetches: of a directory, the damaged files.
    fn meant(&self, target: &VerifyTarget, damaged: &BTreeSet<PathBuf>) -> Result<Meant, VerifyError> {
        Ok(match target {
            VerifyTarget::Everything => Meant::Everything,
            VerifyTarget::Model(reference) => {
                let ModelHere { manifest, record, .. } = self.resolver.model_here(reference)?;
                Meant::Model(manifest, record.publisher)
            }
            VerifyTarget::Directory(path) => {
                let folder = Folder::open(&self.store, path)?;
                let files = folder.files().keys().filter(|it| damaged.contains(&folder.path_of(it)));
                Meant::Directory(folder.held.manifest, files.cloned().collect())
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
                let mut verified = self.verify_blobs(&blobs, reporter)?;
                for (manifest, record) in ModelRecord::all(&self.store)? {
                    verified.withdrawn.extend(self.withdrawn(manifest, &record));
                }
                Ok(verified)
            }
            VerifyTarget::Model(reference) => {
                let ModelHere { manifest: digest, record, .. } = self.resolver.model_here(reference)?;
                let mut verified = self.verify_blobs(&self.wanted_blobs(&digest, &record)?, reporter)?;
                verified.withdrawn.extend(self.withdrawn(digest, &record));
                Ok(verified)
            }
            VerifyTarget::Directory(path) => self.verify_directory(path, reporter),
        }
    }

    /// Returns the version if its publisher has withdrawn it.
    fn withdrawn(&self, manifest: Digest, record: &ModelRecord) -> Option<WithdrawnVersion> {
        let why = revoked::withdrawn(&self.store, record.publisher, &manifest)?;
        Some(WithdrawnVersion { reference: reference_of(record, manifest), why })
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
        reporter.stage("verifying", counted(blobs.len(), "blob"));
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
                edited: false,
            }));
        }
        Ok(verified)
    }

    fn verify_directory(&self, path: &Path, reporter: &Reporter) -> Result<Verified, VerifyError> {
        let folder = Folder::open(&self.store, path)?;
        reporter.stage("verifying", folder.dir.display());
        let size_of = |(path, digest): (&SafePath, &Digest)| folder.size_of(&self.store, path, digest);
        let total = folder.files().iter().map(size_of).sum();
        let mut verified = Verified::default();
        for (path, digest) in folder.files() {
            let done = AtomicU64::new(verified.bytes);
            let tell = |bytes: u64| {
                let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
                reporter.tell(Progress::Bytes { done, total, peers: 0 });
            };
            let (state, _) = folder.look(&self.store, path, digest, Look::Hash, &tell)?;
            verified.checked += 1;
            verified.bytes += size_of((path, digest));
            reporter.tell(Progress::Bytes { done: verified.bytes, total, peers: 0 });
            let (problem, edited) = match state {
                FileState::Same => continue,
                FileState::Missing => ("it is missing".to_owned(), false),
                FileState::Damaged => ("it is not what was signed".to_owned(), false),
                FileState::Edited => {
                    ("it is not what was signed: it was edited or replaced here".to_owned(), true)
                }
                FileState::Blocked(error) => (error.to_string(), true),
            };
            let path = Some(folder.path_of(path));
            verified.damaged.push(Damage { digest: *digest, path, problem, repaired: false, edited });
            // A hard link shares the bytes of the cache, so the blob in the cache is damaged too.
            drop(self.store.look_at(digest, &|_| {}));
        }
        let manifest = record::manifest(&self.store, &folder.held.manifest).ok();
        let named = manifest.iter().flat_map(|it| it.files()).map(|file| &file.path);
        verified.unlisted = strange(&folder.dir, folder.files().keys().chain(named));
        for named in &folder.held.named {
            let why = revoked::withdrawn(&self.store, named.publisher, &folder.held.manifest);
            verified.withdrawn.extend(why.map(|why| WithdrawnVersion {
                reference: Reference {
                    publisher: Publisher::Id(named.publisher),
                    model: named.model.clone(),
                    tag: None,
                    digest: Some(folder.held.manifest),
                },
                why,
            }));
        }
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
    let chosen = match meant {
        Meant::Directory(_, damaged) => Some(damaged),
        Meant::Everything | Meant::Model(..) => record.chosen.as_ref(),
    };
    let include = chosen.into_iter().flatten().filter_map(Pattern::exactly).collect();
    PullRequest {
        reference: reference_of(record, manifest),
        dest: None,
        from: from.to_vec(),
        web_seeds: Vec::new(),
        allow_unsafe: true,
        allow: BTreeSet::new(),
        offline: false,
        public: false,
        copy: false,
        overwrite: true,
        keep: false,
        no_delete: true,
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
        // Its owner does not change.
        for_others: true,
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
