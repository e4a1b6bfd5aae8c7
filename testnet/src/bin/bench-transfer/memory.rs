//! Prepares the memory before each part, so that all parts run under the same condition.
//!
//! A virtual machine returns memory that has been free for a while to its host. Writing to it again takes ten times as long:
//! 2 GiB into the page cache took 0.4 s, or 5 to 6 s after other work. So this module writes and removes a file before each
//! part. The system then reuses that memory first, and no part depends on the one before.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Twice the size of the transferred file, because libtorrent keeps a copy in memory.
const TIMES: u64 = 2;

/// Brings memory for files of `mib` MiB into the state of just released memory.
pub(crate) fn warm(scratch: &Path, mib: u64) {
    let path = scratch.join("warm");
    if let Err(error) = write(&path, TIMES * mib) {
        println!("  the memory could not be prepared: {error}");
    }
    drop(fs::remove_file(&path));
}

fn write(path: &Path, mib: u64) -> io::Result<()> {
    let (mut file, bytes) = (File::create(path)?, vec![1; 1 << 20]);
    (0..mib).try_for_each(|_| file.write_all(&bytes))
}
