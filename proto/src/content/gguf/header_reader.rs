//! [`HeaderReader`]: a reader that stops at the header's limit and at the file's end.

use std::io::{BufRead, BufReader, Read};

use super::super::label::Label;
use super::{GgufError, HEADER_BYTES_MAX};

/// Size of the read buffer, in bytes.
const BUFFER_LEN: usize = 64 << 10;

pub(super) struct HeaderReader<'a> {
    reader: BufReader<&'a mut dyn Read>,
    position: u64,
    file_size: u64,
    is_big_endian: bool,
}

impl<'a> HeaderReader<'a> {
    pub(super) fn new(reader: &'a mut dyn Read, file_size: u64) -> Self {
        Self {
            reader: BufReader::with_capacity(BUFFER_LEN, reader),
            position: 0,
            file_size,
            is_big_endian: false,
        }
    }

    /// Reads the numbers that follow as a big-endian machine writes them.
    pub(super) fn set_big_endian(&mut self) {
        self.is_big_endian = true;
    }

    pub(super) fn u16(&mut self) -> Result<u16, GgufError> {
        let bytes = self.array()?;
        Ok(if self.is_big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    pub(super) fn u32(&mut self) -> Result<u32, GgufError> {
        let bytes = self.array()?;
        Ok(if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    pub(super) fn u64(&mut self) -> Result<u64, GgufError> {
        let bytes = self.array()?;
        Ok(if self.is_big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// Returns the number of bytes that have been read.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Adds `count` to the position, unless that is beyond the file's end or the header's limit.
    fn advance(&mut self, count: u64) -> Result<(), GgufError> {
        match self.position.checked_add(count) {
            Some(end) if end > self.file_size => Err(GgufError::Truncated),
            Some(end) if end <= HEADER_BYTES_MAX => {
                self.position = end;
                Ok(())
            }
            None => Err(GgufError::Truncated),
            Some(_) => Err(GgufError::HeaderTooLarge),
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        self.advance(N as u64)?;
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), GgufError> {
        self.reader.read_exact(bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => GgufError::Truncated,
            _ => GgufError::Io(error),
        })
    }

    pub(super) fn skip(&mut self, count: u64) -> Result<(), GgufError> {
        self.advance(count)?;
        let mut left = count;
        while left > 0 {
            let here = self.reader.fill_buf().map_err(GgufError::Io)?.len();
            if here == 0 {
                return Err(GgufError::Truncated);
            }
            let step = left.min(here as u64);
            // The step is at most the buffer's length, which is a usize.
            self.reader.consume(step as usize);
            left -= step;
        }
        Ok(())
    }

    /// Reads the number of `what` that follow, at most `max`.
    pub(super) fn count(&mut self, what: &'static str, max: u64) -> Result<u64, GgufError> {
        let count = self.u64()?;
        if count > max { Err(GgufError::TooMany { what, count, max }) } else { Ok(count) }
    }

    /// Reads a length and a text of that length, at most `max` bytes.
    pub(super) fn text(&mut self, what: &'static str, max: u64) -> Result<String, GgufError> {
        let length = self.u64()?;
        if length > max {
            return Err(GgufError::TooMany { what, count: length, max });
        }
        self.advance(length)?;
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| GgufError::Text { what })
    }

    /// Reads a length and a text. Returns it as a label, or `None` if it is longer than `max` bytes or not a label.
    pub(super) fn label(&mut self, max: u64) -> Result<Option<Label>, GgufError> {
        let length = self.u64()?;
        if length > max {
            return self.skip(length).map(|()| None);
        }
        self.advance(length)?;
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        Ok(std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok()))
    }

    pub(super) fn skip_text(&mut self) -> Result<(), GgufError> {
        let length = self.u64()?;
        self.skip(length)
    }
}
