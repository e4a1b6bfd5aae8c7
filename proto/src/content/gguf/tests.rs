//! Tests which files the reader of `gguf` accepts and which it refuses.

use proptest::prelude::*;

use super::*;

/// Writes GGUF files, valid or not.
#[derive(Default, Clone)]
struct Writer {
    settings: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    data: usize,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

impl Writer {
    fn setting(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.settings.push([text(key).as_slice(), &kind.to_le_bytes(), value].concat());
        self
    }

    fn text(self, key: &str, value: &str) -> Self {
        self.setting(key, STRING, &text(value))
    }

    fn number(self, key: &str, value: u32) -> Self {
        self.setting(key, UINT32, &value.to_le_bytes())
    }

    fn texts(self, key: &str, values: &[&str]) -> Self {
        let mut value = [STRING.to_le_bytes().as_slice(), &(values.len() as u64).to_le_bytes()].concat();
        value.extend(values.iter().flat_map(|it| text(it)));
        self.setting(key, ARRAY, &value)
    }

    fn tensor(mut self, name: &str, shape: &[u64], kind: u32, begin: u64) -> Self {
        let mut tensor = text(name);
        tensor.extend((shape.len() as u32).to_le_bytes());
        tensor.extend(shape.iter().flat_map(|it| it.to_le_bytes()));
        tensor.extend(kind.to_le_bytes());
        tensor.extend(begin.to_le_bytes());
        self.tensors.push(tensor);
        self
    }

    fn data(mut self, bytes: usize) -> Self {
        self.data = bytes;
        self
    }

    fn finish(self) -> Vec<u8> {
        let (tensors, settings) = (self.tensors.len() as u64, self.settings.len() as u64);
        self.finish_as(3, tensors, settings, 32)
    }

    fn finish_as(self, version: u32, tensors: u64, settings: u64, alignment: usize) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(version.to_le_bytes());
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(settings.to_le_bytes());
        bytes.extend(self.settings.concat());
        bytes.extend(self.tensors.concat());
        bytes.resize(bytes.len().next_multiple_of(alignment), 0);
        bytes.extend(vec![7; self.data]);
        bytes
    }
}

const TEMPLATE: &str = "{% for m in messages %}{{ m.content }}{% endfor %}";

fn writer() -> Writer {
    Writer::default()
        .text("general.architecture", "llama")
        .text("general.name", "Tiny")
        .text("general.license", "mit")
        .number("general.file_type", 15)
        .number("llama.context_length", 4096)
        .setting("llama.rope.freq_base", 6, &1e4_f32.to_le_bytes())
        .setting("tokenizer.ggml.add_bos_token", BOOL, &[1])
        .texts("tokenizer.ggml.tokens", &["<s>", "a", "\u{2581}b"])
        .text(CHAT_TEMPLATE_KEY, TEMPLATE)
}

/// A file of three tensors.
pub(crate) fn sample() -> Vec<u8> {
    writer()
        .tensor("token_embd.weight", &[256, 3], 12, 0)
        .tensor("norm", &[3], 0, 448)
        .tensor("output", &[4, 2, 2], 1, 480)
        .data(512)
        .finish()
}

fn parse(bytes: &[u8]) -> Result<Gguf, GgufError> {
    read(&mut &*bytes, bytes.len() as u64)
}

#[test]
fn reads_a_file() {
    let file = parse(&sample()).unwrap();
    assert_eq!(file.version, 3);
    assert_eq!(file.architecture.as_ref().map(Label::as_str), Some("llama"));
    assert_eq!(file.name.as_ref().map(Label::as_str), Some("Tiny"));
    assert_eq!(file.license.as_ref().map(Label::as_str), Some("mit"));
    assert_eq!((file.file_type, file.context_length), (Some(15), Some(4096)));
    assert_eq!(file.chat_template, Some(ChatTemplate::of(TEMPLATE)));
    let bytes = sample();
    let template = read_chat_template(&mut &*bytes, bytes.len() as u64).unwrap();
    assert_eq!(template.as_deref(), Some(TEMPLATE));
    let parameters: Vec<_> =
        file.parameters().into_iter().map(|(kind, count)| (kind.to_string(), count)).collect();
    assert_eq!(parameters, [("F32".to_owned(), 3), ("F16".to_owned(), 16), ("Q4_K".to_owned(), 768)]);
}

#[test]
fn takes_what_writers_write() {
    let padded =
        Writer::default().number(ALIGNMENT_KEY, 128).tensor("a", &[1], 24, 0).tensor("b", &[1], 24, 128);
    assert!(parse(&padded.data(129).finish_as(3, 2, 1, 128)).is_ok());
    assert!(parse(&Writer::default().finish_as(2, 0, 0, 1)).is_ok());
    let newer = Writer::default().tensor("a", &[7], 4711, 0).tensor("b", &[4], 0, 96).data(112);
    assert_eq!(parse(&newer.finish()).unwrap().tensors.len(), 2);
    let long = Writer::default().text("general.name", &"x".repeat(5000)).text("general.architecture", "a\nb");
    assert_eq!(parse(&long.finish()).unwrap().name, None);
    assert!(parse(&Writer::default().setting("x.context_length", UINT64, &[1; 8]).finish()).is_ok());
}

