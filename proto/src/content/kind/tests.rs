//! Tests which kind `sniff` returns for a file.

use proptest::prelude::*;

use super::*;
use crate::content::{gguf, protobuf, safetensors, zip};

fn whole(path: &str, bytes: &[u8]) -> ContentKind {
    let head = &bytes[..bytes.len().min(HEAD_LEN)];
    let tail = &bytes[bytes.len().saturating_sub(TAIL_LEN)..];
    sniff(path, head, tail, bytes.len() as u64)
}

/// One file of every kind that its bytes determine.
fn samples() -> Vec<(ContentKind, Vec<u8>)> {
    vec![
        (ContentKind::Safetensors, safetensors::tests::sample()),
        (ContentKind::Gguf, gguf::tests::sample()),
        (ContentKind::Onnx, protobuf::tests::onnx(60)),
        (ContentKind::Json, b" {\"a\": [1]}\n".to_vec()),
        (ContentKind::Text, "# Grüße\n".as_bytes().to_vec()),
        (ContentKind::TokenizerModel, protobuf::tests::sentencepiece()),
        (ContentKind::Media, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec()),
        (ContentKind::Media, b"RIFF\x10\0\0\0WAVEfmt ".to_vec()),
        (ContentKind::Dataset, b"PAR1\x15\x04\0\0PAR1".to_vec()),
        (ContentKind::Dataset, b"\x93NUMPY\x01\0\x1a\0{'descr': '<f4', 'shape':}".to_vec()),
        (ContentKind::Pickle, b"\x93NUMPY\x01\0\x19\0{'descr': '|O', 'shape':}".to_vec()),
        (ContentKind::Pickle, b"\x80\x04\x95\x01\0\0\0\0\0\0\0N.".to_vec()),
        (ContentKind::Pickle, b"\x80\x02}q\0.".to_vec()),
        (ContentKind::Pickle, b"cos\nsystem\n(S'id'\ntR.".to_vec()),
        (ContentKind::Pickle, zip::tests::archive(&["archive/data.pkl", "archive/data/0"])),
        (ContentKind::Pickle, zip::tests::archive(&["m/code/__torch__.py", "m/data.pkl", "m/constants.pkl"])),
        (ContentKind::Archive, zip::tests::archive(&["config.json", "model.weights.h5"])),
        (ContentKind::Archive, b"\x1f\x8b\x08\0\0\0\0\0".to_vec()),
        (ContentKind::Archive, b"7z\xbc\xaf\x27\x1c\0\x04".to_vec()),
        (ContentKind::Archive, b"Rar!\x1a\x07\x01\0".to_vec()),
        (ContentKind::Archive, [vec![0; 257], b"ustar\0".to_vec()].concat()),
        (ContentKind::Executable, b"\x7fELF\x02\x01\x01\0".to_vec()),
        (ContentKind::Executable, b"MZ\x90\0\x03\0\0\0".to_vec()),
        (ContentKind::Executable, b"\0asm\x01\0\0\0".to_vec()),
        (ContentKind::Executable, b"\xcf\xfa\xed\xfe\x0c\0\0\x01".to_vec()),
        (ContentKind::Executable, b"\xa7\x0d\r\n\0\0\0\0".to_vec()),
        (ContentKind::UnknownBinary, b"\x89HDF\r\n\x1a\n\0\0".to_vec()),
        (ContentKind::UnknownBinary, vec![0; 64]),
    ]
}

/// No name hides a dangerous kind, and none turns a weight file into another kind.
#[test]
fn bytes_count_before_the_name() {
    for (kind, bytes) in samples() {
        for path in ["model.safetensors", "a/README.md", "x.bin", "x.gguf", "y.png", "noname", "config.json"]
        {
            assert_eq!(whole(path, &bytes), kind, "{path}: {}", bytes.escape_ascii());
        }
    }
}

#[test]
fn a_name_tells_texts_apart() {
    let text = b"some words\n";
    for (path, kind) in [
        ("LICENSE", ContentKind::Text),
        ("chat_template.jinja", ContentKind::Text),
        ("data/train.csv", ContentKind::Dataset),
        ("train.JSONL", ContentKind::Dataset),
        ("modeling_x.py", ContentKind::Code),
        ("__init__.py", ContentKind::Code),
        ("run.sh", ContentKind::Code),
        ("index.html", ContentKind::Code),
    ] {
        assert_eq!(whole(path, text), kind, "{path}");
    }
    assert_eq!(whole("n.ipynb", b"{}"), ContentKind::Code);
    assert_eq!(whole("__init__.py", b""), ContentKind::Code);
    assert_eq!(whole("vocab.txt", b""), ContentKind::Text);
    assert_eq!(whole("c.json", b"not json"), ContentKind::Text);
}

/// A header of 640 bytes begins like a pickle of protocol 2.
#[test]
fn a_header_length_that_looks_like_a_pickle_is_none() {
    let bytes = safetensors::tests::file_with_header_of(640);
    assert_eq!(bytes[..2], [0x80, 2]);
    assert_eq!(whole("model.safetensors", &bytes), ContentKind::Safetensors);
    assert_eq!(whole("pytorch_model.bin", &bytes), ContentKind::Safetensors);
}

#[test]
fn of_two_readings_the_more_dangerous_counts() {
    let archive = zip::tests::archive(&["archive/data.pkl"]);
    for (kind, bytes) in samples() {
        if kind.risk().is_none() {
            let both = [bytes, archive.clone()].concat();
            assert_eq!(whole("model.safetensors", &both), ContentKind::Pickle, "{kind}");
        }
    }
    // A header's length may be an opcode that skips the header, and a program may follow it.
    let steps = [b'X', 0, 0, 1, 0, 0, 0, 0, b'{', b'"'];
    assert_eq!(sniff("model.bin", &steps, &[], 90 << 20), ContentKind::Pickle);
    assert_eq!(sniff("model.safetensors", &steps, &[], 90 << 20), ContentKind::Safetensors);
    let calls = [b"X\x05\0\0\0\0\0\0{\"cos\nsystem\n(S'id'\ntR.".as_slice(), &[b' '; 2000]].concat();
    assert_eq!(whole("model.safetensors", &calls), ContentKind::Pickle);
}

#[test]
fn names_are_those_of_json() {
    for kind in ContentKind::ALL {
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn anything_has_a_kind(
        sample in 0..40_usize, cut in 0..200_usize, at in 0..200_usize, byte: u8,
        noise in proptest::collection::vec(any::<u8>(), 0..64), size: u64,
    ) {
        let samples = samples();
        let mut bytes = samples.get(sample).map_or(noise.clone(), |(_, bytes)| bytes.clone());
        bytes.truncate(cut.max(1));
        if let Some(it) = bytes.get_mut(at) { *it = byte; }
        let _ = whole("model.bin", &bytes);
        let _ = sniff("a/b.txt", &bytes, &noise, size);
    }
}
