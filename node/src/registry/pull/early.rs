//! Fetches the files of a model in two steps: the small ones first, and the weights once those are judged.
//!
//! What is refused because of a small file, or lacks a file that a small one names, is refused or told before the first byte of
//! weights is fetched.

use std::collections::{BTreeMap, BTreeSet};

use reg_api::consent::Consent;
use reg_api::counted::counted;
use reg_api::reporter::Reporter;
use reg_api::selection::Part;
use reg_api::size::Size;
use reg_proto::content::parts::Gap;
use reg_proto::digest::Digest;
use reg_proto::manifest::{Manifest, ModelFile};
use reg_proto::path::SafePath;
use reg_proto::piece::{BlobLayout, PIECE_LEN};

use super::Puller;
use super::error::PullError;
use crate::registry::fetch::{Downloaded, Pulling, Sources, Terms};
use crate::registry::limits::{FEW_SMALL_PATIENCE, SMALL_BLOBS_MIN, SMALL_PATIENCE};
use crate::registry::model::describe::{comes_first, describe_early};
use crate::registry::resolve::Resolved;
use crate::store::Lease;

/// The blobs that a pull fetches, in the order of its steps.
#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) small: BTreeMap<Digest, BlobLayout>,
    pub(super) weights: BTreeMap<Digest, BlobLayout>,
}

impl Steps {
    /// Divides the blobs that are missing of a model.
    pub(super) fn of(missing: BTreeMap<Digest, BlobLayout>, manifest: &Manifest) -> Self {
        let first = manifest.files().iter().filter(|it| comes_first(&it.path, it.layout.size()));
        let first: BTreeSet<Digest> = first.map(|it| it.digest).collect();
        // The configuration is no file.
        let is_small = |blob: &Digest, layout: &BlobLayout| layout.size() < PIECE_LEN || first.contains(blob);
        let (small, weights) = missing.into_iter().partition(|(blob, layout)| is_small(blob, layout));
        Self { small, weights }
    }
}

/// What every step of one pull needs.
pub(super) struct Step<'a> {
    pub(super) resolved: &'a mut Resolved,
    /// The blobs of the model, which are not evicted meanwhile.
    pub(super) wanted: &'a BTreeSet<Digest>,
    pub(super) terms: &'a Terms,
    /// Has the room for the small ones.
    pub(super) lease: &'a Lease,
    /// Whether the lease has the room for whatever this step fetches, so that its download reserves none.
    pub(super) has_room: bool,
    pub(super) reporter: &'a Reporter,
}

impl Step<'_> {
    /// Gives back the room for blobs, because a download reserves it.
    fn give_back(&self, blobs: &BTreeMap<Digest, BlobLayout>) {
        if !self.has_room {
            self.lease.give_back(blobs.values().map(|layout| layout.size()).sum());
        }
    }
}

impl Puller {
    /// Fetches blobs: small ones many at a time, if they are at least `small_min`, and the others as a download. Each piece is
    /// verified before it is written.
    ///
    /// # Errors
    /// See [`PullError`].
    pub(super) async fn bring(
        &self,
        step: &mut Step<'_>,
        mut blobs: BTreeMap<Digest, BlobLayout>,
        small_min: usize,
    ) -> Result<Downloaded, PullError> {
        let small = match step.terms.limit.far {
            Some(_) => BTreeMap::new(),
            None => self.fetching.split_small(&mut blobs, small_min),
        };
        let mut share = None;
        if !blobs.is_empty() {
            step.give_back(&blobs);
            let mut opened = self.share(step);
            opened.open(self.fetching.states_of(&blobs, step.resolved, step.reporter).await?).await?;
            share = Some(opened);
        }
        let (pulling, holders) = (Pulling::of(step.resolved), step.resolved.holders.clone());
        let patience = if small.len() < SMALL_BLOBS_MIN { FEW_SMALL_PATIENCE } else { SMALL_PATIENCE };
        let small = self.fetching.fetch_small(&pulling, &holders, small, patience, step.reporter).await?;
        if !small.left.is_empty() {
            step.give_back(&small.left);
            let mut opened = share.take().unwrap_or_else(|| self.share(step));
            opened.open(self.fetching.states_of(&small.left, step.resolved, step.reporter).await?).await?;
            share = Some(opened);
        }
        let sources = Sources { peers: small.peers, ..Sources::default() };
        let mut downloaded = Downloaded { sources, ..Downloaded::default() };
        if let Some(mut share) = share {
            downloaded.add(self.download(&mut share, step.resolved, step.reporter).await?);
        }
        Ok(downloaded)
    }

