//! A disk that can be cut off its power at any moment.
//!
//! An image file is served over FUSE to a loop device with a real file system on it (ext4 or XFS). Writes that the kernel
//! has not flushed are kept apart, as in the cache of a drive. On a cut, chance decides for each of them whether it reached
//! the disk, whole, in part or not at all. Then the image is mounted again, and the file system replays its journal.
//!
//! The disk can also refuse writes for a while, so that the kernel reports failed write-back from `fsync`.

mod cache;
mod served;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use crate::chance::Chance;
use crate::clients::{self, ClientError};
use crate::faulty_fs::{self, Mounted};
use crate::process::left_out;

use self::cache::WriteCache;
use self::served::{NAME, Served};

/// What is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    Ext4,
    Xfs,
}

impl FileSystem {
    /// Returns its name, as `mount` knows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// Returns the file systems that can be made here: XFS needs a tool that comes out of Debian's packages.
    pub fn all() -> Vec<Self> {
        let is_there = |kind: &Self| !clients::is_left_out(&kind.make());
        [Self::Ext4, Self::Xfs].into_iter().filter(is_there).collect()
    }

    /// Size of an image: the least that `mkfs.xfs` takes. The file is sparse.
    fn size(self) -> u64 {
        match self {
            Self::Ext4 => 128 << 20,
            Self::Xfs => 300 << 20,
        }
    }

    /// Options that a copy of a file system that is mounted already does not hinder.
    fn mount_options(self) -> &'static str {
        match self {
            Self::Ext4 => "nodiscard",
            Self::Xfs => "nodiscard,nouuid",
        }
    }

    fn make(self) -> Result<Command, ClientError> {
        let (program, packages): (_, &[&str]) = match self {
            Self::Ext4 => ("mkfs.ext4", &["e2fsprogs", "libext2fs2", "libss2", "libcom-err2"]),
            Self::Xfs => ("mkfs.xfs", &["xfsprogs", "libinih1", "liburcu8"]),
        };
        let mut command = clients::tool(program, packages)?.command();
        command.args(match self {
            Self::Ext4 => {
                &["-q", "-F", "-b", "4096", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"][..]
            }
            Self::Xfs => &["-q", "-f", "-K"][..],
        });
        Ok(command)
    }
}

/// Why there is no disk.
#[derive(Debug, Error)]
pub enum PowerError {
    #[error("the tool that makes the file system is missing")]
    Tool(#[from] ClientError),
    #[error("{command} failed: {said}")]
    Failed { command: String, said: String },
    #[error("the disk's folder")]
    Io(#[from] io::Error),
}

/// Tells whether no such disk can be made here, and prints that `what` is left out for that.
pub fn is_left_out(what: &str) -> bool {
    if faulty_fs::is_left_out(what) {
        return true;
    }
    let missing = !Path::new("/dev/loop-control").exists();
    if missing {
        left_out(what, "there are no loop devices", "run the tests where /dev/loop-control exists");
    }
    missing
}

/// An image without power. The file lies in a folder of the test.
#[derive(Debug)]
pub struct Image {
    dir: PathBuf,
    kind: FileSystem,
}

impl Image {
    /// Makes an empty file system in an image in the folder `dir`.
    ///
    /// # Errors
    /// See [`PowerError`].
    pub fn new(dir: &Path, kind: FileSystem) -> Result<Self, PowerError> {
        for part in ["served", "mounted"] {
            fs::create_dir_all(dir.join(part))?;
        }
        let image = Self { dir: dir.to_owned(), kind };
        File::create(image.file())?.set_len(kind.size())?;
        run(kind.make()?.arg(image.file()))?;
        Ok(image)
    }

    /// Returns the file with the bytes of the disk.
    pub fn file(&self) -> PathBuf {
        self.dir.join("image")
    }

    /// Connects the disk, and mounts its file system. After a cut, that replays its journal.
    ///
    /// # Errors
    /// See [`PowerError`].
    pub fn power_on(self) -> Result<Disk, PowerError> {
        let file = File::options().read(true).write(true).open(self.file())?;
        let cache = Arc::new(Mutex::new(WriteCache::new(file, self.kind.size())));
        let served = Mounted::new(Served::new(Arc::clone(&cache)), &self.dir.join("served"), 1)?;
        let shown = self.dir.join("served").join(NAME);
        let device = run(Command::new("losetup").args(["--find", "--show"]).arg(shown))?;
        let mut disk = Disk { image: self, cache, device: device.trim().to_owned(), served: Some(served) };
        disk.mount()?;
        Ok(disk)
    }
}

/// A disk with power, mounted. Dropping it takes it away as it is.
#[derive(Debug)]
pub struct Disk {
    image: Image,
    cache: Arc<Mutex<WriteCache>>,
    device: String,
    served: Option<Mounted>,
}

impl Disk {
    /// Returns the folder that its file system is mounted at.
    pub fn path(&self) -> PathBuf {
        self.image.dir.join("mounted")
    }

    fn cache(&self) -> MutexGuard<'_, WriteCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the power: no read, write or flush that comes later reaches the disk. Kill the processes that use it, and then
    /// call [`Disk::off`].
    pub fn cut(&self) {
        self.cache().cut();
    }

    /// Makes the disk refuse writes, each with an I/O error, after it has taken `bytes` more; `None` makes it take all again.
    pub fn refuse_after(&self, bytes: Option<u64>) {
        self.cache().refuse_after(bytes);
    }

    /// Makes the disk refuse writes of at least so many bytes, each with an I/O error: the content of large files, and not
    /// the journal of the file system, which goes on. `None` makes it take all again.
    pub fn refuse_large(&self, from: Option<usize>) {
        self.cache().refuse_large(from);
    }

    /// Returns how many writes the disk has refused.
    pub fn refused(&self) -> u64 {
        self.cache().refused()
    }

    /// Unmounts the file system and mounts it again, without a cut: what only the page cache has is lost.
    ///
    /// # Errors
    /// If a process uses it.
    pub fn remount(&mut self) -> Result<(), PowerError> {
        run(Command::new("umount").arg(self.path()))?;
        self.mount()
    }

    /// Takes the disk away. After a cut, `chance` decides which unflushed writes are on it; otherwise all of them are.
    /// Returns the image, and a line that says what became of the writes.
    ///
    /// # Errors
    /// If the image cannot be written.
    pub fn off(mut self, chance: &mut Chance) -> Result<(Image, String), PowerError> {
        self.disconnect();
        let fate = self.cache().settle(chance)?;
        let image = Image { dir: self.image.dir.clone(), kind: self.image.kind };
        Ok((image, fate))
    }

    fn mount(&mut self) -> Result<(), PowerError> {
        let kind = self.image.kind;
        let mut mount = Command::new("mount");
        mount.args(["-t", kind.name(), "-o", kind.mount_options(), &self.device]).arg(self.path());
        run(&mut mount).map(|_| ())
    }

    /// Unmounts and disconnects, even while a process that was killed holds a file.
    fn disconnect(&mut self) {
        let Some(served) = self.served.take() else { return };
        let at = self.path();
        if run(Command::new("umount").arg(&at)).is_err() {
            report(run(Command::new("umount").arg("-l").arg(&at)));
        }
        report(run(Command::new("losetup").args(["--detach", &self.device])));
        drop(served);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.disconnect();
    }
}

fn report(result: Result<String, PowerError>) {
    if let Err(error) = result {
        eprintln!("{error}");
    }
}

/// Runs a command; returns its standard output.
fn run(command: &mut Command) -> Result<String, PowerError> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(PowerError::Failed { command: format!("{command:?}"), said })
}
