//! Calls that differ between operating systems, each with a portable fallback.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::Path;

/// Syncs a directory, so that a rename or removal in it survives a power cut.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(dir)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}

/// Writes all of `bytes` at `offset`; several threads may write to different offsets of one file at once.
pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::write_all_at(file, bytes, offset);
    #[cfg(windows)]
    {
        let mut done = 0;
        while done < bytes.len() {
            let more = std::os::windows::fs::FileExt::seek_write(file, &bytes[done..], offset + done as u64)?;
            if more == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            done += more;
        }
        Ok(())
    }
}

/// Fills `bytes` from `offset`.
pub(super) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset);
    #[cfg(windows)]
    {
        let mut done = 0;
        while done < bytes.len() {
            let more =
                std::os::windows::fs::FileExt::seek_read(file, &mut bytes[done..], offset + done as u64)?;
            if more == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            done += more;
        }
        Ok(())
    }
}

/// Allocates disk space for `size` bytes of a file, where the file system can; else writes allocate it.
///
/// # Errors
/// Fails where the disk has too little space; then none is allocated.
pub(super) fn set_aside(file: &File, size: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if size > 0 {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::{Errno, retry_on_intr};
        return match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, size)) {
            Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
                give_back(file, size);
                Err(error.into())
            }
            // Some file systems cannot, and each returns another error.
            result => {
                tracing::debug!(?result, size, "disk space is allocated");
                Ok(())
            }
        };
    }
    let _ = (file, size);
    Ok(())
}

/// Frees the disk space that [`set_aside`] has allocated for a file of `size` bytes and that holds no data.
pub(super) fn give_back(file: &File, size: u64) {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        let mut at = 0;
        for data in data_extents(file, size).into_iter().chain(std::iter::once(size..size)) {
            if at < data.start {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                let punched = rustix::io::retry_on_intr(|| fallocate(file, flags, at, data.start - at));
                if let Err(error) = punched {
                    tracing::debug!(%error, "allocated disk space cannot be freed");
                    return;
                }
            }
            at = data.end;
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, size);
}

/// Empties ranges of a file, on the disk and in the page cache, where the file system can.
///
/// ext4 needs this after a failed sync: it keeps pages that it could not write as if they were on the disk. Bytes that are
/// written to such a page again reach the disk, but the file stays marked as empty there, and a later sync says nothing.
pub(super) fn punch(file: &File, ranges: impl Iterator<Item = Range<u64>>) {
    #[cfg(target_os = "linux")]
    for range in ranges {
        use rustix::fs::{FallocateFlags, fallocate};
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let length = range.end - range.start;
        if let Err(error) = rustix::io::retry_on_intr(|| fallocate(file, flags, range.start, length)) {
            tracing::warn!(%error, "a part of a file cannot be emptied");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, ranges);
}

/// Tells whether a file has another name on its disk, so that its bytes stay when this one is removed.
pub(super) fn is_linked(metadata: &fs::Metadata) -> bool {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::nlink(metadata) > 1;
    #[cfg(not(unix))]
    {
        let _ = metadata;
        false
    }
}

/// Returns how many bytes of disk space a file takes; 0 where the system does not say.
pub(super) fn taken(file: &File) -> u64 {
    #[cfg(unix)]
    {
        // POSIX does not define the unit; it is 512 bytes on every supported system.
        file.metadata().map_or(0, |it| std::os::unix::fs::MetadataExt::blocks(&it).saturating_mul(512))
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        0
    }
}

/// Returns how many bytes an ordinary user can still write on the disk of `path`, which need not exist; `None` where
/// the system does not say.
pub fn free_space(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let stat = rustix::fs::statvfs(existing(path)?).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// Returns how many bytes ordinary users can have on the disk of `path`, which need not exist, in all; `None` where the
/// system does not say.
pub(super) fn size(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let stat = rustix::fs::statvfs(existing(path)?).ok()?;
        let for_root = stat.f_bfree.saturating_sub(stat.f_bavail);
        Some(stat.f_blocks.saturating_sub(for_root).saturating_mul(stat.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// Tells whether two paths, which need not exist, are on one file system, so that one file can be linked at both.
pub fn on_one_disk(one: &Path, two: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let device = |path| Some(fs::metadata(existing(path)?).ok()?.dev());
        device(one).is_some_and(|it| Some(it) == device(two))
    }
    #[cfg(not(unix))]
    {
        one.components().next() == two.components().next()
    }
}

/// Returns `path`, or the nearest directory above it, that exists.
#[cfg(unix)]
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|path| path.exists())
}

/// Returns the ranges of a file, in bytes, that may hold data. The others are holes, which read as zeros.
pub(super) fn data_extents(file: &File, size: u64) -> Vec<Range<u64>> {
    #[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
    {
        use rustix::fs::{SeekFrom, seek};
        let (mut extents, mut at) = (Vec::new(), 0);
        while at < size {
            let start = match seek(file, SeekFrom::Data(at)) {
                Ok(start) if start < size => start,
                // The rest is a hole.
                Err(rustix::io::Errno::NXIO) => return extents,
                // The rest may be data.
                _ => at,
            };
            let end = seek(file, SeekFrom::Hole(start)).unwrap_or(size).min(size);
            let end = if end <= start { size } else { end };
            extents.push(start..end);
            at = end;
        }
        extents
    }
    #[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "freebsd")))]
    {
        let _ = file;
        vec![0..size]
    }
}

/// Makes a file read-only for all users. A file with another link keeps its readers: it is the user's too.
pub(super) fn make_read_only(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    let mut permissions = metadata.permissions();
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let mode = if metadata.nlink() > 1 { permissions.mode() & !0o222 } else { 0o444 };
        permissions.set_mode(mode);
    }
    #[cfg(not(unix))]
    permissions.set_readonly(true);
    fs::set_permissions(path, permissions)
}

/// Tells whether a file is this user's own: another user's cannot be made read-only.
pub(super) fn is_own(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let own = rustix::process::geteuid();
        own.is_root() || fs::metadata(path).is_ok_and(|it| it.uid() == own.as_raw())
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        true
    }
}

/// Returns the number of the disk that a file is on, and its owner; zeros where the system does not say.
pub(super) fn disk_and_owner(path: &Path) -> (u64, u32) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).map_or((0, 0), |it| (it.dev(), it.uid()))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        (0, 0)
    }
}

/// Makes a file writable for its owner again.
pub(super) fn make_writable(path: &Path) -> io::Result<()> {
    let mut permissions = fs::metadata(path)?.permissions();
    #[cfg(unix)]
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    #[cfg(not(unix))]
    permissions.set_readonly(false);
    fs::set_permissions(path, permissions)
}

/// Tells whether a process runs; where the system does not tell, it may.
pub(super) fn is_running(process: u32) -> bool {
    #[cfg(unix)]
    {
        let id = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
        id.is_some_and(|id| rustix::process::test_kill_process(id) != Err(rustix::io::Errno::SRCH))
    }
    #[cfg(not(unix))]
    {
        let _ = process;
        true
    }
}
