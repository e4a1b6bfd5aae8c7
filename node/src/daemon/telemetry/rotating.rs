//! [`Rotating`]: a file of the log that begins anew when it is full. A bounded number of files before it is kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that lines are appended to. The files before it have its name and a number: `.1` is the newest of them.
#[derive(Debug)]
pub(super) struct Rotating {
    path: PathBuf,
    file: File,
    /// Bytes of the file; `None` where it is none that can begin anew, such as a pipe.
    written: Option<u64>,
    max_size: u64,
    keep: u32,
}

impl Rotating {
    /// Opens the file, or makes it. It begins anew before a line that makes it larger than `max_size` bytes.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(path: &Path, max_size: u64, keep: u32) -> io::Result<Self> {
        let file = append(path)?;
        let metadata = file.metadata()?;
        let written = metadata.is_file().then_some(metadata.len());
        Ok(Self { path: path.to_owned(), file, written, max_size, keep })
    }

    /// Gives each file the next number, removes the one beyond the bound, and begins a new one. Where that fails, as on a full disk,
    /// the file goes on.
    fn begin_anew(&mut self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        if self.keep == 0 {
            self.file.set_len(0)?;
        } else {
            // First the new file: where there is no room for one, nothing has moved.
            let new = {
                let mut name = self.path.clone().into_os_string();
                name.push(".new");
                PathBuf::from(name)
            };
            let file = append(&new)?;
            // It is missing where it was moved away by hand, or by another program.
            if self.path.exists() {
                for number in (1..self.keep).rev() {
                    rename_if_there(&numbered(number), &numbered(number + 1))?;
                }
                rename_if_there(&self.path, &numbered(1))?;
            }
            fs::rename(&new, &self.path)?;
            self.file = file;
        }
        self.written = Some(0);
        Ok(())
    }
}

impl Write for Rotating {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let more = bytes.len() as u64;
        if self.written.is_some_and(|it| it > 0 && it.saturating_add(more) > self.max_size) {
            drop(self.begin_anew());
        }
        self.file.write_all(bytes)?;
        self.written = self.written.map(|it| it.saturating_add(more));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_begins_anew_and_few_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reg.log");
        fs::write(&path, "of before\n").unwrap();
        let mut log = Rotating::open(&path, 30, 2).unwrap();
        for number in 0..10 {
            log.write_all(format!("line {number} of ten\n").as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("reg.log"), "line 9 of ten\n");
        assert_eq!(read("reg.log.1"), "line 7 of ten\nline 8 of ten\n");
        assert_eq!(read("reg.log.2"), "line 5 of ten\nline 6 of ten\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_file_that_was_moved_away_costs_none_of_those_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reg.log");
        fs::write(dir.path().join("reg.log.1"), "of before\n").unwrap();
        let mut log = Rotating::open(&path, 10, 3).unwrap();
        log.write_all(b"8 bytes\n").unwrap();
        fs::remove_file(&path).unwrap();
        for _ in 0..2 {
            log.write_all(b"8 bytes\n").unwrap();
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!((read("reg.log"), read("reg.log.1")), ("8 bytes\n".to_owned(), "8 bytes\n".to_owned()));
        assert_eq!(read("reg.log.2"), "of before\n");
    }

    #[test]
    fn without_files_before_it_a_file_is_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reg.log");
        let mut log = Rotating::open(&path, 10, 0).unwrap();
        for _ in 0..5 {
            log.write_all(b"8 bytes\n").unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "8 bytes\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
