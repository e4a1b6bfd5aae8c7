//! Plans a pull: computes what it would fetch and how much disk space it needs. Fetches the manifest, its proofs, and the small
//! files by which a pull would be refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use reg_api::report::{DiskNeed, Planned, PlannedFile};
use reg_api::reporter::Reporter;
use reg_api::request::PullRequest;
use reg_api::selection::Part;
use reg_proto::digest::Digest;
use reg_proto::piece::{BlobLayout, PIECE_LEN};

use super::Puller;
use super::early::{Step, Steps};
use super::error::PullError;
use crate::registry::model::{file_path, whole};
use crate::registry::resolve::{RecordChoice, Resolved};
use crate::store::{Partial, free_space, on_one_disk};

impl Puller {
    /// Returns what [`Puller::pull`] would fetch and place for the same request.
    ///
    /// # Errors
    /// See [`PullError`].
    pub async fn plan(
        self: &Arc<Self>,
        request: PullRequest,
        reporter: &Reporter,
    ) -> Result<Planned, PullError> {
        let reference = request.reference.clone();
        self.plan_once(request, reporter).await.map_err(|error| self.with_versions(&reference, error))
    }

    async fn plan_once(
        self: &Arc<Self>,
        request: PullRequest,
        reporter: &Reporter,
    ) -> Result<Planned, PullError> {
        self.meet(&request, reporter).await;
        let (mut resolved, mut part) = self.find(&request, &RecordChoice::default(), reporter).await?;
        if self.settle(resolved.later.as_mut()).await.is_err() {
            (resolved, part) = self.find(&request, &RecordChoice::default(), reporter).await?;
        }
        let missing = whole::missing(&self.store, part.blobs(&resolved.manifest)).await?;
        let (puller, of, lacking) = (self.clone(), request.clone(), missing.clone());
        let planning = tokio::task::spawn_blocking(move || {
            let planned = puller.planned(&of, &resolved, &part, &lacking);
            (planned, resolved, part)
        });
        let (planned, mut resolved, part) = planning.await?;
        self.judge_plan(&request, &mut resolved, &part, missing, reporter).await?;
        Ok(Planned { notes: resolved.notes, ..planned })
    }

    /// Judges the small files of a model as a pull would, and fetches them for it. Where they cannot be had, notes it.
    ///
    /// # Errors
    /// A file is refused, as a pull would refuse it.
    async fn judge_plan(
        &self,
        request: &PullRequest,
        resolved: &mut Resolved,
        part: &Part,
        missing: BTreeMap<Digest, BlobLayout>,
        reporter: &Reporter,
    ) -> Result<(), PullError> {
        let consent = self.consent_of(resolved, request).await?;
        let Steps { small, .. } = Steps::of(missing, &resolved.manifest);
        let offline = request.offline || self.network.is_offline();
        if small.is_empty() || offline {
            return self.judge_early(resolved, part, &consent, reporter).await;
        }
        let wanted: BTreeSet<Digest> = small.keys().copied().chain([resolved.digest]).collect();
        let lease = self.reserve(small.values().map(|it| it.size()).sum(), wanted.clone()).await?;
        let terms = self.terms_of(resolved, request);
        let mut step = Step { resolved, wanted: &wanted, terms: &terms, lease: &lease, reporter };
        match self.bring(&mut step, small, 1).await {
            Ok(_) => self.judge_early(resolved, part, &consent, reporter).await,
            Err(error) => {
                let note = format!("the small files cannot be fetched, so they are not judged: {error}");
                reporter.note(&note);
                resolved.notes.push(note);
                Ok(())
            }
        }
    }

    pub(super) fn planned(
        &self,
        request: &PullRequest,
        resolved: &Resolved,
        part: &Part,
        missing: &BTreeMap<Digest, BlobLayout>,
    ) -> Planned {
        let manifest = &resolved.manifest;
        let lacking: BTreeMap<Digest, u64> =
            missing.iter().map(|(blob, layout)| (*blob, self.lacking(blob, *layout, resolved))).collect();
        let file = |file: &reg_proto::manifest::ModelFile| PlannedFile {
            path: file.path.clone(),
            size: file.layout.size(),
            digest: file.digest,
            bytes_to_fetch: lacking.get(&file.digest).copied().unwrap_or(0),
        };
        let entries: Vec<PlannedFile> = part.files(manifest).map(file).collect();
        let (bytes, bytes_to_fetch) = (part.bytes(manifest), lacking.values().sum());
        Planned {
            reference: resolved.reference(),
            manifest: resolved.digest,
            files: entries.len(),
            bytes,
            model_files: manifest.files().len(),
            model_bytes: manifest.total_bytes(),
            bytes_to_fetch,
            bytes_local: bytes.saturating_sub(bytes_to_fetch),
            disks: self.disks(request, &entries, bytes_to_fetch),
            cache_max_bytes: self.store.max_size(),
            entries,
            notes: resolved.notes.clone(),
            behind: resolved.behind.clone(),
        }
    }

    /// Returns how many bytes of a blob that is not whole in the store are missing of the partial one.
    fn lacking(&self, blob: &Digest, layout: BlobLayout, resolved: &Resolved) -> u64 {
        let named = resolved.provenance.states.get(blob);
        let partials = self.store.open_partial(blob);
        let of_list = |it: &&Partial| named.is_none_or(|named| it.states().digest() == *named);
        layout.size() - partials.iter().find(of_list).map_or(0, Partial::verified_bytes)
    }

    /// Returns the bytes that the cache and the directory need. Files that share their bytes with the cache need none.
    fn disks(&self, request: &PullRequest, files: &[PlannedFile], bytes_to_fetch: u64) -> Vec<DiskNeed> {
        let root = self.store.root();
        let mut cache =
            DiskNeed { path: root.to_owned(), needed: bytes_to_fetch, free: self.store.free_space() };
        let Some(dest) = request.dest.as_deref() else { return vec![cache] };
        let is_shared = on_one_disk(root, dest);
        let copied = |file: &&PlannedFile| {
            !is_there(dest, file) && (request.copy || !is_shared || file.size <= PIECE_LEN)
        };
        let needed: u64 = files.iter().filter(copied).map(|file| file.size).sum();
        if is_shared {
            cache.needed += needed;
            return vec![cache];
        }
        vec![cache, DiskNeed { path: dest.to_owned(), needed, free: free_space(dest) }]
    }
}

/// Tells whether a file of that size exists in `dest`. Its contents are compared only when the file is placed.
fn is_there(dest: &Path, file: &PlannedFile) -> bool {
    let path = dest.join(file_path::of(dest, &file.path));
    std::fs::symlink_metadata(path).is_ok_and(|it| it.is_file() && it.len() == file.size)
}
