//! Reads from its first and last bytes what a zip archive holds, without unpacking it.

const LOCAL_HEADER: [u8; 4] = *b"PK\x03\x04";
const SPANNED: [u8; 4] = *b"PK\x07\x08";
const DIRECTORY_ENTRY: [u8; 4] = *b"PK\x01\x02";
const DIRECTORY_END: [u8; 4] = *b"PK\x05\x06";

/// Length in bytes of a directory's end record before its comment (APPNOTE 4.3.16).
const DIRECTORY_END_LEN: usize = 22;

/// The contents of a zip archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zip {
    /// A pickle, as `torch.save` and TorchScript write it.
    Torch,
    Other,
}

/// Returns the contents of a zip archive, or `None` if the file is not one.
///
/// Python's reader searches for the directory at the end and accepts any bytes before the archive. So a file that begins
/// with another format's magic may still be an archive.
pub(super) fn sniff(head: &[u8], tail: &[u8]) -> Option<Zip> {
    let starts = [LOCAL_HEADER, SPANNED, DIRECTORY_END].iter().any(|magic| head.starts_with(magic));
    if !starts && !ends_with_directory(tail) {
        return None;
    }
    let torch = names(head, LOCAL_HEADER, 26, 30)
        .chain(names(tail, LOCAL_HEADER, 26, 30))
        .chain(names(tail, DIRECTORY_ENTRY, 28, 46))
        .any(is_pickle);
    Some(if torch { Zip::Torch } else { Zip::Other })
}

/// Returns whether the file ends with a directory's end record and a comment that ends with the file.
fn ends_with_directory(tail: &[u8]) -> bool {
    (0..tail.len().saturating_sub(DIRECTORY_END_LEN - 1)).rev().any(|at| {
        let record = &tail[at..];
        record.starts_with(&DIRECTORY_END)
            && usize::from(u16::from_le_bytes([record[20], record[21]])) == record.len() - DIRECTORY_END_LEN
    })
}

/// Returns the file names of all records with this magic. `length_at` is the offset of the name's length in a record, and
/// `name_at` the offset of the name.
fn names(
    bytes: &[u8],
    magic: [u8; 4],
    length_at: usize,
    name_at: usize,
) -> impl Iterator<Item = &[u8]> + use<'_> {
    (0..bytes.len()).filter_map(move |at| {
        let record = &bytes[at..];
        let length = record.get(length_at..length_at + 2).filter(|_| record.starts_with(&magic))?;
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        record.get(name_at..name_at + length)
    })
}

fn is_pickle(name: &[u8]) -> bool {
    let file = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    [".pkl", ".pickle"].iter().any(|end| file.to_ascii_lowercase().ends_with(end.as_bytes()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A stored, empty zip archive with files of these names.
    pub(crate) fn archive(names: &[&str]) -> Vec<u8> {
        let (mut files, mut directory) = (Vec::new(), Vec::new());
        for name in names {
            let length = u16::try_from(name.len()).unwrap().to_le_bytes();
            let offset = u32::try_from(files.len()).unwrap().to_le_bytes();
            files.extend(LOCAL_HEADER);
            files.extend([0; 22]);
            files.extend(length);
            files.extend([0; 2]);
            files.extend(name.as_bytes());
            directory.extend(DIRECTORY_ENTRY);
            directory.extend([0; 24]);
            directory.extend(length);
            directory.extend([0; 12]);
            directory.extend(offset);
            directory.extend(name.as_bytes());
        }
        let offset = u32::try_from(files.len()).unwrap().to_le_bytes();
        let size = u32::try_from(directory.len()).unwrap().to_le_bytes();
        files.extend(directory);
        files.extend(DIRECTORY_END);
        files.extend([0; 8]);
        files.extend(size);
        files.extend(offset);
        files.extend([0; 2]);
        files
    }

    #[test]
    fn tells_torch_from_other_archives_at_either_end() {
        let torch = archive(&["archive/data.pkl", "archive/version"]);
        assert_eq!(sniff(&torch, &torch), Some(Zip::Torch));
        assert_eq!(sniff(&torch[..40], &torch), Some(Zip::Torch));
        let other = archive(&["config.json", "model.weights.h5"]);
        assert_eq!(sniff(&other, &other), Some(Zip::Other));
        assert_eq!(sniff(&archive(&[]), &[]), Some(Zip::Other));
        assert_eq!(sniff(b"PKpicture", b"PK"), None);
    }

    #[test]
    fn finds_an_archive_behind_another_format() {
        let mut bytes = b"\x89PNG\r\n\x1a\n....".to_vec();
        bytes.extend(archive(&["archive/data.pkl"]));
        assert_eq!(sniff(&bytes[..12], &bytes), Some(Zip::Torch));
    }
}
