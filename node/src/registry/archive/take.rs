//! Takes a model out of an archive: its records are judged like the answer of a peer, and its blobs are hashed while they are
//! copied into the store.
//!
//! A blob that is verified stays in the store if the rest fails, and so do the bytes of one that was begun. The model is
//! recorded when every blob of it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use reg_api::archive::{ArchiveReport, ArchivedModel, ListArchiveRequest, TakeRequest};
use reg_api::counted::counted;
use reg_api::progress::Progress;
use reg_api::report::Pulled;
use reg_api::reporter::Reporter;
use reg_api::request::PullRequest;
use reg_api::selection::Part;
use reg_api::size::Size;
use reg_proto::digest::Digest;
use reg_proto::layout::CarriedModel;
use reg_proto::limits::{BUNDLE_BYTES_MAX, MANIFEST_BYTES_MAX};
use reg_proto::path::SafePath;
use reg_proto::piece::{BlobLayout, PIECE_LEN};

use super::Archiving;
use super::contents::reference_of;
use super::error::ArchiveError;
use super::opened::Opened;
use crate::registry::limits::{ARCHIVED_MODELS_MAX, BROUGHT_BYTES_MAX, COPIED_AT_ONCE, SMALL_COPIED_AT_ONCE};
use crate::registry::pull::{Lacking, Proven};
use crate::registry::resolve::Brought;
use crate::store::{Cancel, CancelOnDrop, Store, UploadError};

/// A model of an archive, after its documents have been read.
struct Carried {
    opened: Opened,
    model: CarriedModel,
    brought: Brought,
}

impl Archiving {
    /// Lists the models that an archive says it has. Verifies the digests of what it reads, and no signature.
    ///
    /// # Errors
    /// The path is no archive, or is refused: see [`ArchiveError`].
    pub async fn list_archive(&self, request: ListArchiveRequest) -> Result<ArchiveReport, ArchiveError> {
        tokio::task::spawn_blocking(move || list(&request.path)).await?
    }

    /// Verifies one model of an archive, takes its blobs into the store, and records it.
    ///
    /// # Errors
    /// The archive or the model is refused: see [`ArchiveError`].
    pub async fn take(
        self: &Arc<Self>,
        request: TakeRequest,
        reporter: &Reporter,
    ) -> Result<Pulled, ArchiveError> {
        let caller = CancelOnDrop::default();
        let (path, carried) = (request.path.clone(), request.carried);
        let Carried { opened, model, brought } =
            tokio::task::spawn_blocking(move || read(&path, carried)).await??;
        let reference = reference_of(&model);
        let pull = PullRequest {
            selection: request.selection.clone(),
            allow_unsafe: request.allow_unsafe,
            allow: request.allow.clone(),
            allow_expired: request.allow_expired,
            newest: request.newest,
            offline: true,
            ..PullRequest::into_cache(reference.clone())
        };
        reporter.stage("verifying", format_args!("{reference} in {}", request.path.display()));
        let puller = &self.puller;
        let mut proven = puller.prove_brought(&pull, Arc::new(brought), reporter).await?;
        if proven.resolved.digest != model.manifest {
            let (offered, seen) = (model.manifest, proven.resolved.digest);
            return Err(ArchiveError::Older { reference, offered, seen });
        }
        restrict(&mut proven, &model, &request.path)?;
        let lacking = puller.lacking_of(&proven).await?;
        let taking = Taking {
            store: puller.store.clone(),
            opened: Arc::new(opened),
            reporter: reporter.clone(),
            cancel: caller.cancel(),
        };
        let wanted: Vec<Digest> = lacking.small.keys().chain(lacking.weights.keys()).copied().collect();
        let pulled = self.take_lacking(&pull, proven, lacking, &taking).await;
        if pulled.is_err() {
            taking.tell_kept(wanted).await?;
        }
        pulled
    }

    /// Takes the blobs that the store lacks, judges the model on the way, and records it.
    async fn take_lacking(
        &self,
        pull: &PullRequest,
        mut proven: Proven,
        lacking: Lacking,
        taking: &Taking,
    ) -> Result<Pulled, ArchiveError> {
        let (puller, reporter) = (&self.puller, &taking.reporter);
        let (small, weights) = (lacking.small.clone(), lacking.weights.clone());
        let bytes = |blobs: &BTreeMap<Digest, BlobLayout>| blobs.values().map(|it| it.size()).sum::<u64>();
        let total = bytes(&small) + bytes(&weights);
        let count = small.len() + weights.len();
        reporter.stage("taking", format_args!("{} in {}", Size(total), counted(count, "blob")));
        // The licence is claimed in the configuration or the card, so a rule about it needs them.
        let (first, small) = small.into_iter().partition(|(blob, _)| is_claim(&proven, blob));
        let first_bytes = bytes(&first);
        taking.take(first, 0, total).await?;
        puller.admit_brought(&proven).await?;
        let small_bytes = first_bytes + bytes(&small);
        taking.take(small, first_bytes, total).await?;
        puller.judge_brought(pull, &mut proven, reporter).await?;
        taking.take(weights, small_bytes, total).await?;
        check_states(&puller.store, &proven, &lacking.weights).await?;
        Ok(puller.take_brought(pull, proven, lacking, reporter).await?)
    }
}

