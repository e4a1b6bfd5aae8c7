//! [`inspect`]: reads all facts about a model's file that need no reading of its data.

use std::io::{self, Read, Seek};

use thiserror::Error;

use super::card::{self, CARD_YAML_BYTES_MAX, Card};
use super::chat_template::{CHAT_TEMPLATE_BYTES_MAX, ChatTemplate};
use super::class::ModelPackClass;
use super::format::Format;
use super::gguf::{self, Gguf, GgufError};
use super::hollow::{self, Hollow};
use super::kind::{ContentKind, HEAD_LEN};
use super::model_config::{self, MODEL_CONFIG_BYTES_MAX, ModelConfig};
use super::onnx::{self, External, OnnxError};
use super::parts;
use super::recognise::{self, read_at};
use super::safetensors::{self, Safetensors, SafetensorsError};
use super::shards::{self, SHARDS_JSON_BYTES_MAX, Shards};
use super::tokenizer_config::{self, TOKENIZER_CONFIG_BYTES_MAX, TokenizerConfig};
use super::weight_index::{self, WEIGHT_INDEX_BYTES_MAX, WeightIndex};
use crate::path::SafePath;

/// The kind of a file, and the facts in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    pub format: Format,
    /// What a user consents to: that of the format.
    pub kind: ContentKind,
    /// The class of its layer in a manifest.
    pub class: ModelPackClass,
    /// Why the file is not what its name says.
    pub hollow: Option<Hollow>,
    pub facts: Facts,
}

/// The facts in a file, if this crate reads files of its name and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facts {
    Safetensors(Safetensors),
    Gguf(Gguf),
    Onnx(External),
    ModelConfig(ModelConfig),
    TokenizerConfig(TokenizerConfig),
    WeightIndex(WeightIndex),
    Shards(Shards),
    /// A graph of OpenVINO. Its tensors lie in the file of the same name that ends in `.bin`.
    OpenVino,
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

impl InspectError {
    /// Tells whether the file ends before what its header describes, as a download that was cut off does.
    pub const fn is_cut_off(&self) -> bool {
        match self {
            Self::Safetensors { source: SafetensorsError::DataLength { tensors, data }, .. } => {
                *tensors > *data
            }
            Self::Safetensors { source: SafetensorsError::HeaderBeyondFile { .. }, .. }
            | Self::Gguf { source: GgufError::Truncated | GgufError::DataBeyondFile { .. }, .. } => true,
            _ => false,
        }
    }
}

/// Reads the format of the file at `path`, and the facts in it. `size` is the file's length in bytes.
///
/// Reads the file's head and tail. If its format or name calls for it, reads its header, all of a small document, or searches
/// all of it. Holds at most [`gguf::HEADER_BYTES_MAX`] bytes.
///
/// # Errors
/// If the file cannot be read, is shorter than `size`, or is a weight file with an invalid header.
pub fn inspect<F: Read + Seek>(path: &SafePath, file: &mut F, size: u64) -> Result<Inspected, InspectError> {
    let mut inspected = look(path, file, size)?;
    inspected.facts = facts(path, file, size, inspected.format)?;
    Ok(inspected)
}

/// Reads the format of a file, and not its header.
///
/// # Errors
/// If the file cannot be read, or is shorter than `size`.
pub fn look<F: Read + Seek>(path: &SafePath, file: &mut F, size: u64) -> Result<Inspected, InspectError> {
    let io = |source| InspectError::Io { path: path.clone(), source };
    let ends = recognise::ends(path.as_str(), file, size).map_err(io)?;
    let head = read_at(file, 0, size.min(HEAD_LEN as u64)).map_err(io)?;
    Ok(Inspected {
        format: ends.format,
        kind: ends.format.kind(),
        class: ModelPackClass::of_ends(path.as_str(), ends),
        hollow: hollow::look(path.as_str(), ends.format, &head, size),
        facts: Facts::None,
    })
}

