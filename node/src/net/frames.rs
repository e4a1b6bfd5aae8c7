//! [`FrameReader`] and [`FrameWriter`]: the two halves of a blob stream.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use reg_proto::limits::FRAME_HEADER_BYTES_MAX;
use reg_proto::piece::PIECE_LEN;
use reg_proto::wire::{Frame, Message, PREFIX_LEN, WireError};
use thiserror::Error;
use tokio::time::Instant;

use super::open_streams::{Moves, OpenStream};
use super::pace::{PACED_BYTES, Pace};
use super::pool::{PieceBytes, PiecePool};

/// Bytes of a payload that have come when it counts as begun.
const FIRST_BYTES: usize = 1024;

/// A stream to a peer, over any transport.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> ByteStream for T {}

/// Why a stream carries no further frame.
#[derive(Debug, Error)]
pub enum FrameError {
    #[error("stream broke")]
    Io(#[from] io::Error),
    #[error("peer sent a frame that is refused")]
    Wire(#[from] WireError),
    #[error("peer sent {length} bytes of piece states, more than the {max} that were asked for")]
    UnexpectedStates { length: usize, max: usize },
}

/// A frame as a puller receives it.
#[derive(Debug)]
pub enum Received {
    Frame(Frame),
    /// A piece, in a buffer of the pool.
    Piece {
        id: u32,
        piece: u32,
        bytes: PieceBytes,
    },
}

/// The reading half of a blob stream.
pub struct FrameReader {
    stream: ReadHalf<Box<dyn ByteStream>>,
    states_max: usize,
    /// Counts the bytes of pieces as they arrive, before a piece is whole.
    heard: Arc<AtomicU64>,
    open: Option<OpenStream>,
}

/// The writing half of a blob stream. Dropping both halves closes the stream.
pub struct FrameWriter {
    stream: WriteHalf<Box<dyn ByteStream>>,
    moves: Option<Moves>,
}

/// Splits a stream into its halves.
pub(super) fn split(stream: impl ByteStream) -> (FrameReader, FrameWriter) {
    let stream: Box<dyn ByteStream> = Box::new(stream);
    let (read, write) = stream.split();
    (
        FrameReader { stream: read, states_max: 0, heard: Arc::default(), open: None },
        FrameWriter { stream: write, moves: None },
    )
}

/// Lets both halves count as an open stream from now on, for as long as the reading half lives.
pub(super) fn counted(halves: (FrameReader, FrameWriter), open: OpenStream) -> (FrameReader, FrameWriter) {
    let (reader, writer) = halves;
    let moves = Some(open.moves().clone());
    (FrameReader { open: Some(open), ..reader }, FrameWriter { moves, ..writer })
}

impl FrameReader {
    /// Sets how many bytes of piece states a frame may have. It is 0 until this node asks for states, which may take 32
    /// MiB.
    pub fn set_states_max(&mut self, bytes: usize) {
        self.states_max = bytes;
    }

    /// Counts the bytes of pieces in `heard` from now on.
    pub fn count_in(&mut self, heard: Arc<AtomicU64>) {
        self.heard = heard;
    }

    /// Reads the next frame; returns `None` where the peer has closed the stream between two frames.
    ///
    /// # Errors
    /// Fails where the stream breaks or the peer sends a malformed frame; the caller then drops the stream.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        Ok(self.next_timed().await?.map(|(frame, _)| frame))
    }

    /// Reads the next frame, and returns when its first kilobyte has come: of the payload, which a peer cannot begin to send
    /// before it has it.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_timed(&mut self) -> Result<Option<(Frame, Instant)>, FrameError> {
        let Some((mut frame, payload)) = self.next_head().await? else { return Ok(None) };
        let mut bytes = vec![0; payload];
        let (first, others) = bytes.split_at_mut(payload.min(FIRST_BYTES));
        self.stream.read_exact(first).await?;
        let began = Instant::now();
        self.stream.read_exact(others).await?;
        if payload > 0 {
            frame.set_payload(bytes);
        }
        Ok(Some((frame, began)))
    }

