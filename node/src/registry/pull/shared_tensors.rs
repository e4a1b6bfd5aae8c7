//! Counts the tensors that two models in the store share: of one name, type and shape, and byte for byte the same.
//!
//! The bytes are compared and not hashed: a tensor that differs is read up to its first other piece. Two files with one digest are
//! the same without being read.

use std::collections::BTreeMap;

use reg_proto::digest::Digest;
use reg_proto::manifest::Manifest;
use reg_proto::piece::{PIECE_LEN, PieceIndex};

use super::headers::{self, TensorOfFile};
use super::reuse::has_tensors;
use crate::registry::limits::COMPARED_FILES_MAX;
use crate::store::{BlobFile, Cancel, ReadError, Store};

/// Files that are open at once: those of two models are read in about the same order.
const OPEN_FILES_MAX: usize = 16;

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Comparison {
    pub tensors: usize,
    pub same: usize,
    pub bytes: u64,
    pub same_bytes: u64,
    /// Tensors that may be the same and were not read, because `bytes_left` did not allow it.
    pub left_out: usize,
}

/// The tensors of the weight files of a model, by name, each with its file.
type Tensors = BTreeMap<String, (Digest, TensorOfFile)>;

/// Compares the tensors of `model` with those of `other`, and reads at most `bytes_left` bytes of each. Blocks.
///
/// # Errors
/// A file cannot be read.
pub fn compare_tensors(
    store: &Store,
    model: &Manifest,
    other: &Manifest,
    bytes_left: &mut u64,
    cancel: &Cancel,
) -> Result<Comparison, ReadError> {
    let (tensors, others) = (tensors_of(store, model)?, tensors_of(store, other)?);
    let mut files: BTreeMap<Digest, Pieces> = BTreeMap::new();
    let mut found = Comparison::default();
    // In the order of the files, so that each piece is read once.
    let mut in_order: Vec<(&String, &(Digest, TensorOfFile))> = tensors.iter().collect();
    in_order.sort_by_key(|(_, (blob, tensor))| (*blob, tensor.begin));
    for (name, (blob, tensor)) in in_order {
        found.tensors += 1;
        found.bytes += tensor.len;
        let Some((other_blob, other)) = others.get(name) else { continue };
        if (&tensor.kind, tensor.len) != (&other.kind, other.len) {
            continue;
        }
        let is_same_place = (blob, tensor.begin) == (other_blob, other.begin);
        if !is_same_place && (*bytes_left < tensor.len || cancel.is_cancelled()) {
            found.left_out += 1;
            continue;
        }
        let is_same = is_same_place || {
            let mut take = |blob: &Digest| match files.remove(blob) {
                Some(pieces) => Ok(pieces),
                None => Pieces::open(store, blob),
            };
            let mut one = take(blob)?;
            // Two tensors of one file need two places in it.
            let mut two = if blob == other_blob { Pieces::open(store, blob)? } else { take(other_blob)? };
            let (is_same, read) = is_equal((&mut one, tensor.begin), (&mut two, other.begin), tensor.len)?;
            *bytes_left = bytes_left.saturating_sub(read);
            if files.len() >= OPEN_FILES_MAX {
                files.clear();
            }
            files.insert(*other_blob, two);
            files.insert(*blob, one);
            is_same
        };
        if is_same {
            found.same += 1;
            found.same_bytes += tensor.len;
        }
    }
    Ok(found)
}

fn tensors_of(store: &Store, manifest: &Manifest) -> Result<Tensors, ReadError> {
    let mut tensors = Tensors::new();
    let files = manifest.files().iter().filter(|it| has_tensors(&it.path) && store.contains(&it.digest));
    for file in files.take(COMPARED_FILES_MAX) {
        let Some(header) = headers::of_blob(&store.open_blob(&file.digest)?)? else { continue };
        let of_file = header.tensors().into_iter().filter(|(_, tensor)| tensor.len > 0);
        for (name, tensor) in of_file {
            tensors.entry(name).or_insert((file.digest, tensor));
        }
    }
    Ok(tensors)
}

/// A file that is read piece by piece. Each piece is the verified one.
struct Pieces {
    file: BlobFile,
    at: Option<PieceIndex>,
    bytes: Vec<u8>,
}

impl Pieces {
    fn open(store: &Store, blob: &Digest) -> Result<Self, ReadError> {
        Ok(Self { file: store.open_blob(blob)?, at: None, bytes: Vec::new() })
    }

    /// Returns the bytes from `offset` to the end of its piece; none after the end of the file.
    fn from(&mut self, offset: u64) -> Result<&[u8], ReadError> {
        let layout = self.file.layout();
        let wanted = u32::try_from(offset / PIECE_LEN).ok().and_then(|index| layout.piece(index));
        let Some(piece) = wanted else { return Ok(&[]) };
        if self.at != Some(piece) {
            self.at = None;
            self.file.read_piece(piece, &mut self.bytes)?;
            self.at = Some(piece);
        }
        let start = usize::try_from(offset % PIECE_LEN).unwrap_or(usize::MAX);
        Ok(self.bytes.get(start..).unwrap_or_default())
    }
}

/// Tells whether two ranges of `len` bytes are equal, and how many bytes of each were looked at.
fn is_equal(one: (&mut Pieces, u64), two: (&mut Pieces, u64), len: u64) -> Result<(bool, u64), ReadError> {
    let ((one, one_begin), (two, two_begin)) = (one, two);
    let mut done = 0;
    while done < len {
        let (left, right) = (one.from(one_begin + done)?, two.from(two_begin + done)?);
        let both = left.len().min(right.len()).min(usize::try_from(len - done).unwrap_or(usize::MAX));
        // A range that leads past its file is no tensor of it.
        if both == 0 || left[..both] != right[..both] {
            return Ok((false, done + both as u64));
        }
        done += both as u64;
    }
    Ok((true, done))
}
