//! [`inspect`]: reads all facts about a model's file that need no reading of its data.

use std::io::{self, Read, Seek, SeekFrom};

use thiserror::Error;

use super::card::{self, CARD_YAML_BYTES_MAX, Card};
use super::chat_template::{CHAT_TEMPLATE_BYTES_MAX, ChatTemplate};
use super::gguf::{self, Gguf, GgufError};
use super::kind::{self, ContentKind, HEAD_LEN, TAIL_LEN};
use super::model_config::{self, MODEL_CONFIG_BYTES_MAX, ModelConfig};
use super::safetensors::{self, Safetensors, SafetensorsError};
use super::tokenizer_config::{self, TOKENIZER_CONFIG_BYTES_MAX, TokenizerConfig};
use super::weight_index::{self, WEIGHT_INDEX_BYTES_MAX, WeightIndex};
use crate::path::SafePath;

/// The kind of a file, and the facts in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    pub kind: ContentKind,
    pub facts: Facts,
}

/// The facts in a file, if this crate reads files of its name and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facts {
    Safetensors(Safetensors),
    Gguf(Gguf),
    ModelConfig(ModelConfig),
    TokenizerConfig(TokenizerConfig),
    WeightIndex(WeightIndex),
    ChatTemplate(ChatTemplate),
    Card(Card),
    /// The file should hold facts, but cannot be parsed. Loaders may accept more than this crate does.
    NotUnderstood,
    None,
}

/// Why a file is not a valid one of its kind.
#[derive(Debug, Error)]
pub enum InspectError {
    #[error("{path} cannot be read")]
    Io {
        path: SafePath,
        #[source]
        source: io::Error,
    },
    #[error("{path} is not a valid safetensors file")]
    Safetensors {
        path: SafePath,
        #[source]
        source: SafetensorsError,
    },
    #[error("{path} is not a valid GGUF file")]
    Gguf {
        path: SafePath,
        #[source]
        source: GgufError,
    },
}

/// Reads the kind of the file at `path`, and the facts in it. `size` is the file's length in bytes.
///
/// Reads the file's head and tail. If its kind or name calls for it, reads its header, or all of a small document. Reads
/// at most [`gguf::HEADER_BYTES_MAX`] bytes.
///
/// # Errors
/// If the file cannot be read, is shorter than `size`, or is a weight file with an invalid header.
pub fn inspect<F: Read + Seek>(path: &SafePath, file: &mut F, size: u64) -> Result<Inspected, InspectError> {
    let io = |source| InspectError::Io { path: path.clone(), source };
    let head = read_at(file, 0, size.min(HEAD_LEN as u64)).map_err(io)?;
    let tail_len = size.min(TAIL_LEN as u64);
    let tail = read_at(file, size - tail_len, tail_len).map_err(io)?;
    let kind = kind::sniff(path.as_str(), &head, &tail, size);
    drop((head, tail));
    file.rewind().map_err(io)?;
    let facts = match kind {
        ContentKind::Safetensors => {
            let prefix = read_at(file, 0, safetensors::PREFIX_LEN).map_err(io)?;
            let not_valid = |source| InspectError::Safetensors { path: path.clone(), source };
            let prefix = prefix.first_chunk().copied().unwrap_or_default();
            let length = safetensors::header_len(prefix, size).map_err(not_valid)?;
            let header = read_at(file, safetensors::PREFIX_LEN, length).map_err(io)?;
            Facts::Safetensors(safetensors::parse(&header, size).map_err(not_valid)?)
        }
        ContentKind::Gguf => match gguf::read(file, size) {
            Ok(file) => Facts::Gguf(file),
            Err(GgufError::Io(source)) => return Err(io(source)),
            Err(source) => return Err(InspectError::Gguf { path: path.clone(), source }),
        },
        ContentKind::Json | ContentKind::Text => match Document::named(path.as_str()) {
            None => Facts::None,
            Some(document) => {
                let (length, whole) = document.length(size);
                if whole {
                    document.read(&read_at(file, 0, length).map_err(io)?)
                } else {
                    Facts::NotUnderstood
                }
            }
        },
        _ => Facts::None,
    };
    Ok(Inspected { kind, facts })
}

