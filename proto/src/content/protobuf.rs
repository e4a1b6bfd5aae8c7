//! Recognises the protobuf messages of model files by their first fields, without decoding the messages.

/// A field of a message, of which the end may be missing.
#[derive(Debug, PartialEq, Eq)]
struct Field<'a> {
    number: u64,
    value: Value<'a>,
}

#[derive(Debug, PartialEq, Eq)]
enum Value<'a> {
    Varint(u64),
    Fixed,
    /// The bytes that are available, and the field's whole length.
    Bytes(&'a [u8], u64),
}

/// Iterates over the fields of a message, of which the end may be missing.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Returns the next field, or `None` if the bytes end or are not a field.
    fn next(&mut self) -> Option<Field<'a>> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.skip(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                let here = usize::try_from(length).map_or(self.0.len(), |length| length.min(self.0.len()));
                Value::Bytes(self.skip(here)?, length)
            }
            5 => self.skip(4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        Some(Field { number: tag >> 3, value })
    }

    fn skip(&mut self, count: usize) -> Option<&'a [u8]> {
        let (skipped, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(skipped)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.skip(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

/// Highest `ir_version` that is accepted. ONNX 1.20 writes 13.
const ONNX_IR_VERSION_MAX: u64 = 64;

/// Returns whether a file of `size` bytes with this head is an ONNX `ModelProto`.
///
/// It must begin with an `ir_version`. Fields of the message with their types must follow, among them the graph.
pub(super) fn is_onnx(head: &[u8], size: u64) -> bool {
    let mut fields = Fields(head);
    let Some(Field { number: 1, value: Value::Varint(1..=ONNX_IR_VERSION_MAX) }) = fields.next() else {
        return false;
    };
    while let Some(field) = fields.next() {
        match field {
            Field { number: 7, value: Value::Bytes(_, length) } => return (1..size).contains(&length),
            Field { number: 5, value: Value::Varint(_) } => {}
            Field { number: 2 | 3 | 4 | 6 | 8 | 14 | 20 | 25 | 26, value: Value::Bytes(_, length) }
                if length < size => {}
            _ => return false,
        }
    }
    false
}

/// Highest `specificationVersion` that is accepted. Core ML of 2025 writes 10.
const CORE_ML_VERSION_MAX: u64 = 32;

/// Returns whether a file of `size` bytes with this head is a Core ML `Model`: a version, a description, and a model of one
/// of the types that have numbers from 200 on (coremltools, `mlmodel/format/Model.proto`).
pub(super) fn is_core_ml(head: &[u8], size: u64) -> bool {
    let mut fields = Fields(head);
    let version = fields.next();
    if !matches!(version, Some(Field { number: 1, value: Value::Varint(1..=CORE_ML_VERSION_MAX) })) {
        return false;
    }
    let mut has_description = false;
    while let Some(field) = fields.next() {
        match field {
            Field { number: 2, value: Value::Bytes(_, length) } if length < size => has_description = true,
            Field { number: 10, value: Value::Varint(0 | 1) } => {}
            Field { number: 200..=3000, value: Value::Bytes(_, length) } => {
                return has_description && (1..size).contains(&length);
            }
            _ => return false,
        }
    }
    false
}

/// Returns whether a file of `size` bytes with this head is a `SavedModel`, a `MetaGraphDef`, a `GraphDef` or Keras's
/// metadata of TensorFlow: its first message is of the number and form that those have.
pub(super) fn is_tensorflow(head: &[u8], size: u64) -> bool {
    let mut fields = Fields(head);
    let first = match fields.next() {
        Some(Field { number: 1, value: Value::Varint(0..=8) }) => fields.next().filter(|it| it.number == 2),
        first => first.filter(|it| it.number == 1),
    };
    let Some(Field { value: Value::Bytes(message, length), .. }) = first else { return false };
    let inner = Fields(message).next();
    (1..size).contains(&length)
        && matches!(inner, Some(Field { number: 1..=3, value: Value::Bytes(..) | Value::Varint(_) }))
}

/// Number of tokens (SentencePiece's pieces) that are checked before a file counts as a vocabulary.
const VOCABULARY_PIECES: usize = 3;

/// Returns whether a file with this head is a SentencePiece `ModelProto`.
///
/// It must begin with SentencePiece's pieces: each is a text, a score, and possibly a type.
pub(super) fn is_sentencepiece(head: &[u8]) -> bool {
    let mut fields = Fields(head);
    (0..VOCABULARY_PIECES).all(|_| match fields.next() {
        Some(Field { number: 1, value: Value::Bytes(piece, length) }) if piece.len() as u64 == length => {
            is_piece(piece)
        }
        _ => false,
    })
}

fn is_piece(piece: &[u8]) -> bool {
    let mut fields = Fields(piece);
    let Some(Field { number: 1, value: Value::Bytes(text, length) }) = fields.next() else { return false };
    let score = fields.next();
    let kind = fields.next();
    text.len() as u64 == length
        && std::str::from_utf8(text).is_ok()
        && score == Some(Field { number: 2, value: Value::Fixed })
        && (kind.is_none() || matches!(kind, Some(Field { number: 3, value: Value::Varint(1..=6) })))
        && fields.0.is_empty()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The start of an ONNX file with a graph of `graph` bytes.
    pub(crate) fn onnx(graph: u8) -> Vec<u8> {
        let mut bytes = b"\x08\x08\x12\x07pytorch\x1a\x052.5.1\x28\x00\x3a".to_vec();
        bytes.push(graph);
        bytes.extend(vec![0; usize::from(graph)]);
        bytes
    }

    /// A vocabulary of four pieces.
    pub(crate) fn sentencepiece() -> Vec<u8> {
        let mut bytes = Vec::new();
        for text in ["<unk>", "<s>", "\u{2581}the", "a"] {
            let mut piece = vec![0x0a, u8::try_from(text.len()).unwrap()];
            piece.extend(text.as_bytes());
            piece.extend(b"\x15\0\0\0\0\x18\x02");
            bytes.extend([0x0a, u8::try_from(piece.len()).unwrap()]);
            bytes.extend(piece);
        }
        bytes.extend(b"\x12\x00");
        bytes
    }

    #[test]
    fn knows_onnx() {
        let bytes = onnx(40);
        assert!(is_onnx(&bytes, bytes.len() as u64));
        assert!(is_onnx(&bytes[..30], bytes.len() as u64));
        for other in
            [b"\x08\x08".as_slice(), b"\x08\x08\x3a\xff\xff\xff\x0f", b"\x08\x00\x3a\x01\0", b"\x0a\x01\0"]
        {
            assert!(!is_onnx(other, other.len() as u64), "{other:?}");
        }
    }

    #[test]
    fn knows_core_ml_and_tensorflow() {
        let model = b"\x08\x04\x12\x03abc\xa2\x1f\x04abcd";
        assert!(is_core_ml(model, model.len() as u64) && !is_onnx(model, model.len() as u64));
        assert!(!is_core_ml(&onnx(40), 60));
        assert!(!is_core_ml(b"\x08\x04\xa2\x1f\x04abcd", 9), "a model has a description");
        let saved = b"\x08\x01\x12\x06\x0a\x04\x0a\x02ab";
        let graph = b"\x0a\x06\x0a\x01x\x12\x01A";
        for bytes in [saved.as_slice(), graph] {
            assert!(is_tensorflow(bytes, bytes.len() as u64), "{}", bytes.escape_ascii());
            assert!(!is_core_ml(bytes, bytes.len() as u64) && !is_onnx(bytes, bytes.len() as u64));
        }
        assert!(!is_tensorflow(b"\x08\x01", 2) && !is_tensorflow(b"", 0));
    }

    #[test]
    fn knows_sentencepiece() {
        assert!(is_sentencepiece(&sentencepiece()));
        assert!(!is_sentencepiece(&sentencepiece()[..20]));
        assert!(!is_sentencepiece(&onnx(4)));
        assert!(!is_sentencepiece(b""));
    }
}
