//! Passes each operation on to the backing folder, unless it is to fail.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirEntryExt, FileExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags, Timespec, Timestamps};

use super::faults::{Faults, Op};
use super::inodes::{Inodes, kind};

/// The kernel asks again each time: a test may change the backing folder.
const NOT_CACHED: Duration = Duration::ZERO;
const GENERATION: Generation = Generation(0);

/// What stands behind a file handle of the kernel.
#[derive(Debug, Clone)]
enum Handle {
    File(Arc<File>),
    Folder(Arc<Vec<(INodeNo, FileType, std::ffi::OsString)>>),
}

#[derive(Debug, Default)]
struct Handles {
    next: u64,
    open: BTreeMap<u64, Handle>,
}

/// The file system.
#[derive(Debug)]
pub(super) struct PassThrough {
    inodes: Inodes,
    faults: Arc<Faults>,
    handles: Mutex<Handles>,
}

impl PassThrough {
    pub(super) fn new(backing: &Path, faults: Arc<Faults>) -> io::Result<Self> {
        Ok(Self { inodes: Inodes::new(backing)?, faults, handles: Mutex::default() })
    }

    fn handles(&self) -> MutexGuard<'_, Handles> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, handle: Handle) -> FileHandle {
        let mut handles = self.handles();
        handles.next += 1;
        let number = handles.next;
        handles.open.insert(number, handle);
        FileHandle(number)
    }

    fn file(&self, handle: FileHandle) -> Result<Arc<File>, Errno> {
        match self.handles().open.get(&handle.0) {
            Some(Handle::File(file)) => Ok(Arc::clone(file)),
            _ => Err(Errno::EBADF),
        }
    }

    /// Counts an operation on an inode, or on an entry of it; fails if it is to fail.
    fn strike(&self, op: Op, number: INodeNo, name: Option<&OsStr>) -> Result<(), Errno> {
        let struck = self.faults.strike(op, || self.inodes.shown(number, name));
        struck.map_err(|error| Errno::from_i32(error.raw_os_error()))
    }

    /// Returns a path that leads to an entry of a folder.
    fn entry(&self, parent: INodeNo, name: &OsStr) -> Result<PathBuf, Errno> {
        Ok(self.inodes.get(parent).map_err(raw)?.entry(name))
    }

    fn found(&self, parent: INodeNo, name: &OsStr) -> Result<FileAttr, Errno> {
        let dir = self.inodes.get(parent).map_err(raw)?;
        Ok(self.inodes.look_up(&dir, name)?)
    }

    fn attributes(&self, number: INodeNo) -> Result<FileAttr, Errno> {
        let inode = self.inodes.get(number).map_err(raw)?;
        Ok(self.inodes.attributes(&inode.metadata()?))
    }

    fn opened(&self, number: INodeNo, flags: OpenFlags) -> Result<FileHandle, Errno> {
        self.strike(Op::Open, number, None)?;
        let path = self.inodes.get(number).map_err(raw)?.path();
        let file = rustix::fs::open(&path, passed_on(flags.0), Mode::empty()).map_err(raw)?;
        Ok(self.keep(Handle::File(Arc::new(File::from(file)))))
    }

    fn created(
        &self,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        flags: i32,
    ) -> Result<(FileAttr, FileHandle), Errno> {
        self.strike(Op::Create, parent, Some(name))?;
        let path = self.entry(parent, name)?;
        let exclusively = OFlags::from_bits_retain(flags as u32) & OFlags::EXCL;
        let flags = passed_on(flags) | OFlags::CREATE | OFlags::NOFOLLOW | exclusively;
        let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(mode)).map_err(raw)?;
        let handle = self.keep(Handle::File(Arc::new(File::from(file))));
        Ok((self.found(parent, name)?, handle))
    }

    fn listed(&self, number: INodeNo) -> Result<FileHandle, Errno> {
        self.strike(Op::List, number, None)?;
        let dir = self.inodes.get(number).map_err(raw)?;
        let dots = [".", ".."].map(|dots| (number, FileType::Directory, dots.into()));
        let mut entries = Vec::from(dots);
        for entry in fs::read_dir(dir.path())? {
            let entry = entry?;
            let number = self.inodes.number(entry.ino());
            entries.push((number, kind(entry.file_type()?), entry.file_name()));
        }
        Ok(self.keep(Handle::Folder(Arc::new(entries))))
    }

    fn changed(&self, number: INodeNo, to: &Changes, handle: Option<FileHandle>) -> Result<FileAttr, Errno> {
        let op = if to.size.is_some() { Op::Resize } else { Op::SetAttributes };
        self.strike(op, number, None)?;
        let path = self.inodes.get(number).map_err(raw)?.path();
        if let Some(mode) = to.mode {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o7777))?;
        }
        if to.uid.is_some() || to.gid.is_some() {
            chown(&path, to.uid, to.gid)?;
        }
        if let Some(size) = to.size {
            match handle.map(|handle| self.file(handle)).transpose()? {
                Some(file) => file.set_len(size)?,
                None => File::options().write(true).open(&path)?.set_len(size)?,
            }
        }
        if to.accessed.is_some() || to.modified.is_some() {
            let times =
                Timestamps { last_access: timespec(to.accessed), last_modification: timespec(to.modified) };
            rustix::fs::utimensat(CWD, &path, &times, AtFlags::empty()).map_err(raw)?;
        }
        self.attributes(number)
    }
}

