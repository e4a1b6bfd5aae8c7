//! [`LaneReader`]: the puller's end of a lane. Its calls block: each lane has a thread of its own.

use std::fmt;
use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reg_proto::wire::{Frame, Message, PREFIX_LEN, WireError};
use tokio::runtime::Handle;

use super::error::LaneError;
use super::open::{LaneEnd, OpenLane};
use super::record::{CONTENT_MAX, HEADER, Opener};
use crate::net::frames::Received;
use crate::net::limits::LANE_RECEIVE_BYTES;
use crate::net::pace::Pace;
use crate::net::pool::PiecePool;

/// A lane from the peer that serves. Dropping it closes the lane.
pub struct LaneReader {
    socket: TcpStream,
    opener: Opener,
    /// Bytes read from the socket; those in `start..end` are not decrypted yet.
    sealed: Vec<u8>,
    start: usize,
    end: usize,
    /// The frame header that was decrypted last, and a byte behind it.
    head: Vec<u8>,
    /// Counts the bytes as they arrive, before a piece is whole.
    heard: Arc<AtomicU64>,
    _open: OpenLane,
}

impl LaneReader {
    pub(super) fn new(socket: TcpStream, opener: Opener, open: OpenLane) -> Self {
        let (sealed, head) = (vec![0; LANE_RECEIVE_BYTES], vec![0; CONTENT_MAX + 1]);
        Self { socket, opener, sealed, start: 0, end: 0, head, heard: Arc::default(), _open: open }
    }

    /// Returns a handle that closes this lane from another thread.
    ///
    /// # Errors
    /// Fails where the system has no more file descriptors.
    pub fn end(&self) -> io::Result<LaneEnd> {
        LaneEnd::of(&self.socket)
    }

    /// Counts the bytes that arrive in `heard` from now on.
    pub fn count_in(&mut self, heard: Arc<AtomicU64>) {
        self.heard = heard;
    }

    /// Waits until the server has admitted this node.
    pub(super) fn wait_open(&mut self) -> Result<(), LaneError> {
        match self.next_head() {
            Ok(Some((Frame::LaneOpen, 0))) => Ok(()),
            Ok(None) => Err(LaneError::Refused),
            Err(LaneError::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                Err(LaneError::Refused)
            }
            Ok(_) => Err(LaneError::Unexpected),
            Err(error) => Err(error),
        }
    }

    /// Receives the next piece into a buffer of `pool`, at a pace; returns `None` where the server has closed the lane
    /// between two pieces.
    ///
    /// # Errors
    /// Fails where the lane breaks or the server sends anything but a piece; the caller then drops the lane.
    pub fn receive(
        &mut self,
        pool: &PiecePool,
        runtime: &Handle,
        pace: Pace<'_>,
    ) -> Result<Option<Received>, LaneError> {
        let Some((frame, payload)) = self.next_head()? else { return Ok(None) };
        let Frame::Piece { id, piece, .. } = frame else { return Err(LaneError::Unexpected) };
        let mut bytes = pool.take_blocking(runtime);
        let mut at = 0;
        while at < payload {
            // One record at a time: the rest waits at the server.
            pace.sleep(CONTENT_MAX.min(payload - at));
            let content = self.next_record()?.ok_or_else(cut_off)?;
            if content == 0 || content > payload - at {
                return Err(LaneError::Record { length: content });
            }
            self.open(content, |opener, body| opener.open(body, &mut bytes.buffer_mut()[at..]))?;
            at += content;
        }
        bytes.set_len(payload);
        Ok(Some(Received::Piece { id, piece, bytes }))
    }

    /// Decrypts a record that holds a frame's header, and returns the frame with the length in bytes of its payload.
    fn next_head(&mut self) -> Result<Option<(Frame, usize)>, LaneError> {
        let Some(content) = self.next_record()? else { return Ok(None) };
        let mut head = std::mem::take(&mut self.head);
        let opened = self.open(content, |opener, body| opener.open(body, &mut head));
        self.head = head;
        opened?;
        let (prefix, header) =
            self.head[..content].split_first_chunk::<PREFIX_LEN>().ok_or(WireError::Length)?;
        let (length, payload) = Frame::lengths(*prefix)?;
        if header.len() != length {
            return Err(WireError::Length.into());
        }
        Ok(Some((Frame::from_header(header, payload)?, payload)))
    }

    /// Waits for a whole record, and returns how many bytes of content it has; `None` where the server has closed the
    /// lane.
    fn next_record(&mut self) -> Result<Option<usize>, LaneError> {
        if !self.fill(HEADER)? {
            return if self.start == self.end { Ok(None) } else { Err(cut_off()) };
        }
        let header = self.sealed[self.start..self.end].first_chunk().ok_or_else(cut_off)?;
        let content = Opener::content_len(*header)?;
        if self.fill(HEADER + Opener::body_len(content))? { Ok(Some(content)) } else { Err(cut_off()) }
    }

