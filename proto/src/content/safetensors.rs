//! Reads the header of a safetensors file strictly.
//!
//! A file is `u64 N, little-endian · N bytes of JSON · data`. Two readers of one file must see the same tensors. So this
//! reader refuses what readers take differently: duplicate names or fields, overlapping tensors, bytes that belong to no
//! tensor. What the format's own library ignores is ignored: further fields of a tensor, and `__metadata__` that is null.
//!
//! Source: <https://github.com/huggingface/safetensors>, "Format".

mod short_strings;
mod subset;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use self::short_strings::ShortStrings;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use thiserror::Error;

/// Bytes of a header, as many as the format's own library accepts.
pub const HEADER_BYTES_MAX: u64 = 100_000_000;
/// Tensors of one file. Mixtures of experts in one file have some 210,000.
pub const TENSORS_MAX: usize = 300_000;
/// Bytes of all tensors' names: 79 for each of 210,000, or 55 for each of [`TENSORS_MAX`].
pub const NAMES_BYTES_MAX: usize = 16 << 20;
/// Bytes of one tensor's name. Known ones have some hundred.
pub const NAME_BYTES_MAX: usize = 4 << 10;
/// Dimensions of all tensors: three for each of [`TENSORS_MAX`]. Most tensors have one or two.
pub const DIMENSIONS_MAX: usize = 3 * TENSORS_MAX;
/// Bytes that are kept of one string of the header, and of all entries of `__metadata__`. A training program writes the
/// frequencies of its words there. What is longer is shortened, and of more entries the first ones are kept.
pub const STRING_BYTES_MAX: usize = 1 << 20;
pub const METADATA_BYTES_MAX: usize = 4 << 20;
/// Tensors that room is made for at once.
const TENSORS_AT_ONCE: usize = 16 << 10;
/// Dimensions of one tensor, as many as NumPy allows.
pub const RANK_MAX: usize = 64;
/// Entries of `__metadata__`. Training programs write some hundred.
pub const METADATA_MAX: usize = 10_000;

/// Size of the read buffer, in bytes.
const BUFFER_LEN: usize = 64 << 10;
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
    #[error("tensor {name:?} is named twice")]
    Twice { name: String },
    #[error("file cannot be read")]
    Io(#[source] io::Error),
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
    read(&mut { header }, header.len() as u64, file_size)
}

/// Reads a header of `length` bytes, as many as [`header_len`] returned, from where `reader` is. Holds the tensors and not the
/// header's text: at most 64 MiB.
///
/// # Errors
/// If the header breaks the format, as for [`parse`], or cannot be read.
pub fn read(reader: &mut dyn Read, length: u64, file_size: u64) -> Result<Safetensors, SafetensorsError> {
    header_len(length.to_le_bytes(), file_size)?;
    let mut source = BufReader::with_capacity(BUFFER_LEN, reader.take(length));
    if source.fill_buf().map_err(SafetensorsError::Io)?.first() != Some(&b'{') {
        return Err(SafetensorsError::HeaderStart);
    }
    let parsed: Result<Safetensors, _> =
        serde_json::from_reader(BufReader::new(ShortStrings::new(source, STRING_BYTES_MAX)));
    let mut file = parsed.map_err(|error| match error.is_io() {
        true => SafetensorsError::Io(error.into()),
        false => SafetensorsError::Json(error),
    })?;
    check_names(&file.tensors)?;
    for tensor in &file.tensors {
        check_range(tensor)?;
    }
    file.tensors.sort_unstable_by(|a, b| (a.begin, a.end, &a.name).cmp(&(b.begin, b.end, &b.name)));
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

/// Checks that no two tensors have one name.
fn check_names(tensors: &[Tensor]) -> Result<(), SafetensorsError> {
    let mut names: Vec<&str> = tensors.iter().map(|it| it.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(SafetensorsError::Twice { name: pair[0].to_owned() }),
        None => Ok(()),
    }
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
                let mut tensors: Vec<Tensor> = Vec::new();
                let (mut names, mut dimensions) = (0, 0);
                let mut metadata: Option<Option<Notes>> = None;
                while let Some(name) = entries.next_key::<String>()? {
                    if name == METADATA_KEY {
                        if metadata.replace(entries.next_value()?).is_some() {
                            return Err(de::Error::duplicate_field(METADATA_KEY));
                        }
                        continue;
                    }
                    if tensors.len() == TENSORS_MAX {
                        return Err(de::Error::custom(format_args!("more than {TENSORS_MAX} tensors")));
                    }
                    let entry = entries.next_value::<Entry>()?;
                    (names, dimensions) = (names + name.len(), dimensions + entry.shape.0.len());
                    if name.len() > NAME_BYTES_MAX || names > NAMES_BYTES_MAX || dimensions > DIMENSIONS_MAX {
                        return Err(de::Error::custom("names or shapes take more memory than is allowed"));
                    }
                    if tensors.len() == tensors.capacity() {
                        tensors.reserve_exact(TENSORS_AT_ONCE);
                    }
                    tensors.push(entry.named(name));
                }
                let metadata = metadata.flatten().map(|it| it.0).unwrap_or_default();
                Ok(Safetensors { tensors, metadata })
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
    /// The format's own library ignores it.
    #[serde(other)]
    Further,
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
                        Field::Further => {
                            entries.next_value::<Ignored>()?;
                            false
                        }
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

/// A value that is skipped. Unlike [`de::IgnoredAny`] it is nested at most as deep as a value that is read, because a parser
/// keeps a byte for each level.
struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Ignored {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
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

/// The entries of `__metadata__`: an object of texts, without duplicate names.
struct Notes(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Notes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Metadata).map(Self)
    }
}

struct Metadata;

impl<'de> Visitor<'de> for Metadata {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut metadata = BTreeMap::new();
        let (mut count, mut bytes) = (0, 0);
        while let Some((key, value)) = entries.next_entry::<String, String>()? {
            if count == METADATA_MAX {
                return Err(de::Error::custom(format_args!("more than {METADATA_MAX} entries of metadata")));
            }
            if metadata.contains_key(&key) {
                return Err(de::Error::custom("an entry of metadata is given twice"));
            }
            count += 1;
            bytes += key.len() + value.len();
            if bytes <= METADATA_BYTES_MAX {
                metadata.insert(key, value);
            }
        }
        Ok(metadata)
    }
}

#[cfg(test)]
pub(super) mod tests;