/// What `setattr` changes.
struct Changes {
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    size: Option<u64>,
    accessed: Option<TimeOrNow>,
    modified: Option<TimeOrNow>,
}

fn timespec(time: Option<TimeOrNow>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        Some(TimeOrNow::Now) => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
        Some(TimeOrNow::SpecificTime(time)) => {
            let since: Duration = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            Timespec { tv_sec: since.as_secs().cast_signed(), tv_nsec: i64::from(since.subsec_nanos()) }
        }
    }
}

/// Returns the flags that a file is opened with. The kernel gives the offset of each write itself.
fn passed_on(flags: i32) -> OFlags {
    let kept = OFlags::RDONLY | OFlags::WRONLY | OFlags::RDWR | OFlags::TRUNC;
    (OFlags::from_bits_retain(flags as u32) & kept) | OFlags::CLOEXEC
}

fn raw(error: rustix::io::Errno) -> Errno {
    Errno::from_i32(error.raw_os_error())
}

/// The direct way, so that each read and write of a process is one operation.
const OPENED: FopenFlags = FopenFlags::FOPEN_DIRECT_IO;

impl Filesystem for PassThrough {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Kernels before 6.6 do not map files that bypass the page cache; a test sees that as an error of `mmap`.
        let _mapped_if_new = config.add_capabilities(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.strike(Op::Stat, parent, Some(name)).and_then(|()| self.found(parent, name));
        entry(reply, found);
    }

