//! [`LaneWriter`]: the server's end of a lane. Its calls block: each lane has a thread of its own.

use std::fmt;
use std::io::{self, Write};
use std::net::TcpStream;

use reg_proto::limits::FRAME_HEADER_BYTES_MAX;
use reg_proto::wire::{Frame, Message, PREFIX_LEN};

use super::error::LaneError;
use super::open::{LaneEnd, OpenLane};
use super::record::{CONTENT_MAX, RECORD_MAX, Sealer};
use crate::net::limits::LANE_SEND_BYTES;
use crate::net::pace::Pace;

/// A lane to a puller. Dropping it closes the lane.
pub struct LaneWriter {
    socket: TcpStream,
    sealer: Sealer,
    /// Encrypted records that wait for the socket, up to `end`.
    sealed: Vec<u8>,
    end: usize,
    _open: OpenLane,
}

impl LaneWriter {
    pub(super) fn new(socket: TcpStream, sealer: Sealer, open: OpenLane) -> Self {
        // A frame's header goes with the first run of its payload.
        let records = 1 + LANE_SEND_BYTES.div_ceil(CONTENT_MAX);
        Self { socket, sealer, sealed: vec![0; records * RECORD_MAX], end: 0, _open: open }
    }

    /// Returns a handle that closes this lane from another thread.
    ///
    /// # Errors
    /// Fails where the system has no more file descriptors.
    pub fn end(&self) -> io::Result<LaneEnd> {
        LaneEnd::of(&self.socket)
    }

    /// Sends piece `piece` in answer to request `id`, at a pace.
    ///
    /// # Errors
    /// Fails where the puller reads nothing for 30 s or has disconnected, or where the lane's key is used up.
    pub fn send_piece(&mut self, id: u32, piece: u32, bytes: &[u8], pace: Pace<'_>) -> Result<(), LaneError> {
        let mut head = Frame::Piece { id, piece, bytes: Vec::new() }.head();
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        head[PREFIX_LEN - 4..PREFIX_LEN].copy_from_slice(&length.to_be_bytes());
        self.send_head(&head)?;
        for run in bytes.chunks(pace.run(LANE_SEND_BYTES)) {
            pace.sleep(run.len());
            for content in run.chunks(CONTENT_MAX) {
                self.seal(content)?;
            }
            self.flush()?;
        }
        // The one piece of an empty blob has no run, so its header has not been flushed yet.
        self.flush()
    }

    /// Sends a frame without a payload.
    pub(super) fn send(&mut self, frame: &Frame) -> Result<(), LaneError> {
        self.send_head(&frame.head())?;
        self.flush()
    }

    fn send_head(&mut self, head: &[u8]) -> Result<(), LaneError> {
        debug_assert!(head.len() <= CONTENT_MAX.min(FRAME_HEADER_BYTES_MAX));
        self.seal(head)
    }

    fn seal(&mut self, content: &[u8]) -> Result<(), LaneError> {
        self.end += self.sealer.seal(content, &mut self.sealed[self.end..])?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LaneError> {
        self.socket.write_all(&self.sealed[..std::mem::take(&mut self.end)])?;
        Ok(())
    }
}

impl fmt::Debug for LaneWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LaneWriter")
    }
}