    /// Fetches the blobs that are missing of a part: the small ones, and the weights once those are judged.
    ///
    /// # Errors
    /// A file is refused, or cannot be fetched: see [`PullError`].
    pub(super) async fn bring_all(
        &self,
        mut step: Step<'_>,
        part: &Part,
        missing: BTreeMap<Digest, BlobLayout>,
        consent: &Consent,
    ) -> Result<Downloaded, PullError> {
        let (needed, count): (u64, usize) =
            (missing.values().map(|layout| layout.size()).sum(), missing.len());
        step.reporter.stage("fetching", format_args!("{} in {}", Size(needed), counted(count, "blob")));
        self.note_limit(&step).await;
        let Steps { small, weights } = Steps::of(missing, &step.resolved.manifest);
        if weights.is_empty() || small.is_empty() {
            if !weights.is_empty() {
                self.judge_early(step.resolved, part, consent, step.reporter).await?;
            }
            let blobs = small.into_iter().chain(weights).collect();
            return self.bring(&mut step, blobs, SMALL_BLOBS_MIN).await;
        }
        let mut downloaded = self.bring(&mut step, small, 1).await?;
        self.judge_early(step.resolved, part, consent, step.reporter).await?;
        downloaded.add(self.bring(&mut step, weights, SMALL_BLOBS_MIN).await?);
        Ok(downloaded)
    }

    /// Judges those files of a part that are in the store, and tells what the model lacks.
    ///
    /// # Errors
    /// A file is refused by its kind or by a rule of the user.
    pub(super) async fn judge_early(
        &self,
        resolved: &mut Resolved,
        part: &Part,
        consent: &Consent,
        reporter: &Reporter,
    ) -> Result<(), PullError> {
        let (store, manifest) = (self.store.clone(), resolved.manifest.clone());
        let (part, consent) = (part.clone(), consent.clone());
        let judge = move || {
            let (here, to_come): (Vec<&ModelFile>, Vec<&ModelFile>) =
                manifest.files().iter().partition(|it| part.contains(&it.path) && store.contains(&it.digest));
            let here = here.iter().map(|it| (&it.path, it.digest, it.layout.size()));
            let to_come: Vec<&SafePath> = to_come.iter().map(|it| &it.path).collect();
            // Its publisher has signed it so: what it lacks is told.
            describe_early(&store, here, &to_come, &consent, true)
        };
        let description = tokio::task::spawn_blocking(judge).await??;
        let (publisher, files) = (resolved.keys.publisher(), description.files());
        self.resolver.consent_to_formats(publisher, &resolved.model, files)?;
        tell(&description.gaps(), resolved, reporter);
        Ok(())
    }
}

/// Notes what a model lacks, once.
pub(super) fn tell(gaps: &[Gap], resolved: &mut Resolved, reporter: &Reporter) {
    for gap in gaps {
        let note = format!("the model is not whole: {gap}");
        if !resolved.notes.contains(&note) {
            reporter.note(&note);
            resolved.notes.push(note);
        }
    }
}

#[cfg(test)]
mod tests {
    use reg_proto::descriptor::Descriptor;

    use super::*;

    #[test]
    fn lists_and_small_files_come_before_weights() {
        let sizes = [
            ("model.safetensors", 48 << 20),
            ("config.json", 300),
            ("model.safetensors.index.json", 9 << 20),
            ("tokenizer.json", 33 << 20),
            ("model.onnx", 2 << 20),
            ("run.py", 1000),
        ];
        let file = |(path, size): &(&str, u64)| ModelFile {
            path: path.parse().expect("a path"),
            digest: Digest::of(path.as_bytes()),
            layout: BlobLayout::new(*size).expect("small"),
            media_type: reg_proto::manifest::RAW_LAYER_TYPES[0].to_owned(),
        };
        let files: Vec<ModelFile> = sizes.iter().map(file).collect();
        let config = Descriptor::of(reg_proto::manifest::MODEL_CONFIG_TYPE, b"{}");
        let manifest = Manifest::new(config, files).expect("a manifest");
        let steps = Steps::of(manifest.blobs(), &manifest);
        let weights: Vec<&str> = sizes
            .iter()
            .map(|(path, _)| *path)
            .filter(|path| steps.weights.contains_key(&Digest::of(path.as_bytes())))
            .collect();
        assert_eq!(weights, ["model.safetensors", "tokenizer.json"]);
        assert_eq!(steps.small.len(), 5, "the config is one of them");
    }
}
