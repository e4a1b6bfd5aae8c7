//! Reads the header of a GGUF file as a stream: settings, then tensor descriptions. It reads no tensor data.
//!
//! Hostile counts and lengths in such headers have corrupted the heap of several readers. So this reader checks each one
//! against a bound before use, skips arrays without storing them, and checks every sum for overflow.
//!
//! Source: ggml, docs/gguf.md.

mod header_reader;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use thiserror::Error;

use super::chat_template::{CHAT_TEMPLATE_BYTES_MAX, ChatTemplate};
use super::ggml::GgmlType;
use super::label::{LABEL_BYTES_MAX, Label};
use header_reader::HeaderReader;

/// Bytes before the first tensor's data. Vocabularies of 256,000 tokens with merges take some 20 MB.
pub const HEADER_BYTES_MAX: u64 = 256 << 20;
/// Settings of one file. Known files have fewer than 100.
pub const SETTINGS_MAX: u64 = 4096;
/// Tensors of one file. The largest known files have fewer than 3,000.
pub const TENSORS_MAX: u64 = 65_536;
/// Bytes of a setting's name, which is dotted words.
pub const KEY_BYTES_MAX: u64 = 1024;
/// Bytes of a tensor's name. ggml allows 63.
pub const TENSOR_NAME_BYTES_MAX: u64 = 256;
/// Dimensions of one tensor, as in ggml.
pub const DIMENSIONS_MAX: u32 = 4;
/// Largest allowed alignment of tensor data. The usual one is 32.
pub const ALIGNMENT_MAX: u64 = 1 << 20;
/// Alignment of a file that names none.
pub const ALIGNMENT_DEFAULT: u64 = 32;

/// The first bytes of every GGUF file.
const MAGIC: [u8; 4] = *b"GGUF";

/// The facts in the header of a GGUF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gguf {
    pub version: u32,
    pub architecture: Option<Label>,
    pub name: Option<Label>,
    pub license: Option<Label>,
    /// The number of the quantisation of most tensors. [`super::ggml::file_type_name`] names it.
    pub file_type: Option<u64>,
    /// Length of the context that the model was trained with, in tokens.
    pub context_length: Option<u64>,
    pub chat_template: Option<ChatTemplate>,
    /// Number of files that the model was split into: 1 where it was not.
    pub split_count: u32,
    /// Offset of the tensors' data in the file, in bytes.
    pub data_begin: u64,
    /// The tensors, in the order of their data.
    pub tensors: Vec<Tensor>,
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    pub kind: GgmlType,
    pub elements: u64,
    /// Offset of its data in bytes, counted from [`Gguf::data_begin`].
    pub begin: u64,
}

