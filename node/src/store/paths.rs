//! [`Paths`]: the directories of a store; and atomic writes, renames and removals of files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use reg_proto::digest::Digest;

use super::disk;
use super::error::WriteError;

/// The directories of a store.
#[derive(Debug)]
pub(super) struct Paths {
    root: PathBuf,
    temporary: AtomicU64,
}

impl Paths {
    pub(super) const fn new(root: PathBuf) -> Self {
        Self { root, temporary: AtomicU64::new(0) }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(super) fn version(&self) -> PathBuf {
        self.root.join("VERSION")
    }

    pub(super) fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs").join("sha256")
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        fan_out(&self.blobs(), &digest.hex())
    }

    pub(super) fn states(&self, digest: &Digest) -> PathBuf {
        fan_out(&self.root.join("states"), &digest.hex())
    }

    pub(super) fn partials(&self) -> PathBuf {
        self.root.join("partial")
    }

    pub(super) fn partial(&self, blob: &Digest, states: &Digest) -> PathBuf {
        self.partials().join(format!("{}-{}", blob.hex(), states.hex()))
    }

    pub(super) fn documents(&self, kind: &str) -> PathBuf {
        self.root.join("documents").join(kind)
    }

    pub(super) fn document(&self, kind: &str, key: &str) -> PathBuf {
        fan_out(&self.documents(kind), &Digest::of(key.as_bytes()).hex())
    }

    /// Returns the directory of unfinished imports.
    pub(super) fn imports(&self) -> PathBuf {
        self.root().join("imports")
    }

    /// Returns a name in `tmp` that is used once.
    pub(super) fn temporary(&self) -> PathBuf {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        self.tmp().join(format!("{}-{number}", std::process::id()))
    }

    /// Writes a file atomically: after a power cut it is whole, or as it was before.
    pub(super) fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
        self.replace_file(path, bytes).map_err(|failed| failed.error)
    }

    /// Writes a file as [`Paths::write_file`] does. The error says whether the old file is certain to remain.
    pub(super) fn replace_file(&self, path: &Path, bytes: &[u8]) -> Result<(), Failed> {
        let temporary = self.temporary();
        let failed = |is_in_doubt| {
            let temporary = temporary.clone();
            move |source| {
                drop(fs::remove_file(&temporary));
                Failed { error: WriteError::Io { path: path.to_owned(), source }, is_in_doubt }
            }
        };
        write_new(&temporary, bytes).and_then(|()| make_dir_of(path)).map_err(failed(false))?;
        rename_synced(&temporary, path).map_err(failed(true))
    }
}

/// Why a file is not written.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: WriteError,
    /// Whether the disk may hold the old or the new file, now and after a power cut.
    pub(super) is_in_doubt: bool,
}

/// Returns `dir/ab/abcdef…`, so that no directory gets too many entries.
fn fan_out(dir: &Path, hex: &str) -> PathBuf {
    dir.join(&hex[..2]).join(hex)
}

/// Writes a new file and syncs it.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the directory of a file that is to be written.
pub(super) fn make_dir_of(path: &Path) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    if !dir.is_dir() {
        fs::create_dir_all(dir)?;
        dir.parent().map_or(Ok(()), disk::sync_dir)?;
    }
    Ok(())
}

fn rename_synced(from: &Path, to: &Path) -> io::Result<()> {
    let dir = to.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::rename(from, to)?;
    disk::sync_dir(dir)
}

/// Removes a file and syncs the directory; does nothing where there is no file.
pub(super) fn remove(path: &Path) -> Result<(), WriteError> {
    let failed = |source| WriteError::Io { path: path.to_owned(), source };
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(()), disk::sync_dir).map_err(failed),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(failed(source)),
    }
}
