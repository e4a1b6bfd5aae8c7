//! [`ContentKind`]: the kind of a file, decided by its bytes first and by its name second.
//!
//! An attacker chooses the name of a hidden program. So the name decides only what the bytes leave open: the kind of a
//! text. If the bytes match two kinds, the more dangerous one counts: a picture with an archive at its end is an archive.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{pickle, protobuf, safetensors, text, zip};

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
    /// A Python pickle, bare or in the archives of `torch.save` and TorchScript.
    Pickle,
    /// A container of files that are not inspected: zip, tar, gzip, 7z, rar and the like.
    Archive,
    /// A program as text: Python, shell, C, a notebook, a web page.
    Code,
    /// A program as machine code or byte code.
    Executable,
    /// Bytes that this version does not recognise.
    UnknownBinary,
}

/// Why a file is more than data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    RunsWhenLoaded,
    Program,
    HiddenFiles,
    NotRecognised,
}

impl ContentKind {
    /// All kinds, in the order of declaration.
    pub const ALL: [Self; 13] = [
        Self::Safetensors,
        Self::Gguf,
        Self::Onnx,
        Self::Json,
        Self::Text,
        Self::TokenizerModel,
        Self::Media,
        Self::Dataset,
        Self::Pickle,
        Self::Archive,
        Self::Code,
        Self::Executable,
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
            Self::Pickle => "pickle",
            Self::Archive => "archive",
            Self::Code => "code",
            Self::Executable => "executable",
            Self::UnknownBinary => "unknown_binary",
        }
    }

    /// Returns why a file of this kind is more than data, or `None` if loading it only reads it.
    pub const fn risk(self) -> Option<Risk> {
        match self {
            Self::Safetensors | Self::Gguf | Self::Onnx => None,
            Self::Json | Self::Text | Self::TokenizerModel | Self::Media | Self::Dataset => None,
            Self::Pickle => Some(Risk::RunsWhenLoaded),
            Self::Code | Self::Executable => Some(Risk::Program),
            Self::Archive => Some(Risk::HiddenFiles),
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
            Self::Program => "it is a program",
            Self::HiddenFiles => "it holds files that are not inspected",
            Self::NotRecognised => "its bytes are not recognised",
        })
    }
}

/// Returns the kind of the file at `path`, which has `size` bytes.
///
/// `head` holds its first [`HEAD_LEN`] bytes and `tail` its last [`TAIL_LEN`] bytes, or all bytes of a shorter file. With
/// fewer bytes, fewer kinds are recognised.
pub fn sniff(path: &str, head: &[u8], tail: &[u8], size: u64) -> ContentKind {
    let walk = pickle::walk(head, size);
    match zip::sniff(head, tail) {
        Some(zip::Zip::Torch) => return ContentKind::Pickle,
        _ if walk == pickle::Walk::Calls => return ContentKind::Pickle,
        Some(zip::Zip::Other) => return ContentKind::Archive,
        None => {}
    }
    let text = text::sniff(path, head, tail);
    let kind = by_magic(head, tail, size, text.is_some()).or(text).unwrap_or(ContentKind::UnknownBinary);
    let unsettled = walk == pickle::Walk::Unsettled && kind.risk().is_none() && !is_never_unpickled(path);
    if unsettled { ContentKind::Pickle } else { kind }
}

fn by_magic(head: &[u8], tail: &[u8], size: u64, is_text: bool) -> Option<ContentKind> {
    if is_executable(head, is_text) {
        Some(ContentKind::Executable)
    } else if is_archive(head) {
        Some(ContentKind::Archive)
    } else if head.starts_with(b"GGUF") && !is_text {
        Some(ContentKind::Gguf)
    } else if is_safetensors(head, size) {
        Some(ContentKind::Safetensors)
    } else if is_pickle(head) {
        Some(ContentKind::Pickle)
    } else if is_dataset(head, tail) {
        Some(ContentKind::Dataset)
    } else if is_media(head, is_text) {
        Some(ContentKind::Media)
    } else if protobuf::is_onnx(head, size) {
        Some(ContentKind::Onnx)
    } else if protobuf::is_sentencepiece(head) {
        Some(ContentKind::TokenizerModel)
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

/// Recognises a pickle by its protocol byte, and a NumPy array of objects, which contains one.
fn is_pickle(head: &[u8]) -> bool {
    matches!(head, [0x80, 2..=5, ..]) || numpy_header(head).is_some_and(|header| header.contains(&b'O'))
}

fn is_dataset(head: &[u8], tail: &[u8]) -> bool {
    let parquet = head.starts_with(b"PAR1") && tail.ends_with(b"PAR1");
    parquet || head.starts_with(b"ARROW1\0\0") || numpy_header(head).is_some()
}

/// Returns the description of a NumPy array, or `b"O"` (objects) if it is not within `head`.
fn numpy_header(head: &[u8]) -> Option<&[u8]> {
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
