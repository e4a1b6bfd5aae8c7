//! [`NewFile`]: a file that has a name only once it is whole and on the disk. A process that is killed before leaves nothing
//! where the file system can make files without a name, else a file that the next run of the same command overwrites.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

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
    /// The directory does not exist, or takes no file.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        if let Some(file) = nameless(parent(path))? {
            return Ok(Self { file, path: path.to_owned(), temporary: None });
        }
        let temporary = temporary_of(path);
        let file = open_begun(File::options().write(true).create(true).truncate(true), &temporary)?;
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
}
