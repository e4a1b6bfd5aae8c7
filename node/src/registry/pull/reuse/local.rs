//! Finds tensors of local files that may be the wanted ones, by name and length.
//!
//! Each pull builds this index again. Reading the headers of a hundred local files takes less time than fetching one piece
//! from a peer, and an index that is not stored cannot be stale. It holds only wanted tensors, with a few copies of each.

use std::collections::{BTreeMap, BTreeSet};

use reg_proto::content::layout::TensorPlace;
use reg_proto::digest::Digest;

use super::super::headers;
use super::has_tensors;
use crate::registry::model::record::{self, ModelRecord};
use crate::store::{BlobFile, Store};

/// How many local files to read headers of, those of the newest models first. A model of 200 shards and its base fit.
const LOCAL_FILES_MAX: usize = 512;
/// Copies that are remembered of each wanted tensor: those of a base and a few fine-tunes.
const PLACES_MAX: usize = 4;

/// A weight file that is a whole blob of the store.
#[derive(Debug)]
pub(super) struct LocalFile {
    pub blob: Digest,
}

/// A local copy of a tensor: the number of the local file, and the offset of the tensor there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LocalTensor {
    pub file: usize,
    pub begin: u64,
}

/// The tensors of a file that is being fetched, in the order of their data, and the local copies of each.
#[derive(Debug)]
pub(super) struct Wanted {
    pub tensors: Vec<TensorPlace>,
    pub places: Vec<Vec<LocalTensor>>,
}

/// Wanted tensors by their length and their short name.
pub(super) type ByName = BTreeMap<(u64, String), Vec<(usize, usize)>>;

impl Wanted {
    pub(super) fn new(mut tensors: Vec<TensorPlace>) -> Self {
        tensors.retain(|tensor| !tensor.is_empty());
        tensors.sort_by_key(|tensor| tensor.begin);
        let places = vec![Vec::new(); tensors.len()];
        Self { tensors, places }
    }
}

/// Lists the weight files in the store, those of the most recently used models first.
pub(super) fn local_files(store: &Store) -> Vec<LocalFile> {
    let mut models = ModelRecord::all(store).unwrap_or_default();
    models.sort_by_key(|(manifest, _)| std::cmp::Reverse(store.last_used(manifest)));
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    for (digest, _) in models {
        let Ok(manifest) = record::manifest(store, &digest) else { continue };
        for file in manifest.files().iter().filter(|file| has_tensors(&file.path)) {
            if !store.contains(&file.digest) || !seen.insert(file.digest) {
                continue;
            }
            files.push(LocalFile { blob: file.digest });
            if files.len() >= LOCAL_FILES_MAX {
                return files;
            }
        }
    }
    files
}

/// Indexes the wanted tensors by length and short name.
pub(super) fn by_name<'a>(wanted: impl Iterator<Item = &'a Wanted>) -> ByName {
    let mut names = ByName::new();
    for (target, wanted) in wanted.enumerate() {
        for (number, tensor) in wanted.tensors.iter().enumerate() {
            names.entry((tensor.len(), tensor.short_name().to_owned())).or_default().push((target, number));
        }
    }
    names
}

/// Reads the header of a local file and notes which wanted tensors may be in it.
pub(super) fn look_into(file: &BlobFile, number: usize, names: &ByName, wanted: &mut [&mut Wanted]) {
    let Ok(Some(header)) = headers::of_blob(file) else { return };
    for tensor in header.places() {
        let Some(those) = names.get(&(tensor.len(), tensor.short_name().to_owned())) else { continue };
        for (target, index) in those {
            let places = &mut wanted[*target].places[*index];
            if places.len() < PLACES_MAX {
                places.push(LocalTensor { file: number, begin: tensor.begin });
            }
        }
    }
}
