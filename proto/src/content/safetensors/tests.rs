//! Tests which headers the reader of `safetensors` accepts and which it refuses.

use proptest::prelude::*;

use super::*;

/// A whole file with this header.
pub(crate) fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(vec![0; data]);
    bytes
}

/// A file of two tensors, 3 x 2 of F32 and 4 of BF16, and a note.
pub(crate) fn sample() -> Vec<u8> {
    file(
        r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"a":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]}}  "#,
        32,
    )
}

/// A file without tensors, with a header of this length.
pub(crate) fn file_with_header_of(length: usize) -> Vec<u8> {
    file(&format!("{{}}{}", " ".repeat(length - 2)), 0)
}

fn read(file: &[u8]) -> Result<Safetensors, SafetensorsError> {
    let size = file.len() as u64;
    let mut prefix = [0; 8];
    prefix[..file.len().min(8)].copy_from_slice(&file[..file.len().min(8)]);
    let length = header_len(prefix, size)? as usize;
    parse(&file[8..8 + length], size)
}

fn read_header(header: &str, data: usize) -> Result<Safetensors, SafetensorsError> {
    read(&file(header, data))
}

#[test]
fn reads_a_file() {
    let read = read(&sample()).unwrap();
    let names: Vec<_> = read.tensors.iter().map(|it| (it.name.as_str(), it.dtype, it.elements())).collect();
    assert_eq!(names, [("a", Dtype::F32, 6), ("b", Dtype::BF16, 4)]);
    assert_eq!(read.metadata["format"], "pt");
    assert!(read_header("{}", 0).unwrap().tensors.is_empty());
}

#[test]
fn tensors_without_bytes_share_an_offset() {
    let header = r#"{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"c":{"dtype":"I8","shape":[7,0],"data_offsets":[2,2]},"d":{"dtype":"F4","shape":[2],"data_offsets":[2,3]},"e":{"dtype":"F32","shape":[],"data_offsets":[3,7]}}"#;
    let read = read_header(header, 7).unwrap();
    assert_eq!(read.tensors.iter().map(Tensor::elements).sum::<u64>(), 5);
}