/// Reads exactly `length` bytes from offset `begin` on.
fn read_at<F: Read + Seek>(file: &mut F, begin: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    let read = file.by_ref().take(length).read_to_end(&mut bytes)?;
    if read as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// A small document that is read for its name.
#[derive(Clone, Copy)]
enum Document {
    ModelConfig,
    TokenizerConfig,
    WeightIndex,
    ChatTemplate,
    Card,
}

impl Document {
    fn named(path: &str) -> Option<Self> {
        match path {
            "config.json" => Some(Self::ModelConfig),
            "tokenizer_config.json" => Some(Self::TokenizerConfig),
            "chat_template.jinja" => Some(Self::ChatTemplate),
            "README.md" => Some(Self::Card),
            _ if path.ends_with(".safetensors.index.json") => Some(Self::WeightIndex),
            _ => None,
        }
    }

    /// Returns how many bytes to read of a file of `size` bytes, and whether they are enough.
    fn length(self, size: u64) -> (u64, bool) {
        let max = match self {
            // Only the head of a card is read.
            Self::Card => return (size.min(CARD_YAML_BYTES_MAX as u64 + 1024), true),
            Self::ModelConfig => MODEL_CONFIG_BYTES_MAX as u64,
            Self::TokenizerConfig => TOKENIZER_CONFIG_BYTES_MAX as u64,
            Self::WeightIndex => WEIGHT_INDEX_BYTES_MAX as u64,
            Self::ChatTemplate => CHAT_TEMPLATE_BYTES_MAX,
        };
        (size, size <= max)
    }

    fn read(self, bytes: &[u8]) -> Facts {
        let facts = match self {
            Self::ModelConfig => model_config::parse(bytes).map(Facts::ModelConfig).ok(),
            Self::TokenizerConfig => tokenizer_config::parse(bytes).map(Facts::TokenizerConfig).ok(),
            Self::WeightIndex => weight_index::parse(bytes).map(Facts::WeightIndex).ok(),
            Self::ChatTemplate => {
                std::str::from_utf8(bytes).map(|text| Facts::ChatTemplate(ChatTemplate::of(text))).ok()
            }
            Self::Card => card::parse(bytes).map(Facts::Card).ok(),
        };
        facts.unwrap_or(Facts::NotUnderstood)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn look(path: &str, bytes: &[u8]) -> Result<Inspected, InspectError> {
        inspect(&path.parse().unwrap(), &mut Cursor::new(bytes), bytes.len() as u64)
    }

    #[test]
    fn reads_what_a_file_is_by_its_bytes_and_name() {
        let facts = |path: &str, bytes: &[u8]| look(path, bytes).unwrap().facts;
        assert!(matches!(facts("x.bin", &safetensors::tests::sample()), Facts::Safetensors(_)));
        assert!(matches!(facts("x.gguf", &gguf::tests::sample()), Facts::Gguf(_)));
        assert!(matches!(facts("config.json", b"{}"), Facts::ModelConfig(_)));
        assert!(matches!(facts("tokenizer_config.json", b"{}"), Facts::TokenizerConfig(_)));
        assert!(matches!(
            facts("a/model.safetensors.index.json", b"{\"weight_map\":{}}"),
            Facts::WeightIndex(_)
        ));
        assert!(matches!(facts("chat_template.jinja", b"{{ x }}"), Facts::ChatTemplate(_)));
        assert!(matches!(facts("README.md", b"---\nlicense: mit\n---\n"), Facts::Card(_)));
        assert!(matches!(facts("README.md", b"---\nlicense: &a mit\n---\n"), Facts::NotUnderstood));
        assert!(matches!(facts("config.json", b"{\"a\": NaN}"), Facts::NotUnderstood));
        assert!(matches!(facts("unet/config.json", b"{}"), Facts::None));
    }

    #[test]
    fn weights_with_a_damaged_header_are_an_error() {
        let mut bytes = safetensors::tests::sample();
        bytes.push(0);
        assert!(matches!(look("x", &bytes), Err(InspectError::Safetensors { .. })));
        let bytes = gguf::tests::sample();
        assert!(matches!(look("x", &bytes[..60]), Err(InspectError::Gguf { .. })));
    }

    #[test]
    fn a_file_shorter_than_it_should_be_is_an_error() {
        let path = "a.txt".parse().unwrap();
        assert!(matches!(inspect(&path, &mut Cursor::new(b"abc"), 4), Err(InspectError::Io { .. })));
    }
}
