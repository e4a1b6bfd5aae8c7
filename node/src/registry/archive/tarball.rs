//! Reads and writes tar archives of OCI layouts. It reads headers only, and remembers where the bytes of each member lie.
//!
//! A layout has ordinary files alone. So links, devices, sparse files and everything else that could mean two things to two
//! programs is refused, and what headers claim is bounded before it is read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use tar::{EntryType, Header};
use thiserror::Error;

use super::member::{BadName, Member};
use crate::registry::limits::{TAR_ENTRIES_MAX, TAR_EXTENSION_BYTES_MAX};

/// Bytes of a block: headers take one, and the bytes of a file begin and end at one.
pub(super) const BLOCK: u64 = 512;

/// Where the bytes of a member lie in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) size: u64,
}

/// Why a file is not a tar archive of a layout.
#[derive(Debug, Error)]
pub enum TarError {
    #[error("it is compressed with {with}")]
    Compressed { with: &'static str },
    #[error("it is no tar archive")]
    NotTar,
    #[error("it is cut off after {at} bytes")]
    Cut { at: u64 },
    #[error("entry at byte {at} has a damaged header")]
    Header { at: u64 },
    #[error("entry at byte {at} is {what}, and a layout has ordinary files only")]
    Kind { at: u64, what: String },
    #[error("entry {name:?} at byte {at} leads out of the archive")]
    Name { at: u64, name: String },
    #[error("{name} is in it twice, the second time at byte {at}")]
    Twice { at: u64, name: String },
    #[error(
        "entry at byte {at} has an extended header of {size} bytes, at most {TAR_EXTENSION_BYTES_MAX} are allowed"
    )]
    LongExtension { at: u64, size: u64 },
    #[error("entry at byte {at} has an extended header that cannot be read")]
    Extension { at: u64 },
    #[error("it has more than {TAR_ENTRIES_MAX} entries")]
    TooMany,
    #[error("it cannot be read")]
    Io(#[from] io::Error),
}

/// Returns the header of a file of a layout. It has no time and no owner, so the same content gives the same archive.
pub(super) fn header(member: &Member, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_path(member.name()).expect("names of a layout are shorter than a tar header's");
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    header
}

/// Returns how many bytes follow a file of this size up to the next block.
pub(super) const fn padding(size: u64) -> u64 {
    (BLOCK - size % BLOCK) % BLOCK
}

/// What extended headers say of the entry that follows them.
#[derive(Debug, Default)]
struct Extended {
    name: Option<Vec<u8>>,
    size: Option<u64>,
}

/// Finds the members of a layout in an archive. It reads each header and passes over the bytes of the files.
///
/// # Errors
/// The archive is damaged, or has an entry that a layout may not have: see [`TarError`].
pub(super) fn scan(file: &File) -> Result<BTreeMap<Member, Extent>, TarError> {
    let length = file.metadata()?.len();
    let (mut members, mut extended, mut at) = (BTreeMap::new(), Extended::default(), 0);
    check_compression(file, length)?;
    for _entry in 0..=TAR_ENTRIES_MAX {
        let block = read(file, at, BLOCK, length)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(members);
        }
        let header = checked(&block, at)?;
        let (kind, start) = (header.entry_type(), at + BLOCK);
        let is_extension = matches!(
            kind,
            EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNULongName | EntryType::GNULongLink
        );
        let stated = header.entry_size().map_err(|_| TarError::Header { at })?;
        let size = extended.size.filter(|_| !is_extension).unwrap_or(stated);
        let end = start.checked_add(size).filter(|end| *end <= length).ok_or(TarError::Cut { at: length })?;
        match kind {
            _ if is_extension => {
                if size > TAR_EXTENSION_BYTES_MAX {
                    return Err(TarError::LongExtension { at, size });
                }
                extended.take(kind, &read(file, start, size, length)?, at)?;
            }
            EntryType::Directory if size == 0 => {
                named(&std::mem::take(&mut extended), &header, at)?;
            }
            EntryType::Regular => {
                let name = named(&std::mem::take(&mut extended), &header, at)?;
                if let Some(member) = name
                    && members.insert(member, Extent { start, size }).is_some()
                {
                    return Err(TarError::Twice { at, name: member.name() });
                }
            }
            kind => return Err(TarError::Kind { at, what: what(kind) }),
        }
        at = end + padding(size);
    }
    Err(TarError::TooMany)
}