/// Known crafted files (CVE-2024-21802, CVE-2025-53630, CVE-2026-27940, CVE-2026-7482 and similar ones).
#[test]
fn refuses_crafted_files() {
    let list = |kind: u32, count: u64| [kind.to_le_bytes().as_slice(), &count.to_le_bytes()].concat();
    let at = |begin: u64| Writer::default().tensor("a", &[8], 0, begin).data(64).finish();
    let shaped = |shape: &[u64], kind: u32| Writer::default().tensor("a", shape, kind, 0).data(64).finish();
    let cases = [
        ("magic", b"GGML\x03\0\0\0".to_vec()),
        ("version 1", Writer::default().finish_as(1, 0, 0, 1)),
        ("version 4", Writer::default().finish_as(4, 0, 0, 1)),
        ("tensor count", Writer::default().finish_as(3, u64::MAX, 0, 1)),
        ("tensors missing", Writer::default().finish_as(3, TENSORS_MAX, 0, 1)),
        ("setting count", Writer::default().finish_as(3, 0, u64::MAX, 1)),
        ("settings missing", Writer::default().finish_as(3, 0, SETTINGS_MAX, 1)),
        ("key length", Writer::default().finish_as(3, 0, 1, 1).into_iter().chain([0xff; 8]).collect()),
        ("text length", Writer::default().setting("a", STRING, &[0xff; 8]).finish()),
        (
            "key that is no text",
            [Writer::default().finish_as(3, 0, 1, 1), vec![1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0, 0, 0]]
                .concat(),
        ),
        ("value type", Writer::default().setting("a", 13, &[0; 8]).finish()),
        ("bool", Writer::default().setting("a", BOOL, &[2]).finish()),
        ("list type", Writer::default().setting("a", ARRAY, &list(13, 0)).finish()),
        ("list length", Writer::default().setting("a", ARRAY, &list(0, u64::MAX)).finish()),
        ("list length overflows", Writer::default().setting("a", ARRAY, &list(12, 1 << 61)).finish()),
        ("list of endless texts", Writer::default().setting("a", ARRAY, &list(STRING, u64::MAX)).finish()),
        ("list of lists", Writer::default().setting("a", ARRAY, &list(ARRAY, 1)).finish()),
        ("setting twice", Writer::default().number("a", 1).number("a", 2).finish()),
        ("alignment twice", Writer::default().number(ALIGNMENT_KEY, 32).number(ALIGNMENT_KEY, 64).finish()),
        ("alignment 0", Writer::default().number(ALIGNMENT_KEY, 0).finish()),
        ("alignment 24", Writer::default().number(ALIGNMENT_KEY, 24).finish()),
        ("alignment 2^31", Writer::default().number(ALIGNMENT_KEY, 1 << 31).finish()),
        ("alignment as text", Writer::default().text(ALIGNMENT_KEY, "32").finish()),
        ("architecture as number", Writer::default().number("general.architecture", 1).finish()),
        ("template as list", Writer::default().texts(CHAT_TEMPLATE_KEY, &["a"]).finish()),
        ("template too long", Writer::default().text(CHAT_TEMPLATE_KEY, &"a".repeat((1 << 20) + 1)).finish()),
        ("tensor name length", Writer::default().tensor(&"a".repeat(257), &[1], 24, 0).data(1).finish()),
        (
            "tensor twice",
            Writer::default().tensor("a", &[1], 24, 0).tensor("a", &[1], 24, 32).data(33).finish(),
        ),
        ("five dimensions", shaped(&[1, 1, 1, 1, 1], 0)),
        ("product overflows", shaped(&[1 << 32, 1 << 32], 0)),
        ("product above i64", shaped(&[1 << 63], 24)),
        ("bytes overflow", shaped(&[1 << 62], 28)),
        ("half a block", shaped(&[33], 2)),
        ("rows of half blocks", shaped(&[16, 2], 2)),
        ("data beyond the file", shaped(&[17], 0)),
        ("offset not the first", at(32)),
        ("offset at the end of all", at(u64::MAX)),
        ("offset that wraps", at(u64::MAX - 31)),
        (
            "offset not aligned",
            Writer::default().tensor("a", &[7], 4711, 0).tensor("b", &[1], 0, 33).data(64).finish(),
        ),
        ("overlap", Writer::default().tensor("a", &[16], 0, 0).tensor("b", &[8], 0, 32).data(64).finish()),
        ("hole", Writer::default().tensor("a", &[8], 0, 0).tensor("b", &[8], 0, 64).data(96).finish()),
        (
            "out of order",
            Writer::default().tensor("a", &[8], 0, 32).tensor("b", &[8], 0, 0).data(64).finish(),
        ),
    ];
    for (what, bytes) in cases {
        assert!(parse(&bytes).is_err(), "{what}");
    }
}

