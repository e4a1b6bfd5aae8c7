//! [`recognise`]: the format of a file, by its ends and, where they do not settle it, by a look inside.
//!
//! A zip is judged by the files in it, HDF5 and TensorFlow's graphs by what they would call. Memory stays within some MiB
//! whatever the file says of itself, and nothing is decompressed but the first bytes of a member and a Keras graph.

use std::io::{self, Read, Seek, SeekFrom};

use memchr::memmem::Finder;

use super::archive::{self, Member};
use super::format::Format;
use super::keras;
use super::kind::{self, Ends, HEAD_LEN, TAIL_LEN};

/// Bytes that are searched at once.
const SEARCHED_AT_ONCE: usize = 1 << 20;
/// Bytes of a member of a zip that are looked at: a NumPy header has some hundred.
const MEMBER_HEAD_LEN: usize = 4 << 10;
/// Bytes of a Keras graph. The largest known ones have some hundred KB.
const KERAS_CONFIG_BYTES_MAX: usize = 8 << 20;

/// Reads the format of the file at `path`, which has `size` bytes.
///
/// # Errors
/// The file cannot be read, or is shorter than `size`.
pub fn recognise<F: Read + Seek>(path: &str, file: &mut F, size: u64) -> io::Result<Format> {
    Ok(ends(path, file, size)?.format)
}

/// Reads the format of a file, and whether it is text that earlier versions took for binary.
pub(super) fn ends<F: Read + Seek>(path: &str, file: &mut F, size: u64) -> io::Result<Ends> {
    let head = read_at(file, 0, size.min(HEAD_LEN as u64))?;
    let tail_len = size.min(TAIL_LEN as u64);
    let tail = read_at(file, size - tail_len, tail_len)?;
    let ends = kind::by_ends(path, &head, &tail, size);
    let format = match ends.format {
        Format::Zip if head.starts_with(b"PK\x03\x04") => match in_zip(file, &tail, size) {
            // An offset in the archive leads beyond the file: its readers fail, and it is not read here.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Format::Zip,
            found => found?.unwrap_or(Format::Zip),
        },
        Format::Hdf5 => in_hdf5(file, size)?,
        Format::SavedModel => in_graph(file, size)?,
        settled => settled,
    };
    Ok(Ends { format, ..ends })
}

