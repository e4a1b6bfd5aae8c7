//! Reads the directory of a zip archive, and the first bytes of its members. Promises bounded memory and time.
//!
//! Two readers of one archive must see the same files. So an archive is read only if it begins with its first file, ends
//! with its directory, names each file once, and says the same of each in both places. Source: PKWARE's APPNOTE 6.3.10.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek};

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

use super::recognise::read_at;

/// Members of an archive. Models with one array for each tensor have some thousand.
const MEMBERS_MAX: u64 = 20_000;
/// Bytes of an archive's directory: [`MEMBERS_MAX`] entries with names of 160 bytes.
const DIRECTORY_BYTES_MAX: u64 = 4 << 20;
/// Length in bytes of a directory's end record, of its 64-bit form, and of the record that says where that lies.
const END_LEN: usize = 22;
const END64_LEN: u64 = 56;
const LOCATOR_LEN: usize = 20;
/// Lengths in bytes of the fixed parts of a directory's entry and of a member's own header.
const ENTRY_LEN: usize = 46;
const LOCAL_LEN: u64 = 30;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// The extra field that gives an entry another name: newer versions of Python take it.
const UNICODE_PATH: u16 = 0x7075;
/// The bit of a member's flags that says that it is encrypted.
const ENCRYPTED: u16 = 1;

/// A file in an archive, as the directory says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    /// Length in bytes, decompressed.
    pub(super) size: u64,
    packed: u64,
    method: u16,
    /// Offset of the member's own header.
    at: u64,
}

/// Returns the files of an archive of `size` bytes with this end, or `None` if it is not read.
pub(super) fn members<F: Read + Seek>(
    file: &mut F,
    tail: &[u8],
    size: u64,
) -> io::Result<Option<Vec<Member>>> {
    let Some(directory) = directory(file, tail, size)? else { return Ok(None) };
    let Directory { count, begin, length } = directory;
    let bytes = read_at(file, begin, length)?;
    let mut rest = bytes.as_slice();
    let (mut members, mut names) = (Vec::new(), BTreeSet::new());
    for _ in 0..count {
        let Some((member, after)) = entry(rest) else { return Ok(None) };
        rest = after;
        let is_new = names.insert(member.name.clone());
        let is_inside =
            member.at.checked_add(LOCAL_LEN).is_some_and(|it| it <= begin) && member.packed <= begin;
        if !is_new || !is_inside {
            return Ok(None);
        }
        // An entry of a folder has no bytes.
        if !(member.name.ends_with('/') && member.size == 0) {
            members.push(member);
        }
    }
    let begins_with_a_member = members.iter().any(|it| it.at == 0);
    Ok((rest.is_empty() && begins_with_a_member).then_some(members))
}

struct Directory {
    count: u64,
    begin: u64,
    length: u64,
}

/// Reads where the directory lies from the end record, which must be the file's last bytes.
fn directory<F: Read + Seek>(file: &mut F, tail: &[u8], size: u64) -> io::Result<Option<Directory>> {
    let Some(end) = tail.len().checked_sub(END_LEN).map(|at| &tail[at..]) else { return Ok(None) };
    if !end.starts_with(b"PK\x05\x06") || end[20..] != [0, 0] {
        return Ok(None);
    }
    let (count, length, begin) =
        (u64::from(u16_at(end, 10)), u64::from(u32_at(end, 12)), u64::from(u32_at(end, 16)));
    let mut ends_at = size - END_LEN as u64;
    let mut found = Directory { count, begin, length };
    let at = tail.len().checked_sub(END_LEN + LOCATOR_LEN);
    let locator = at.map(|at| &tail[at..]).filter(|it| it.starts_with(b"PK\x06\x07"));
    let is_wide = count == 0xffff || length == 0xffff_ffff || begin == 0xffff_ffff;
    if is_wide && locator.is_none() {
        return Ok(None);
    }
    // Python's zipfile looks for the locator always, and takes the record that lies right before it.
    if let Some(locator) = locator {
        ends_at = u64_at(locator, 8);
        if ends_at.checked_add(END64_LEN + (LOCATOR_LEN + END_LEN) as u64) != Some(size) {
            return Ok(None);
        }
        let end64 = read_at(file, ends_at, END64_LEN)?;
        if !end64.starts_with(b"PK\x06\x06") {
            return Ok(None);
        }
        found =
            Directory { count: u64_at(&end64, 32), length: u64_at(&end64, 40), begin: u64_at(&end64, 48) };
        let is_same = |narrow: u64, full: u64, wide: u64| narrow == full || narrow == wide;
        if !is_same(count, 0xffff, found.count)
            || !is_same(length, 0xffff_ffff, found.length)
            || !is_same(begin, 0xffff_ffff, found.begin)
        {
            return Ok(None);
        }
    }
    let Directory { count, begin, length } = found;
    let fits =
        count <= MEMBERS_MAX && length <= DIRECTORY_BYTES_MAX && begin.checked_add(length) == Some(ends_at);
    Ok((fits && count > 0).then_some(found))
}