    fn forget(&self, _: &Request, number: INodeNo, lookups: u64) {
        self.inodes.forget(number, lookups);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let found = self.strike(Op::Stat, number, None).and_then(|()| self.attributes(number));
        match found {
            Ok(attributes) => reply.attr(&NOT_CACHED, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changes = Changes { mode, uid, gid, size, accessed, modified };
        match self.changed(number, &changes, handle) {
            Ok(attributes) => reply.attr(&NOT_CACHED, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        match self.inodes.get(number).and_then(|link| link.target()) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(raw(error)),
        }
    }

    fn mknod(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        let made = self.strike(Op::Create, parent, Some(name)).and_then(|()| {
            let (kind, bits) = (rustix::fs::FileType::from_raw_mode(mode), Mode::from_raw_mode(mode));
            rustix::fs::mknodat(CWD, self.entry(parent, name)?, kind, bits, 0).map_err(raw)?;
            self.found(parent, name)
        });
        entry(reply, made);
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        let made = self.strike(Op::MakeDir, parent, Some(name)).and_then(|()| {
            rustix::fs::mkdirat(CWD, self.entry(parent, name)?, Mode::from_raw_mode(mode)).map_err(raw)?;
            self.found(parent, name)
        });
        entry(reply, made);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let struck = self.strike(Op::Unlink, parent, Some(name));
        done(reply, struck.and_then(|()| Ok(fs::remove_file(self.entry(parent, name)?)?)));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let struck = self.strike(Op::RemoveDir, parent, Some(name));
        done(reply, struck.and_then(|()| Ok(fs::remove_dir(self.entry(parent, name)?)?)));
    }

    fn symlink(&self, _: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let made = self.strike(Op::Create, parent, Some(name)).and_then(|()| {
            symlink(target, self.entry(parent, name)?)?;
            self.found(parent, name)
        });
        entry(reply, made);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = self.strike(Op::Rename, new_parent, Some(new_name)).and_then(|()| {
            let flags = rustix::fs::RenameFlags::from_bits_retain(flags.bits());
            let [from, to] = [self.entry(parent, name)?, self.entry(new_parent, new_name)?];
            rustix::fs::renameat_with(CWD, from, CWD, to, flags).map_err(raw)
        });
        done(reply, renamed);
    }

    fn link(&self, _: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let linked = self.strike(Op::Link, parent, Some(name)).and_then(|()| {
            let path = self.inodes.get(number).map_err(raw)?.path();
            let to = self.entry(parent, name)?;
            rustix::fs::linkat(CWD, path, CWD, to, AtFlags::SYMLINK_FOLLOW).map_err(raw)?;
            self.found(parent, name)
        });
        entry(reply, linked);
    }

    fn open(&self, _: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.opened(number, flags) {
            Ok(handle) => reply.opened(handle, OPENED),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        match self.created(parent, name, mode, flags) {
            Ok((attributes, handle)) => reply.created(&NOT_CACHED, &attributes, GENERATION, handle, OPENED),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.strike(Op::Read, number, None).and_then(|()| {
            let (file, mut bytes) = (self.file(handle)?, vec![0; size as usize]);
            let mut filled = 0;
            while filled < bytes.len() {
                match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
                    0 => break,
                    count => filled += count,
                }
            }
            bytes.truncate(filled);
            Ok(bytes)
        });
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let struck = self.strike(Op::Write, number, None);
        match struck.and_then(|()| Ok(self.file(handle)?.write_all_at(bytes, offset)?)) {
            Ok(()) => reply.written(bytes.len() as u32),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.handles().open.remove(&handle.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(reply, self.strike(Op::Fsync, number, None));
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(reply, self.strike(Op::FsyncDir, number, None));
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.listed(number) {
            Ok(handle) => reply.opened(handle, FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let Some(Handle::Folder(entries)) = self.handles().open.get(&handle.0).cloned() else {
            return reply.error(Errno::EBADF);
        };
        for (next, (number, kind, name)) in (1..).zip(entries.iter()).skip(offset as usize) {
            if reply.add(*number, next, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.handles().open.remove(&handle.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let stat = self.inodes.get(INodeNo::ROOT).and_then(|root| rustix::fs::statvfs(root.path()));
        match stat {
            Ok(it) => reply.statfs(
                it.f_blocks,
                it.f_bfree,
                it.f_bavail,
                it.f_files,
                it.f_ffree,
                it.f_bsize as u32,
                it.f_namemax as u32,
                it.f_frsize as u32,
            ),
            Err(error) => reply.error(raw(error)),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let struck = self.strike(Op::Resize, number, None);
        let flags = FallocateFlags::from_bits_retain(mode as u32);
        let allocate = |file: Arc<File>| rustix::fs::fallocate(file, flags, offset, length).map_err(raw);
        done(reply, struck.and_then(|()| self.file(handle).and_then(allocate)));
    }
}

fn entry(reply: ReplyEntry, found: Result<FileAttr, Errno>) {
    match found {
        Ok(attributes) => reply.entry(&NOT_CACHED, &attributes, GENERATION),
        Err(error) => reply.error(error),
    }
}

fn done(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}
