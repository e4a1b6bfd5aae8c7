//! [`ContentKind`]: the kind of a file, decided by its bytes first and by its name second.
//!
//! An attacker chooses the name of a hidden program. So the name decides only what the bytes leave open: the kind of a
//! text. If the bytes match two kinds, the more dangerous one counts: a picture with an archive at its end is an archive.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::format::Format;
use super::{parts, pickle, protobuf, safetensors, signature, text, zip};

/// Bytes of a file's start that [`sniff`] needs: a pickle's imports and a tar file's magic are far inside.
pub const HEAD_LEN: usize = 16 << 10;
/// Bytes of a file's end that [`sniff`] needs: a zip directory's end record with the longest comment.
pub const TAIL_LEN: usize = 22 + u16::MAX as usize;

/// The kind of a model's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentKind {
    /// Tensors after a JSON header. [`safetensors::parse`] checks whether it is valid.
    Safetensors,
    /// Tensors and settings for llama.cpp. [`super::gguf::read`] checks whether it is valid.
    Gguf,
    Onnx,
    Json,
    /// Any other text: a model card, a licence, a word list, YAML.
    Text,
    /// A SentencePiece vocabulary.
    TokenizerModel,
    /// A picture, sound or film.
    Media,
    /// Rows of data: Parquet, Arrow, NumPy without objects, CSV, JSON Lines.
    Dataset,
    /// Weights and graphs of other frameworks, which loading only reads. [`Format`] says which.
    Weights,
    /// A Python pickle, bare or in the archives of `torch.save` and TorchScript.
    Pickle,
    /// A graph of weights that calls code: a Lambda layer of Keras, a `py_function` of TensorFlow.
    EmbeddedCode,
    /// A container of files that are not inspected: zip, tar, gzip, 7z, rar and the like.
    Archive,
    /// A program as text: Python, shell, C, a notebook, a web page.
    Code,
    /// A program as machine code or byte code.
    Executable,
    /// Weights compiled to machine code for one kind of GPU.
    Engine,
    /// A weight file with an invalid header. [`sniff`] never returns it: the header decides.
    Malformed,
    /// Bytes that this version does not recognise.
    UnknownBinary,
}

/// Why a file is more than data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    RunsWhenLoaded,
    CallsCode,
    Program,
    HiddenFiles,
    Ambiguous,
    NotRecognised,
}

impl ContentKind {
    /// All kinds, in the order of declaration.
    pub const ALL: [Self; 17] = [
        Self::Safetensors,
        Self::Gguf,
        Self::Onnx,
        Self::Json,
        Self::Text,
        Self::TokenizerModel,
        Self::Media,
        Self::Dataset,
        Self::Weights,
        Self::Pickle,
        Self::EmbeddedCode,
        Self::Archive,
        Self::Code,
        Self::Executable,
        Self::Engine,
        Self::Malformed,
        Self::UnknownBinary,
    ];

    /// Returns the kind's name in JSON and in policies. It never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Gguf => "gguf",
            Self::Onnx => "onnx",
            Self::Json => "json",
            Self::Text => "text",
            Self::TokenizerModel => "tokenizer_model",
            Self::Media => "media",
            Self::Dataset => "dataset",
            Self::Weights => "weights",
            Self::Pickle => "pickle",
            Self::EmbeddedCode => "embedded_code",
            Self::Archive => "archive",
            Self::Code => "code",
            Self::Executable => "executable",
            Self::Engine => "engine",
            Self::Malformed => "malformed",
            Self::UnknownBinary => "unknown_binary",
        }
    }

    /// Returns why a file of this kind is more than data, or `None` if loading it only reads it.
    pub const fn risk(self) -> Option<Risk> {
        match self {
            Self::Safetensors | Self::Gguf | Self::Onnx | Self::Weights => None,
            Self::Json | Self::Text | Self::TokenizerModel | Self::Media | Self::Dataset => None,
            Self::Pickle => Some(Risk::RunsWhenLoaded),
            Self::EmbeddedCode => Some(Risk::CallsCode),
            Self::Code | Self::Executable | Self::Engine => Some(Risk::Program),
            Self::Archive => Some(Risk::HiddenFiles),
            Self::Malformed => Some(Risk::Ambiguous),
            Self::UnknownBinary => Some(Risk::NotRecognised),
        }
    }
}

