//! Tests of reading archives: what is found, and what is refused before it is read.

use std::io::Write;

use proptest::prelude::*;
use reg_proto::digest::Digest;

use super::*;

/// Bytes of an archive that is being made.
#[derive(Default)]
struct Made(Vec<u8>);

impl Made {
    fn entry(mut self, kind: u8, name: &[u8], size: u64, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::new(kind));
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(b'0', name.as_bytes(), content.len() as u64, content)
    }

    /// Adds an extended header with records.
    fn pax(self, kind: u8, records: &[(&str, &str)]) -> Self {
        let mut content = String::new();
        for (key, value) in records {
            let rest = format!(" {key}={value}\n");
            let length = (1..).find(|it| it.to_string().len() + rest.len() == *it).unwrap();
            content.push_str(&format!("{length}{rest}"));
        }
        self.entry(kind, b"pax", content.len() as u64, content.as_bytes())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

fn scanned(bytes: &[u8]) -> Result<BTreeMap<Member, Extent>, TarError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    scan(&file)
}

fn blob(content: &[u8]) -> Member {
    Member::Blob(Digest::of(content))
}

#[test]
fn members_are_found_in_archives_of_other_tools() {
    let name = blob(b"x").name();
    let plain =
        Made::default().entry(b'5', b"./blobs/", 0, b"").file("./index.json", b"{}").file(&name, b"x").end();
    let found = scanned(&plain).unwrap();
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [Member::Index, blob(b"x")]);
    let Extent { start, size } = found[&blob(b"x")];
    assert_eq!(&plain[start as usize..(start + size) as usize], b"x");
    // Go writes the size of a large file into a record, and 0 into the header.
    let records = [("mtime", "1.5"), ("size", "1"), ("path", &name)];
    let pax = Made::default().pax(b'x', &records).entry(b'0', b"short", 0, b"x").end();
    assert_eq!(scanned(&pax).unwrap().keys().copied().collect::<Vec<_>>(), [blob(b"x")]);
    let long = format!("{name}\0");
    let gnu = Made::default().entry(b'L', b"././@LongLink", long.len() as u64, long.as_bytes());
    assert_eq!(scanned(&gnu.file("cut", b"x").end()).unwrap().len(), 1);
    // What follows the end of an archive is no part of it.
    let more = [Made::default().end(), Made::default().file("../x", b"").0].concat();
    assert!(scanned(&more).unwrap().is_empty());
}

#[test]
fn what_a_layout_may_not_have_is_refused() {
    let of = |made: Made| scanned(&made.file("index.json", b"{}").end()).expect_err("it is refused");
    for (kind, what) in [
        (b'1', "hard link"),
        (b'2', "symbolic link"),
        (b'3', "device"),
        (b'4', "device"),
        (b'6', "named pipe"),
        (b'7', "type"),
        (b'S', "sparse"),
        (b'V', "type"),
    ] {
        let said = of(Made::default().entry(kind, b"index.json", 0, b"")).to_string();
        assert!(said.contains(what), "{said}");
    }
    let content = of(Made::default().entry(b'5', b"blobs", 512, &[0; 512])).to_string();
    assert!(content.contains("directory with content"), "{content}");
    for name in ["../x", "/etc/passwd", "a/../../b", "a\\b"] {
        assert!(matches!(of(Made::default().file(name, b"")), TarError::Name { .. }), "{name}");
    }
    let climbing = Made::default().pax(b'x', &[("path", "../index.json")]).file("index.json", b"");
    assert!(matches!(of(climbing), TarError::Name { .. }));
    assert!(matches!(of(Made::default().file("./index.json", b"")), TarError::Twice { .. }));
    let sparse = Made::default().pax(b'x', &[("GNU.sparse.realsize", "1099511627776")]);
    assert!(matches!(of(sparse), TarError::Kind { .. }));
    for twice in [[("size", "0"), ("size", "512")], [("path", "a"), ("path", "b")]] {
        assert!(matches!(of(Made::default().pax(b'x', &twice)), TarError::Extension { .. }));
    }
    for (key, value) in [("size", "-1"), ("size", "1e3"), ("size", "99999999999999999999")] {
        assert!(matches!(of(Made::default().pax(b'x', &[(key, value)])), TarError::Extension { .. }));
    }
    assert!(matches!(of(Made::default().pax(b'g', &[("size", "0")])), TarError::Extension { .. }));
    for broken in [&b"9 a=b\n"[..], b"x a=b\n", b"6 a=b", b"0 a=b\n", b"7 a-b\n"] {
        let made = Made::default().entry(b'x', b"pax", broken.len() as u64, broken);
        assert!(matches!(of(made), TarError::Extension { .. }), "{broken:?}");
    }
}