/// Why a file is not a valid GGUF file.
#[derive(Debug, Error)]
pub enum GgufError {
    #[error("file does not begin with `GGUF`")]
    Magic,
    #[error("file has version {version}, only 2 and 3 are supported")]
    Version { version: u32 },
    #[error("file ends inside its header")]
    Truncated,
    #[error("header has more than {HEADER_BYTES_MAX} bytes")]
    HeaderTooLarge,
    #[error("number of {what} is {count}, at most {max} are allowed")]
    TooMany { what: &'static str, count: u64, max: u64 },
    #[error("{what} is not UTF-8")]
    Text { what: &'static str },
    #[error("setting {key:?} is given twice")]
    DuplicateKey { key: String },
    #[error("setting {key:?} has the unknown type {number}")]
    ValueType { key: String, number: u32 },
    #[error("setting {key:?} is a list of lists")]
    NestedArray { key: String },
    #[error("setting {key:?} is a boolean with the value {byte}, only 0 and 1 are allowed")]
    Bool { key: String, byte: u8 },
    #[error("setting {key:?} is not of the expected type")]
    WrongType { key: String },
    #[error("alignment {alignment} is not a power of two, or is above {ALIGNMENT_MAX}")]
    Alignment { alignment: u64 },
    #[error("tensor {name:?} is described twice")]
    DuplicateTensor { name: String },
    #[error("tensor {name:?} has a shape that does not fit its type or overflows")]
    Shape { name: String },
    #[error("data of tensor {name:?} begins at {begin}, expected {expected}")]
    Offset { name: String, begin: u64, expected: u64 },
    #[error("data of tensor {name:?} ends beyond the file")]
    DataBeyondFile { name: String },
    #[error("file cannot be read")]
    Io(#[source] io::Error),
}

impl Gguf {
    /// Returns the number of elements of each type.
    pub fn parameters(&self) -> BTreeMap<GgmlType, u64> {
        let mut parameters = BTreeMap::new();
        for tensor in &self.tensors {
            let sum: &mut u64 = parameters.entry(tensor.kind).or_default();
            *sum = sum.saturating_add(tensor.elements);
        }
        parameters
    }
}

/// Reads the header from the first byte of a file of `file_size` bytes.
///
/// Reads `reader` through a buffer, so its position afterwards is somewhere after the header.
///
/// # Errors
/// If `reader` fails, or the header breaks the format.
pub fn read(reader: &mut dyn Read, file_size: u64) -> Result<Gguf, GgufError> {
    let mut source = HeaderReader::new(reader, file_size);
    let (version, tensor_count, settings) = read_settings(&mut source)?;
    let alignment = settings.alignment()?;
    let mut tensors = Vec::new();
    for _ in 0..tensor_count {
        tensors.push(Description::read(&mut source)?);
    }
    // The limit on the header keeps this sum far from overflow.
    let data_begin = source.position().next_multiple_of(alignment);
    check_names(&tensors)?;
    check_layout(&tensors, alignment, data_begin, file_size)?;
    let architecture = settings.label("general.architecture");
    let context_length = architecture
        .as_ref()
        .and_then(|architecture| settings.number(&format!("{architecture}{CONTEXT_LENGTH_SUFFIX}")));
    Ok(Gguf {
        version,
        architecture,
        context_length,
        name: settings.label("general.name"),
        license: settings.label("general.license"),
        file_type: settings.number("general.file_type"),
        chat_template: settings.chat_template.as_deref().map(ChatTemplate::of),
        split_count: settings
            .number(SPLIT_COUNT_KEY)
            .and_then(|it| u32::try_from(it).ok())
            .unwrap_or(1)
            .max(1),
        data_begin,
        tensors: tensors.into_iter().map(|it| it.tensor).collect(),
    })
}

/// Returns the text of the chat template, or `None` if there is none. Reads the settings only.
///
/// # Errors
/// As for [`read`], if the settings are invalid.
pub fn read_chat_template(reader: &mut dyn Read, file_size: u64) -> Result<Option<String>, GgufError> {
    let (_, _, settings) = read_settings(&mut HeaderReader::new(reader, file_size))?;
    Ok(settings.chat_template)
}

fn read_settings(source: &mut HeaderReader<'_>) -> Result<(u32, u64, Settings), GgufError> {
    let version = read_version(source)?;
    let tensor_count = source.count("tensors", TENSORS_MAX)?;
    let setting_count = source.count("settings", SETTINGS_MAX)?;
    let mut settings = Settings::default();
    for _ in 0..setting_count {
        settings.read_one(source)?;
    }
    Ok((version, tensor_count, settings))
}

fn read_version(source: &mut HeaderReader<'_>) -> Result<u32, GgufError> {
    if source.array::<4>()? != MAGIC {
        return Err(GgufError::Magic);
    }
    // A big-endian file is known by its version: no other number says it (ggml, docs/gguf.md).
    match source.u32()? {
        version @ (2 | 3) => Ok(version),
        swapped if matches!(swapped.swap_bytes(), 2 | 3) => {
            source.set_big_endian();
            Ok(swapped.swap_bytes())
        }
        version => Err(GgufError::Version { version }),
    }
}

const ALIGNMENT_KEY: &str = "general.alignment";
const CHAT_TEMPLATE_KEY: &str = "tokenizer.chat_template";
const CONTEXT_LENGTH_SUFFIX: &str = ".context_length";
const LABEL_KEYS: [&str; 3] = ["general.architecture", "general.license", "general.name"];
/// llama.cpp writes it as 16 bits (tools/gguf-split).
const SPLIT_COUNT_KEY: &str = "split.count";
const NUMBER_KEYS: [&str; 3] = [ALIGNMENT_KEY, "general.file_type", SPLIT_COUNT_KEY];

/// The values of the settings that this reader uses, and the names of all settings.
#[derive(Default)]
struct Settings {
    keys: BTreeSet<String>,
    numbers: BTreeMap<String, u64>,
    labels: BTreeMap<String, Label>,
    chat_template: Option<String>,
}

impl Settings {
    fn read_one(&mut self, source: &mut HeaderReader<'_>) -> Result<(), GgufError> {
        let key = source.text("the name of a setting", KEY_BYTES_MAX)?;
        let kind = source.u32()?;
        if LABEL_KEYS.contains(&key.as_str()) || key == CHAT_TEMPLATE_KEY {
            if kind != STRING {
                return Err(GgufError::WrongType { key });
            }
            self.read_text(&key, source)?;
        } else if NUMBER_KEYS.contains(&key.as_str()) || key.ends_with(CONTEXT_LENGTH_SUFFIX) {
            let number = match kind {
                UINT16 if key == SPLIT_COUNT_KEY => u64::from(source.u16()?),
                UINT32 => u64::from(source.u32()?),
                UINT64 => source.u64()?,
                _ => return Err(GgufError::WrongType { key }),
            };
            self.numbers.insert(key.clone(), number);
        } else {
            skip_value(source, &key, kind)?;
        }
        match self.keys.replace(key) {
            Some(key) => Err(GgufError::DuplicateKey { key }),
            None => Ok(()),
        }
    }

    fn read_text(&mut self, key: &str, source: &mut HeaderReader<'_>) -> Result<(), GgufError> {
        if key == CHAT_TEMPLATE_KEY {
            self.chat_template = Some(source.text("the chat template", CHAT_TEMPLATE_BYTES_MAX)?);
        } else if let Some(label) = source.label(LABEL_BYTES_MAX as u64)? {
            self.labels.insert(key.to_owned(), label);
        }
        Ok(())
    }

    fn label(&self, key: &str) -> Option<Label> {
        self.labels.get(key).cloned()
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.numbers.get(key).copied()
    }

    fn alignment(&self) -> Result<u64, GgufError> {
        let alignment = self.number(ALIGNMENT_KEY).unwrap_or(ALIGNMENT_DEFAULT);
        let valid = alignment.is_power_of_two() && alignment <= ALIGNMENT_MAX;
        valid.then_some(alignment).ok_or(GgufError::Alignment { alignment })
    }
}

const UINT16: u32 = 2;
const UINT32: u32 = 4;
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;
const UINT64: u32 = 10;

/// Returns the length in bytes of a value of this type, or `None` if the type has no fixed length.
const fn value_len(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | BOOL => Some(1),
        UINT16 | 3 => Some(2),
        UINT32 | 5 | 6 => Some(4),
        UINT64..=12 => Some(8),
        _ => None,
    }
}

fn skip_value(source: &mut HeaderReader<'_>, key: &str, kind: u32) -> Result<(), GgufError> {
    match kind {
        BOOL => match source.array()? {
            [0 | 1] => Ok(()),
            [byte] => Err(GgufError::Bool { key: key.to_owned(), byte }),
        },
        STRING => source.skip_text(),
        ARRAY => skip_array(source, key),
        _ => match value_len(kind) {
            Some(length) => source.skip(length),
            None => Err(GgufError::ValueType { key: key.to_owned(), number: kind }),
        },
    }
}

fn skip_array(source: &mut HeaderReader<'_>, key: &str) -> Result<(), GgufError> {
    let kind = source.u32()?;
    let count = source.u64()?;
    match (kind, value_len(kind)) {
        (ARRAY, _) => Err(GgufError::NestedArray { key: key.to_owned() }),
        // Each text takes at least eight bytes, so the header's limit ends this loop.
        (STRING, _) => (0..count).try_for_each(|_| source.skip_text()),
        (_, Some(length)) => source.skip(count.checked_mul(length).ok_or(GgufError::Truncated)?),
        (number, None) => Err(GgufError::ValueType { key: key.to_owned(), number }),
    }
}

/// A tensor, and the size of its data if its type is known.
struct Description {
    tensor: Tensor,
    bytes: Option<u64>,
}

impl Description {
    fn read(source: &mut HeaderReader<'_>) -> Result<Self, GgufError> {
        let name = source.text("the name of a tensor", TENSOR_NAME_BYTES_MAX)?;
        let dimensions = source.u32()?;
        if dimensions > DIMENSIONS_MAX {
            let (count, max) = (u64::from(dimensions), u64::from(DIMENSIONS_MAX));
            return Err(GgufError::TooMany { what: "dimensions of a tensor", count, max });
        }
        let (mut elements, mut row) = (1_u64, 1);
        for dimension in 0..dimensions {
            let length = source.u64()?;
            let product = elements.checked_mul(length).filter(|product| *product <= i64::MAX as u64);
            let Some(product) = product else { return Err(GgufError::Shape { name }) };
            elements = product;
            if dimension == 0 {
                row = length;
            }
        }
        let kind = GgmlType::new(source.u32()?);
        let begin = source.u64()?;
        let bytes = match kind.block() {
            None => None,
            Some(block) if row % block.elements != 0 => return Err(GgufError::Shape { name }),
            Some(block) => match (elements / block.elements).checked_mul(block.bytes) {
                None => return Err(GgufError::Shape { name }),
                bytes => bytes,
            },
        };
        Ok(Self { tensor: Tensor { name, kind, elements, begin }, bytes })
    }
}

fn check_names(tensors: &[Description]) -> Result<(), GgufError> {
    let mut names = BTreeSet::new();
    match tensors.iter().find(|it| !names.insert(&it.tensor.name)) {
        Some(twice) => Err(GgufError::DuplicateTensor { name: twice.tensor.name.clone() }),
        None => Ok(()),
    }
}

/// Checks that the tensors' data follow each other inside the file, each at the next multiple of `alignment`.
///
/// After data of a type of unknown size, the next may begin at any multiple.
fn check_layout(
    tensors: &[Description],
    alignment: u64,
    data_begin: u64,
    file_size: u64,
) -> Result<(), GgufError> {
    let (mut expected, mut exactly) = (0_u64, true);
    for Description { tensor, bytes } in tensors {
        let Tensor { name, begin, .. } = tensor;
        let fits = if exactly { *begin == expected } else { *begin >= expected && begin % alignment == 0 };
        if !fits {
            return Err(GgufError::Offset { name: name.clone(), begin: *begin, expected });
        }
        let beyond = || GgufError::DataBeyondFile { name: name.clone() };
        let end = begin.checked_add(bytes.unwrap_or(0)).ok_or_else(beyond)?;
        if data_begin.checked_add(end).is_none_or(|end| end > file_size) {
            return Err(beyond());
        }
        // This cannot overflow: the end is inside a file, and the alignment is small.
        expected = end.checked_next_multiple_of(alignment).ok_or_else(beyond)?;
        exactly = bytes.is_some();
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
