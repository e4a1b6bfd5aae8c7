//! Reads the headers of weight files that are being fetched: fetches the pieces that hold a header, verified, and parses it.

use std::collections::BTreeMap;
use std::ops::Range;

use reg_api::reporter::Reporter;
use reg_proto::content::gguf::{self, Gguf, GgufError};
use reg_proto::content::layout::TensorPlace;
use reg_proto::content::safetensors::{self, PREFIX_LEN, Safetensors};
use reg_proto::digest::Digest;
use reg_proto::piece::{BlobLayout, PIECE_LEN, PieceIndex};

use crate::registry::fetch::{Share, ShareError};
use crate::store::{BlobFile, Partial, ReadError};

/// Pieces of a header at most. The largest safetensors header, or a large vocabulary in GGUF, takes half of it.
const HEADER_PIECES_MAX: u32 = 64;

/// The parsed header of a weight file.
#[derive(Debug)]
pub(super) enum Header {
    /// The tensors, and the length of the header in bytes.
    Safetensors(Safetensors, u64),
    Gguf(Gguf),
}

/// Where a tensor lies in its file, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorOfFile {
    pub begin: u64,
    /// Length of its data in bytes.
    pub len: u64,
    /// Type and shape, for comparison. GGUF's headers are read for the number of elements only.
    pub kind: String,
}

impl Header {
    /// Returns where the tensors lie in the file.
    pub(super) fn places(&self) -> Vec<TensorPlace> {
        match self {
            Self::Safetensors(file, header_len) => file.places(*header_len),
            Self::Gguf(file) => file.places(),
        }
    }

    /// Returns the tensors by name. Those of unknown size are left out.
    pub(super) fn tensors(&self) -> Vec<(String, TensorOfFile)> {
        let kinds: BTreeMap<&str, String> = match self {
            Self::Safetensors(file, _) => {
                let kind = |it: &safetensors::Tensor| format!("{:?} {:?}", it.dtype, it.shape);
                file.tensors.iter().map(|it| (it.name.as_str(), kind(it))).collect()
            }
            Self::Gguf(file) => {
                let kind = |it: &gguf::Tensor| format!("{:?} {}", it.kind, it.elements);
                file.tensors.iter().map(|it| (it.name.as_str(), kind(it))).collect()
            }
        };
        let tensor = |place: TensorPlace| {
            let kind = kinds.get(place.name.as_str()).cloned().unwrap_or_default();
            let (begin, len) = (place.begin, place.len());
            (place.name, TensorOfFile { begin, len, kind })
        };
        self.places().into_iter().map(tensor).collect()
    }
}

/// The result of parsing the first bytes of a file.
enum Looked {
    Header(Header),
    /// This many pieces, from the first on, are needed.
    Need(u32),
    /// The file is no weight file, or its header is refused.
    None,
}

/// Reads a header from the first bytes of a file of `size` bytes.
fn look(head: &[u8], size: u64) -> Looked {
    let pieces = u32::try_from(head.len() as u64 / PIECE_LEN).unwrap_or(u32::MAX);
    if head.starts_with(b"GGUF") {
        return match gguf::read(&mut &head[..], size) {
            Ok(file) => Looked::Header(Header::Gguf(file)),
            Err(GgufError::Truncated) if (head.len() as u64) < size => {
                Looked::Need(pieces.saturating_mul(2).max(1))
            }
            Err(_) => Looked::None,
        };
    }
    let Some(prefix) = head.first_chunk() else {
        return if (head.len() as u64) < size { Looked::Need(1) } else { Looked::None };
    };
    let Ok(length) = safetensors::header_len(*prefix, size) else { return Looked::None };
    match head.get(PREFIX_LEN as usize..).and_then(|rest| rest.get(..length as usize)) {
        Some(header) => match safetensors::parse(header, size) {
            Ok(file) => Looked::Header(Header::Safetensors(file, length)),
            Err(_) => Looked::None,
        },
        None => Looked::Need(u32::try_from((PREFIX_LEN + length).div_ceil(PIECE_LEN)).unwrap_or(u32::MAX)),
    }
}

/// Returns the bytes of the first pieces, until `read` fails: at most `wanted` pieces and [`HEADER_PIECES_MAX`].
fn head(layout: BlobLayout, wanted: u32, mut read: impl FnMut(PieceIndex, &mut Vec<u8>) -> bool) -> Vec<u8> {
    let (mut head, mut buffer) = (Vec::new(), Vec::new());
    for piece in layout.pieces().take(wanted.min(HEADER_PIECES_MAX) as usize) {
        if !read(piece, &mut buffer) {
            break;
        }
        head.extend_from_slice(&buffer);
    }
    head
}

