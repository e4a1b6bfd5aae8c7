//! A file system that passes everything through to a folder, and fails the operations that a test chooses.
//!
//! A test mounts it over FUSE in its own process, starts nodes with their homes in it, and calls [`FaultyFs::fail`]. Every
//! read and write of a node is one operation, because nothing goes through the page cache; files can be mapped into memory
//! nevertheless. `fsync` is counted and not passed on: the machine itself is never cut (see [`crate::power`] for that).

mod faults;

mod inodes;
mod pass;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use fuser::{BackgroundSession, Config, MountOption};

pub use self::faults::{Fault, Op, Times};

use self::faults::Faults;
use self::pass::PassThrough;

/// Threads that answer the kernel: a slow operation of one process does not hold up the others.
const THREADS: usize = 4;

/// Tells whether no FUSE file system can be mounted here, and prints that `what` is left out for that.
pub fn is_left_out(what: &str) -> bool {
    let why = lacking();
    if let Some(why) = &why {
        let how = "run the tests as root on a Linux machine with /dev/fuse";
        crate::process::left_out(what, why, how);
    }
    why.is_some()
}

fn lacking() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("a FUSE file system is mounted by root".to_owned());
    }
    let device = Path::new("/dev/fuse");
    let opened = std::fs::File::options().read(true).write(true).open(device);
    opened.err().map(|error| format!("{}: {error}", device.display()))
}

/// A mounted file system. Dropping it unmounts.
#[derive(Debug)]
pub struct FaultyFs {
    faults: Arc<Faults>,
    mounted: Mounted,
}

impl FaultyFs {
    /// Mounts the folder `backing` at the folder `at`. Nothing fails yet.
    ///
    /// # Errors
    /// If it cannot be mounted; [`is_left_out`] tells beforehand.
    pub fn mount(backing: &Path, at: &Path) -> io::Result<Self> {
        let faults = Arc::new(Faults::default());
        let files = PassThrough::new(backing, Arc::clone(&faults))?;
        Ok(Self { faults, mounted: Mounted::new(files, at, THREADS)? })
    }

    /// Returns the folder that it is mounted at.
    pub fn path(&self) -> &Path {
        &self.mounted.at
    }

    /// Adds a fault, counted from now on.
    pub fn fail(&self, fault: Fault) {
        self.faults.add(fault);
    }

    /// Removes all faults. Returns a line for each operation that failed because of them.
    pub fn heal(&self) -> Vec<String> {
        self.faults.heal()
    }

    /// Returns the number of operations of a kind since it was mounted, failed ones included.
    pub fn count(&self, op: Op) -> u64 {
        self.faults.count(op)
    }

    /// Returns the lines of the operations that have failed since the last [`FaultyFs::heal`].
    pub fn struck(&self) -> Vec<String> {
        self.faults.struck()
    }
}

/// A FUSE file system of this process that is mounted. Dropping it unmounts, even while a process uses it.
#[derive(Debug)]
pub(crate) struct Mounted {
    at: PathBuf,
    session: Option<BackgroundSession>,
}

impl Mounted {
    /// Mounts a file system at a folder.
    pub(crate) fn new(files: impl fuser::Filesystem, at: &Path, threads: usize) -> io::Result<Self> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("reg-testnet".to_owned())];
        config.n_threads = Some(threads);
        let session = fuser::spawn_mount(files, at, &config)?;
        Ok(Self { at: at.to_owned(), session: Some(session) })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a process that was killed may hold a file for a moment longer.
        let unmounted = Command::new("umount").arg("-l").arg(&self.at).stderr(Stdio::null()).status();
        if let Err(error) = unmounted {
            eprintln!("{} cannot be unmounted: {error}", self.at.display());
        }
        drop(self.session.take());
    }
}