/// Reads the name of an entry, and what it means in a layout.
fn named(extended: &Extended, header: &Header, at: u64) -> Result<Option<Member>, TarError> {
    let name = extended.name.clone().unwrap_or_else(|| header.path_bytes().into_owned());
    Member::of(&name)
        .map_err(|BadName| TarError::Name { at, name: String::from_utf8_lossy(&name).into_owned() })
}

fn what(kind: EntryType) -> String {
    match kind {
        EntryType::Link => "a hard link".to_owned(),
        EntryType::Symlink => "a symbolic link".to_owned(),
        EntryType::Char | EntryType::Block => "a device".to_owned(),
        EntryType::Fifo => "a named pipe".to_owned(),
        EntryType::GNUSparse => "a sparse file".to_owned(),
        EntryType::Directory => "a directory with content".to_owned(),
        kind => format!("of type {:?}", char::from(kind.as_byte())),
    }
}

fn read(mut file: &File, at: u64, size: u64, length: u64) -> Result<Vec<u8>, TarError> {
    if at.checked_add(size).is_none_or(|end| end > length) {
        return Err(TarError::Cut { at: length });
    }
    // The callers ask for one block, or for a bounded extension.
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| TarError::Header { at })?];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn check_compression(file: &File, length: u64) -> Result<(), TarError> {
    const MAGICS: [(&[u8], &str); 4] = [
        (&[0x1f, 0x8b], "gzip"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
        (b"BZh", "bzip2"),
        (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
    ];
    let first = read(file, 0, length.min(8), length)?;
    match MAGICS.iter().find(|(magic, _)| first.starts_with(magic)) {
        Some((_, with)) => Err(TarError::Compressed { with }),
        None => Ok(()),
    }
}

/// Returns a header that has the right checksum.
fn checked(block: &[u8], at: u64) -> Result<Header, TarError> {
    /// Where the checksum lies in a header. It counts as spaces.
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    let damaged = || if at == 0 { TarError::NotTar } else { TarError::Header { at } };
    let header = Header::from_byte_slice(block).clone();
    let byte = |(index, byte): (usize, &u8)| u32::from(if CHECKSUM.contains(&index) { b' ' } else { *byte });
    let sum: u32 = block.iter().enumerate().map(byte).sum();
    if header.cksum().ok() == Some(sum) { Ok(header) } else { Err(damaged()) }
}

impl Extended {
    /// Takes what an extended header says of the next entry.
    fn take(&mut self, kind: EntryType, bytes: &[u8], at: u64) -> Result<(), TarError> {
        match kind {
            EntryType::GNULongName => {
                let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                self.name = Some(name.to_vec());
            }
            EntryType::XHeader | EntryType::XGlobalHeader => {
                for (key, value) in records(bytes).ok_or(TarError::Extension { at })? {
                    self.take_record(kind, &key, value, at)?;
                }
            }
            // The name that a link leads to: the link itself is refused.
            _ => {}
        }
        Ok(())
    }

    fn take_record(&mut self, kind: EntryType, key: &str, value: Vec<u8>, at: u64) -> Result<(), TarError> {
        let is_global = kind == EntryType::XGlobalHeader;
        match key {
            // Two programs would read two archives.
            "size" | "path" if is_global => Err(TarError::Extension { at }),
            "size" if self.size.is_none() => {
                let size = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
                self.size = Some(size.ok_or(TarError::Extension { at })?);
                Ok(())
            }
            "path" if self.name.is_none() => {
                self.name = Some(value);
                Ok(())
            }
            "size" | "path" => Err(TarError::Extension { at }),
            key if key.starts_with("GNU.sparse") => {
                Err(TarError::Kind { at, what: what(EntryType::GNUSparse) })
            }
            _ => Ok(()),
        }
    }
}

/// Reads the records of a pax header: each is `LENGTH KEY=VALUE` and a line break, and the length counts all of it.
fn records(mut bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        all.push((String::from_utf8(record[..equals].to_vec()).ok()?, record[equals + 1..].to_vec()));
        bytes = &bytes[length..];
    }
    Some(all)
}

#[cfg(test)]
mod tests;