fn facts<F: Read + Seek>(
    path: &SafePath,
    file: &mut F,
    size: u64,
    format: Format,
) -> Result<Facts, InspectError> {
    let io = |source| InspectError::Io { path: path.clone(), source };
    file.rewind().map_err(io)?;
    Ok(match format {
        Format::Safetensors => {
            let prefix = read_at(file, 0, safetensors::PREFIX_LEN).map_err(io)?;
            let not_valid = |source| InspectError::Safetensors { path: path.clone(), source };
            let prefix = prefix.first_chunk().copied().unwrap_or_default();
            let length = safetensors::header_len(prefix, size).map_err(not_valid)?;
            match safetensors::read(file, length, size) {
                Ok(file) => Facts::Safetensors(file),
                Err(SafetensorsError::Io(source)) => return Err(io(source)),
                Err(source) => return Err(not_valid(source)),
            }
        }
        Format::Gguf => match gguf::read(file, size) {
            Ok(file) => Facts::Gguf(file),
            Err(GgufError::Io(source)) => return Err(io(source)),
            Err(source) => return Err(InspectError::Gguf { path: path.clone(), source }),
        },
        Format::Onnx => match onnx::read(file, size) {
            Ok(external) => Facts::Onnx(external),
            Err(OnnxError::Io(source)) if source.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(io(source));
            }
            Err(_) => Facts::NotUnderstood,
        },
        Format::Json | Format::Text => match Document::named(path.as_str()) {
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
    })
}

/// A small document that is read for its name.
#[derive(Clone, Copy)]
enum Document {
    ModelConfig,
    TokenizerConfig,
    WeightIndex,
    /// An index of weights that are not safetensors.
    OtherIndex,
    Tfjs,
    Mlc,
    OpenVino,
    ChatTemplate,
    Card,
}

/// Bytes at the start of an OpenVINO graph that hold its first element.
const OPEN_VINO_HEAD_LEN: u64 = 4 << 10;

impl Document {
    fn named(path: &str) -> Option<Self> {
        match path {
            "config.json" => Some(Self::ModelConfig),
            "tokenizer_config.json" => Some(Self::TokenizerConfig),
            "chat_template.jinja" => Some(Self::ChatTemplate),
            "README.md" => Some(Self::Card),
            _ if parts::is_index(path) => Some(Self::WeightIndex),
            _ if path.ends_with(".index.json") => Some(Self::OtherIndex),
            _ => match path.rsplit('/').next().unwrap_or(path) {
                "model.json" => Some(Self::Tfjs),
                name if name.ends_with(shards::MANIFEST_END) => Some(Self::Tfjs),
                "ndarray-cache.json" | "tensor-cache.json" => Some(Self::Mlc),
                name => name.ends_with(".xml").then_some(Self::OpenVino),
            },
        }
    }

    /// Returns how many bytes to read of a file of `size` bytes, and whether they are enough.
    fn length(self, size: u64) -> (u64, bool) {
        let max = match self {
            // Only the head of a card is read.
            Self::Card => return (size.min(CARD_YAML_BYTES_MAX as u64 + 1024), true),
            Self::ModelConfig => MODEL_CONFIG_BYTES_MAX as u64,
            Self::TokenizerConfig => TOKENIZER_CONFIG_BYTES_MAX as u64,
            Self::WeightIndex | Self::OtherIndex => WEIGHT_INDEX_BYTES_MAX as u64,
            Self::Tfjs | Self::Mlc => SHARDS_JSON_BYTES_MAX as u64,
            Self::OpenVino => return (size.min(OPEN_VINO_HEAD_LEN), true),
            Self::ChatTemplate => CHAT_TEMPLATE_BYTES_MAX,
        };
        (size, size <= max)
    }

    fn read(self, bytes: &[u8]) -> Facts {
        let facts = match self {
            Self::ModelConfig => model_config::parse(bytes).map(Facts::ModelConfig).ok(),
            Self::TokenizerConfig => tokenizer_config::parse(bytes).map(Facts::TokenizerConfig).ok(),
            Self::WeightIndex => weight_index::parse(bytes).map(Facts::WeightIndex).ok(),
            // Other files have such names too.
            Self::OtherIndex => Some(weight_index::parse(bytes).map_or(Facts::None, Facts::WeightIndex)),
            Self::Tfjs => Some(shards::tfjs(bytes).map_or(Facts::None, Facts::Shards)),
            Self::Mlc => Some(shards::mlc(bytes).map_or(Facts::None, Facts::Shards)),
            Self::OpenVino => {
                let is_graph = bytes.windows(5).any(|it| it == b"<net ");
                Some(if is_graph { Facts::OpenVino } else { Facts::None })
            }
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
    fn a_file_that_ends_too_early_was_cut_off() {
        let (tensors, gguf) = (safetensors::tests::sample(), gguf::tests::sample());
        for (name, whole) in [("x.safetensors", &tensors), ("x.gguf", &gguf)] {
            assert!(look(name, &whole[..whole.len() - 1]).unwrap_err().is_cut_off(), "{name}");
        }
        let longer = [&tensors[..], b"more"].concat();
        assert!(!look("x.safetensors", &longer).unwrap_err().is_cut_off());
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