/// Tells whether a blob holds what the publisher claims of the model.
fn is_claim(proven: &Proven, blob: &Digest) -> bool {
    let manifest = &proven.resolved.manifest;
    let card = manifest.files().iter().find(|file| file.path.as_str() == "README.md");
    manifest.config().digest == *blob || card.is_some_and(|it| it.digest == *blob)
}

/// Restricts the files to those that the archive has.
fn restrict(proven: &mut Proven, carried: &CarriedModel, path: &Path) -> Result<(), ArchiveError> {
    let Some(files) = &carried.files else { return Ok(()) };
    let manifest = &proven.resolved.manifest;
    let all: BTreeSet<&SafePath> = manifest.files().iter().map(|file| &file.path).collect();
    if let Some(file) = files.iter().find(|file| !all.contains(file)) {
        return Err(ArchiveError::NoSuchFile { path: path.to_owned(), file: file.to_string() });
    }
    let wanted: BTreeSet<SafePath> = files.iter().filter(|it| proven.part.contains(it)).cloned().collect();
    if wanted.is_empty() {
        return Err(ArchiveError::NoneOfThem { path: path.to_owned() });
    }
    proven.part = Part::of(manifest, wanted);
    Ok(())
}

/// Checks that the piece states of the taken blobs are those that the publisher signed. Else no peer could fetch them here.
async fn check_states(
    store: &Store,
    proven: &Proven,
    blobs: &BTreeMap<Digest, BlobLayout>,
) -> Result<(), ArchiveError> {
    let named: Vec<(Digest, Digest)> = proven
        .resolved
        .provenance
        .states
        .iter()
        .filter(|(blob, _)| blobs.contains_key(blob))
        .map(|(blob, states)| (*blob, *states))
        .collect();
    let store = store.clone();
    let check = move || {
        for (digest, states) in named {
            if store.states(&digest)?.digest() != states {
                return Err(ArchiveError::FalseStates { digest });
            }
        }
        Ok(())
    };
    tokio::task::spawn_blocking(check).await?
}

fn list(path: &Path) -> Result<ArchiveReport, ArchiveError> {
    let opened = Opened::open(path)?;
    let mut models = Vec::new();
    let index = opened.index()?;
    let count = index.carried().count();
    if count > ARCHIVED_MODELS_MAX {
        let (path, max) = (path.to_owned(), ARCHIVED_MODELS_MAX);
        return Err(ArchiveError::TooManyModels { path, count, max });
    }
    for descriptor in index.carried() {
        let carried = opened.carried(descriptor.digest)?;
        models.push(ArchivedModel {
            carried: descriptor.digest,
            reference: reference_of(&carried),
            manifest: carried.manifest,
            files: carried.files.as_ref().map(BTreeSet::len),
        });
    }
    if models.is_empty() {
        return Err(ArchiveError::NoModels { path: path.to_owned() });
    }
    Ok(ArchiveReport { path: path.to_owned(), form: opened.form(), models })
}

/// Reads the documents of one model of an archive.
fn read(path: &Path, carried: Digest) -> Result<Carried, ArchiveError> {
    let opened = Opened::open(path)?;
    let is_listed = opened.index()?.carried().any(|it| it.digest == carried);
    if !is_listed {
        return Err(ArchiveError::NoModel { path: path.to_owned(), carried });
    }
    let model = opened.carried(carried)?;
    let mut documents = vec![opened.document(model.manifest, MANIFEST_BYTES_MAX)?];
    let mut left = BROUGHT_BYTES_MAX;
    for digest in model.referrers.iter() {
        let too_many = |error: ArchiveError, has_room: bool| match error {
            ArchiveError::TooLarge { .. } if !has_room => ArchiveError::TooManyDocuments {
                path: path.to_owned(),
                reference: reference_of(&model),
                max: BROUGHT_BYTES_MAX,
            },
            error => error,
        };
        let referrer = opened
            .document(*digest, MANIFEST_BYTES_MAX.min(left))
            .map_err(|error| too_many(error, left >= MANIFEST_BYTES_MAX))?;
        left -= referrer.len();
        let of = opened.referrer(*digest)?.document.digest;
        let document = opened
            .document(of, BUNDLE_BYTES_MAX.min(left))
            .map_err(|error| too_many(error, left >= BUNDLE_BYTES_MAX))?;
        left -= document.len();
        documents.extend([referrer, document]);
    }
    let referrers = model.referrers.iter().copied().collect();
    let brought = Brought::new(model.records.clone(), model.manifest, referrers, documents);
    Ok(Carried { opened, model, brought })
}

