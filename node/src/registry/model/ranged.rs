//! [`Ranged`]: a file of which ranges can be read, as one that can be read and sought.

use std::io::{self, Read, Seek, SeekFrom};

use reg_proto::piece::PIECE_LEN;

/// A file of `size` bytes. Reads whole pieces, because that is what arrives at once where the file is fetched.
pub struct Ranged<R> {
    read: R,
    size: u64,
    at: u64,
    /// The piece that was read last, and its offset.
    piece: Vec<u8>,
    piece_at: u64,
}

impl<R: FnMut(u64, usize) -> io::Result<Vec<u8>>> Ranged<R> {
    /// Returns the file of which `read` returns bytes: those from an offset on, of a length.
    pub const fn new(size: u64, read: R) -> Self {
        Self { read, size, at: 0, piece: Vec::new(), piece_at: 0 }
    }
}

impl<R: FnMut(u64, usize) -> io::Result<Vec<u8>>> Read for Ranged<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        let here = |file: &Self| {
            let offset = usize::try_from(file.at.checked_sub(file.piece_at)?).ok()?;
            Some(offset).filter(|offset| *offset < file.piece.len())
        };
        let offset = match here(self) {
            Some(offset) => offset,
            None => {
                self.piece_at = self.at / PIECE_LEN * PIECE_LEN;
                let length = (self.size - self.piece_at).min(PIECE_LEN);
                self.piece = (self.read)(self.piece_at, length as usize)?;
                here(self).ok_or(io::ErrorKind::UnexpectedEof)?
            }
        };
        let count = buffer.len().min(self.piece.len() - offset);
        buffer[..count].copy_from_slice(&self.piece[offset..offset + count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl<R> Seek for Ranged<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_seeks_across_pieces() {
        let bytes: Vec<u8> = (0..(PIECE_LEN as u32 * 2 + 100)).map(|it| it as u8).collect();
        let mut asked = 0;
        let mut file = Ranged::new(bytes.len() as u64, |at, length| {
            asked += 1;
            Ok(bytes[at as usize..at as usize + length].to_vec())
        });
        let mut all = Vec::new();
        file.read_to_end(&mut all).expect("read");
        assert_eq!(all, bytes);
        file.seek(SeekFrom::Start(PIECE_LEN - 2)).expect("sought");
        let mut four = [0; 4];
        file.read_exact(&mut four).expect("read");
        assert_eq!(four[..], bytes[PIECE_LEN as usize - 2..][..4]);
        assert_eq!(file.seek(SeekFrom::End(0)).expect("sought"), bytes.len() as u64);
        assert_eq!(file.read(&mut four).expect("read"), 0);
        assert_eq!(asked, 5, "a piece is read once in a row");
    }
}