/// Parses a header from as few pieces as possible.
fn look_through(layout: BlobLayout, mut read: impl FnMut(PieceIndex, &mut Vec<u8>) -> bool) -> Looked {
    let mut wanted = 1;
    loop {
        let bytes = head(layout, wanted, &mut read);
        let is_all = bytes.len() as u64 >= layout.size().min(u64::from(wanted) * PIECE_LEN);
        match look(&bytes, layout.size()) {
            Looked::Need(more) if more > HEADER_PIECES_MAX => return Looked::None,
            Looked::Need(more) if !is_all => return Looked::Need(more.max(wanted)),
            Looked::Need(_) if wanted >= layout.piece_count() => return Looked::None,
            Looked::Need(more) => wanted = more.max(wanted + 1),
            looked => return looked,
        }
    }
}

/// Reads the header of a whole blob; returns `None` if it is no weight file.
pub(super) fn of_blob(file: &BlobFile) -> Result<Option<Header>, ReadError> {
    let mut failed = None;
    let looked = look_through(file.layout(), |piece, buffer| {
        file.read_piece(piece, buffer).map_err(|error| failed = Some(error)).is_ok()
    });
    match (looked, failed) {
        (_, Some(error)) => Err(error),
        (Looked::Header(header), None) => Ok(Some(header)),
        _ => Ok(None),
    }
}

fn of_partial(partial: &Partial) -> Looked {
    look_through(partial.states().layout(), |piece, buffer| partial.read_piece(piece, buffer).is_ok())
}

/// Reads the headers of the weight files among `partials`, and fetches the pieces that hold them.
///
/// # Errors
/// No source sends the pieces, or they cannot be written.
pub(super) async fn fetch(
    share: &mut Share,
    partials: &[Partial],
    reporter: &Reporter,
) -> Result<BTreeMap<Digest, Header>, ShareError> {
    let mut headers = BTreeMap::new();
    let mut left: Vec<Partial> = partials.to_vec();
    while !left.is_empty() {
        let look = move || -> Vec<(Partial, Looked)> {
            left.into_iter().map(|partial| (partial.clone(), of_partial(&partial))).collect()
        };
        let Ok(looked) = tokio::task::spawn_blocking(look).await else { return Ok(headers) };
        let mut runs: BTreeMap<Digest, Vec<Range<u32>>> = BTreeMap::new();
        left = Vec::new();
        for (partial, looked) in looked {
            match looked {
                Looked::Header(header) => drop(headers.insert(partial.digest(), header)),
                Looked::Need(pieces) => {
                    let run = 0..pieces.min(partial.states().layout().piece_count());
                    runs.insert(partial.digest(), vec![run]);
                    left.push(partial);
                }
                Looked::None => {}
            }
        }
        if !left.is_empty() {
            share.runs(runs, &mut None, reporter).await?;
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safetensors(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    fn looked(bytes: &[u8], have: u32) -> Result<usize, Option<u32>> {
        let layout = BlobLayout::new(bytes.len() as u64).expect("small");
        let read = |piece: PieceIndex, buffer: &mut Vec<u8>| {
            let begin = layout.offset(piece) as usize;
            *buffer = bytes[begin..begin + layout.piece_len(piece)].to_vec();
            piece.get() < have
        };
        match look_through(layout, read) {
            Looked::Header(header) => Ok(header.places().len()),
            Looked::Need(pieces) => Err(Some(pieces)),
            Looked::None => Err(None),
        }
    }

    #[test]
    fn asks_for_what_a_header_takes_and_no_more() {
        let notes = "x".repeat(3 << 20);
        let header = format!(
            r#"{{"__metadata__":{{"n":"{notes}"}},"w":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}}}"#
        );
        let long = safetensors(&header, 4);
        assert_eq!(looked(&long, 0), Err(Some(1)));
        assert_eq!(looked(&long, 1), Err(Some(4)));
        assert_eq!(looked(&long, 3), Err(Some(4)));
        assert_eq!(looked(&long, 4), Ok(1));
        let short = safetensors(r#"{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, 4);
        assert_eq!(looked(&short, 1), Ok(1));
        assert_eq!(looked(b"no weights at all, but some text", 1), Err(None));
        assert_eq!(looked(b"", 1), Err(None));
        assert_eq!(looked(b"short", 1), Err(None));
    }

    #[test]
    fn a_vocabulary_of_many_pieces_is_asked_for_in_growing_steps() {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend(b"t");
        bytes.extend(9_u32.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend((5_u64 << 20).to_le_bytes());
        bytes.resize(bytes.len() + (5 << 20), 1);
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        assert_eq!(looked(&bytes, 1), Err(Some(2)));
        assert_eq!(looked(&bytes, 2), Err(Some(4)));
        assert_eq!(looked(&bytes, 4), Err(Some(8)));
        assert_eq!(looked(&bytes, 6), Ok(0));
    }
}
