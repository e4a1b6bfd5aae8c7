//! Tells whether the blobs of a model are in the store, and which are missing.

use std::collections::BTreeMap;

use reg_proto::digest::Digest;
use reg_proto::piece::BlobLayout;
use tokio::task::JoinError;

use super::record::{self, ModelRecord};
use crate::store::Store;

/// Tells whether the store has a blob with the bytes that its digest names. It hashes the bytes where that is not
/// known.
pub fn is_whole(store: &Store, blob: &Digest) -> bool {
    store.open_blob(blob).is_ok()
}

/// Tells whether the store has every blob of a model.
pub fn is_complete(store: &Store, manifest: &Digest) -> bool {
    let whole = |it: &ModelRecord| it.complete && it.blobs.iter().all(|blob| store.contains(blob));
    ModelRecord::of_manifest(store, manifest).iter().any(whole)
}

/// Tells whether the store has every blob of a model that its user chose: all of them, or those of some files.
pub fn has_part(store: &Store, manifest: &Digest, record: &ModelRecord) -> bool {
    let has = |blob: &Digest| store.contains(blob);
    if record.chosen.is_none() {
        return record.complete && record.blobs.iter().all(has);
    }
    record::manifest(store, manifest).is_ok_and(|it| record.part().blobs(&it).keys().all(has))
}

/// Tells whether the store has every blob that its user chose of a model with this manifest.
pub fn is_kept(store: &Store, manifest: &Digest) -> bool {
    ModelRecord::of_manifest(store, manifest).iter().any(|it| has_part(store, manifest, it))
}

/// Returns those of `blobs` that are not in the store. A blob that changed since it was verified is hashed again first,
/// and is missing as far as it is damaged.
pub async fn missing(
    store: &Store,
    mut blobs: BTreeMap<Digest, BlobLayout>,
) -> Result<BTreeMap<Digest, BlobLayout>, JoinError> {
    let store = store.clone();
    let check = tokio::task::spawn_blocking(move || {
        blobs.retain(|blob, _| !is_whole(&store, blob));
        blobs
    });
    check.await
}
