//! Recognises weights of other frameworks by their first and last bytes, where no format of more danger was found.
//!
//! Each signature is a magic, or the structure of the first entries where a format has no magic. Where neither is certain,
//! the bytes stay unrecognised. Sources: the readers of each framework, named at each function.

use super::format::Format;
use super::{protobuf, text};

/// Returns the format of a file with ends that are neither text nor of a format that is checked before.
pub(super) fn of(path: &str, head: &[u8], tail: &[u8], size: u64) -> Option<Format> {
    let name = text::file_name(path);
    let extension = text::extension(&name);
    let at = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
    let format = if at(0, b"\x89HDF\r\n\x1a\n") {
        Format::Hdf5
    } else if at(4, b"TFL3") {
        Format::Tflite
    } else if at(4, b"ORTM") {
        Format::Ort
    } else if at(4, b"ET12") {
        Format::ExecuTorch
    } else if at(0, b"LITERTLM") {
        Format::LitertLm
    } else if [b"lmgg", b"fmgg", b"tjgg", b"algg"].iter().any(|magic| at(0, *magic)) {
        Format::Ggml
    } else if at(0, b"ftrt") || at(0, b"ptrt") {
        Format::TensorRt
    } else if at(0, &793_712_314_i32.to_le_bytes()) {
        Format::FastText
    } else if tail.ends_with(&TABLE_MAGIC) {
        Format::TfIndex
    } else if is_core_ml_weights(head) {
        Format::CoreMlWeights
    } else if protobuf::is_core_ml(head, size) {
        Format::CoreMl
    } else if is_saved_model(&name, extension, head, size) {
        Format::SavedModel
    } else if is_ctranslate2(head) {
        Format::CTranslate2
    } else if is_xgboost(head) {
        Format::XgboostUbj
    } else if is_imatrix(head) {
        Format::Imatrix
    } else if extension == "msgpack" && is_arrays_by_name(head) {
        Format::Msgpack
    } else if ["engine", "plan", "trt"].contains(&extension) {
        Format::TensorRt
    } else if is_compressed(head) {
        Format::Archive
    } else {
        return None;
    };
    Some(format)
}

/// The last bytes of an index of a TensorFlow checkpoint (LevelDB's table format).
const TABLE_MAGIC: [u8; 8] = 0xdb47_7524_8b80_fb57_u64.to_le_bytes();

/// The parts of a GGUF file that was cut by bytes, as the name of one of them says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GgufParts<'a> {
    /// The path before the number or the letter.
    pub(super) begin: &'a str,
    pub(super) number: u32,
    /// `None` where the parts are lettered.
    pub(super) total: Option<u32>,
}

impl GgufParts<'_> {
    /// Returns the path of a part.
    pub(super) fn name(&self, number: u32) -> String {
        match self.total {
            Some(total) => format!("{}{number}of{total}", self.begin),
            None => format!("{}{}", self.begin, char::from(b'a' + number.clamp(1, 26) as u8 - 1)),
        }
    }
}

/// Parses `<name>.gguf.part2of3` and `<name>.gguf-split-b`, as uploaders of large files name parts. Of a lettered set, parts
/// up to `y` are known.
pub(super) fn gguf_parts(path: &str) -> Option<GgufParts<'_>> {
    let at = path.rfind(".gguf")? + ".gguf".len();
    let end = &path[at..];
    if let Some(letter) = end.strip_prefix("-split-") {
        let [letter @ b'a'..=b'y'] = letter.as_bytes() else { return None };
        let begin = &path[..at + "-split-".len()];
        return Some(GgufParts { begin, number: u32::from(letter - b'a') + 1, total: None });
    }
    let (number, total) = end.strip_prefix(".part")?.split_once("of")?;
    let is_number = |it: &str| !it.starts_with('0') && it.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(number) || !is_number(total) {
        return None;
    }
    let (number, total) = (number.parse().ok()?, total.parse().ok()?);
    let begin = &path[..at + ".part".len()];
    (1..=total).contains(&number).then_some(GgufParts { begin, number, total: Some(total) })
}

/// Recognises zlib and LZMA without a container, as joblib compresses pickles: neither has a magic, so the first bytes must
/// decompress.
fn is_compressed(head: &[u8]) -> bool {
    let lzma = matches!(head, [0x5d, 0, 0, _, _, size @ ..] if size.get(5..8).is_some_and(|it| it == [0xff; 3] || it == [0; 3]));
    let zlib = matches!(head, [0x08 | 0x18 | 0x28 | 0x38 | 0x48 | 0x58 | 0x68 | 0x78, flags, ..]
        if u16::from_be_bytes([head[0], *flags]).is_multiple_of(31));
    lzma || zlib && inflates(&head[2..])
}

