//! Assembles pieces of a partial blob from local tensors. The piece states verify each piece.

use std::collections::BTreeMap;

use reg_api::progress::Progress;
use reg_api::reporter::Reporter;
use reg_proto::piece::{BlobLayout, PIECE_LEN, PieceIndex};

use super::local::{LocalFile, LocalTensor, Wanted, by_name, look_into};
use crate::store::{BlobFile, Partial, Store, WritePieceError};

/// One in this many bytes of a blob may be read in vain. That takes about a hundredth of the time of fetching the blob.
const VAIN_PART: u64 = 16;
/// Bytes that may be read in vain whatever the blob's size.
const VAIN_MIN: u64 = 16 * PIECE_LEN;

/// Local files that are open at once: enough for a base and some fine-tunes, and far below the limit of a process.
const OPEN_FILES_MAX: usize = 64;

/// The result of filling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Filled {
    /// Pieces that matched, and their bytes.
    pub pieces: u64,
    pub bytes: u64,
    /// Bytes of assembled pieces that did not match.
    pub vain: u64,
}

/// Fills as many pieces as possible of each partial blob.
pub(super) fn fill(
    store: &Store,
    files: &[LocalFile],
    mut wanted: Vec<(Partial, Wanted)>,
    reporter: &Reporter,
) -> Filled {
    let names = by_name(wanted.iter().map(|(_, wanted)| wanted));
    let mut opened: BTreeMap<usize, BlobFile> = BTreeMap::new();
    let mut all: Vec<&mut Wanted> = wanted.iter_mut().map(|(_, wanted)| wanted).collect();
    for (number, file) in files.iter().enumerate() {
        let Ok(blob) = store.open_blob(&file.blob) else { continue };
        look_into(&blob, number, &names, &mut all);
    }
    // Keeps only those files open that may hold a wanted tensor.
    let used = |number: &usize| {
        wanted.iter().any(|(_, it)| it.places.iter().flatten().any(|place| place.file == *number))
    };
    for number in (0..files.len()).filter(used).take(OPEN_FILES_MAX) {
        if let Ok(blob) = store.open_blob(&files[number].blob) {
            opened.insert(number, blob);
        }
    }
    let total = wanted.iter().map(|(partial, _)| partial.states().layout().size()).sum();
    let mut filled = Filled::default();
    for (partial, wanted) in wanted {
        let mut filling = Filling::new(&partial, &wanted, &opened);
        filling
            .run(&mut |bytes| reporter.tell(Progress::Bytes { done: filled.bytes + bytes, total, peers: 0 }));
        filled.pieces += filling.pieces;
        filled.bytes += filling.filled;
        filled.vain = filled.vain.saturating_add(filling.vain);
    }
    filled
}

/// The local copy that a tensor is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// No piece was tried: no missing piece lies within the tensor.
    Untried,
    At(LocalTensor),
    Nowhere,
}

/// One partial blob that is being filled.
struct Filling<'a> {
    partial: &'a Partial,
    wanted: &'a Wanted,
    files: &'a BTreeMap<usize, BlobFile>,
    layout: BlobLayout,
    chosen: Vec<Choice>,
    /// How many tensors came from each file. The file with most hits is tried first for tensors without a piece of their own.
    hits: BTreeMap<usize, usize>,
    pieces: u64,
    filled: u64,
    /// Bytes that were read and did not match.
    vain: u64,
    buffer: Vec<u8>,
}

impl<'a> Filling<'a> {
    fn new(partial: &'a Partial, wanted: &'a Wanted, files: &'a BTreeMap<usize, BlobFile>) -> Self {
        Self {
            partial,
            wanted,
            files,
            layout: partial.states().layout(),
            chosen: vec![Choice::Untried; wanted.tensors.len()],
            hits: BTreeMap::new(),
            pieces: 0,
            filled: 0,
            vain: 0,
            buffer: Vec::new(),
        }
    }

    /// Fills the pieces within one tensor first, which shows which tensors match, then the pieces across borders.
    fn run(&mut self, tell: &mut dyn FnMut(u64)) {
        for tensor in 0..self.wanted.tensors.len() {
            if self.is_in_vain() {
                return;
            }
            self.take_inside(tensor);
            tell(self.filled);
        }
        let lacking: Vec<PieceIndex> = self.partial.have().iter_missing().collect();
        for piece in lacking {
            if self.is_in_vain() {
                return;
            }
            self.take_across(piece);
            tell(self.filled);
        }
    }

    fn is_in_vain(&self) -> bool {
        self.vain > VAIN_MIN.max(self.layout.size() / VAIN_PART)
    }