/// Copies blobs of an archive into the store.
#[derive(Clone)]
struct Taking {
    store: Store,
    opened: Arc<Opened>,
    reporter: Reporter,
    cancel: Cancel,
}

impl Taking {
    /// Copies and verifies blobs. `done` bytes of `total` were taken before.
    async fn take(
        &self,
        blobs: BTreeMap<Digest, BlobLayout>,
        done: u64,
        total: u64,
    ) -> Result<(), ArchiveError> {
        let taking = self.clone();
        tokio::task::spawn_blocking(move || taking.take_all(&blobs, done, total)).await?
    }

    fn take_all(
        &self,
        blobs: &BTreeMap<Digest, BlobLayout>,
        mut done: u64,
        total: u64,
    ) -> Result<(), ArchiveError> {
        let (small, large): (Vec<_>, Vec<_>) = blobs.iter().partition(|(_, it)| it.size() <= PIECE_LEN);
        for some in small.chunks(SMALL_COPIED_AT_ONCE) {
            let read = |(digest, layout): &(&Digest, &BlobLayout)| {
                self.check_size(**digest, layout.size())?;
                self.opened.document(**digest, PIECE_LEN as usize)
            };
            let bytes = some.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            self.store.put_blobs(&bytes)?;
            done += bytes.iter().map(|it| it.len() as u64).sum::<u64>();
            self.tell(done, total)?;
        }
        for (digest, layout) in large {
            self.check_size(*digest, layout.size())?;
            match self.take_large(*digest, layout.size(), (done, total)) {
                // The bytes of before were wrong, and are gone.
                Err(Wrong { was_resumed: true, error: ArchiveError::Wrong { .. } }) => {
                    self.take_large(*digest, layout.size(), (done, total)).map_err(|it| it.error)?;
                }
                Err(Wrong { error, .. }) => return Err(error),
                Ok(()) => {}
            }
            done += layout.size();
        }
        Ok(())
    }

    /// Tells the user which of the blobs of a model that is not recorded stay in the store.
    async fn tell_kept(&self, wanted: Vec<Digest>) -> Result<(), ArchiveError> {
        let store = self.store.clone();
        let sizes = move || wanted.iter().filter_map(|it| store.blob_size(it)).collect();
        let sizes: Vec<u64> = tokio::task::spawn_blocking(sizes).await?;
        if !sizes.is_empty() {
            self.reporter.note(format_args!(
                "{} of the archive, verified, stay in the store without a model ({}): a later import takes them, `reg gc` removes \
                 them",
                counted(sizes.len(), "blob"),
                Size(sizes.iter().sum())
            ));
        }
        Ok(())
    }

    fn tell(&self, done: u64, total: u64) -> Result<(), ArchiveError> {
        self.reporter.tell(Progress::Bytes { done, total, peers: 0 });
        if self.cancel.is_cancelled() { Err(ArchiveError::Cancelled) } else { Ok(()) }
    }

    fn check_size(&self, digest: Digest, expected: u64) -> Result<(), ArchiveError> {
        match self.opened.blob(digest)?.size {
            found if found != expected => {
                let path = self.opened.path().to_owned();
                Err(ArchiveError::OtherSize { path, digest, found, expected })
            }
            _ => Ok(()),
        }
    }

    /// Copies a large blob, or goes on where an import before has stopped.
    fn take_large(&self, digest: Digest, size: u64, (done, total): (u64, u64)) -> Result<(), Wrong> {
        let mut upload = self.store.resume_upload(&digest).map_err(|it| Wrong::of(it.into()))?;
        let was_resumed = upload.size() > 0;
        let failed = |error| Wrong { was_resumed, error };
        let blob = self.opened.blob(digest).map_err(failed)?;
        let read = |source| failed(self.opened.io(source));
        let mut bytes = blob.bytes_from(upload.size().min(size)).map_err(read)?;
        let mut buffer = vec![0; COPIED_AT_ONCE];
        while upload.size() < size {
            let length = bytes.read(&mut buffer).map_err(read)?;
            if length == 0 {
                break;
            }
            upload.write(&buffer[..length]).map_err(|it| failed(it.into()))?;
            self.tell(done + upload.size(), total).map_err(failed)?;
        }
        let path = self.opened.path().to_owned();
        let finished = upload.finish(digest);
        finished.map(drop).map_err(|it: UploadError| failed(ArchiveError::of_upload(path, it)))
    }
}

/// Why a large blob was not taken.
struct Wrong {
    /// Whether bytes of an import before were used.
    was_resumed: bool,
    error: ArchiveError,
}

impl Wrong {
    const fn of(error: ArchiveError) -> Self {
        Self { was_resumed: false, error }
    }
}