fn inflates(packed: &[u8]) -> bool {
    use miniz_oxide::inflate::TINFLStatus::{Done, HasMoreOutput, NeedsMoreInput};
    use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
    let mut bytes = [0; 4096];
    let flags =
        inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
    let (status, ..) = decompress(&mut DecompressorOxide::new(), packed, &mut bytes, 0, flags);
    matches!(status, Done | HasMoreOutput | NeedsMoreInput)
}

/// Recognises MIL's blob storage: a header of 64 bytes, then the sentinel of the first blob (coremltools,
/// `mlmodel/src/MILBlob/Blob/StorageFormat.hpp`).
fn is_core_ml_weights(head: &[u8]) -> bool {
    head.get(4..8) == Some(&[2, 0, 0, 0])
        && head.get(8..64).is_some_and(|padding| padding.iter().all(|byte| *byte == 0))
        && head.get(64..68) == Some(&0xdead_beef_u32.to_le_bytes())
}

/// Recognises TensorFlow's graphs: `saved_model.pb`, Keras's metadata beside it, and a frozen graph of any name.
fn is_saved_model(name: &str, extension: &str, head: &[u8], size: u64) -> bool {
    let named = matches!(extension, "pb" | "meta") || name == "keras_metadata.pb";
    named && protobuf::is_tensorflow(head, size)
}

/// Recognises a version and the name of a specification, which ends with `Spec` (CTranslate2, `python/ctranslate2/specs`).
fn is_ctranslate2(head: &[u8]) -> bool {
    let Some((version, rest)) = head.split_first_chunk::<4>() else { return false };
    let Some((length, rest)) = rest.split_first_chunk::<2>() else { return false };
    let length = usize::from(u16::from_le_bytes(*length));
    (1..=64).contains(&u32::from_le_bytes(*version))
        && (6..=64).contains(&length)
        && rest
            .get(..length)
            .and_then(|it| it.strip_suffix(b"Spec\0"))
            .is_some_and(|it| it.iter().all(u8::is_ascii_alphanumeric))
}

/// Recognises UBJSON with a first key that is one of XGBoost's (`src/learner.cc`, `SaveModel`).
fn is_xgboost(head: &[u8]) -> bool {
    let Some(rest) = head.strip_prefix(b"{") else { return false };
    let (length, rest) = match rest {
        [b'L', a, b, c, d, e, f, g, h, rest @ ..] => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest)
        }
        [b'i' | b'U', length, rest @ ..] => (u64::from(*length), rest),
        _ => return false,
    };
    let names: [&[u8]; 3] = [b"learner", b"version", b"Config"];
    names.iter().any(|name| length == name.len() as u64 && rest.starts_with(name))
}

/// Recognises the first entry of an importance matrix: a count, and the name of a tensor (llama.cpp, `tools/imatrix`).
fn is_imatrix(head: &[u8]) -> bool {
    let Some((count, rest)) = head.split_first_chunk::<4>() else { return false };
    let Some((length, rest)) = rest.split_first_chunk::<4>() else { return false };
    let length = u32::from_le_bytes(*length);
    (1..=100_000).contains(&u32::from_le_bytes(*count))
        && (8..=128).contains(&length)
        && rest
            .get(..length as usize)
            .is_some_and(|name| name.ends_with(b".weight") && name.iter().all(u8::is_ascii_graphic))
}

/// Entries that are read before a file counts as arrays by name.
const MSGPACK_STEPS_MAX: usize = 64;