/// Reads exactly `length` bytes from offset `begin` on.
pub(super) fn read_at<F: Read + Seek>(file: &mut F, begin: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    let read = file.by_ref().take(length).read_to_end(&mut bytes)?;
    if read as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Returns the format of a zip by the files in it, or `None` if it is of no format of which all files are judged.
fn in_zip<F: Read + Seek>(file: &mut F, tail: &[u8], size: u64) -> io::Result<Option<Format>> {
    let Some(members) = archive::members(file, tail, size)? else { return Ok(None) };
    let has = |name: &str| members.iter().any(|it| it.name == name);
    if members.iter().all(|it| it.name.ends_with(".npy")) {
        in_npz(file, &members)
    } else if ["config.json", "metadata.json", "model.weights.h5"].iter().all(|it| has(it)) {
        in_keras(file, &members)
    } else {
        in_task(file, &members)
    }
}

fn in_npz<F: Read + Seek>(file: &mut F, members: &[Member]) -> io::Result<Option<Format>> {
    for member in members {
        let Some(head) = archive::head(file, member, MEMBER_HEAD_LEN)? else { return Ok(None) };
        match kind::numpy_header(&head) {
            None => return Ok(None),
            Some(header) if header.contains(&b'O') => return Ok(Some(Format::NpyObjects)),
            Some(_) => {}
        }
    }
    Ok(Some(Format::Npz))
}

/// Judges a Keras file: the graph in `config.json`, and arrays. Any other file in it is not inspected.
fn in_keras<F: Read + Seek>(file: &mut F, members: &[Member]) -> io::Result<Option<Format>> {
    let mut format = Format::Keras;
    for member in members {
        match member.name.as_str() {
            "config.json" => {
                let Some(config) = archive::head(file, member, KERAS_CONFIG_BYTES_MAX)? else {
                    return Ok(None);
                };
                if config.len() as u64 != member.size {
                    return Ok(None);
                }
                if keras::calls_code(&config) {
                    format = Format::KerasCode;
                }
            }
            "metadata.json" => {}
            "model.weights.h5" => {
                let head = archive::head(file, member, MEMBER_HEAD_LEN)?;
                if !head.is_some_and(|it| it.starts_with(b"\x89HDF\r\n\x1a\n")) {
                    return Ok(None);
                }
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(format))
}

/// Judges a task of MediaPipe: TFLite graphs, vocabularies and notes. A file in it of another danger makes it an archive.
fn in_task<F: Read + Seek>(file: &mut F, members: &[Member]) -> io::Result<Option<Format>> {
    let mut graphs = 0;
    for member in members {
        let Some(head) = archive::head(file, member, MEMBER_HEAD_LEN)? else { return Ok(None) };
        let ends = kind::by_ends(&member.name, &head, &[], member.size);
        match ends.format {
            Format::Tflite => graphs += 1,
            Format::Unknown if member.name == "METADATA" => {}
            format if format.kind_by_ends().risk().is_some() => return Ok(None),
            _ => {}
        }
    }
    Ok((graphs > 0).then_some(Format::LitertTask))
}

/// Searches an HDF5 file for a Lambda layer or a foreign module in a Keras graph, and for objects of PyTables.
fn in_hdf5<F: Read + Seek>(file: &mut F, size: u64) -> io::Result<Format> {
    Ok(match search(file, size, &[b"PYTABLES_FORMAT_VERSION", b"\"Lambda\"", b"__lambda__"])? {
        Some(0) => Format::PyTables,
        Some(_) => Format::HdfCode,
        None => Format::Hdf5,
    })
}

/// Operators of TensorFlow that call Python or touch files of the user, and the marks of a Lambda layer in Keras's metadata.
const OPERATORS: [&[u8]; 10] = [
    b"PyFunc",
    b"ReadFile",
    b"WriteFile",
    b"PrintV2",
    b"MatchingFiles",
    b"WholeFileReader",
    b"ImmutableConst",
    b"DebugIdentity",
    b"\"Lambda\"",
    b"__lambda__",
];

/// Searches a graph of TensorFlow, and Keras's metadata beside it.
fn in_graph<F: Read + Seek>(file: &mut F, size: u64) -> io::Result<Format> {
    let found = search(file, size, &OPERATORS)?;
    Ok(if found.is_some() { Format::SavedModelCode } else { Format::SavedModel })
}

/// Bytes from a key of a Keras graph on that settle its value. The longest module of Keras has some forty.
const VALUE_LEN: usize = 128;

/// The keys of a Keras graph of which the values may name code.
const MODULE: &[u8] = b"\"module\"";
const CLASS_NAME: &[u8] = b"\"class_name\"";

/// Tells whether a Keras graph in these bytes names code, as JSON: `"module": "os"`, `"class_name": "function"`.
fn names_code(bytes: &[u8], is_end: bool) -> bool {
    let is_module = |name: &[u8]| !std::str::from_utf8(name).is_ok_and(keras::is_own_module);
    let is_class = |name: &[u8]| name.is_empty() || std::str::from_utf8(name).is_ok_and(keras::is_code);
    let has = |key: &[u8], is_bad: &dyn Fn(&[u8]) -> bool| {
        let after = |at: usize| &bytes[at + key.len()..bytes.len().min(at + VALUE_LEN)];
        // A place near the end is looked at again with the bytes that follow.
        let finder = Finder::new(key);
        let mut places = finder.find_iter(bytes).filter(|at| is_end || at + VALUE_LEN <= bytes.len());
        places.any(|at| value(after(at)).is_some_and(is_bad))
    };
    has(MODULE, &is_module) || has(CLASS_NAME, &is_class)
}

/// Returns the text after a key. Empty where spaces hide it: no writer puts so many there.
fn value(after: &[u8]) -> Option<&[u8]> {
    let after = after.trim_ascii_start();
    let Some((colon, after)) = after.split_first() else { return Some(b"") };
    let after = after.trim_ascii_start();
    let Some((quote, text)) = after.split_first().filter(|_| *colon == b':') else {
        return (*colon == b':').then_some(b"");
    };
    let end = text.iter().position(|byte| *byte == b'"').unwrap_or(text.len());
    (*quote == b'"').then_some(&text[..end])
}

/// Searches a file for the needles, for code that a Keras graph names, and for a printable character that JSON has escaped.
/// Returns the number of a needle that was found, with the number after the last for the others.
///
/// Python's JSON writer escapes no printable character, so one hides a word from a search.
fn search<F: Read + Seek>(file: &mut F, size: u64, needles: &[&[u8]]) -> io::Result<Option<usize>> {
    let finders: Vec<Finder<'_>> = needles.iter().map(|it| Finder::new(*it)).collect();
    let escape = Finder::new(b"\\u00");
    let longest = needles.iter().map(|it| it.len()).max().unwrap_or(0).max(VALUE_LEN);
    file.rewind()?;
    let (mut bytes, mut read) = (Vec::with_capacity(SEARCHED_AT_ONCE + longest), 0);
    while read < size {
        let kept = bytes.len().min(longest - 1);
        bytes.drain(..bytes.len() - kept);
        let wanted = (size - read).min(SEARCHED_AT_ONCE as u64);
        let more = file.by_ref().take(wanted).read_to_end(&mut bytes)? as u64;
        if more != wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read += more;
        if let Some(found) = finders.iter().position(|it| it.find(&bytes).is_some()) {
            return Ok(Some(found));
        }
        let is_printable = |at: usize| matches!(bytes.get(at + 4..at + 6), Some([b'2'..=b'7', digit]) if digit.is_ascii_hexdigit());
        if escape.find_iter(&bytes).any(is_printable) || names_code(&bytes, read == size) {
            return Ok(Some(needles.len()));
        }
    }
    Ok(None)
}

/// Tells whether a file with this head is of a format of which only a look inside settles the kind.
pub fn is_settled_inside(path: &str, head: &[u8], size: u64) -> bool {
    let format = kind::by_ends(path, head, &[], size).format;
    matches!(format, Format::Zip | Format::Hdf5 | Format::SavedModel)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::archive::tests::zip;
    use super::*;

    fn of(path: &str, bytes: &[u8]) -> Format {
        recognise(path, &mut Cursor::new(bytes), bytes.len() as u64).expect("read")
    }

    fn npy(descr: &str) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2,), }}\n");
        let length = u16::try_from(header.len()).expect("short").to_le_bytes();
        [b"\x93NUMPY\x01\0".as_slice(), &length, header.as_bytes(), &[0; 8]].concat()
    }

    #[test]
    fn an_npz_is_as_harmless_as_every_array_in_it() {
        for deflated in [false, true] {
            let arrays = [("a.npy", npy("<f4")), ("b/c.npy", npy("<f2"))];
            assert_eq!(of("w.npz", &zip(&arrays, deflated)), Format::Npz);
            assert_eq!(of("renamed.bin", &zip(&arrays, deflated)), Format::Npz);
            let objects = [("a.npy", npy("<f4")), ("b.npy", npy("|O"))];
            assert_eq!(of("w.npz", &zip(&objects, deflated)), Format::NpyObjects);
            let other = [("a.npy", npy("<f4")), ("b.npy", b"import os".to_vec())];
            assert_eq!(of("w.npz", &zip(&other, deflated)), Format::Zip);
            let more = [("a.npy", npy("<f4")), ("run.sh", b"id".to_vec())];
            assert_eq!(of("w.npz", &zip(&more, deflated)), Format::Zip);
            let twice = [("a.npy", npy("<f4")), ("a.npy", npy("<f4"))];
            assert_eq!(of("w.npz", &zip(&twice, deflated)), Format::Zip);
        }
        let sound = zip(&[("a.npy", npy("<f4"))], false);
        assert_eq!(of("w.npz", &[b"junk", sound.as_slice()].concat()), Format::Zip, "bytes before it");
    }

    #[test]
    fn a_keras_file_is_judged_by_its_graph() {
        let keras = |config: &str, more: Option<(&'static str, Vec<u8>)>| {
            let mut members = vec![
                ("metadata.json", b"{}".to_vec()),
                ("config.json", config.as_bytes().to_vec()),
                ("model.weights.h5", b"\x89HDF\r\n\x1a\n\0".to_vec()),
            ];
            members.extend(more);
            zip(&members, true)
        };
        let dense = r#"{"module":"keras.layers","class_name":"Dense","config":{"name":"a"}}"#;
        let lambda = r#"{"module":"keras.layers","class_name":"Lambda","config":{"function":{}}}"#;
        assert_eq!(of("m.keras", &keras(dense, None)), Format::Keras);
        assert_eq!(of("m.keras", &keras(lambda, None)), Format::KerasCode);
        assert_eq!(of("m.keras", &keras("not json", None)), Format::KerasCode);
        assert_eq!(of("m.keras", &keras(dense, Some(("assets/x.bin", vec![0; 9])))), Format::Zip);
    }

    /// A file of Keras's metadata for a SavedModel that says this.
    fn at_an_edge_of_graph(text: &str) -> Vec<u8> {
        let node = [b"\x0a\x01x\x12".as_slice(), &[text.len() as u8], text.as_bytes()].concat();
        [b"\x0a".as_slice(), &[node.len() as u8], &node].concat()
    }

    #[test]
    fn hdf5_and_graphs_are_searched_whole() {
        let hdf5 = |inside: &[u8]| {
            [b"\x89HDF\r\n\x1a\n", vec![0; (1 << 20) - 12].as_slice(), inside, &[0; 300]].concat()
        };
        assert_eq!(of("m.h5", &hdf5(br#"{"class_name": "Dense"} TFOpLambda \u2581 \u001b"#)), Format::Hdf5);
        assert_eq!(of("m.h5", &hdf5(br#"{"class_name": "Lambda"}"#)), Format::HdfCode);
        assert_eq!(of("x.bin", &hdf5(br#"{"class_name": "\u004cambda"}"#)), Format::HdfCode);
        for own in [
            r#"{"module": "keras.layers", "class_name": "Dense"}"#,
            r#"{"module":"keras","class_name":"Functional"}"#,
            r#"{"module": null, "class_name": "mine>Layer"} {"module": "builtins"}"#,
            r#"the "module" of a text"#,
        ] {
            assert_eq!(of("m.h5", &hdf5(own.as_bytes())), Format::Hdf5, "{own}");
        }
        for foreign in [
            r#"{"module": "os", "class_name": "system"}"#,
            r#"{"module":"os","class_name":"system"}"#,
            r#"{"module" : "kerasx", "class_name": "a"}"#,
            r#"{"module": "keras.utils", "class_name": "get_file"}"#,
            r#"{"module": "keras.src.saving.x", "class_name": "a"}"#,
            r#"{"module": "builtins", "class_name": "function", "config": "eval"}"#,
        ] {
            assert_eq!(of("m.h5", &hdf5(foreign.as_bytes())), Format::HdfCode, "{foreign}");
            let at_an_edge = |before: usize| {
                [b"\x89HDF\r\n\x1a\n", vec![0; (1 << 20) - before].as_slice(), foreign.as_bytes()].concat()
            };
            for before in (8..90).step_by(3) {
                assert_eq!(of("m.h5", &at_an_edge(before)), Format::HdfCode, "{foreign} at {before}");
            }
            assert_eq!(
                of("keras_metadata.pb", &at_an_edge_of_graph(foreign)),
                Format::SavedModelCode,
                "{foreign}"
            );
        }
        assert_eq!(of("m.h5", &hdf5(b"PYTABLES_FORMAT_VERSION")), Format::PyTables);
        let graph = |op: &[u8]| {
            let node = [b"\x0a\x01x\x12".as_slice(), &[op.len() as u8], op].concat();
            [b"\x0a".as_slice(), &[node.len() as u8], &node].concat()
        };
        assert_eq!(of("frozen.pb", &graph(b"MatMul")), Format::SavedModel);
        for op in [b"PyFunc".as_slice(), b"EagerPyFunc", b"PyFuncStateless", b"WriteFile", b"ReadFile"] {
            assert_eq!(of("frozen.pb", &graph(op)), Format::SavedModelCode);
        }
        for layer in [r#"{"class_name":"Lambda"}"#, r#"{"class_name": "\u004cambda"}"#] {
            assert_eq!(of("keras_metadata.pb", &graph(layer.as_bytes())), Format::SavedModelCode, "{layer}");
            assert_eq!(of("saved_model.pb", &graph(layer.as_bytes())), Format::SavedModelCode, "{layer}");
        }
    }

    #[test]
    fn an_archive_that_leads_beyond_the_file_is_an_archive() {
        let mut bytes = zip(&[("a.npy", npy("<f4"))], false);
        let directory = bytes.windows(4).position(|it| it == b"PK\x01\x02").expect("a directory");
        // The member is longer than the file.
        for at in [20, 24] {
            bytes[directory + at..directory + at + 4].copy_from_slice(&0x00ff_ffff_u32.to_le_bytes());
        }
        assert_eq!(of("w.npz", &bytes), Format::Zip);
        let mut bytes = zip(&[("a.npy", npy("<f4")), ("b.npy", npy("<f4"))], false);
        let last = bytes.windows(4).rposition(|it| it == b"PK\x01\x02").expect("a directory");
        let near_the_end = (last as u32 - 2).to_le_bytes();
        bytes[last + 42..last + 46].copy_from_slice(&near_the_end);
        assert_eq!(of("w.npz", &bytes), Format::Zip);
    }

    #[test]
    fn a_task_is_judged_by_every_file_in_it() {
        let tflite = [&[0x1c, 0, 0, 0], b"TFL3".as_slice(), &[0; 40]].concat();
        let sound = [("a.tflite", tflite.clone()), ("labels.txt", b"cat\ndog\n".to_vec())];
        assert_eq!(of("m.task", &zip(&sound, false)), Format::LitertTask);
        let bad = [("a.tflite", tflite), ("x.so", b"\x7fELF\x02\x01".to_vec())];
        assert_eq!(of("m.task", &zip(&bad, false)), Format::Zip);
    }
}