/// A big-endian file: the magic is the same, and every number is turned round.
pub(crate) fn big_endian(split_count: u16) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_be_bytes(), text.as_bytes()].concat();
    let settings = [
        [text("general.architecture"), STRING.to_be_bytes().to_vec(), text("llama")].concat(),
        [text("llama.context_length"), UINT32.to_be_bytes().to_vec(), 4096_u32.to_be_bytes().to_vec()]
            .concat(),
        [text("split.count"), UINT16.to_be_bytes().to_vec(), split_count.to_be_bytes().to_vec()].concat(),
    ];
    let tensor = [
        text("w"),
        1_u32.to_be_bytes().to_vec(),
        8_u64.to_be_bytes().to_vec(),
        0_u32.to_be_bytes().to_vec(),
        0_u64.to_be_bytes().to_vec(),
    ];
    let mut bytes = MAGIC.to_vec();
    bytes.extend(3_u32.to_be_bytes());
    bytes.extend(1_u64.to_be_bytes());
    bytes.extend((settings.len() as u64).to_be_bytes());
    bytes.extend(settings.concat());
    bytes.extend(tensor.concat());
    bytes.resize(bytes.len().next_multiple_of(32) + 32, 0);
    bytes
}

#[test]
fn reads_a_file_for_big_endian_machines() {
    let file = parse(&big_endian(3)).unwrap();
    assert_eq!((file.version, file.context_length, file.split_count), (3, Some(4096), 3));
    assert_eq!(file.architecture.as_ref().map(Label::as_str), Some("llama"));
    assert_eq!(file.tensors[0].elements, 8);
    let mut lies = sample();
    lies[4..8].reverse();
    assert!(parse(&lies).is_err(), "a version alone makes no big-endian file");
    for length in 0..big_endian(1).len() {
        assert!(parse(&big_endian(1)[..length]).is_err(), "{length}");
    }
}

#[test]
fn reads_no_more_than_the_cap() {
    let list = [0_u32.to_le_bytes().as_slice(), &(HEADER_BYTES_MAX + 1).to_le_bytes()].concat();
    let bytes = Writer::default().setting("a", ARRAY, &list).finish();
    let mut endless = bytes.as_slice().chain(io::repeat(0));
    assert!(matches!(read(&mut endless, u64::MAX), Err(GgufError::HeaderTooLarge)));
    let list = [STRING.to_le_bytes().as_slice(), &u64::MAX.to_le_bytes()].concat();
    let bytes = Writer::default().setting("a", ARRAY, &list).finish_as(3, 0, 1, 1);
    let mut endless = bytes.as_slice().chain(io::repeat(0));
    assert!(matches!(read(&mut endless, u64::MAX), Err(GgufError::HeaderTooLarge)));
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_an_error() {
    let sample = sample();
    assert!(matches!(read(&mut &sample[..100], sample.len() as u64), Err(GgufError::Truncated)));
}

#[test]
fn refuses_every_truncation() {
    let sample = sample();
    for length in 0..sample.len() {
        assert!(parse(&sample[..length]).is_err(), "{length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn reads_back_any_valid_file(
        names in prop::collection::btree_set("[a-z.]{1,12}", 0..6),
        shapes in prop::collection::vec((prop::sample::select(vec![0_u32, 1, 8, 12, 24]), 0..3_u64, 1..4_u64), 6),
        keys in prop::collection::btree_set("[a-z]{1,6}", 0..6),
    ) {
        let (mut writer, mut at, mut expected) = (Writer::default(), 0, Vec::new());
        for key in keys { writer = writer.text(&key, "value") }
        for (name, (kind, rows, columns)) in names.into_iter().zip(shapes) {
            let block = GgmlType::new(kind).block().unwrap();
            writer = writer.tensor(&name, &[block.elements * columns, rows], kind, at);
            expected.push((name, block.elements * columns * rows));
            at = (at + block.bytes * columns * rows).next_multiple_of(32);
        }
        let file = parse(&writer.data(at as usize).finish()).unwrap();
        let read: Vec<_> = file.tensors.into_iter().map(|it| (it.name, it.elements)).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn never_panics_on_damage(at in 0..700_usize, byte: u8, also in 0..700_usize, cut in 24..1300_usize) {
        let mut bytes = sample();
        for at in [at, also] { if let Some(it) = bytes.get_mut(at) { *it = byte } }
        bytes.truncate(cut);
        let _ = parse(&bytes);
    }

    #[test]
    fn never_panics_on_noise(noise in prop::collection::vec(any::<u8>(), 0..200), tensors in 0..4_u64, settings in 0..4_u64) {
        let head = Writer::default().finish_as(3, tensors, settings, 1);
        let _ = parse(&[head.as_slice(), &noise].concat());
        let _ = parse(&noise);
    }
}