/// The format's own library reads these, so a model of them is sound.
#[test]
fn reads_what_the_formats_own_library_reads() {
    for (header, data) in [
        (r#"{"__metadata__":null,"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1),
        (r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"note":{"by":["x"]},"v":null}}"#, 1),
        (r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}    "#, 1),
    ] {
        assert_eq!(read_header(header, data).expect(header).tensors.len(), 1);
    }
    let entry = |it: u32| {
        format!(r#""experts.{it}.w":{{"dtype":"U8","shape":[1],"data_offsets":[{it},{}]}}"#, it + 1)
    };
    let header = format!("{{{}}}", (0..210_000).map(entry).collect::<Vec<_>>().join(","));
    assert_eq!(read_header(&header, 210_000).expect("a header").tensors.len(), 210_000);
    let long = format!(r#"{{"__metadata__":{{"notes":"{}","z":"z"}}}}"#, "n".repeat(30 << 20));
    let metadata = read_header(&long, 0).expect("a header").metadata;
    assert_eq!((metadata["notes"].len(), metadata["z"].as_str()), (STRING_BYTES_MAX, "z"));
}

/// What a header can make this reader hold is bounded, whatever of it is long.
#[test]
fn long_names_and_many_dimensions_are_refused() {
    let tensor = |name: &str, shape: &str| {
        format!(r#""{name}":{{"dtype":"U8","shape":[{shape}],"data_offsets":[0,0]}}"#)
    };
    let name = "n".repeat(NAME_BYTES_MAX + 1);
    assert!(read_header(&format!("{{{}}}", tensor(&name, "0")), 0).is_err());
    let names: Vec<String> =
        (0..NAMES_BYTES_MAX / 4000 + 1).map(|it| tensor(&format!("{it:04000}"), "0")).collect();
    assert!(read_header(&format!("{{{}}}", names.join(",")), 0).is_err());
    let shape = vec!["0"; RANK_MAX].join(",");
    let wide: Vec<String> =
        (0..DIMENSIONS_MAX / RANK_MAX + 1).map(|it| tensor(&it.to_string(), &shape)).collect();
    assert!(read_header(&format!("{{{}}}", wide.join(",")), 0).is_err());
    assert!(read_header(&format!("{{{}}}", wide[1..].join(",")), 0).is_ok());
}

#[test]
fn refuses_lengths_that_lie() {
    for (length, size) in [(u64::MAX, u64::MAX), (u64::MAX - 7, 100), (93, 100), (0, 7), (0, 0)] {
        let refused = header_len(length.to_le_bytes(), size);
        assert!(matches!(refused, Err(SafetensorsError::HeaderBeyondFile { .. })), "{length} of {size}");
    }
    let refused = header_len((HEADER_BYTES_MAX + 1).to_le_bytes(), u64::MAX);
    assert!(matches!(refused, Err(SafetensorsError::HeaderTooLarge { .. })));
    assert!(header_len(HEADER_BYTES_MAX.to_le_bytes(), HEADER_BYTES_MAX + 8).is_ok());
}

/// Known crafted headers. Some reader accepts each of them, and reads it differently from others.
#[test]
fn refuses_crafted_headers() {
    let tensor = |name: &str, dtype: &str, shape: &str, begin: u64, end: u64| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let a = tensor("a", "U8", "[4]", 0, 4);
    let cases = [
        ("named twice", format!("{{{a},{a}}}"), 4),
        ("named twice by an escape", format!("{{{a},{}}}", tensor("\\u0061", "U8", "[4]", 4, 8)), 8),
        (
            "field twice",
            r#"{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#.to_owned(),
            1,
        ),
        (
            "further field twice",
            r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"dtype":"U8"}}"#.to_owned(),
            1,
        ),
        ("missing field", r#"{"a":{"dtype":"U8","data_offsets":[0,1]}}"#.to_owned(), 1),
        ("unknown type", format!("{{{}}}", tensor("a", "U7", "[4]", 0, 4)), 4),
        ("product overflows", format!("{{{}}}", tensor("a", "U8", "[4294967296,4294967296]", 0, 0)), 0),
        ("bits overflow", format!("{{{}}}", tensor("a", "F64", "[2305843009213693952]", 0, 0)), 0),
        ("overflows to zero", format!("{{{}}}", tensor("a", "U8", "[9223372036854775808,2,0]", 0, 1)), 1),
        ("half a byte", format!("{{{}}}", tensor("a", "F4", "[3]", 0, 2)), 2),
        ("negative", format!("{{{}}}", tensor("a", "U8", "[-1]", 0, 1)), 1),
        ("fraction", format!("{{{}}}", tensor("a", "U8", "[1.0]", 0, 1)), 1),
        ("shape and offsets differ", format!("{{{}}}", tensor("a", "U8", "[3]", 0, 4)), 4),
        ("end before begin", format!("{{{}}}", tensor("a", "U8", "[4]", 4, 0)), 4),
        ("beyond the file", format!("{{{}}}", tensor("a", "U8", "[5]", 0, 5)), 4),
        ("overlap", format!("{{{a},{}}}", tensor("b", "U8", "[4]", 2, 6)), 6),
        ("same bytes", format!("{{{a},{}}}", tensor("b", "U8", "[4]", 0, 4)), 4),
        ("hole", format!("{{{a},{}}}", tensor("b", "U8", "[4]", 5, 9)), 9),
        ("hole at the start", format!("{{{}}}", tensor("a", "U8", "[4]", 1, 5)), 5),
        ("bytes left over", format!("{{{a}}}"), 5),
        ("data without tensors", "{}".to_owned(), 1),
        ("space first", format!(" {{{a}}}"), 4),
        ("a list", "[]".to_owned(), 0),
        ("a tensor as a list", r#"{"a":["U8",[1],[0,1]]}"#.to_owned(), 1),
        ("nothing", String::new(), 0),
        ("not closed", "{".to_owned(), 0),
        ("something after", format!("{{{a}}}x"), 4),
        ("metadata twice", r#"{"__metadata__":{},"__metadata__":{}}"#.to_owned(), 0),
        ("metadata entry twice", r#"{"__metadata__":{"a":"1","a":"2"}}"#.to_owned(), 0),
        ("metadata that is no text", r#"{"__metadata__":{"a":1}}"#.to_owned(), 0),
        ("metadata nested", r#"{"__metadata__":{"a":{"b":"c"}}}"#.to_owned(), 0),
        ("three offsets", r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}"#.to_owned(), 1),
        ("deep", format!("{{\"a\":{}", "[".repeat(100_000)), 0),
    ];
    for (what, header, data) in cases {
        assert!(read_header(&header, data).is_err(), "{what}: {header:.200}");
    }
}

#[test]
fn refuses_more_than_its_bounds() {
    let tensors: Vec<String> = (0..=TENSORS_MAX)
        .map(|it| format!(r#""{it}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    assert!(read_header(&format!("{{{}}}", tensors.join(",")), 0).is_err());
    assert!(read_header(&format!("{{{}}}", tensors[1..].join(",")), 0).is_ok());
    let shape = |rank: usize| {
        format!(r#"{{"a":{{"dtype":"U8","shape":[{}],"data_offsets":[0,1]}}}}"#, vec!["1"; rank].join(","))
    };
    assert!(read_header(&shape(RANK_MAX), 1).is_ok());
    assert!(read_header(&shape(RANK_MAX + 1), 1).is_err());
}

#[test]
fn refuses_every_truncation() {
    let sample = sample();
    for length in 0..sample.len() {
        assert!(read(&sample[..length]).is_err(), "{length}");
    }
}

fn dtypes() -> impl Strategy<Value = (&'static str, u64)> {
    prop::sample::select(vec![("BOOL", 8), ("F16", 16), ("BF16", 16), ("F8_E4M3", 8), ("I64", 64), ("F4", 4)])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn reads_back_any_valid_header(
        tensors in prop::collection::btree_map("[a-z.]{1,8}", (dtypes(), prop::collection::vec(0..4_u64, 0..4)), 0..6),
    ) {
        let (mut at, mut entries, mut expected) = (0, Vec::new(), Vec::new());
        for (name, ((dtype, bits), shape)) in tensors {
            let elements = shape.iter().product::<u64>();
            let (shape, elements) = if elements * bits % 8 == 0 { (shape, elements) } else { (vec![2], 2) };
            let end = at + elements * bits / 8;
            entries.push(format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{at},{end}]}}"#));
            expected.push((name, dtype.to_owned(), shape, at, end));
            at = end;
        }
        entries.reverse();
        let read = read_header(&format!("{{{}}}", entries.join(",")), at as usize).unwrap();
        let mut read: Vec<_> =
            read.tensors.into_iter().map(|it| (it.name, it.dtype.to_string(), it.shape, it.begin, it.end)).collect();
        read.sort();
        expected.sort();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn never_panics_on_damage(at in 0..200_usize, byte: u8, cut in 0..250_usize, insert: bool) {
        let mut bytes = sample();
        if insert { bytes.insert(at.min(bytes.len()), byte) } else if let Some(it) = bytes.get_mut(at) { *it = byte }
        bytes.truncate(cut.max(8));
        let _ = read(&bytes);
    }

    #[test]
    fn never_panics_on_noise(header in prop::collection::vec(any::<u8>(), 0..100), size: u64) {
        let _ = parse(&header, size);
        let text: Vec<u8> = header.iter().map(|it| b"{}[]\":,0123aU8dtypeshape_ofs-.\\u"[usize::from(*it) % 32]).collect();
        let _ = parse(&[b"{\"a\":{", text.as_slice()].concat(), size);
    }
}