impl fmt::Display for ContentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RunsWhenLoaded => "loading it runs code that it contains",
            Self::CallsCode => "its graph calls code",
            Self::Ambiguous => "its header is invalid, so two programs may read it differently",
            Self::Program => "it is a program",
            Self::HiddenFiles => "it holds files that are not inspected",
            Self::NotRecognised => "its bytes are not recognised",
        })
    }
}

/// Returns the kind of the file at `path`, which has `size` bytes, as far as its ends settle it.
///
/// A zip, HDF5 file or TensorFlow graph needs a look inside, as [`super::recognise::recognise`] takes it; here it counts as an
/// archive, or as not recognised. `head` holds its first [`HEAD_LEN`] bytes and `tail` its last [`TAIL_LEN`] bytes, or all bytes of a shorter file. With
/// fewer bytes, fewer kinds are recognised.
pub fn sniff(path: &str, head: &[u8], tail: &[u8], size: u64) -> ContentKind {
    by_ends(path, head, tail, size).format.kind_by_ends()
}

/// The format that a file's ends show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) format: Format,
    /// Whether it is text that earlier versions took for binary: in UTF-16, or with U+007F.
    pub(super) is_new_text: bool,
}

/// Returns the format of a file by its ends. [`Format::Zip`], [`Format::Hdf5`] and [`Format::SavedModel`] may turn out to be
/// others inside.
pub(super) fn by_ends(path: &str, head: &[u8], tail: &[u8], size: u64) -> Ends {
    let binary = |format| Ends { format, is_new_text: false };
    let walk = pickle::walk(head, size);
    match zip::sniff(head, tail) {
        Some(zip::Zip::Torch) => return binary(Format::Torch),
        _ if walk == pickle::Walk::Calls => return binary(Format::Pickle),
        Some(zip::Zip::Other) => return binary(Format::Zip),
        None => {}
    }
    let text = text::sniff(path, head, tail);
    let ends = match (by_magic(path, head, tail, size, text.is_some()), text) {
        (Some(format), _) => binary(format),
        (None, Some(text)) => text,
        (None, None) => binary(signature::of(path, head, tail, size).unwrap_or(Format::Unknown)),
    };
    // What other files make data of must not be a pickle either.
    let may_be_data = ends.format.kind().risk().is_none()
        || parts::is_settled_by_others(ends.format) && !parts::is_named_as_tensors(path);
    let unsettled = walk == pickle::Walk::Unsettled && may_be_data && !is_never_unpickled(path);
    if unsettled { binary(Format::Pickle) } else { ends }
}

fn by_magic(path: &str, head: &[u8], tail: &[u8], size: u64, is_text: bool) -> Option<Format> {
    if is_executable(head, is_text) {
        Some(Format::Executable)
    } else if is_archive(head) {
        let is_nemo = text::extension(&text::file_name(path)) == "nemo";
        Some(if is_nemo { Format::Nemo } else { Format::Archive })
    } else if head.starts_with(b"GGUF") && !is_text {
        Some(if signature::gguf_parts(path).is_some() { Format::GgufPart } else { Format::Gguf })
    } else if is_safetensors(head, size) {
        Some(Format::Safetensors)
    } else if matches!(head, [0x80, 2..=5, ..]) {
        Some(Format::Pickle)
    } else if let Some(header) = numpy_header(head) {
        Some(if header.contains(&b'O') { Format::NpyObjects } else { Format::Npy })
    } else if is_table(head, tail) {
        Some(Format::Table)
    } else if is_media(head, is_text) {
        Some(Format::Media)
    } else if protobuf::is_onnx(head, size) {
        Some(Format::Onnx)
    } else if protobuf::is_sentencepiece(head) {
        Some(Format::TokenizerModel)
    } else {
        None
    }
}