/// Recognises maps of names that lead to an array: Flax's extension type 1 (flax, `serialization.py`).
fn is_arrays_by_name(head: &[u8]) -> bool {
    let mut rest = head;
    let mut keys_due = 0_u32;
    for _ in 0..MSGPACK_STEPS_MAX {
        let Some((first, after)) = rest.split_first() else { return false };
        if keys_due > 0 {
            let length = match (first, after) {
                (0xa0..=0xbf, _) => Some((usize::from(first & 0x1f), after)),
                (0xd9, [length, after @ ..]) => Some((usize::from(*length), after)),
                _ => None,
            };
            let Some((length, after)) = length else { return false };
            let Some((name, after)) = after.split_at_checked(length) else { return false };
            if std::str::from_utf8(name).is_err() {
                return false;
            }
            (keys_due, rest) = (0, after);
            continue;
        }
        match (first, after) {
            (0x81..=0x8f, _) => (keys_due, rest) = (1, after),
            (0xde, [_, _, after @ ..]) => (keys_due, rest) = (1, after),
            // An extension of type 1 with its length.
            (0xc7, [_, 1, ..]) | (0xc8, [_, _, 1, ..]) | (0xc9, [_, _, _, _, 1, ..]) => return true,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One small file of each format, with a name.
    fn samples() -> Vec<(Format, &'static str, Vec<u8>)> {
        let behind = |offset: usize, magic: &[u8]| [&vec![0x1c; offset], magic, &[0; 64]].concat();
        let mut mil = vec![1, 0, 0, 0, 2, 0, 0, 0];
        mil.resize(64, 0);
        mil.extend(0xdead_beef_u32.to_le_bytes());
        let mut spec = 6_u32.to_le_bytes().to_vec();
        spec.extend(b"\x10\0TransformerSpec\0\x07\0\0\0");
        let mut matrix = 2_u32.to_le_bytes().to_vec();
        matrix.extend(19_u32.to_le_bytes());
        matrix.extend(b"blk.0.attn_k.weight\x01\0\0\0");
        vec![
            (Format::Hdf5, "tf_model.h5", b"\x89HDF\r\n\x1a\n\0\0".to_vec()),
            (Format::Tflite, "m.tflite", behind(4, b"TFL3")),
            (Format::Ort, "m.ort", behind(4, b"ORTM")),
            (Format::ExecuTorch, "m.pte", behind(4, b"ET12eh00")),
            (Format::LitertLm, "m.litertlm", b"LITERTLM\x01\0\0\0".to_vec()),
            (Format::Ggml, "ggml-tiny.bin", b"lmgg\x9a\xca\0\0".to_vec()),
            (Format::TensorRt, "m.bin", b"ftrt\x18\0\0\0\0\0".to_vec()),
            (Format::TensorRt, "m.engine", vec![0x1c; 40]),
            (Format::FastText, "lid.176.ftz", b"\xba\x16\x4f\x2f\x0c\0\0\0".to_vec()),
            (Format::TfIndex, "variables.index", [&[0; 40], &TABLE_MAGIC[..]].concat()),
            (Format::CoreMlWeights, "weight.bin", mil),
            (Format::CTranslate2, "model.bin", spec),
            (Format::XgboostUbj, "m.ubj", b"{L\0\0\0\0\0\0\0\x07learner{".to_vec()),
            (Format::Imatrix, "imatrix.dat", matrix),
            (Format::Msgpack, "flax_model.msgpack", b"\x82\xa6params\x81\xa1w\xc8\0\x08\x01\x93".to_vec()),
            (
                Format::Archive,
                "clf.joblib",
                [b"\x78\x9c".to_vec(), miniz_oxide::deflate::compress_to_vec(&[7; 99], 6)].concat(),
            ),
            (Format::Archive, "x.bin", b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0".to_vec()),
        ]
    }

    #[test]
    fn each_signature_is_known() {
        for (format, name, bytes) in samples() {
            let found = of(name, &bytes, &bytes, bytes.len() as u64);
            assert_eq!(found, Some(format), "{name}");
        }
        for name in ["m.bin", "m.msgpack", "a.gguf.part4of3", "a.part1of2", "a.gguf-split-", "m.pb"] {
            assert_eq!(of(name, &[0x1c; 64], &[0x1c; 64], 64), None, "{name}");
        }
    }

    #[test]
    fn a_part_has_a_number_and_a_total_or_a_letter() {
        let of = |name: &'static str| gguf_parts(name).map(|it| (it.begin, it.number, it.total, it.name(1)));
        assert_eq!(
            of("a/m.gguf.part2of3"),
            Some(("a/m.gguf.part", 2, Some(3), "a/m.gguf.part1of3".to_owned()))
        );
        assert_eq!(of("m.gguf-split-c"), Some(("m.gguf-split-", 3, None, "m.gguf-split-a".to_owned())));
        for name in [
            "m.gguf.part0of3",
            "m.gguf.part4of3",
            "m.gguf.part",
            "m.gguf.partof",
            "m.gguf.part01of2",
            "m.gguf-split-",
            "m.part1of2",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
