//! Places a pulled model in the cache of Hugging Face's clients, and says how that cache names it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::HEXLOWER;
use reg_api::request::HubCache;
use reg_api::selection::Part;
use reg_proto::digest::Digest;
use reg_proto::manifest::{Manifest, ModelFile, RAW_LAYER_TYPES};
use reg_proto::path::SafePath;

use crate::registry::model::checkout::CheckoutError;
use crate::registry::model::{file_path, git_blob};
use crate::store::{PlaceError, PlaceMode, Store};

/// Bytes of a file of a model that this node lists as plain. A tokenizer fits, weights do not.
pub const LISTED_BYTES_MAX: u64 = 1 << 20;

/// Bytes of all plain files of a model together. Listing a model as a hub does needs at most this many bytes.
const PLAIN_BYTES_SUM: u64 = 32 << 20;

/// Counts temporary links.
static LINKED: AtomicU64 = AtomicU64::new(0);

/// Hex digits of a commit id.
pub const COMMIT_DIGITS: usize = 40;

/// Returns the plain files of a model: small files without weights, which a hub keeps outside of LFS. The answer depends on
/// the manifest alone.
pub fn plain_files(manifest: &Manifest) -> impl Iterator<Item = &ModelFile> {
    let mut sum = 0;
    let small = manifest
        .files()
        .iter()
        .filter(|file| file.layout.size() <= LISTED_BYTES_MAX && file.media_type != RAW_LAYER_TYPES[0]);
    small.take_while(move |file| {
        sum += file.layout.size();
        sum <= PLAIN_BYTES_SUM
    })
}

/// Returns the commit id under which the cache knows a manifest: the first [`COMMIT_DIGITS`] digits of its digest.
pub fn commit(digest: &Digest) -> String {
    digest.hex().chars().take(COMMIT_DIGITS).collect()
}

/// Returns the directory of a repository in the cache.
pub fn repository_dir(cache: &HubCache) -> PathBuf {
    cache.dir.join(format!("models--{}", cache.repository.as_str().replace('/', "--")))
}

/// Places the chosen part of a model, which is complete in the store, in the cache. Returns the directory of its snapshot.
/// Blocks.
///
/// # Errors
/// A file or link of the cache cannot be written.
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
            let bytes = store.read_blob(&file.digest, LISTED_BYTES_MAX);
            let placed = |source| CheckoutError::Place { path: root.clone(), source };
            HEXLOWER.encode(&git_blob(&bytes.map_err(|error| placed(PlaceError::Read(error)))?))
        } else {
            file.digest.hex()
        };
        let blob = root.join("blobs").join(&name);
        // A file that exists may have other contents. The clients of the cache do not check, so it is replaced.
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
    // Writes the ref last, so that it never names an incomplete snapshot.
    fs::write(&reference, &commit).map_err(made)?;
    Ok(snapshot)
}

/// Links a file of the snapshot to its blob by a relative path, as the clients do.
fn link(snapshot: &Path, path: &SafePath, blob: &Path, name: &str) -> Result<(), CheckoutError> {
    let place = snapshot.join(file_path::to_write(snapshot, path));
    let made = |source| CheckoutError::Make { path: place.clone(), source };
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).map_err(made)?;
    }
    #[cfg(unix)]
    {
        let up = "../".repeat(path.segments().count() + 1);
        let _unused = blob;
        // Another pull may make the same link at this moment.
        let number = LINKED.fetch_add(1, Ordering::Relaxed);
        let temporary = place.with_file_name(format!(".{name}.{}-{number}.link", std::process::id()));
        let made_it = std::os::unix::fs::symlink(format!("{up}blobs/{name}"), &temporary)
            .and_then(|()| fs::rename(&temporary, &place));
        if made_it.is_err() {
            drop(fs::remove_file(&temporary));
        }
        made_it.map_err(made)
    }
    #[cfg(not(unix))]
    {
        let _unused = name;
        drop(fs::remove_file(&place));
        fs::hard_link(blob, &place).or_else(|_| fs::copy(blob, &place).map(drop)).map_err(made)
    }
}
