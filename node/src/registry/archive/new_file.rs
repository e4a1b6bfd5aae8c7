//! [`NewFile`]: a file that has a name only once it is whole and on the disk. A process that is killed before leaves nothing
//! where the file system can make files without a name, else a file that the next run of the same command overwrites.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::error::ExportError;

/// A file that is being written.
#[derive(Debug)]
pub(super) struct NewFile {
    file: File,
    path: PathBuf,
    /// The name that it has meanwhile; `None` where it has none.
    temporary: Option<PathBuf>,
}

/// Returns the name that a file has while it is written.
pub(super) fn temporary_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".part");
    path.with_file_name(name)
}

/// Opens the file that a file is while it is written. Refuses a link in its place, which may lead out of a disk that was brought.
pub(super) fn open_begun(options: &mut OpenOptions, temporary: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;

        use rustix::fs::OFlags;
        options.custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0));
    }
    options.open(temporary)
}

/// Locks the file `temporary`, which is `path` while it is written, so that no other export mixes its bytes into it.
///
/// # Errors
/// [`ExportError::Busy`] where another export has locked it, or has ended meanwhile.
pub(super) fn lock_begun(file: &File, temporary: &Path, path: &Path) -> Result<(), ExportError> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(ExportError::Busy { path: path.to_owned() }),
        // Some file systems of USB sticks and shares have no locks.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    // An export that ended between the opening and the lock has given this file its last name, or removed it.
    if is_named(file, temporary) { Ok(()) } else { Err(ExportError::Busy { path: path.to_owned() }) }
}

#[cfg(unix)]
fn is_named(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(opened), Ok(named)) => (opened.dev(), opened.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// An open file cannot be renamed or removed there.
#[cfg(not(unix))]
fn is_named(_: &File, _: &Path) -> bool {
    true
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Syncs the directory of a file, so that its name survives a power cut.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(parent(path))?.sync_all()?;
    Ok(())
}

impl NewFile {
    /// Begins a file.
    ///
    /// # Errors
    /// The directory does not exist, or takes no file; or another export writes a file of this name.
    pub(super) fn create(path: &Path) -> Result<Self, ExportError> {
        let failed = |source| ExportError::Write { path: path.to_owned(), source };
        match nameless(parent(path)).map_err(failed)? {
            Some(file) => Ok(Self { file, path: path.to_owned(), temporary: None }),
            None => Self::create_named(path),
        }
    }

    /// Begins a file where the file system makes none without a name.
    fn create_named(path: &Path) -> Result<Self, ExportError> {
        let failed = |source| ExportError::Write { path: path.to_owned(), source };
        let temporary = temporary_of(path);
        let mut options = File::options();
        let file =
            open_begun(options.write(true).create(true).truncate(false), &temporary).map_err(failed)?;
        lock_begun(&file, &temporary, path)?;
        // The bytes of another export are only removed once this one has the lock.
        file.set_len(0).map_err(failed)?;
        Ok(Self { file, path: path.to_owned(), temporary: Some(temporary) })
    }

    /// Returns the file to write to.
    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Syncs the file and gives it its name, replacing a file of that name.
    ///
    /// # Errors
    /// The file cannot be synced or named. Then a file of that name is the one of before.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        if self.temporary.is_none() {
            let temporary = temporary_of(&self.path);
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            link(&self.file, &temporary)?;
            self.temporary = Some(temporary);
        }
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.path)?;
        }
        self.temporary = None;
        sync_parent(&self.path)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            drop(fs::remove_file(temporary));
        }
    }
}

/// Makes a file without a name in a directory; `None` where the file system cannot, or could not name it later.
#[cfg(target_os = "linux")]
fn nameless(dir: &Path) -> io::Result<Option<File>> {
    use rustix::fs::{Mode, OFlags, open};
    use rustix::io::Errno;
    let can_link = Path::new("/proc/self/fd").is_dir();
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match open(dir, flags, Mode::from_raw_mode(0o644)) {
        Ok(file) if can_link => Ok(Some(File::from(file))),
        Ok(_) | Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn nameless(_: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// Gives a file without a name its first one.
#[cfg(target_os = "linux")]
fn link(file: &File, path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    use rustix::fs::{AtFlags, CWD, linkat};
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(linkat(CWD, from, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(not(target_os = "linux"))]
fn link(_: &File, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_has_a_name_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.tar");
        let names = || fs::read_dir(dir.path()).unwrap().count();
        fs::write(&path, b"before").unwrap();
        let mut begun = NewFile::create(&path).unwrap();
        begun.file.write_all(b"half").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before");
        drop(begun);
        assert_eq!((fs::read(&path).unwrap(), names()), (b"before".to_vec(), 1));
        fs::write(temporary_of(&path), b"of a killed process").unwrap();
        let whole = NewFile::create(&path).unwrap();
        whole.file().write_all(b"whole").unwrap();
        whole.finish().unwrap();
        assert_eq!((fs::read(&path).unwrap(), names()), (b"whole".to_vec(), 1));
        assert!(NewFile::create(&dir.path().join("none/model.tar")).is_err());
    }

    #[test]
    fn two_exports_to_one_name_do_not_mix_their_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.tar");
        let first = NewFile::create_named(&path).unwrap();
        first.file().write_all(b"first").unwrap();
        assert!(matches!(NewFile::create_named(&path), Err(ExportError::Busy { .. })));
        assert_eq!(fs::read(temporary_of(&path)).unwrap(), b"first", "the second one has removed nothing");
        first.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        drop(NewFile::create_named(&path).unwrap());
        assert!(!temporary_of(&path).exists());
    }
}
