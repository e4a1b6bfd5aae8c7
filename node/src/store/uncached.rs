//! [`Uncached`]: reads a file from the disk, and not from the page cache.
//!
//! After a failed sync, Linux keeps the pages that it could not write, and calls them clean: a reader sees bytes that are
//! nowhere on the disk, and the next sync has nothing to do. So what an earlier process has written and not recorded is
//! read with `O_DIRECT`. File systems without it, most of them in memory or on a network, are asked to drop the pages.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::disk;

/// Alignment of addresses, offsets and lengths that every disk accepts for direct reads.
const ALIGNMENT: usize = 4096;

/// A file that is read from the disk.
#[derive(Debug)]
pub(super) struct Uncached {
    file: File,
    is_direct: bool,
}

impl Uncached {
    /// Opens a file. Writes what its pages hold to the disk first; where that fails, reads show what is there.
    ///
    /// # Errors
    /// Fails where it cannot be opened.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let plain = File::open(path)?;
        if let Err(error) = plain.sync_data() {
            tracing::warn!(%error, path = %path.display(), "an earlier write may have failed");
        }
        if let Some(file) = open_direct(path) {
            return Ok(Self { file, is_direct: true });
        }
        drop_pages(&plain);
        Ok(Self { file: plain, is_direct: false })
    }

    /// Fills `bytes` from `offset`, which is a multiple of 4096.
    ///
    /// # Errors
    /// Fails where the file ends before, or cannot be read.
    pub(super) fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        if !self.is_direct {
            return disk::read_at(&self.file, bytes, offset);
        }
        let length = bytes.len().next_multiple_of(ALIGNMENT);
        let mut memory = vec![0; length + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        let aligned = &mut memory[start..start + length];
        fill(&self.file, aligned, offset, bytes.len())?;
        bytes.copy_from_slice(&aligned[..bytes.len()]);
        Ok(())
    }
}

/// Opens a file for direct reads; `None` where the file system has none, which may show only when one is tried.
fn open_direct(path: &Path) -> Option<File> {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(path).ok()?;
        let tried = Uncached { file, is_direct: true };
        match tried.read_at(&mut [0], 0) {
            Err(error) if error.kind() == ErrorKind::InvalidInput => None,
            _ => Some(tried.file),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        None
    }
}

/// Reads until `wanted` bytes of `aligned` are filled: a direct read may end early.
fn fill(file: &File, aligned: &mut [u8], offset: u64, wanted: usize) -> io::Result<()> {
    let mut done = 0;
    while done < wanted {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(file, &mut aligned[done..], offset + done as u64);
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(file, &mut aligned[done..], offset + done as u64);
        match read {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => done += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // The rest of an unaligned read is its last part, which only the end of the file cuts short.
        if done < wanted && done % ALIGNMENT != 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Asks the system to forget the pages of a file that it has written.
fn drop_pages(file: &File) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed) {
        tracing::debug!(%error, "pages cannot be dropped");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}
