//! [`Hollow`]: a file that is not what its name says, though its bytes are sound.
//!
//! Each comes from a tool that failed without an error: a clone without git-lfs, a download that stored the server's error
//! page, a disk that was full.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::format::Format;
use super::text;

/// Bytes of a pointer of git-lfs: the specification says that it is smaller.
const POINTER_BYTES_MAX: u64 = 1024;
/// Bytes of an error body. Real ones have some hundred.
const ERROR_BYTES_MAX: u64 = 64 << 10;

/// Extensions of weights that are never text.
const BINARY: &[&str] = &[
    "ckpt",
    "gguf",
    "h5",
    "hdf5",
    "keras",
    "msgpack",
    "nemo",
    "npy",
    "npz",
    "onnx",
    "onnx_data",
    "ort",
    "pt",
    "pte",
    "safetensors",
    "task",
    "tflite",
];
/// Extensions of weights that may be text too, or mean something else elsewhere.
const OTHERS: &[&str] = &[
    "bin", "data", "engine", "ftz", "ggml", "joblib", "mlmodel", "model", "params", "pb", "pkl", "plan",
    "pth", "ubj",
];

/// Why a file is not what its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hollow {
    LfsPointer,
    Empty,
    Html,
    ErrorBody,
    Text,
}

impl fmt::Display for Hollow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LfsPointer => "it is a git-lfs pointer, and not the file that the pointer stands for",
            Self::Empty => "it is empty, and its name is that of weights",
            Self::Html => "it is a web page, and its name is that of weights",
            Self::ErrorBody => "it is the error message of a server, and its name is that of weights",
            Self::Text => "it is text, and its name is that of weights",
        })
    }
}

impl Hollow {
    /// Returns what a user can do about it.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::LfsPointer => "fetch the file: git lfs pull",
            Self::Empty | Self::Html | Self::ErrorBody | Self::Text => "download the file again",
        }
    }
}

/// Returns why a file is not what its name says, or `None` if it is, as far as its first bytes and its format show.
pub(super) fn look(path: &str, format: Format, head: &[u8], size: u64) -> Option<Hollow> {
    if size <= POINTER_BYTES_MAX && is_pointer(head) {
        return Some(Hollow::LfsPointer);
    }
    let name = text::file_name(path);
    let extension = text::extension(&name);
    let is_binary = BINARY.contains(&extension);
    if !is_binary && !OTHERS.contains(&extension) {
        return None;
    }
    let is_text =
        matches!(format, Format::Json | Format::Text | Format::Program | Format::Pth | Format::Table);
    let start = head.trim_ascii_start();
    let begins = |word: &[u8]| start.get(..word.len()).is_some_and(|it| it.eq_ignore_ascii_case(word));
    if size == 0 {
        Some(Hollow::Empty)
    } else if !is_text {
        None
    } else if begins(b"<!doctype html") || begins(b"<html") {
        Some(Hollow::Html)
    } else if size <= ERROR_BYTES_MAX && is_error_body(&head[..head.len().min(size as usize)]) {
        Some(Hollow::ErrorBody)
    } else {
        is_binary.then_some(Hollow::Text)
    }
}

/// Recognises a pointer of git-lfs (git-lfs, `docs/spec.md`): a version, then lines of a key and a value.
fn is_pointer(head: &[u8]) -> bool {
    let versions = ["https://git-lfs.github.com/spec/", "https://hawser.github.com/spec/"];
    let Ok(text) = std::str::from_utf8(head) else { return false };
    let Some(rest) = text.strip_prefix("version ") else { return false };
    versions.iter().any(|it| rest.starts_with(it)) && text.lines().any(|line| line.starts_with("oid "))
}

/// Recognises what servers send instead of a file: an object with an error, S3's XML, or the Hub's short texts.
fn is_error_body(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii();
    if start.starts_with(b"<?xml") || start.starts_with(b"<Error>") {
        return bytes.windows(7).any(|it| it == b"<Error>");
    }
    if let Ok(Value::Object(fields)) = serde_json::from_slice(bytes) {
        let has = |name: &str| fields.contains_key(name);
        let is_status = ["status", "code", "statusCode", "documentation_url"].iter().any(|it| has(it));
        return has("error") || has("errors") || has("detail") || has("message") && is_status;
    }
    let words: [&[u8]; 7] = [
        b"Entry not found",
        b"Repository not found",
        b"Not Found",
        b"404",
        b"Access to model",
        b"Invalid username or password",
        b"Invalid credentials",
    ];
    words.iter().any(|it| start.starts_with(it))
}

#[cfg(test)]
mod tests {
    use super::super::kind::by_ends;
    use super::*;

    fn whole(path: &str, bytes: &[u8]) -> Option<Hollow> {
        let size = bytes.len() as u64;
        look(path, by_ends(path, bytes, bytes, size).format, bytes, size)
    }

    #[test]
    fn a_pointer_is_known_under_any_name() {
        let pointer =
            format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 9\n", "a".repeat(64));
        for name in ["model.safetensors", "tokenizer.json", "x.png", "pytorch_model.bin", "README.md"] {
            assert_eq!(whole(name, pointer.as_bytes()), Some(Hollow::LfsPointer), "{name}");
        }
        let quoted = format!("# How a pointer looks\n\n{pointer}");
        assert_eq!(whole("README.md", quoted.as_bytes()), None);
        assert_eq!(whole("notes.txt", b"version https://git-lfs.github.com/spec/v1 is the version"), None);
    }

    #[test]
    fn weights_are_neither_empty_nor_pages() {
        for (bytes, expected) in [
            (b"".as_slice(), Hollow::Empty),
            (b"\n<!DOCTYPE html><html>", Hollow::Html),
            (b"{\"error\":\"Repository not found\"}", Hollow::ErrorBody),
            (b"{\"message\":\"Not Found\",\"documentation_url\":\"x\"}", Hollow::ErrorBody),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", Hollow::ErrorBody),
            (b"Entry not found", Hollow::ErrorBody),
            (b"Access to model a/b is restricted.", Hollow::ErrorBody),
        ] {
            for name in ["model.safetensors", "a/pytorch_model.bin", "x.gguf", "x.onnx", "x.pt", "x.PTH"] {
                assert_eq!(whole(name, bytes), Some(expected), "{name}: {}", bytes.escape_ascii());
            }
            for name in ["config.json", "README.md", "empty", "__init__.py"] {
                assert_eq!(whole(name, bytes), None, "{name}");
            }
        }
        assert_eq!(whole("model.safetensors", b"some words"), Some(Hollow::Text));
        assert_eq!(whole("vocab.bin", b"some words"), None);
        assert_eq!(whole("xgb.model", b"{\"learner\":{},\"version\":[2,1,0]}"), None);
        assert_eq!(whole("model.safetensors", &super::super::safetensors::tests::sample()), None);
    }

    #[test]
    fn lists_are_sorted() {
        assert!(BINARY.is_sorted() && OTHERS.is_sorted());
    }
}
