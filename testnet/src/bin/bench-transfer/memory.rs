//! The same memory for every part.
//!
//! A virtual machine gives memory that has been free for a while back to its host, and takes ten times as long to write to it
//! again: 2 GiB into the page cache took 0.4 s or 5 to 6 s, by what had run before. So before each part a file is written and
//! removed again. The system takes first what was freed last, and nobody is measured by what the part before has left.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Twice what is moved: libtorrent keeps as much again for itself.
const TIMES: u64 = 2;

/// Leaves memory for files of `mib` MiB as if it had been in use a moment ago.
pub(crate) fn warm(scratch: &Path, mib: u64) {
    let path = scratch.join("warm");
    if let Err(error) = write(&path, TIMES * mib) {
        println!("  the memory is as it was: {error}");
    }
    drop(fs::remove_file(&path));
}

fn write(path: &Path, mib: u64) -> io::Result<()> {
    let (mut file, bytes) = (File::create(path)?, vec![1; 1 << 20]);
    (0..mib).try_for_each(|_| file.write_all(&bytes))
}
