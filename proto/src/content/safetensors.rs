//! Reads the header of a safetensors file strictly.
//!
//! A file is `u64 N, little-endian · N bytes of JSON · data`. Two readers of one file must see the same tensors. So this
//! reader refuses all that the format forbids, even if other readers accept it: duplicate names or fields, overlapping
//! tensors, bytes that belong to no tensor.
//!
//! Source: <https://github.com/huggingface/safetensors>, "Format".

mod subset;

use std::collections::{BTreeMap, btree_map};
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use thiserror::Error;

/// Bytes of a header, as many as the Hugging Face client accepts. The largest known headers have 3 MB.
pub const HEADER_BYTES_MAX: u64 = 25_000_000;
/// Tensors of one file. Mixtures of experts in one file have some 50,000.
pub const TENSORS_MAX: usize = 100_000;
/// Dimensions of one tensor, as many as NumPy allows.
pub const RANK_MAX: usize = 64;
/// Entries of `__metadata__`. Training programs write some hundred.
pub const METADATA_MAX: usize = 10_000;

/// Length of the prefix in bytes. It holds the header's length.
pub const PREFIX_LEN: u64 = 8;

/// A valid header. Every byte of the file's data belongs to exactly one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Safetensors {
    /// The tensors, in the order of their data.
    pub tensors: Vec<Tensor>,
    /// The entries under `__metadata__`.
    pub metadata: BTreeMap<String, String>,
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<u64>,
    /// Offset of its data in bytes, counted from the header's end.
    pub begin: u64,
    /// Offset after its data.
    pub end: u64,
}

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[expect(
    non_camel_case_types,
    reason = "these are the format's own names: serde reads them and `name` returns them"
)]
pub enum Dtype {
    BOOL,
    F4,
    F6_E2M3,
    F6_E3M2,
    U8,
    I8,
    F8_E5M2,
    F8_E4M3,
    F8_E8M0,
    F8_E4M3FNUZ,
    F8_E5M2FNUZ,
    I16,
    U16,
    F16,
    BF16,
    I32,
    U32,
    F32,
    C64,
    F64,
    I64,
    U64,
}

/// Why a file is not a valid safetensors file.
#[derive(Debug, Error)]
pub enum SafetensorsError {
    #[error("file of {size} bytes cannot hold a header of {length}")]
    HeaderBeyondFile { length: u64, size: u64 },
    #[error("header has {length} bytes, at most {HEADER_BYTES_MAX} are allowed")]
    HeaderTooLarge { length: u64 },
    #[error("header does not begin with `{{`")]
    HeaderStart,
    #[error("header is not JSON of the expected form")]
    Json(#[source] serde_json::Error),
    #[error(
        "tensor {name:?} has {bits} bits by its shape, which is not a whole number of bytes or is too many"
    )]
    Size { name: String, bits: u128 },
    #[error("tensor {name:?} has {expected} bytes by its shape and {begin}..{end} by its offsets")]
    Range { name: String, expected: u64, begin: u64, end: u64 },
    #[error(
        "data of tensor {name:?} begins at {begin}, expected {expected}, the first byte without a tensor"
    )]
    Hole { name: String, begin: u64, expected: u64 },
    #[error("tensors take {tensors} bytes, but the file has {data} bytes of data")]
    DataLength { tensors: u64, data: u64 },
}

