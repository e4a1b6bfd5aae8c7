//! Reads which files an ONNX graph keeps its tensors in, without reading tensor data.
//!
//! Walks the messages that may hold tensors: graphs, their nodes, attributes, subgraphs and functions, and the graphs that train
//! a model. Skips everything else by its length. Source: onnx, `onnx/onnx.proto`.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read, Seek};

use thiserror::Error;

use crate::path::SafePath;

/// Files that a graph may name. The largest models have some hundred.
pub const LOCATIONS_MAX: usize = 10_000;
/// Nesting of messages. A subgraph costs three levels.
const DEPTH_MAX: usize = 96;
/// Fields that are read. The largest graphs have some million.
const FIELDS_MAX: u64 = 20_000_000;
/// Bytes of a key and a value that say where a tensor lies: the value is a path.
const ENTRY_BYTES_MAX: u64 = 4 << 10;
/// Size of the read buffer, in bytes.
const BUFFER_LEN: usize = 64 << 10;

/// The files that hold tensors of a graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct External {
    /// Paths relative to the directory of the ONNX file.
    pub files: BTreeSet<SafePath>,
}

/// Why the files that a graph names cannot be read.
#[derive(Debug, Error)]
pub enum OnnxError {
    #[error("the file is cut off, or is no ONNX model: a message ends inside a field")]
    Truncated,
    #[error("it is no ONNX model: a field has an unknown form")]
    Form,
    #[error("a path {path:?} is refused")]
    Path { path: String },
    #[error("the graph has more fields, files or levels than are allowed")]
    TooMuch,
    #[error("file cannot be read")]
    Io(#[from] io::Error),
}

/// The messages that are read, by what their fields may hold.
#[derive(Debug, Clone, Copy)]
enum Message {
    Model,
    Training,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    Function,
}

impl Message {
    /// Returns the message in field `number`, if it may hold tensors.
    const fn inside(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::Training, 1 | 2) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::Sparse,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            _ => return None,
        })
    }
}

/// The field of a tensor that says where its data lie.
const EXTERNAL_DATA: u64 = 13;

/// Reads the paths of the files that hold tensors of the graph in `file`, which has `size` bytes.
///
/// # Errors
/// The file is no graph, names a path that leads elsewhere, or exceeds a bound.
pub fn read<F: Read + Seek>(file: &mut F, size: u64) -> Result<External, OnnxError> {
    file.rewind()?;
    let mut source = Source { reader: BufReader::with_capacity(BUFFER_LEN, file), at: 0 };
    let mut open = vec![(Message::Model, size)];
    let (mut external, mut fields) = (External::default(), 0);
    while let Some((message, end)) = open.last().copied() {
        if source.at == end {
            open.pop();
            continue;
        }
        fields += 1;
        if fields > FIELDS_MAX {
            return Err(OnnxError::TooMuch);
        }
        let tag = source.varint(end)?;
        let length = match tag & 7 {
            0 => {
                source.varint(end)?;
                continue;
            }
            1 => 8,
            2 => source.varint(end)?,
            5 => 4,
            _ => return Err(OnnxError::Form),
        };
        let field_end = source.at.checked_add(length).filter(|it| *it <= end).ok_or(OnnxError::Truncated)?;
        let number = tag >> 3;
        match message.inside(number) {
            Some(inside) if tag & 7 == 2 => {
                if open.len() >= DEPTH_MAX {
                    return Err(OnnxError::TooMuch);
                }
                open.push((inside, field_end));
            }
            _ if matches!(message, Message::Tensor) && number == EXTERNAL_DATA => {
                external.add(&source.bytes(length)?)?;
            }
            _ => source.skip(length)?,
        }
    }
    Ok(external)
}

impl External {
    /// Adds the path of an entry `location`.
    fn add(&mut self, entry: &[u8]) -> Result<(), OnnxError> {
        let (mut key, mut value) = (None, None);
        let mut rest = entry;
        while let [tag, length, after @ ..] = rest {
            // A path of more than 127 bytes has a length of two bytes.
            let (length, after) = match (length, after) {
                (0..=0x7f, _) => (usize::from(*length), after),
                (low, [high @ 0..=0x7f, after @ ..]) => {
                    (usize::from(low & 0x7f) | usize::from(*high) << 7, after)
                }
                _ => return Err(OnnxError::Form),
            };
            let (text, after) = after.split_at_checked(length).ok_or(OnnxError::Truncated)?;
            match tag {
                0x0a => key = Some(text),
                0x12 => value = Some(text),
                _ => return Err(OnnxError::Form),
            }
            rest = after;
        }
        if key != Some(b"location") {
            return Ok(());
        }
        let path = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        let parsed = path.strip_prefix("./").unwrap_or(&path).parse();
        self.files.insert(parsed.map_err(|_| OnnxError::Path { path })?);
        if self.files.len() > LOCATIONS_MAX { Err(OnnxError::TooMuch) } else { Ok(()) }
    }
}

