//! [`Reader`]: reads the fields of a ticket, and never past its end.

use super::TicketError;

/// The bytes of a ticket that are not read yet.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Reads a byte. Errors name the `field`.
    pub(super) fn byte(&mut self, field: &'static str) -> Result<u8, TicketError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// Reads a number of items, of which there are at most `max`.
    pub(super) fn count(&mut self, field: &'static str, max: usize) -> Result<usize, TicketError> {
        let count = usize::from(self.byte(field)?);
        if count <= max { Ok(count) } else { Err(TicketError::Malformed { field }) }
    }

    /// Reads so many bytes.
    pub(super) fn array<const LEN: usize>(&mut self, field: &'static str) -> Result<[u8; LEN], TicketError> {
        let (read, rest) = self.0.split_first_chunk::<LEN>().ok_or(TicketError::Malformed { field })?;
        self.0 = rest;
        Ok(*read)
    }

    /// Reads a text with its length in front.
    pub(super) fn text(&mut self, field: &'static str) -> Result<&'a str, TicketError> {
        let length = usize::from(self.byte(field)?);
        let malformed = TicketError::Malformed { field };
        let (read, rest) = self.0.split_at_checked(length).ok_or(malformed.clone())?;
        self.0 = rest;
        std::str::from_utf8(read).map_err(|_| malformed)
    }

    /// Checks that everything is read.
    pub(super) const fn end(self) -> Result<(), TicketError> {
        if self.0.is_empty() { Ok(()) } else { Err(TicketError::Malformed { field: "its end" }) }
    }
}
