//! The write cache of a disk: what is written and not flushed is on the disk or not, as chance has it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use crate::chance::Chance;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

#[derive(Debug)]
struct Write {
    offset: u64,
    bytes: Vec<u8>,
}

/// A disk of `size` bytes.
#[derive(Debug)]
pub(super) struct WriteCache {
    disk: File,
    size: u64,
    /// In the order of their arrival. The file system flushes every few seconds; a disk of a test is small beside memory.
    pending: Vec<Write>,
    is_cut: bool,
    /// Bytes that are taken until writes are refused.
    room: Option<u64>,
    /// Writes of at least so many bytes are refused: those of files, and not those of the journal.
    refused_from: Option<usize>,
    refused: u64,
}

impl WriteCache {
    pub(super) fn new(disk: File, size: u64) -> Self {
        Self { disk, size, pending: Vec::new(), is_cut: false, room: None, refused_from: None, refused: 0 }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn cut(&mut self) {
        self.is_cut = true;
    }

    pub(super) fn refuse_after(&mut self, bytes: Option<u64>) {
        self.room = bytes;
    }

    pub(super) fn refuse_large(&mut self, from: Option<usize>) {
        self.refused_from = from;
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Returns the bytes as they were written last.
    pub(super) fn read(&self, offset: u64, size: usize) -> Result<Vec<u8>, Errno> {
        if self.is_cut {
            return Err(Errno::IO);
        }
        let size = size.min(self.size.saturating_sub(offset) as usize);
        let mut bytes = vec![0; size];
        self.disk.read_exact_at(&mut bytes, offset).map_err(|_error| Errno::IO)?;
        for write in &self.pending {
            let start = write.offset.max(offset);
            let end = (write.offset + write.bytes.len() as u64).min(offset + size as u64);
            if start < end {
                let from = &write.bytes[(start - write.offset) as usize..(end - write.offset) as usize];
                bytes[(start - offset) as usize..(end - offset) as usize].copy_from_slice(from);
            }
        }
        Ok(bytes)
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        if self.is_cut {
            return Err(Errno::IO);
        }
        if self.refused_from.is_some_and(|from| bytes.len() >= from) {
            self.refused += 1;
            return Err(Errno::IO);
        }
        if let Some(room) = &mut self.room {
            let Some(left) = room.checked_sub(bytes.len() as u64) else {
                self.refused += 1;
                return Err(Errno::IO);
            };
            *room = left;
        }
        if offset + bytes.len() as u64 > self.size {
            return Err(Errno::NOSPC);
        }
        self.pending.push(Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    /// Puts what was written onto the disk.
    pub(super) fn flush(&mut self) -> Result<(), Errno> {
        if self.is_cut {
            return Err(Errno::IO);
        }
        self.put_all().map_err(|_error| Errno::IO)
    }

    fn put_all(&mut self) -> io::Result<()> {
        for write in self.pending.drain(..) {
            self.disk.write_all_at(&write.bytes, write.offset)?;
        }
        Ok(())
    }

    /// Decides about each unflushed write after a cut; without one, all of them reach the disk. Returns a line about it.
    pub(super) fn settle(&mut self, chance: &mut Chance) -> io::Result<String> {
        if !self.is_cut {
            self.put_all()?;
            return Ok("everything was written".to_owned());
        }
        // Some cuts lose nearly all, some nearly nothing, and most something between.
        let percent = *chance.one(&[0, 10, 50, 90, 100]);
        let (mut whole, mut torn, count) = (0, 0, self.pending.len());
        for write in self.pending.drain(..) {
            let is_torn = write.bytes.len() > SECTOR && chance.percent(10);
            if is_torn {
                torn += 1;
                for (sector, offset) in write.bytes.chunks(SECTOR).zip((write.offset..).step_by(SECTOR)) {
                    if chance.percent(percent) {
                        self.disk.write_all_at(sector, offset)?;
                    }
                }
            } else if chance.percent(percent) {
                whole += 1;
                self.disk.write_all_at(&write.bytes, write.offset)?;
            }
        }
        Ok(format!("of {count} unflushed writes {whole} reached the disk whole and {torn} in part"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> WriteCache {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(4096).expect("resized");
        WriteCache::new(file, 4096)
    }

    #[test]
    fn what_is_written_is_read_and_what_is_flushed_survives_a_cut() {
        for seed in 0..200 {
            let mut chance = Chance::new(seed);
            let mut cache = disk();
            cache.write(0, &[1; 1024]).expect("written");
            cache.flush().expect("flushed");
            cache.write(512, &[2; 1024]).expect("written");
            cache.write(1024, &[3; 512]).expect("written");
            let read = cache.read(256, 1536).expect("read");
            assert_eq!((read[255], read[256], read[767], read[768], read[1280]), (1, 2, 2, 3, 0));
            cache.cut();
            assert!(cache.write(0, &[4]).is_err() && cache.flush().is_err() && cache.read(0, 1).is_err());
            cache.settle(&mut chance).expect("settled");
            let mut bytes = [0; 2048];
            cache.disk.read_exact_at(&mut bytes, 0).expect("read");
            assert!(bytes[..512].iter().all(|byte| *byte == 1), "seed {seed}: the flushed sector is there");
            for (sector, may_be) in bytes.chunks(SECTOR).zip([[1, 1, 1], [1, 2, 2], [0, 2, 3], [0, 0, 0]]) {
                assert!(sector.iter().all(|byte| *byte == sector[0] && may_be.contains(byte)), "seed {seed}");
            }
        }
    }

    #[test]
    fn a_disk_that_refuses_takes_what_it_has_room_for() {
        let mut cache = disk();
        cache.refuse_after(Some(512));
        cache.write(0, &[1; 512]).expect("room");
        assert_eq!(cache.write(512, &[1; 512]), Err(Errno::IO));
        assert_eq!(cache.refused(), 1);
        cache.refuse_after(None);
        cache.write(512, &[1; 512]).expect("room again");
        assert_eq!(cache.settle(&mut Chance::new(1)).expect("settled"), "everything was written");
    }
}