/// Parses an entry of the directory. Returns it and what follows, or `None` for an entry that is not read.
fn entry(bytes: &[u8]) -> Option<(Member, &[u8])> {
    let (fixed, rest) = bytes.split_at_checked(ENTRY_LEN)?;
    if !fixed.starts_with(b"PK\x01\x02") || u16_at(fixed, 8) & ENCRYPTED != 0 {
        return None;
    }
    let method = u16_at(fixed, 10);
    let (name, rest) = rest.split_at_checked(u16_at(fixed, 28).into())?;
    let (extra, rest) = rest.split_at_checked(u16_at(fixed, 30).into())?;
    // A comment could hold another directory, and a field another name.
    if u16_at(fixed, 32) != 0 || fields(extra).any(|(kind, _)| kind == UNICODE_PATH) {
        return None;
    }
    let mut wide = wide_numbers(extra);
    let mut number = |at: usize| match u32_at(fixed, at) {
        u32::MAX => wide.next(),
        narrow => Some(narrow.into()),
    };
    let (size, packed, at) = (number(24)?, number(20)?, number(42)?);
    let name = std::str::from_utf8(name).ok()?.to_owned();
    let is_read = method == DEFLATED || method == STORED && packed == size;
    is_read.then_some((Member { name, size, packed, method, at }, rest))
}

/// Iterates over the extra fields of an entry, each a number and its data.
fn fields(extra: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = extra;
    std::iter::from_fn(move || {
        let (head, after) = rest.split_first_chunk::<4>()?;
        let (data, next) = after.split_at_checked(u16_at(head, 2).into())?;
        rest = next;
        Some((u16_at(head, 0), data))
    })
}

/// Iterates over the 64-bit numbers of an entry's extra field 1.
fn wide_numbers(extra: &[u8]) -> impl Iterator<Item = u64> {
    let found = fields(extra).find(|(kind, _)| *kind == 1).map_or(&[][..], |(_, data)| data);
    found.as_chunks::<8>().0.iter().map(|it| u64::from_le_bytes(*it))
}

/// Returns the first bytes of a member, at most `max`, or `None` if its own header differs or its bytes are damaged.
pub(super) fn head<F: Read + Seek>(file: &mut F, member: &Member, max: usize) -> io::Result<Option<Vec<u8>>> {
    let local = read_at(file, member.at, LOCAL_LEN)?;
    let (name, extra) = (u64::from(u16_at(&local, 26)), u64::from(u16_at(&local, 28)));
    let is_same = local.starts_with(b"PK\x03\x04")
        && u16_at(&local, 8) == member.method
        && u16_at(&local, 6) & ENCRYPTED == 0
        && name == member.name.len() as u64;
    if !is_same {
        return Ok(None);
    }
    if read_at(file, member.at + LOCAL_LEN, name)? != member.name.as_bytes() {
        return Ok(None);
    }
    let begin = member.at + LOCAL_LEN + name + extra;
    let wanted = member.size.min(max as u64);
    if member.method == STORED {
        return read_at(file, begin, wanted).map(Some);
    }
    // Deflate takes at most five bytes more for each block of 64 KiB, and a table of codes, than it saves.
    let packed = read_at(file, begin, member.packed.min(wanted + (wanted >> 10) + 4096))?;
    Ok(inflated(&packed, wanted as usize))
}

