//! TODO.

use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use reg_api::request::HubCache;
use reg_api::selection::Part;
use reg_proto::digest::Digest;
use reg_proto::manifest::{Manifest, ModelFile, RAW_LAYER_TYPES};
use reg_proto::path::SafePath;

use crate::registry::model::checkout::CheckoutError;
use crate::registry::model::git_blob;
use crate::store::{PlaceError, PlaceMode, Store};

/// Bytes of a plain file at most: a tokenizer fits, weights do not.
pub const PLAIN_BYTES_MAX: u64 = 1 << 20;

/// Bytes of all plain files of a model: what is fetched at most before it can be listed as a hub lists it.
const PLAIN_BYTES_SUM: u64 = 32 << 20;

/// Hex digits of a commit id.
pub const COMMIT_DIGITS: usize = 40;

/// Returns the files of a model that a hub keeps plainly, outside of LFS: small ones that are no weights. It follows from
/// the manifest alone.
pub fn plain_files(manifest: &Manifest) -> impl Iterator<Item = &ModelFile> {
    let mut sum = 0;
    let small = manifest
        .files()
        .iter()
        .filter(|file| file.layout.size() <= PLAIN_BYTES_MAX && file.media_type != RAW_LAYER_TYPES[0]);
    small.take_while(move |file| {
        sum += file.layout.size();
        sum <= PLAIN_BYTES_SUM
    })
}

/// Returns the commit id of a manifest.
pub fn commit(digest: &Digest) -> String {
    digest.hex().chars().take(COMMIT_DIGITS).collect()
}

pub fn repository_dir(cache: &HubCache) -> PathBuf {
    cache.dir.join(format!("models--{}", cache.repository.as_str().replace('/', "--")))
}

/// Puts a model, all of which is here, into the cache, under the name that its clients will ask for.
pub(super) fn fill(
    store: &Store,
    digest: &Digest,
    manifest: &Manifest,
    part: &Part,
    cache: &HubCache,
) -> Result<PathBuf, CheckoutError> {
    let root = repository_dir(cache);
    let commit = commit(digest);
    let snapshot = root.join("snapshots").join(&commit);
    let plain: Vec<Digest> = plain_files(manifest).map(|file| file.digest).collect();
    for dir in [&root.join("blobs"), &snapshot] {
        fs::create_dir_all(dir).map_err(|source| CheckoutError::Make { path: dir.clone(), source })?;
    }
    for file in part.files(manifest) {
        let name = if plain.contains(&file.digest) {
            let bytes = store.read_blob(&file.digest, PLAIN_BYTES_MAX);
            let placed = |source| CheckoutError::Place { path: root.clone(), source };
            HEXLOWER.encode(&git_blob(&bytes.map_err(|error| placed(PlaceError::Read(error)))?))
        } else {
            file.digest.hex()
        };
        let blob = root.join("blobs").join(&name);
        // What lies there may be what a client took for it: its clients do not look.
        store
            .place(&file.digest, &blob, PlaceMode::Auto)
            .map_err(|source| CheckoutError::Place { path: blob.clone(), source })?;
        link(&snapshot, &file.path, &blob, &name)?;
    }
    if cache.revision == commit {
        return Ok(snapshot);
    }
    let reference = root.join("refs").join(&cache.revision);
    let made = |source| CheckoutError::Make { path: reference.clone(), source };
    if let Some(parent) = reference.parent() {
        fs::create_dir_all(parent).map_err(made)?;
    }
    // The snapshot is whole before anything means it.
    fs::write(&reference, &commit).map_err(made)?;
    Ok(snapshot)
}

/// Links a file of the snapshot to its blob, by a relative path as the clients do.
fn link(snapshot: &Path, path: &SafePath, blob: &Path, name: &str) -> Result<(), CheckoutError> {
    let place: PathBuf = path.segments().fold(snapshot.to_owned(), |dir, segment| dir.join(segment));
    let made = |source| CheckoutError::Make { path: place.clone(), source };
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).map_err(made)?;
    }
    drop(fs::remove_file(&place));
    #[cfg(unix)]
    {
        let up = "../".repeat(path.segments().count() + 1);
        let _unused = blob;
        std::os::unix::fs::symlink(format!("{up}blobs/{name}"), &place).map_err(made)
    }
    #[cfg(not(unix))]
    {
        let _unused = name;
        fs::hard_link(blob, &place).or_else(|_| fs::copy(blob, &place).map(drop)).map_err(made)
    }
}
