//! Plans a pull: computes what it would fetch and how much disk space it needs. Fetches the manifest, its proofs, and those small
//! files by which a pull would be refused for which there is free room.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use reg_api::report::{DiskNeed, Planned, PlannedFile};
use reg_api::reporter::Reporter;
use reg_api::request::PullRequest;
use reg_api::selection::Part;
use reg_api::size::Size;
use reg_proto::digest::Digest;
use reg_proto::piece::{BlobLayout, PIECE_LEN};

use super::Puller;
use super::early::{Step, Steps};
use super::error::PullError;
use crate::registry::limits::PLAN_BYTES_MAX;
use crate::registry::model::{file_path, whole};
use crate::registry::resolve::{RecordChoice, Resolved};
use crate::store::{Lease, Partial, free_space, on_one_disk};

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
        self.meet_first(&request, reporter).await;
        let said = self.ask_domain(&request, reporter).await?;
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
        let notes = said.into_iter().chain(resolved.notes).collect();
        Ok(Planned { notes, ..planned })
    }

    /// Judges the small files of a model as a pull would, and fetches them for it. Notes which of them it does not have.
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
        let _lease = if request.offline || self.network.is_offline() {
            None
        } else {
            self.bring_for_plan(request, resolved, small, reporter).await?
        };
        self.judge_early(resolved, part, &consent, reporter).await
    }

    /// Fetches small files, as far as there is free room for them: a plan evicts nothing. Notes what it does not fetch, and why.
    /// Returns what protects them.
    async fn bring_for_plan(
        &self,
        request: &PullRequest,
        resolved: &mut Resolved,
        small: BTreeMap<Digest, BlobLayout>,
        reporter: &Reporter,
    ) -> Result<Option<Lease>, PullError> {
        let (small, left) = within(small, PLAN_BYTES_MAX);
        if left > 0 {
            let max = Size(PLAN_BYTES_MAX);
            note(
                format!("a plan fetches {max} of small files: {left} more are not judged"),
                resolved,
                reporter,
            );
        }
        if small.is_empty() {
            return Ok(None);
        }
        let wanted: BTreeSet<Digest> = small.keys().copied().chain([resolved.digest]).collect();
        let (store, protect) = (self.store.clone(), wanted.clone());
        let bytes: u64 = small.values().map(|it| it.size()).sum();
        let reserved = tokio::task::spawn_blocking(move || store.reserve_free(bytes, &protect)).await?;
        let Some(lease) = reserved else {
            let why = "there is no free room for the small files, so they are not judged";
            note(why.to_owned(), resolved, reporter);
            return Ok(None);
        };
        let terms = self.terms_of(resolved, request);
        let mut step =
            Step { resolved, wanted: &wanted, terms: &terms, lease: &lease, has_room: true, reporter };
        let count = small.len();
        let why = match self.bring(&mut step, small, 1).await {
            Ok(_) => format!(
                "{count} small files, {}, were fetched into the cache to judge the model, and nothing else",
                Size(bytes)
            ),
            Err(error) => format!("the small files cannot be fetched, so they are not judged: {error}"),
        };
        note(why, step.resolved, reporter);
        Ok(Some(lease))
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

/// Returns those blobs that have at most `max` bytes together, the smallest first, and how many others there are.
fn within(blobs: BTreeMap<Digest, BlobLayout>, max: u64) -> (BTreeMap<Digest, BlobLayout>, usize) {
    let mut by_size: Vec<(Digest, BlobLayout)> = blobs.into_iter().collect();
    by_size.sort_by_key(|(_, layout)| layout.size());
    let (count, mut bytes) = (by_size.len(), 0);
    let fits = |(_, layout): &(Digest, BlobLayout)| {
        bytes += layout.size();
        bytes <= max
    };
    let within: BTreeMap<Digest, BlobLayout> = by_size.into_iter().take_while(fits).collect();
    let left = count - within.len();
    (within, left)
}

fn note(text: String, resolved: &mut Resolved, reporter: &Reporter) {
    reporter.note(&text);
    resolved.notes.push(text);
}

/// Tells whether a file of that size exists in `dest`. Its contents are compared only when the file is placed.
fn is_there(dest: &Path, file: &PlannedFile) -> bool {
    let path = dest.join(file_path::of(dest, &file.path));
    std::fs::symlink_metadata(path).is_ok_and(|it| it.is_file() && it.len() == file.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_fetches_the_smallest_files_up_to_a_sum() {
        let blobs = |sizes: &[u64]| -> BTreeMap<Digest, BlobLayout> {
            let blob = |size: &u64| (Digest::of(&size.to_le_bytes()), BlobLayout::new(*size).expect("small"));
            sizes.iter().map(blob).collect()
        };
        assert_eq!(within(blobs(&[10, 40, 20, 30]), 60), (blobs(&[10, 20, 30]), 1));
        assert_eq!(within(blobs(&[10, 40, 20, 30]), 100), (blobs(&[10, 20, 30, 40]), 0));
        assert_eq!(within(blobs(&[70, 61]), 60), (blobs(&[]), 2));
    }
}