/// Returns the first `wanted` bytes that `packed` decompresses to.
fn inflated(packed: &[u8], wanted: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; wanted];
    let flags =
        inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
    let (status, _, written) = decompress(&mut DecompressorOxide::new(), packed, &mut bytes, 0, flags);
    let is_sound = matches!(status, TINFLStatus::Done | TINFLStatus::HasMoreOutput);
    // All bytes may be there before the end of the stream is.
    (is_sound || status == TINFLStatus::NeedsMoreInput).then_some(bytes).filter(|_| written == wanted)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |it| u16::from_le_bytes([it[0], it[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    /// A zip archive of these files, stored or deflated.
    pub(crate) fn zip(files: &[(&str, Vec<u8>)], deflate: bool) -> Vec<u8> {
        let (mut archive, mut directory) = (Vec::new(), Vec::new());
        for (name, bytes) in files {
            let packed =
                if deflate { miniz_oxide::deflate::compress_to_vec(bytes, 6) } else { bytes.clone() };
            let mut common = Vec::new();
            common.extend(20_u16.to_le_bytes());
            common.extend(0_u16.to_le_bytes());
            common.extend(if deflate { DEFLATED } else { STORED }.to_le_bytes());
            common.extend([0; 8]);
            common.extend((packed.len() as u32).to_le_bytes());
            common.extend((bytes.len() as u32).to_le_bytes());
            common.extend((name.len() as u16).to_le_bytes());
            common.extend(0_u16.to_le_bytes());
            let at = archive.len() as u32;
            archive.extend(b"PK\x03\x04");
            archive.extend(&common);
            archive.extend(name.as_bytes());
            archive.extend(packed);
            directory.extend(b"PK\x01\x02\x14\0");
            directory.extend(&common);
            directory.extend([0; 10]);
            directory.extend(at.to_le_bytes());
            directory.extend(name.as_bytes());
        }
        let begin = archive.len() as u32;
        archive.extend(&directory);
        archive.extend(b"PK\x05\x06\0\0\0\0");
        archive.extend((files.len() as u16).to_le_bytes());
        archive.extend((files.len() as u16).to_le_bytes());
        archive.extend((directory.len() as u32).to_le_bytes());
        archive.extend(begin.to_le_bytes());
        archive.extend([0; 2]);
        archive
    }

    fn read(bytes: &[u8]) -> Option<Vec<Member>> {
        members(&mut Cursor::new(bytes), bytes, bytes.len() as u64).ok().flatten()
    }

    #[test]
    fn reads_names_and_first_bytes() {
        for deflate in [false, true] {
            let long = b"0123456789".repeat(10_000);
            let bytes = zip(&[("a", b"one".to_vec()), ("b/c", long.clone()), ("empty", Vec::new())], deflate);
            let found = read(&bytes).expect("an archive");
            let names: Vec<&str> = found.iter().map(|it| it.name.as_str()).collect();
            assert_eq!(names, ["a", "b/c", "empty"]);
            let first = |number: usize, max| head(&mut Cursor::new(&bytes), &found[number], max).unwrap();
            assert_eq!(first(0, 100).as_deref(), Some(b"one".as_slice()));
            assert_eq!(first(1, 1000).as_deref(), Some(&long[..1000]));
            assert_eq!(first(1, 1 << 20).as_deref(), Some(&long[..]));
            assert_eq!(first(2, 10).as_deref(), Some(b"".as_slice()));
        }
    }

    #[test]
    fn is_not_read_where_two_readers_may_differ() {
        let sound = zip(&[("a", b"one".to_vec())], false);
        assert!(read(&sound).is_some());
        assert!(read(&[sound.as_slice(), b"x"].concat()).is_none(), "bytes after it");
        assert!(read(&[b"x", sound.as_slice()].concat()).is_none(), "bytes before it");
        assert!(read(&zip(&[("a", Vec::new()), ("a", Vec::new())], false)).is_none(), "a name twice");
        assert!(read(&zip(&[], false)).is_none(), "nothing");
        let mut other = sound.clone();
        other[30] = b'b';
        let found = read(&other).expect("the directory is sound");
        assert_eq!(
            head(&mut Cursor::new(&other), &found[0], 10).unwrap(),
            None,
            "its own header has another name"
        );
    }

    /// An archive of which the comment of its last entry holds another directory, with a 64-bit end record, as Python reads it.
    fn with_hidden_directory(seen: &[(&str, Vec<u8>)], hidden: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let ends = |bytes: &[u8]| {
            let begin = u32_at(bytes, bytes.len() - 6) as usize;
            (bytes[..begin].to_vec(), bytes[begin..bytes.len() - END_LEN].to_vec())
        };
        let (mut archive, mut directory) = ends(&zip(seen, false));
        let (members, mut other) = ends(&zip(hidden, false));
        let at = archive.len() as u32;
        let own = u32_at(&other, 42) + at;
        other[42..46].copy_from_slice(&own.to_le_bytes());
        archive.extend(members);
        let begin = archive.len() as u32;
        let comment = {
            let other_begin = u64::from(begin) + directory.len() as u64;
            let mut end64 = b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0".to_vec();
            end64.extend([0; 8]);
            for number in [1, 1, other.len() as u64, other_begin] {
                end64.extend(number.to_le_bytes());
            }
            let mut locator = b"PK\x06\x07\0\0\0\0".to_vec();
            locator.extend((other_begin + other.len() as u64).to_le_bytes());
            locator.extend(1_u32.to_le_bytes());
            [other, end64, locator].concat()
        };
        // The directory has one entry, so its comment's length is that of the last entry.
        directory[32..34].copy_from_slice(&(comment.len() as u16).to_le_bytes());
        directory.extend(comment);
        archive.extend(&directory);
        archive.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
        archive.extend((directory.len() as u32).to_le_bytes());
        archive.extend(begin.to_le_bytes());
        archive.extend([0; 2]);
        archive
    }

    #[test]
    fn no_second_directory_is_hidden_from_this_reader() {
        let bytes = with_hidden_directory(&[("a.npy", b"one".to_vec())], &[("b.npy", b"two".to_vec())]);
        assert_eq!(read(&bytes), None, "Python's zipfile sees b.npy");
        let mut commented = zip(&[("a", b"one".to_vec())], false);
        let end = commented.len() - END_LEN;
        let begin = u32_at(&commented, commented.len() - 6) as usize;
        commented[begin + 32] = 1;
        commented.insert(end, b'x');
        commented[end + 13] += 1;
        assert_eq!(u32_at(&commented, end + 13), 48);
        assert_eq!(read(&commented), None, "a comment of an entry");
    }

    #[test]
    fn a_name_that_a_field_replaces_is_not_read() {
        let sound = zip(&[("metadata.json", b"{}".to_vec())], false);
        let (end, begin) = (sound.len() - END_LEN, u32_at(&sound, sound.len() - 6) as usize);
        let field = [b"\x75\x70\x0a\0\x01\0\0\0\0other".as_slice()].concat();
        let mut bytes = sound.clone();
        bytes[begin + 30] = field.len() as u8;
        bytes.splice(end..end, field.iter().copied());
        let end = bytes.len() - END_LEN;
        bytes[end + 12] += field.len() as u8;
        assert_eq!(read(&bytes), None, "newer versions of Python take the name of the Unicode path field");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]

        #[test]
        fn never_panics_on_damage(at in 0..400_usize, byte: u8, cut in 0..400_usize, deflate: bool) {
            let mut bytes = zip(&[("a.npy", b"\x93NUMPY\x01\0".to_vec()), ("b", vec![7; 60])], deflate);
            if let Some(it) = bytes.get_mut(at) { *it = byte; }
            bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(200)));
            for member in read(&bytes).into_iter().flatten() {
                drop(head(&mut Cursor::new(&bytes), &member, 4096));
            }
        }
    }
}
