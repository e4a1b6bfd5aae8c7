//! Writes and reads small files that only their owner can read: keys and the trust file. They survive a power cut
//! whole.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// Creates a file that only its owner can read. It never replaces an existing file.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], or an error of the file system. After an error the file is whole or absent.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    written_beside(path, bytes)?.persist_noclobber(path).map_err(|error| error.error)?;
    sync_directory_of(path)
}

/// Writes a file, and replaces an existing file of that name.
///
/// # Errors
/// An error of the file system. The file is then the old one or the new one, never a mixture.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    written_beside(path, bytes)?.persist(path).map_err(|error| error.error)?;
    sync_directory_of(path)
}

/// Removes a file, if it exists. When this returns, the file stays removed after a power cut.
///
/// # Errors
/// An error of the file system.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_directory_of(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Creates a directory that only its owner can open, with its missing parents.
///
/// # Errors
/// An error of the file system.
pub fn create_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    sync_directory_of(path)
}

/// Reads a whole file of at most `max` bytes. The buffer wipes the bytes from memory when it is dropped.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`], or an error of the file system.
pub fn read(file: &File, max: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // Allocated once: a vector that grows leaves copies of the secret in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(max + 1));
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// Writes a temporary file beside `path`, with `O_EXCL` and mode 0600.
fn written_beside(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(directory_of(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Syncs the directory of a file. A name is durable only after its directory has reached the disk. Windows has no such
/// call.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory_of(path))?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creates_once_and_replaces_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        create(&path, b"one").unwrap();
        assert_eq!(create(&path, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn reads_up_to_a_bound() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        create(&path, b"four").unwrap();
        let read = |max| read(&File::open(&path).unwrap(), max);
        assert_eq!(*read(4).unwrap(), b"four");
        assert_eq!(read(3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