    /// Returns the missing pieces that lie within a tensor.
    fn inside(&self, tensor: usize) -> Vec<PieceIndex> {
        let place = &self.wanted.tensors[tensor];
        let first = place.begin.div_ceil(PIECE_LEN);
        let end = if place.end == self.layout.size() {
            u64::from(self.layout.piece_count())
        } else {
            place.end / PIECE_LEN
        };
        let pieces = (first..end).filter_map(|index| self.layout.piece(u32::try_from(index).ok()?));
        pieces.filter(|piece| !self.partial.has(*piece)).collect()
    }

    /// Tries one piece from each local copy of a tensor, and takes the other pieces from the copy that matched.
    fn take_inside(&mut self, tensor: usize) {
        let pieces = self.inside(tensor);
        let Some(probe) = pieces.get(pieces.len() / 2).copied() else { return };
        for place in self.places(tensor) {
            self.chosen[tensor] = Choice::At(place);
            if !self.take(probe) {
                continue;
            }
            *self.hits.entry(place.file).or_default() += 1;
            for piece in pieces {
                if piece != probe && !self.take(piece) {
                    // A tensor that differs in some pieces is better fetched.
                    break;
                }
            }
            return;
        }
        self.chosen[tensor] = Choice::Nowhere;
    }

    /// Returns the local copies of a tensor, those in files with most hits first.
    fn places(&self, tensor: usize) -> Vec<LocalTensor> {
        let mut places = self.wanted.places[tensor].clone();
        places.sort_by_key(|place| std::cmp::Reverse(self.hits.get(&place.file).copied().unwrap_or(0)));
        places
    }

    /// Fills a piece that several tensors share. A tensor without a piece of its own is taken from the likeliest copy.
    fn take_across(&mut self, piece: PieceIndex) {
        let begin = self.layout.offset(piece);
        let end = begin + self.layout.piece_len(piece) as u64;
        let tensors = &self.wanted.tensors;
        let first = tensors.partition_point(|tensor| tensor.end <= begin);
        let here = first..tensors.partition_point(|tensor| tensor.begin < end);
        for tensor in here.clone() {
            if self.chosen[tensor] == Choice::Untried {
                let likeliest = self.places(tensor).first().copied();
                self.chosen[tensor] = likeliest.map_or(Choice::Nowhere, Choice::At);
            }
        }
        if !here.is_empty() {
            self.take(piece);
        }
    }

    /// Assembles a piece from the copies of its tensors, with zeros between them. Returns whether it matches.
    fn take(&mut self, piece: PieceIndex) -> bool {
        if !self.assemble(piece) {
            return false;
        }
        let length = self.buffer.len() as u64;
        match self.partial.write_piece(piece, &self.buffer) {
            Ok(()) => {
                self.pieces += 1;
                self.filled += length;
                true
            }
            Err(WritePieceError::Mismatch { .. }) => {
                self.vain = self.vain.saturating_add(length);
                false
            }
            Err(error) => {
                tracing::warn!(%error, "a piece that was assembled from local tensors cannot be written");
                self.vain = u64::MAX;
                false
            }
        }
    }