/// Recognises ELF, PE, Mach-O and Java classes, WebAssembly, Dalvik, LLVM bitcode and Python byte code.
fn is_executable(head: &[u8], is_text: bool) -> bool {
    let magics: [&[u8]; 10] = [
        b"\x7fELF",
        b"\xfe\xed\xfa\xce",
        b"\xfe\xed\xfa\xcf",
        b"\xce\xfa\xed\xfe",
        b"\xcf\xfa\xed\xfe",
        b"\xca\xfe\xba\xbe",
        b"\xca\xfe\xba\xbf",
        b"\0asm",
        b"dex\n0",
        b"BC\xc0\xde",
    ];
    let python = matches!(head, [_, 0x0c..=0x0f, b'\r', b'\n', ..]);
    magics.iter().any(|magic| head.starts_with(magic)) || !is_text && (python || head.starts_with(b"MZ"))
}

/// Recognises gzip, bzip2, xz, zstd, lz4, 7z, rar, cabinet, ar, lzip, squashfs and tar. [`zip::sniff`] recognises zip.
fn is_archive(head: &[u8]) -> bool {
    let magics: [&[u8]; 11] = [
        b"\x1f\x8b",
        b"\xfd7zXZ\0",
        b"\x28\xb5\x2f\xfd",
        b"\x04\x22\x4d\x18",
        b"7z\xbc\xaf\x27\x1c",
        b"Rar!\x1a\x07",
        b"MSCF\0\0\0\0",
        b"!<arch>\n",
        b"LZIP\x01",
        b"hsqs",
        b"\xed\xab\xee\xdb",
    ];
    let bzip2 = head.starts_with(b"BZh") && head.get(4..10) == Some(b"1AY&SY");
    bzip2 || head.get(257..262) == Some(b"ustar") || magics.iter().any(|magic| head.starts_with(magic))
}

fn is_safetensors(head: &[u8], size: u64) -> bool {
    head.split_first_chunk().is_some_and(|(length, rest)| {
        rest.first() == Some(&b'{') && safetensors::header_len(*length, size).is_ok()
    })
}

fn is_table(head: &[u8], tail: &[u8]) -> bool {
    let parquet = head.starts_with(b"PAR1") && tail.ends_with(b"PAR1");
    parquet || head.starts_with(b"ARROW1\0\0")
}

/// Returns the description of a NumPy array, or `b"O"` (objects) if it is not within `head`.
pub(super) fn numpy_header(head: &[u8]) -> Option<&[u8]> {
    let rest = head.strip_prefix(b"\x93NUMPY")?;
    let header = match *rest {
        [1, 0, a, b, ..] => rest.get(4..4 + usize::from(u16::from_le_bytes([a, b]))),
        [2 | 3, 0, a, b, c, d, ..] => {
            usize::try_from(u32::from_le_bytes([a, b, c, d])).ok().and_then(|length| rest[6..].get(..length))
        }
        _ => None,
    };
    header.or(Some(b"O"))
}

/// Recognises PNG, JPEG, TIFF, Matroska, Ogg, FLAC, GIF, the ISO and RIFF families, and tagged MP3.
fn is_media(head: &[u8], is_text: bool) -> bool {
    let magics: [&[u8]; 7] = [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"II*\0",
        b"MM\0*",
        b"\x1a\x45\xdf\xa3",
        b"OggS\0",
        b"fLaC\0",
    ];
    let words: [&[u8]; 3] = [b"GIF87a", b"GIF89a", b"ID3"];
    let family = head.get(4..8) == Some(b"ftyp")
        || head.starts_with(b"RIFF") && matches!(head.get(8..12), Some(b"WEBP" | b"WAVE" | b"AVI "));
    magics.iter().any(|magic| head.starts_with(magic))
        || !is_text && (family || words.iter().any(|word| head.starts_with(word)))
}

/// Returns whether no tool unpickles a file with this name.
///
/// Such a file is not a pickle even if its first bytes, read as opcodes, reach no end.
fn is_never_unpickled(path: &str) -> bool {
    let names = [
        "csv",
        "gguf",
        "gif",
        "jpeg",
        "jpg",
        "json",
        "jsonl",
        "md",
        "onnx",
        "parquet",
        "png",
        "safetensors",
        "tsv",
        "txt",
        "webp",
        "yaml",
        "yml",
    ];
    names.contains(&text::extension(&text::file_name(path)))
}

#[cfg(test)]
mod tests;