    /// Decrypts the record that [`Self::next_record`] has waited for.
    fn open(
        &mut self,
        content: usize,
        into: impl FnOnce(&mut Opener, &[u8]) -> Result<(), LaneError>,
    ) -> Result<(), LaneError> {
        let body = self.start + HEADER;
        let end = body + Opener::body_len(content);
        self.start = end;
        into(&mut self.opener, &self.sealed[body..end])
    }

    /// Reads until `wanted` bytes are buffered, and tells whether they came before the end.
    fn fill(&mut self, wanted: usize) -> Result<bool, LaneError> {
        while self.end - self.start < wanted {
            if self.start == self.end {
                (self.start, self.end) = (0, 0);
            } else if self.sealed.len() - self.start < wanted {
                self.sealed.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
            match self.socket.read(&mut self.sealed[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(more) => {
                    self.end += more;
                    self.heard.fetch_add(more as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

fn cut_off() -> LaneError {
    LaneError::Io(io::ErrorKind::UnexpectedEof.into())
}

impl fmt::Debug for LaneReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LaneReader")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use rustls::ConnectionTrafficSecrets;
    use rustls::crypto::cipher::{AeadKey, Iv};

    use super::super::open::{Direction, OpenLanes};
    use super::super::record::{RECORD_MAX, Sealer};
    use super::*;

    fn secrets() -> (u64, ConnectionTrafficSecrets) {
        (0, ConnectionTrafficSecrets::Chacha20Poly1305 { key: AeadKey::from([7; 32]), iv: Iv::from([1; 12]) })
    }

    /// Returns what a puller receives where the server sends these records and closes the lane.
    async fn receive(records: Vec<Vec<u8>>) -> Vec<Result<usize, LaneError>> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = listener.accept().unwrap().0;
        let sending = std::thread::spawn(move || {
            let (mut sealer, mut sealed) = (Sealer::new(secrets()).unwrap(), Vec::new());
            for record in &records {
                let mut one = vec![0; RECORD_MAX];
                let length = sealer.seal(record, &mut one).unwrap();
                sealed.extend_from_slice(&one[..length]);
            }
            // The other end may have closed the lane already.
            drop(server.write_all(&sealed));
        });
        let (pool, runtime) = (PiecePool::new(), Handle::current());
        let peer = reg_proto::peer::PeerId::from_public_key([0; 32]);
        let open = OpenLanes::default().enter(peer, Direction::FromPeer).unwrap();
        let received = tokio::task::spawn_blocking(move || {
            let mut reader = LaneReader::new(socket, Opener::new(secrets()).unwrap(), open);
            let mut received = Vec::new();
            loop {
                match reader.receive(&pool, &runtime, Pace::Free) {
                    Ok(Some(Received::Piece { bytes, .. })) => received.push(Ok(bytes.len())),
                    Ok(_) => return received,
                    Err(error) => {
                        received.push(Err(error));
                        return received;
                    }
                }
            }
        });
        let received = received.await.unwrap();
        sending.join().unwrap();
        received
    }

    fn head(payload: u32) -> Vec<u8> {
        let mut head = Frame::Piece { id: 1, piece: 0, bytes: Vec::new() }.head();
        head[4..8].copy_from_slice(&payload.to_be_bytes());
        head
    }

    #[tokio::test]
    async fn a_piece_comes_in_records_of_any_length() {
        let received = receive(vec![head(30), vec![1; 10], vec![2; 20], head(0), head(1), vec![3]]).await;
        assert!(matches!(received[..], [Ok(30), Ok(0), Ok(1)]), "{received:?}");
    }

    #[tokio::test]
    async fn what_no_server_sends_ends_the_lane() {
        let too_long = receive(vec![head((1 << 20) + 1)]).await;
        assert!(
            matches!(too_long[..], [Err(LaneError::Wire(WireError::PayloadTooLarge { .. }))]),
            "{too_long:?}"
        );
        let beyond = receive(vec![head(10), vec![0; 11]]).await;
        assert!(matches!(beyond[..], [Err(LaneError::Record { length: 11 })]), "{beyond:?}");
        let empty = receive(vec![head(10), vec![]]).await;
        assert!(matches!(empty[..], [Err(LaneError::Record { length: 0 })]), "{empty:?}");
        let other = receive(vec![Frame::Cancel { id: 1 }.head()]).await;
        assert!(matches!(other[..], [Err(LaneError::Unexpected)]), "{other:?}");
        let noise = receive(vec![vec![0xff; 100]]).await;
        assert!(matches!(noise[..], [Err(LaneError::Wire(_))]), "{noise:?}");
        let mut longer = head(0);
        longer.push(0);
        assert!(matches!(receive(vec![longer]).await[..], [Err(LaneError::Wire(WireError::Length))]));
        assert!(matches!(receive(vec![vec![0; 3]]).await[..], [Err(LaneError::Wire(WireError::Length))]));
        let cut = receive(vec![head(10), vec![0; 9]]).await;
        assert!(matches!(cut[..], [Err(LaneError::Io(_))]), "{cut:?}");
    }
}