    fn assemble(&mut self, piece: PieceIndex) -> bool {
        let begin = self.layout.offset(piece);
        let end = begin + self.layout.piece_len(piece) as u64;
        self.buffer.clear();
        self.buffer.resize(self.layout.piece_len(piece), 0);
        let tensors = &self.wanted.tensors;
        let first = tensors.partition_point(|tensor| tensor.end <= begin);
        for (number, tensor) in tensors.iter().enumerate().skip(first) {
            if tensor.begin >= end {
                break;
            }
            let (from, to) = (tensor.begin.max(begin), tensor.end.min(end));
            let Choice::At(place) = self.chosen[number] else { return false };
            let Some(file) = self.files.get(&place.file) else { return false };
            let into = &mut self.buffer[(from - begin) as usize..(to - begin) as usize];
            if file.read_at(place.begin + (from - tensor.begin), into).is_err() {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use reg_proto::content::safetensors;
    use reg_proto::states::Hashed;

    use super::*;
    use crate::store::CacheLimits;

    /// Writes tensors of that many bytes, each with contents of its own kind, and returns the file's bytes.
    fn file(notes: usize, tensors: &[(&str, usize, u8)]) -> Vec<u8> {
        let mut header = format!(r#"{{"__metadata__":{{"n":"{}"}}"#, "x".repeat(notes));
        let mut data = Vec::new();
        for (name, length, seed) in tensors {
            let begin = data.len();
            data.extend(
                (0..*length).map(|at| (at as u64).wrapping_mul(2_654_435_761).to_le_bytes()[2] ^ seed),
            );
            let end = data.len();
            write!(header, r#","{name}":{{"dtype":"U8","shape":[{length}],"data_offsets":[{begin},{end}]}}"#)
                .expect("text");
        }
        header.push('}');
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
    }

    fn places(bytes: &[u8]) -> Wanted {
        let length = u64::from_le_bytes(*bytes.first_chunk().expect("eight"));
        let header = &bytes[8..8 + length as usize];
        Wanted::new(safetensors::parse(header, bytes.len() as u64).expect("a header").places(length))
    }

    fn import(store: &Store, dir: &Path, bytes: &[u8]) -> LocalFile {
        std::fs::write(dir.join("import"), bytes).expect("written");
        LocalFile { blob: store.import_file(&dir.join("import"), &|_| {}).expect("imported").digest }
    }

    fn hashed(bytes: &[u8]) -> Hashed {
        let mut hasher = reg_proto::states::StateHasher::new();
        hasher.update(bytes);
        hasher.finish().expect("a blob")
    }

    /// Fills `target` from `local`, and returns which pieces came, and how many bytes that were.
    fn filled(target: &[u8], local: &[&[u8]]) -> (Vec<bool>, Filled) {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(&dir.path().join("store"), CacheLimits::default()).expect("a store");
        let files: Vec<LocalFile> = local.iter().map(|bytes| import(&store, dir.path(), bytes)).collect();
        let Hashed { digest, states } = hashed(target);
        let partial = store.partial(digest, target.len() as u64, states).expect("a partial");
        let all = fill(&store, &files, vec![(partial.clone(), places(target))], &Reporter::silent());
        (partial.states().layout().pieces().map(|piece| partial.has(piece)).collect(), all)
    }

    const M: usize = 1 << 20;

    #[test]
    fn takes_what_is_the_same_at_other_offsets_and_under_other_prefixes() {
        let base =
            file(7, &[("h.0.w", 3 * M, 1), ("h.0.b", 100, 2), ("h.1.w", 2 * M, 3), ("h.2.w", 3 * M, 4)]);
        let tune = file(
            9000,
            &[("t.h.0.w", 3 * M, 1), ("t.h.0.b", 100, 2), ("t.h.1.w", 2 * M, 99), ("t.h.2.w", 3 * M, 4)],
        );
        let (have, Filled { bytes, .. }) = filled(&tune, &[&base]);
        // Piece 0 has the header; 3 to 5 have bytes of the tensor that differs; the last is short.
        assert_eq!(have, [false, true, true, false, false, false, true, true, true]);
        assert_eq!(bytes, (4 * M + tune.len() % M) as u64);
    }

    #[test]
    fn looks_on_where_the_first_place_is_another_tensor_of_the_same_name() {
        let other = file(1, &[("h.0.w", 4 * M, 8), ("h.1.w", 4 * M, 8)]);
        let base = file(2, &[("h.0.w", 4 * M, 1), ("h.1.w", 4 * M, 2)]);
        let tune = file(3, &[("h.0.w", 4 * M, 1), ("h.1.w", 4 * M, 2)]);
        let (have, _) = filled(&tune, &[&other, &base]);
        assert_eq!(have.iter().filter(|it| **it).count(), have.len() - 1, "all but the header's: {have:?}");
    }

    #[test]
    fn reads_little_in_vain_where_nothing_is_the_same() {
        let names: Vec<String> = (0..30).map(|number| format!("h.{number}.w")).collect();
        let of = |seed: u8| {
            let tensors: Vec<(&str, usize, u8)> =
                names.iter().map(|name| (name.as_str(), M + M / 2, seed)).collect();
            file(1, &tensors)
        };
        let (have, Filled { bytes, vain, .. }) = filled(&of(1), &[&of(2), &of(3)]);
        assert_eq!((have.iter().filter(|it| **it).count(), bytes), (0, 0));
        // The last tensor is still tried with one piece from each of the two files.
        assert!((1..=VAIN_MIN + 2 * PIECE_LEN).contains(&vain), "{vain}");
    }

    #[test]
    fn small_tensors_at_the_end_are_tried_too() {
        let tensors = [("h.0.w", 5 * M, 1), ("h.1.b", 64, 2), ("h.2.b", 64, 3)];
        let (have, _) = filled(&file(1, &tensors), &[&file(300, &tensors)]);
        assert_eq!(have, [false, true, true, true, true, true]);
    }
}
