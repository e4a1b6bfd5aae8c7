//! Copies tensors from other models in the store before the rest is fetched from peers.
//!
//! A fine-tune has most tensors of its base, byte for byte, at other offsets. The header of a weight file says where each
//! tensor lies, so the header is fetched first. Then a tensor of the same name and length in a local file is tried: one
//! piece of it is copied and verified by the piece states. If it matches, the rest of the tensor is tried too. If not, only
//! the reading of one local piece was wasted. Every piece that is kept was verified, so no list of tensor digests has to be
//! made, signed, sent or checked.

mod fill;
mod local;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reg_api::reporter::Reporter;
use reg_proto::digest::Digest;
use reg_proto::manifest::Manifest;
use reg_proto::path::SafePath;
use reg_proto::peer::PeerId;
use tokio::time::timeout;
use tracing::{debug, info};

use self::fill::{Filled, fill};
use self::local::{LocalFile, Wanted, local_files};
use super::Puller;
use crate::registry::fetch::WebSeeds;
use crate::registry::resolve::Resolved;
use crate::store::Partial;

/// Files with fewer pieces, or fewer missing pieces, are fetched without looking for their tensors.
const REUSE_PIECES_MIN: u32 = 4;
/// How long fetching the headers may take. Without headers every piece is fetched.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);

/// What was copied from other models, and what finding it cost.
#[derive(Debug, Default)]
pub(super) struct Reused {
    /// Bytes of verified pieces that were assembled from local tensors.
    pub bytes: u64,
    /// Bytes of headers by the peer that sent them.
    pub peers: BTreeMap<PeerId, u64>,
    /// Bytes of headers by the web seed that sent them.
    pub web: BTreeMap<String, u64>,
}

/// Tells by its name whether a file is a weight file with a header that this module can read.
pub(super) fn has_tensors(path: &SafePath) -> bool {
    let name = path.file_name().to_ascii_lowercase();
    name.ends_with(".safetensors") || name.ends_with(".gguf")
}

impl Puller {
    /// Fills pieces of `partials` with tensors of other models in the store. On any failure fewer tensors are reused.
    pub(super) async fn reuse(
        &self,
        partials: &[Partial],
        resolved: &Resolved,
        web: &WebSeeds,
        reporter: &Reporter,
    ) -> Reused {
        let mut reused = Reused::default();
        let targets = targets(partials, &resolved.manifest);
        if targets.is_empty() {
            return reused;
        }
        let store = self.store.clone();
        let listed = tokio::task::spawn_blocking(move || local_files(&store)).await;
        let files: Vec<LocalFile> = listed.unwrap_or_default();
        if files.is_empty() {
            return reused;
        }
        reporter.stage("reusing", format_args!("tensors of {} files in the store", files.len()));
        let headers =
            match timeout(HEADERS_TIMEOUT, self.headers(&targets, &resolved.holders, web, reporter)).await {
                Ok(Ok(headers)) => headers,
                Ok(Err(error)) => {
                    debug!(%error, "headers of weight files cannot be fetched: no tensor is reused");
                    return reused;
                }
                Err(_) => return reused,
            };
        (reused.peers, reused.web) = (headers.peers, headers.web);
        let (store, teller) = (self.store.clone(), reporter.clone());
        let wanted: Vec<(Partial, Wanted)> = targets
            .into_iter()
            .filter_map(|partial| {
                let header = headers.of.get(&partial.digest())?;
                Some((partial, Wanted::new(header.places())))
            })
            .collect();
        let filled = tokio::task::spawn_blocking(move || fill(&store, &files, wanted, &teller)).await;
        let Filled { bytes, vain } = filled.unwrap_or_default();
        info!(bytes, vain, "tensors of other models were looked through");
        reused.bytes = bytes;
        reused
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
