//! The files and folders that the kernel knows of, each with a descriptor that stays valid when it is renamed or removed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

/// A file or folder of the backing folder.
#[derive(Debug)]
pub(super) struct Inode(File);

impl Inode {
    fn open(dir: impl std::os::fd::AsFd, name: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd: OwnedFd = openat(dir, name, flags, Mode::empty())?;
        Ok(Self(File::from(fd)))
    }

    /// Returns a path that leads to it, wherever it is by now.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// Returns a path that leads to an entry of this folder.
    pub(super) fn entry(&self, name: &OsStr) -> PathBuf {
        self.path().join(name)
    }

    /// Returns the target of a symbolic link.
    pub(super) fn target(&self) -> rustix::io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.0, "", Vec::new())?.into_bytes())
    }

    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    /// Returns where it is now.
    fn is_at(&self) -> PathBuf {
        std::fs::read_link(self.path()).unwrap_or_default()
    }
}

/// An inode, and the number of look-ups that the kernel has not forgotten.
type Known = BTreeMap<u64, (Arc<Inode>, u64)>;

/// All inodes that the kernel knows of.
#[derive(Debug)]
pub(super) struct Inodes {
    root: Arc<Inode>,
    root_path: PathBuf,
    root_number: u64,
    known: Mutex<Known>,
}

impl Inodes {
    pub(super) fn new(backing: &Path) -> io::Result<Self> {
        let root_path = backing.canonicalize()?;
        let root = Inode::open(CWD, &root_path)?;
        let root_number = root.metadata()?.ino();
        Ok(Self { root: Arc::new(root), root_path, root_number, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, number: INodeNo) -> Result<Arc<Inode>, Errno> {
        if number == INodeNo::ROOT {
            return Ok(Arc::clone(&self.root));
        }
        self.known().get(&number.0).map(|(inode, _)| Arc::clone(inode)).ok_or(Errno::STALE)
    }

    /// Looks up an entry of a folder; the kernel will forget it as often as it was looked up.
    pub(super) fn look_up(&self, dir: &Inode, name: &OsStr) -> io::Result<FileAttr> {
        let inode = Inode::open(&dir.0, Path::new(name))?;
        let attributes = self.attributes(&inode.metadata()?);
        let mut known = self.known();
        let entry = known.entry(attributes.ino.0).or_insert_with(|| (Arc::new(inode), 0));
        entry.1 += 1;
        Ok(attributes)
    }

    pub(super) fn forget(&self, number: INodeNo, lookups: u64) {
        let mut known = self.known();
        let Some((_, count)) = known.get_mut(&number.0) else { return };
        *count = count.saturating_sub(lookups);
        if *count == 0 {
            known.remove(&number.0);
        }
    }

    /// Returns the path of an inode, or of an entry of it, from the root of the file system.
    pub(super) fn shown(&self, number: INodeNo, name: Option<&OsStr>) -> PathBuf {
        let at = self.get(number).map(|inode| inode.is_at()).unwrap_or_default();
        let at = at.strip_prefix(&self.root_path).unwrap_or(&at);
        let shown = Path::new("/").join(at);
        name.map_or(shown.clone(), |name| shown.join(name))
    }

    /// Returns the number that the kernel knows a backing inode by.
    pub(super) fn number(&self, backing: u64) -> INodeNo {
        if backing == self.root_number { INodeNo::ROOT } else { INodeNo(backing) }
    }

    pub(super) fn attributes(&self, of: &Metadata) -> FileAttr {
        FileAttr {
            ino: self.number(of.ino()),
            size: of.size(),
            blocks: of.blocks(),
            atime: time(of.atime(), of.atime_nsec()),
            mtime: time(of.mtime(), of.mtime_nsec()),
            ctime: time(of.ctime(), of.ctime_nsec()),
            crtime: UNIX_EPOCH,
            kind: kind(of.file_type()),
            perm: (of.mode() & 0o7777) as u16,
            nlink: of.nlink() as u32,
            uid: of.uid(),
            gid: of.gid(),
            rdev: of.rdev() as u32,
            blksize: of.blksize() as u32,
            flags: 0,
        }
    }
}

/// Returns the kind of an entry.
pub(super) fn kind(of: std::fs::FileType) -> FileType {
    match of {
        it if it.is_dir() => FileType::Directory,
        it if it.is_symlink() => FileType::Symlink,
        it if it.is_socket() => FileType::Socket,
        it if it.is_fifo() => FileType::NamedPipe,
        _ => FileType::RegularFile,
    }
}

fn time(seconds: i64, nanoseconds: i64) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let start = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
    start + Duration::from_nanos(nanoseconds.unsigned_abs())
}