impl Dtype {
    /// Returns the size of one element in bits.
    pub const fn bits(self) -> u32 {
        match self {
            Self::F4 => 4,
            Self::F6_E2M3 | Self::F6_E3M2 => 6,
            Self::BOOL | Self::U8 | Self::I8 | Self::F8_E5M2 | Self::F8_E4M3 | Self::F8_E8M0 => 8,
            Self::F8_E4M3FNUZ | Self::F8_E5M2FNUZ => 8,
            Self::I16 | Self::U16 | Self::F16 | Self::BF16 => 16,
            Self::I32 | Self::U32 | Self::F32 => 32,
            Self::C64 | Self::F64 | Self::I64 | Self::U64 => 64,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Tensor {
    /// Returns the number of elements of the tensor.
    pub fn elements(&self) -> u64 {
        // `parse` has checked that the product fits.
        self.shape.iter().fold(1, |product: u64, length| product.saturating_mul(*length))
    }
}

/// Returns the header's length in bytes, for a file of `file_size` bytes that begins with `prefix`.
///
/// # Errors
/// If the header is longer than [`HEADER_BYTES_MAX`], or ends beyond the file's end.
pub fn header_len(prefix: [u8; PREFIX_LEN as usize], file_size: u64) -> Result<u64, SafetensorsError> {
    let length = u64::from_le_bytes(prefix);
    if file_size.checked_sub(PREFIX_LEN).is_none_or(|rest| length > rest) {
        return Err(SafetensorsError::HeaderBeyondFile { length, size: file_size });
    }
    if length > HEADER_BYTES_MAX {
        return Err(SafetensorsError::HeaderTooLarge { length });
    }
    Ok(length)
}

/// Parses `header` of a file of `file_size` bytes: the bytes after the prefix, as many as [`header_len`] returned.
///
/// # Errors
/// If the header breaks the format. The tensors' ranges must match their shapes, and cover the data without holes.
pub fn parse(header: &[u8], file_size: u64) -> Result<Safetensors, SafetensorsError> {
    let length = header.len() as u64;
    header_len(length.to_le_bytes(), file_size)?;
    if header.first() != Some(&b'{') {
        return Err(SafetensorsError::HeaderStart);
    }
    let mut file: Safetensors = serde_json::from_slice(header).map_err(SafetensorsError::Json)?;
    for tensor in &file.tensors {
        check_range(tensor)?;
    }
    file.tensors.sort_by(|a, b| (a.begin, a.end, &a.name).cmp(&(b.begin, b.end, &b.name)));
    let mut covered = 0;
    for Tensor { name, begin, end, .. } in &file.tensors {
        if *begin != covered {
            return Err(SafetensorsError::Hole { name: name.clone(), begin: *begin, expected: covered });
        }
        covered = *end;
    }
    let data = file_size - PREFIX_LEN - length;
    if covered != data {
        return Err(SafetensorsError::DataLength { tensors: covered, data });
    }
    Ok(file)
}

/// Checks that a tensor's byte range has the length that its shape and type require.
fn check_range(tensor: &Tensor) -> Result<(), SafetensorsError> {
    let Tensor { name, dtype, shape, begin, end } = tensor;
    let elements = shape.iter().try_fold(1_u64, |product, length| product.checked_mul(*length));
    let bits = elements.map_or(u128::MAX, |elements| u128::from(elements) * u128::from(dtype.bits()));
    let bytes = (bits % 8 == 0).then(|| u64::try_from(bits / 8)).and_then(Result::ok);
    let Some(expected) = bytes else { return Err(SafetensorsError::Size { name: name.clone(), bits }) };
    if end.checked_sub(*begin) != Some(expected) {
        return Err(SafetensorsError::Range { name: name.clone(), expected, begin: *begin, end: *end });
    }
    Ok(())
}

/// The name of the header's entry that holds notes instead of a tensor.
const METADATA_KEY: &str = "__metadata__";

impl<'de> Deserialize<'de> for Safetensors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Header;

        impl<'de> Visitor<'de> for Header {
            type Value = Safetensors;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut tensors = BTreeMap::new();
                let mut metadata = None;
                while let Some(name) = entries.next_key::<String>()? {
                    if name == METADATA_KEY {
                        if metadata.replace(entries.next_value_seed(Metadata)?).is_some() {
                            return Err(de::Error::duplicate_field(METADATA_KEY));
                        }
                        continue;
                    }
                    if tensors.len() == TENSORS_MAX {
                        return Err(de::Error::custom(format_args!("more than {TENSORS_MAX} tensors")));
                    }
                    match tensors.entry(name) {
                        btree_map::Entry::Vacant(place) => place.insert(entries.next_value::<Entry>()?),
                        btree_map::Entry::Occupied(first) => {
                            let name = first.key();
                            return Err(de::Error::custom(format_args!("tensor {name:?} is named twice")));
                        }
                    };
                }
                let tensors = tensors.into_iter().map(|(name, entry)| entry.named(name)).collect();
                Ok(Safetensors { tensors, metadata: metadata.unwrap_or_default() })
            }
        }

        deserializer.deserialize_map(Header)
    }
}

/// A tensor's entry in the header.
struct Entry {
    dtype: Dtype,
    shape: Shape,
    data_offsets: (u64, u64),
}

impl Entry {
    fn named(self, name: String) -> Tensor {
        let (begin, end) = self.data_offsets;
        Tensor { name, dtype: self.dtype, shape: self.shape.0, begin, end }
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Dtype,
    Shape,
    DataOffsets,
}

// A derived implementation would also accept a list of the three values, which other readers refuse.
impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with dtype, shape and data_offsets")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Entry, A::Error> {
                let (mut dtype, mut shape, mut data_offsets) = (None, None, None);
                while let Some(field) = entries.next_key()? {
                    let twice = match field {
                        Field::Dtype => dtype.replace(entries.next_value()?).is_some(),
                        Field::Shape => shape.replace(entries.next_value()?).is_some(),
                        Field::DataOffsets => data_offsets.replace(entries.next_value()?).is_some(),
                    };
                    if twice {
                        return Err(de::Error::custom("a field of a tensor is given twice"));
                    }
                }
                Ok(Entry {
                    dtype: dtype.ok_or_else(|| de::Error::missing_field("dtype"))?,
                    shape: shape.ok_or_else(|| de::Error::missing_field("shape"))?,
                    data_offsets: data_offsets.ok_or_else(|| de::Error::missing_field("data_offsets"))?,
                })
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

struct Shape(Vec<u64>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lengths;

        impl<'de> Visitor<'de> for Lengths {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {RANK_MAX} lengths")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
                let mut lengths = Vec::new();
                while let Some(length) = items.next_element()? {
                    if lengths.len() == RANK_MAX {
                        return Err(de::Error::custom(format_args!("more than {RANK_MAX} dimensions")));
                    }
                    lengths.push(length);
                }
                lengths.shrink_to_fit();
                Ok(Shape(lengths))
            }
        }

        deserializer.deserialize_seq(Lengths)
    }
}

/// Deserialises an object of texts, and refuses duplicate names.
struct Metadata;

impl<'de> DeserializeSeed<'de> for Metadata {
    type Value = BTreeMap<String, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metadata {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut metadata = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry()? {
            if metadata.len() == METADATA_MAX {
                return Err(de::Error::custom(format_args!("more than {METADATA_MAX} entries of metadata")));
            }
            if metadata.insert(key, value).is_some() {
                return Err(de::Error::custom("an entry of metadata is given twice"));
            }
        }
        Ok(metadata)
    }
}

#[cfg(test)]
pub(super) mod tests;
