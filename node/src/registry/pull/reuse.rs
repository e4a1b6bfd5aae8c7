//! Copies tensors from other models in the store before the rest is fetched from peers.
//!
//! A fine-tune has most tensors of its base, byte for byte, at other offsets. The header of a weight file says where each
//! tensor lies, so the header is fetched first. Then a tensor of the same name and length in a local file is tried: one
//! piece of it is copied and verified by the piece states. If it matches, the rest of the tensor is tried too. If not, only
//! the reading of one local piece was wasted. Every piece that is kept was verified, so no list of tensor digests has to be
//! made, signed, sent or checked.

mod fill;
mod local;

use std::collections::BTreeSet;
use std::time::Duration;

use reg_api::counted::counted;
use reg_api::reporter::Reporter;
use reg_proto::digest::Digest;
use reg_proto::manifest::Manifest;
use reg_proto::path::SafePath;
use tokio::time::timeout;
use tracing::{debug, info};

use self::fill::{Filled, fill};
use self::local::{LocalFile, Wanted, local_files};
use super::{Puller, headers};
use crate::metrics::Source;
use crate::registry::fetch::Share;
use crate::registry::resolve::Resolved;
use crate::store::Partial;

/// Files with fewer pieces, or fewer missing pieces, are fetched without looking for their tensors.
const REUSE_PIECES_MIN: u32 = 4;
/// How long fetching the headers may take. Without headers every piece is fetched.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);

/// Tells by its name whether a file is a weight file with a header that this module can read.
pub(super) fn has_tensors(path: &SafePath) -> bool {
    let name = path.file_name().to_ascii_lowercase();
    name.ends_with(".safetensors") || name.ends_with(".gguf")
}

impl Puller {
    /// Fills pieces of the blobs with tensors of other models in the store, once for all pulls that share their download.
    /// Returns how many bytes were copied. On any failure fewer tensors are reused.
    pub(super) async fn reuse(&self, share: &mut Share, resolved: &Resolved, reporter: &Reporter) -> u64 {
        let own = share.own().clone();
        let _alone = own.prepare().await;
        let left = share.unprepared();
        let targets = targets(&left, &resolved.manifest);
        let bytes = match targets.is_empty() {
            true => 0,
            false => self.fill_from_others(share, targets, reporter).await,
        };
        share.note_prepared(&left);
        bytes
    }

    async fn fill_from_others(&self, share: &mut Share, targets: Vec<Partial>, reporter: &Reporter) -> u64 {
        let store = self.store.clone();
        let listed = tokio::task::spawn_blocking(move || local_files(&store)).await;
        let files: Vec<LocalFile> = listed.unwrap_or_default();
        if files.is_empty() {
            return 0;
        }
        let files_here = counted(files.len(), "weight file");
        reporter.stage("comparing", format_args!("with the tensors of {files_here} in the store"));
        let headers = match timeout(HEADERS_TIMEOUT, headers::fetch(share, &targets, reporter)).await {
            Ok(Ok(headers)) => headers,
            Ok(Err(error)) => {
                debug!(%error, "headers of weight files cannot be fetched: no tensor is reused");
                return 0;
            }
            Err(_) => return 0,
        };
        let (store, teller) = (self.store.clone(), reporter.clone());
        let wanted: Vec<(Partial, Wanted)> = targets
            .into_iter()
            .filter_map(|partial| {
                let header = headers.get(&partial.digest())?;
                Some((partial, Wanted::new(header.places())))
            })
            .collect();
        let filled = tokio::task::spawn_blocking(move || fill(&store, &files, wanted, &teller)).await;
        let Filled { pieces, bytes, vain } = filled.unwrap_or_default();
        self.fetching.metrics.pieces_verified(Source::Reuse, pieces, bytes);
        info!(bytes, vain, "tensors of other models were looked through");
        bytes
    }
}

/// Returns the partial blobs that are weight files and lack more than their header.
fn targets(partials: &[Partial], manifest: &Manifest) -> Vec<Partial> {
    let weights: BTreeSet<Digest> =
        manifest.files().iter().filter(|file| has_tensors(&file.path)).map(|file| file.digest).collect();
    let lacks = |partial: &&Partial| {
        let have = partial.have();
        weights.contains(&partial.digest())
            && have.len() >= REUSE_PIECES_MIN
            && have.len() - have.count() >= REUSE_PIECES_MIN
    };
    partials.iter().filter(lacks).cloned().collect()
}
