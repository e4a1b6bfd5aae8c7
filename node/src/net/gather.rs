//! [`Gather`]: a socket that gathers small writes into few packets while its connection is new.
//!
//! A new TCP connection may have ten packets under way (RFC 6928), however small they are. A dozen protocols begin to speak on
//! each connection, and each of their frames became a packet of its own. So the first question waited for a round trip until
//! their acknowledgements came. Nagle's algorithm does not help: it holds the second packet back for a round trip too.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};

use super::limits::{GATHER_BYTES_MAX, GATHER_FOR, GATHER_WHILE};

/// A socket with the bytes that wait for more.
pub(super) struct Gather<S> {
    socket: S,
    bytes: Vec<u8>,
    /// Until when the connection is new.
    until: Instant,
    /// The time that a flush waits for more bytes; `None` if there was no flush since the last packet.
    wait: Option<Pin<Box<Sleep>>>,
    /// Why bytes could not be sent while the caller read. The next write or flush fails with it.
    failed: Option<io::ErrorKind>,
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    /// `is_far` tells whether a round trip may be long. Else nothing is gathered: it would take longer than the round trips
    /// that it saves.
    pub(super) fn new(socket: S, is_far: bool) -> Self {
        let now = Instant::now();
        let until = if is_far { now + GATHER_WHILE } else { now };
        Self { socket, bytes: Vec::new(), until, wait: None, failed: None }
    }

    fn is_new(&self) -> bool {
        Instant::now() < self.until
    }

    /// Waits for more bytes, as long as a flush may, and then writes all of them.
    fn poll_flush_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_new() && !self.bytes.is_empty() {
            ready!(self.wait.get_or_insert_with(|| Box::pin(sleep(GATHER_FOR))).as_mut().poll(cx));
        }
        self.poll_write_bytes(cx)
    }

    fn poll_write_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(failed) = self.failed {
            return Poll::Ready(Err(failed.into()));
        }
        while !self.bytes.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.bytes.drain(..written);
        }
        self.wait = None;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        // The caller of a flush need not call it again before it reads the answer. One task reads and writes a connection.
        if self.wait.is_some()
            && let Poll::Ready(Err(error)) = self.poll_flush_bytes(cx)
        {
            // What the peer has sent before it closed the connection is still read.
            (self.failed, self.wait) = (Some(error.kind()), None);
        }
        Pin::new(&mut self.socket).poll_read(cx, bytes)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let has_room = self.bytes.len() + bytes.len() <= GATHER_BYTES_MAX;
        if self.is_new() && has_room && self.failed.is_none() {
            self.bytes.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_write_bytes(cx))?;
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush_bytes(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_bytes(cx))?;
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A socket that remembers each write, and has nothing to read.
    #[derive(Default)]
    struct Packets(Vec<Vec<u8>>);

    impl AsyncRead for Packets {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            if self.0.is_empty() { Poll::Pending } else { Poll::Ready(Ok(0)) }
        }
    }

    impl AsyncWrite for Packets {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn small_writes_of_a_new_connection_are_one_packet() {
        let mut socket = Gather::new(Packets::default(), true);
        for part in ["a", "b", "c"] {
            socket.write_all(part.as_bytes()).await.unwrap();
        }
        assert!(socket.socket.0.is_empty());
        socket.flush().await.unwrap();
        assert_eq!(socket.socket.0, [b"abc"]);
        socket.write_all(b"d").await.unwrap();
        socket.write_all(&[7; GATHER_BYTES_MAX]).await.unwrap();
        socket.flush().await.unwrap();
        assert_eq!(socket.socket.0[1..], [b"d".to_vec(), vec![7; GATHER_BYTES_MAX]], "the order is kept");
        socket.write_all(b"e").await.unwrap();
        socket.close().await.unwrap();
        assert_eq!(socket.socket.0.last().unwrap(), b"e");
        socket.until = Instant::now();
        for part in ["f", "g"] {
            socket.write_all(part.as_bytes()).await.unwrap();
        }
        assert_eq!(socket.socket.0[4..], [b"f", b"g"], "an older connection sends each at once");
    }

    #[tokio::test]
    async fn nothing_is_gathered_for_a_peer_that_is_near() {
        let mut socket = Gather::new(Packets::default(), false);
        for part in ["a", "b"] {
            socket.write_all(part.as_bytes()).await.unwrap();
        }
        assert_eq!(socket.socket.0, [b"a", b"b"]);
    }

    /// rustls flushes once, and then reads until the handshake is over.
    #[tokio::test]
    async fn bytes_that_were_flushed_once_are_sent_while_the_caller_reads() {
        let mut socket = Gather::new(Packets::default(), true);
        socket.write_all(b"hello").await.unwrap();
        std::future::poll_fn(|cx| {
            let _waits = Pin::new(&mut socket).poll_flush(cx);
            Poll::Ready(())
        })
        .await;
        assert_eq!(socket.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(socket.socket.0, [b"hello"]);
    }
}