struct Source<'a, F: Read + Seek> {
    reader: BufReader<&'a mut F>,
    at: u64,
}

impl<F: Read + Seek> Source<'_, F> {
    fn varint(&mut self, end: u64) -> Result<u64, OnnxError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            if self.at >= end {
                return Err(OnnxError::Truncated);
            }
            let mut byte = [0];
            self.reader.read_exact(&mut byte)?;
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(OnnxError::Form)
    }

    fn bytes(&mut self, length: u64) -> Result<Vec<u8>, OnnxError> {
        if length > ENTRY_BYTES_MAX {
            return Err(OnnxError::TooMuch);
        }
        let mut bytes = vec![0; length as usize];
        self.reader.read_exact(&mut bytes)?;
        self.at += length;
        Ok(bytes)
    }

    fn skip(&mut self, length: u64) -> Result<(), OnnxError> {
        self.reader.seek_relative(i64::try_from(length).map_err(|_| OnnxError::Truncated)?)?;
        self.at += length;
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = match number {
            0..16 => vec![number << 3 | 2],
            _ => vec![(number << 3 | 2) | 0x80, number >> 4],
        };
        let mut length = bytes.len();
        while length > 0x7f {
            field.push(length as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        [&field, bytes].concat()
    }

    /// An ONNX file with a tensor in each of these files, one of them in a subgraph.
    pub(crate) fn with_data(files: &[&str]) -> Vec<u8> {
        let (first, rest) = files.split_first().expect("a file");
        let subgraph = field(5, &tensor(first));
        let node = field(1, &field(5, &field(6, &subgraph)));
        let others: Vec<u8> = rest.iter().flat_map(|file| field(5, &tensor(file))).collect();
        [b"\x08\x08".to_vec(), field(2, b"test"), field(7, &[node, others].concat())].concat()
    }

    /// A tensor that lies in a file.
    fn tensor(file: &str) -> Vec<u8> {
        let entry = [field(1, b"location"), field(2, file.as_bytes())].concat();
        let offset = [field(1, b"offset"), field(2, b"0")].concat();
        [field(8, b"w"), field(13, &entry), field(13, &offset)].concat()
    }

    fn names(bytes: &[u8]) -> Result<Vec<String>, OnnxError> {
        let external = read(&mut Cursor::new(bytes), bytes.len() as u64)?;
        Ok(external.files.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn finds_the_files_of_all_tensors() {
        let long = format!("{}.onnx_data", "d".repeat(150));
        let bytes = with_data(&["a.onnx_data", "./b/c.bin", &long]);
        assert_eq!(names(&bytes).expect("a graph"), ["a.onnx_data", "b/c.bin", &long]);
        assert!(names(&super::super::protobuf::tests::onnx(0)).expect("a graph").is_empty());
    }

    #[test]
    fn finds_tensors_of_training_of_functions_and_sparse_ones() {
        let initializer = |file: &str| field(5, &tensor(file));
        let attribute = |file: &str| field(5, &field(5, &tensor(file)));
        let sparse = field(15, &[field(1, &tensor("values.bin")), field(2, &tensor("indices.bin"))].concat());
        let training =
            [field(1, &initializer("first.bin")), field(2, &field(1, &attribute("step.bin")))].concat();
        let function =
            [field(7, &attribute("in_function.bin")), field(11, &field(5, &tensor("default.bin")))];
        let model = [field(7, &sparse), field(20, &training), field(25, &function.concat())].concat();
        let all = ["default.bin", "first.bin", "in_function.bin", "indices.bin", "step.bin", "values.bin"];
        assert_eq!(names(&model).expect("a graph"), all);
    }

    #[test]
    fn refuses_what_leads_elsewhere_and_what_is_damaged() {
        for path in ["../x", "/etc/passwd", ""] {
            assert!(matches!(names(&with_data(&[path])), Err(OnnxError::Path { .. })), "{path}");
        }
        let bytes = with_data(&["a.bin"]);
        for length in 1..bytes.len() {
            assert!(names(&bytes[..length]).is_err() || length < 10, "{length}");
        }
        // A graph within an attribute within a node, and so on.
        let deep = (0..200_u32).fold(Vec::new(), |inner, it| field([5, 1, 6][it as usize % 3], &inner));
        assert!(matches!(names(&field(7, &deep)), Err(OnnxError::TooMuch)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]

        #[test]
        fn never_panics_on_damage(at in 0..200_usize, byte: u8, cut in 0..200_usize) {
            let mut bytes = with_data(&["a.bin", "b/c.bin"]);
            if let Some(it) = bytes.get_mut(at) { *it = byte; }
            bytes.truncate(cut.max(1));
            let _ = names(&bytes);
        }
    }
}