#[test]
fn what_headers_claim_is_bounded_before_it_is_read() {
    for kind in [b'x', b'g', b'L', b'K'] {
        let huge = Made::default().entry(kind, b"x", TAR_EXTENSION_BYTES_MAX + 1, &[b'x'; 70_000]).end();
        assert!(matches!(scanned(&huge), Err(TarError::LongExtension { .. })));
    }
    for size in [1 << 40, u64::MAX - 511, u64::MAX] {
        let large = Made::default().entry(b'0', b"index.json", size, b"x").end();
        assert!(matches!(scanned(&large), Err(TarError::Cut { .. })), "{size}");
        let text = size.to_string();
        let large = Made::default().pax(b'x', &[("size", &text)]).file("index.json", b"x").end();
        assert!(matches!(scanned(&large), Err(TarError::Cut { .. })), "{size}");
    }
    let mut many = Made::default();
    for _ in 0..=TAR_ENTRIES_MAX {
        many = many.entry(b'5', b"d", 0, b"");
    }
    assert!(matches!(scanned(&many.end()), Err(TarError::TooMany)));
}

#[test]
fn what_is_cut_off_damaged_compressed_or_something_else_is_told_apart() {
    let whole = Made::default().file("oci-layout", b"{}").file("index.json", &[7; 2000]).end();
    scanned(&whole).unwrap();
    for length in 0..whole.len() - 1023 {
        let refused = scanned(&whole[..length]);
        assert!(matches!(refused, Err(TarError::Cut { .. })), "{length}: {refused:?}");
    }
    for at in [0, 100, 148, 500] {
        let mut damaged = whole.clone();
        damaged[1024 + at] ^= 1;
        assert!(matches!(scanned(&damaged), Err(TarError::Header { at: 1024 })), "{at}");
    }
    assert!(matches!(scanned(&[b'x'; 2048]), Err(TarError::NotTar)));
    for magic in [&b"\x1f\x8b"[..], b"\x28\xb5\x2f\xfd", b"BZh9", b"\xfd7zXZ\0"] {
        assert!(matches!(scanned(&[magic, &[0; 600]].concat()), Err(TarError::Compressed { .. })));
    }
}

proptest! {
    /// Whatever an archive holds is found again where it lies, and GNU's form of large sizes is read back.
    #[test]
    fn what_is_written_is_found(contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2000), 0..12), large in (8u64 << 30)..(1 << 40)) {
        let mut bytes = Vec::new();
        for content in &contents {
            bytes.extend_from_slice(header(&blob(content), content.len() as u64).as_bytes());
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len() + padding(content.len() as u64) as usize, 0);
        }
        bytes.extend_from_slice(&[0; 1024]);
        let distinct: std::collections::BTreeSet<&Vec<u8>> = contents.iter().collect();
        match scanned(&bytes) {
            Ok(found) => {
                prop_assert_eq!(found.len(), contents.len());
                for content in &contents {
                    let Extent { start, size } = found[&blob(content)];
                    prop_assert_eq!(&bytes[start as usize..(start + size) as usize], content.as_slice());
                }
            }
            Err(TarError::Twice { .. }) => prop_assert!(distinct.len() < contents.len()),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
        prop_assert_eq!(header(&Member::Index, large).entry_size().unwrap(), large);
    }

    /// No bytes make it panic, or read more than there is.
    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..4096), at in 0usize..4096, of in 0usize..600) {
        drop(scanned(&bytes));
        let whole = Made::default().pax(b'x', &[("size", "2")]).file("index.json", b"{}").end();
        bytes.truncate(of);
        let at = at.min(whole.len() - 1);
        let end = (at + bytes.len()).min(whole.len());
        let mut damaged = whole;
        damaged[at..end].copy_from_slice(&bytes[..end - at]);
        drop(scanned(&damaged));
    }
}