    /// Reads the next frame for a puller: a piece goes into a buffer of `pool`, at a pace.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn receive(
        &mut self,
        pool: &PiecePool,
        pace: Pace<'_>,
    ) -> Result<Option<Received>, FrameError> {
        let Some((mut frame, payload)) = self.next_head().await? else { return Ok(None) };
        if let Frame::Piece { id, piece, .. } = frame {
            let mut bytes = pool.take().await;
            for run in bytes.buffer_mut()[..payload].chunks_mut(PACED_BYTES) {
                pace.pass(run.len()).await;
                let mut at = 0;
                // Bytes count as they come: a slow peer needs seconds for one run.
                while at < run.len() {
                    let more = self.stream.read(&mut run[at..]).await?;
                    if more == 0 {
                        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                    }
                    self.heard.fetch_add(more as u64, Ordering::Relaxed);
                    self.open.iter().for_each(|open| open.moves().note_piece());
                    at += more;
                }
            }
            bytes.set_len(payload);
            return Ok(Some(Received::Piece { id, piece, bytes }));
        }
        if payload > 0 {
            let mut bytes = vec![0; payload];
            self.stream.read_exact(&mut bytes).await?;
            frame.set_payload(bytes);
        }
        Ok(Some(Received::Frame(frame)))
    }

    /// Reads a frame's header, and returns the frame with the length in bytes of the payload that follows. The length
    /// is within the bound of that frame.
    async fn next_head(&mut self) -> Result<Option<(Frame, usize)>, FrameError> {
        let mut prefix = [0; PREFIX_LEN];
        if self.stream.read(&mut prefix[..1]).await? == 0 {
            return Ok(None);
        }
        self.stream.read_exact(&mut prefix[1..]).await?;
        if let Some(open) = &self.open {
            open.moves().note();
        }
        let (header, payload) = Frame::lengths(prefix)?;
        debug_assert!(header <= FRAME_HEADER_BYTES_MAX);
        let mut bytes = vec![0; header];
        self.stream.read_exact(&mut bytes).await?;
        let frame = Frame::from_header(&bytes, payload)?;
        if matches!(frame, Frame::States { .. }) && payload > self.states_max {
            return Err(FrameError::UnexpectedStates { length: payload, max: self.states_max });
        }
        Ok(Some((frame, payload)))
    }
}

impl FrameWriter {
    /// Writes a frame and flushes it.
    ///
    /// # Errors
    /// Fails where the stream breaks.
    pub async fn send(&mut self, frame: &Frame) -> Result<(), FrameError> {
        self.write(&frame.head(), frame.payload()).await
    }

    /// Writes a piece from borrowed bytes and flushes it.
    ///
    /// # Errors
    /// Fails where the stream breaks.
    pub async fn send_piece(&mut self, id: u32, piece: u32, bytes: &[u8]) -> Result<(), FrameError> {
        self.send_paced(id, piece, bytes, Pace::Free).await
    }

    /// Writes a piece at a pace and flushes it.
    ///
    /// # Errors
    /// Fails where the stream breaks.
    pub async fn send_paced(
        &mut self,
        id: u32,
        piece: u32,
        bytes: &[u8],
        pace: Pace<'_>,
    ) -> Result<(), FrameError> {
        let mut head = Frame::Piece { id, piece, bytes: Vec::new() }.head();
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        head[PREFIX_LEN - 4..PREFIX_LEN].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&head).await?;
        for run in bytes.chunks(pace.run(PIECE_LEN as usize)) {
            pace.pass(run.len()).await;
            for part in run.chunks(PACED_BYTES) {
                self.note_piece();
                self.stream.write_all(part).await?;
            }
        }
        self.note_piece();
        self.stream.flush().await?;
        Ok(())
    }

    async fn write(&mut self, head: &[u8], payload: &[u8]) -> Result<(), FrameError> {
        self.stream.write_all(head).await?;
        self.stream.write_all(payload).await?;
        self.stream.flush().await?;
        self.note();
        Ok(())
    }

    /// Notes that the peer takes bytes.
    fn note(&self) {
        if let Some(moves) = &self.moves {
            moves.note();
        }
    }

    fn note_piece(&self) {
        if let Some(moves) = &self.moves {
            moves.note_piece();
        }
    }
}

impl fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameReader")
    }
}

impl fmt::Debug for FrameWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameWriter")
    }
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;
    use reg_proto::digest::Digest;

    use super::*;

    async fn read(bytes: Vec<u8>, states_max: usize) -> Result<Option<Frame>, FrameError> {
        let (mut reader, _) = split(Cursor::new(bytes));
        reader.set_states_max(states_max);
        reader.next().await
    }

    #[tokio::test]
    async fn frames_come_out_as_they_went_in() {
        let frame = Frame::Piece { id: 3, piece: 9, bytes: vec![7; 1000] };
        assert_eq!(read(frame.to_bytes(), 0).await.unwrap(), Some(frame));
        assert_eq!(read(Vec::new(), 0).await.unwrap(), None);
        assert!(read(vec![0, 0], 0).await.is_err());
    }

    #[tokio::test]
    async fn states_that_were_not_asked_for_are_refused_before_they_are_read() {
        let states = Frame::States { blob: Digest::of(b""), bytes: vec![0; 64] };
        assert!(matches!(
            read(states.to_bytes(), 0).await,
            Err(FrameError::UnexpectedStates { length: 64, max: 0 })
        ));
        assert_eq!(read(states.to_bytes(), 64).await.unwrap(), Some(states));
        let mut lying = Frame::Cancel { id: 1 }.to_bytes();
        lying[..4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(read(lying, 0).await, Err(FrameError::Wire(WireError::HeaderTooLarge { .. }))));
        let mut long = Frame::Piece { id: 1, piece: 0, bytes: Vec::new() }.head();
        long[4..8].copy_from_slice(&((1u32 << 20) + 1).to_be_bytes());
        assert!(matches!(read(long, 0).await, Err(FrameError::Wire(WireError::PayloadTooLarge { .. }))));
    }
}
