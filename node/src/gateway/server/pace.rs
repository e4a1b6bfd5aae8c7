//! Ends what moves too slowly: [`PacedStream`] for answers that a client does not read, [`PacedBody`] for bodies that it does
//! not send.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::HttpBody;
use axum::{BoxError, Error};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::unread::unread;

/// Bytes per second below which a client is too slow: a model of 1 GiB would take twelve days.
const SLOWEST: u32 = 1 << 10;
/// How long a client may be too slow.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the server looks what a client has read, while it waits for it. What the first two looks find is not counted: the
/// system's table is read only from the first on.
const LOOK: Duration = Duration::from_secs(5);

/// How far a client may fall behind. Only the time counts in which the server waits for the client.
#[derive(Debug)]
struct Patience {
    left: Duration,
    since: Option<Instant>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { left: PATIENCE, since: None }
    }
}

impl Patience {
    /// Notes that the server waits for the client; returns for how long it still does.
    fn wait(&mut self, now: Instant) -> Duration {
        let since = *self.since.get_or_insert(now);
        self.left.saturating_sub(now.saturating_duration_since(since))
    }

    /// Notes that bytes have moved.
    fn move_on(&mut self, now: Instant, bytes: usize) {
        if let Some(since) = self.since.take() {
            self.left = self.left.saturating_sub(now.saturating_duration_since(since));
        }
        // More bytes than this earn the whole patience.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(SLOWEST * 60);
        self.left = (self.left + Duration::from_secs(1) * bytes / SLOWEST).min(PATIENCE);
    }
}

/// A patience, and the timer that ends it.
#[derive(Debug, Default)]
struct Timer {
    patience: Patience,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Passes on `polled`, which has moved so many bytes if it is ready. Where it waits for the client, and patience is over, it
    /// is an error. `look` tells how many bytes have moved meanwhile.
    fn judge<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<T>,
        moved: impl FnOnce(&T) -> usize,
        mut look: impl FnMut() -> usize,
    ) -> Poll<Result<T, io::Error>> {
        let now = Instant::now();
        if let Poll::Ready(value) = polled {
            self.patience.move_on(now, moved(&value));
            self.sleep = None;
            return Poll::Ready(Ok(value));
        }
        loop {
            let left = self.patience.wait(now);
            if left.is_zero() {
                tracing::debug!("a client is too slow, and its connection is closed");
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "client is too slow")));
            }
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(left.min(LOOK))));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.sleep = None;
            self.patience.move_on(now, look());
        }
    }
}

/// A connection that fails when the client reads too slowly. On loopback a client's system asks for more once some 64 KiB were
/// read, so a steady reader needs twice the least rate.
#[derive(Debug)]
pub(super) struct PacedStream {
    stream: TcpStream,
    timer: Timer,
    progress: Progress,
}

/// What the client of a connection has taken.
#[derive(Debug)]
struct Progress {
    ends: Option<(SocketAddr, SocketAddr)>,
    /// Bytes that the system took.
    written: u64,
    /// Bytes that the client had taken when the server last looked.
    taken: Option<u64>,
}

impl Progress {
    /// Returns how many bytes the client has taken since the last look; 0 at the first ones, and where the system does not tell.
    fn look(&mut self) -> usize {
        let held = self.ends.and_then(|(own, client)| unread(own, client));
        let Some(taken) = held.map(|held| self.written.saturating_sub(held)) else { return 0 };
        let before = self.taken.replace(taken).unwrap_or(taken);
        usize::try_from(taken.saturating_sub(before)).unwrap_or(usize::MAX)
    }

    fn note(&mut self, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = polled {
            self.written += *bytes as u64;
        }
    }
}

impl PacedStream {
    /// Returns a connection with all its patience.
    pub(super) fn new(stream: TcpStream) -> Self {
        let ends = stream.local_addr().ok().zip(stream.peer_addr().ok());
        let progress = Progress { ends, written: 0, taken: None };
        Self { stream, timer: Timer::default(), progress }
    }

    fn judge(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let Self { timer, progress, .. } = self;
        progress.note(&polled);
        timer.judge(cx, polled, written, || progress.look()).map(|it| it.and_then(|result| result))
    }
}

impl AsyncRead for PacedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for PacedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.judge(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.judge(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn written(result: &io::Result<usize>) -> usize {
    result.as_ref().map_or(0, |it| *it)
}

/// The body of a request, which fails when the client sends too slowly.
#[derive(Debug)]
pub(super) struct PacedBody {
    body: Incoming,
    timer: Timer,
}

impl PacedBody {
    /// Returns a body with all its patience.
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, timer: Timer::default() }
    }
}

impl HttpBody for PacedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let received = |frame: &Option<Result<Frame<Bytes>, hyper::Error>>| {
            frame.as_ref().and_then(|it| it.as_ref().ok()?.data_ref()).map_or(0, Bytes::len)
        };
        self.timer.judge(cx, polled, received, || 0).map(|judged| match judged {
            Ok(frame) => frame.map(|it| it.map_err(Error::new)),
            Err(slow) => Some(Err(Error::new(BoxError::from(slow)))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moves `bytes` after every `every` of waiting; returns the seconds until patience is over, at most a day.
    fn lasts(bytes: usize, every: Duration) -> Option<u64> {
        let (start, mut patience) = (Instant::now(), Patience::default());
        let (mut at, day) = (Duration::ZERO, Duration::from_secs(86_400));
        while at < day {
            let left = patience.wait(start + at);
            if left <= every {
                return Some((at + left).as_secs());
            }
            at += every;
            patience.move_on(start + at, bytes);
        }
        None
    }

    #[test]
    fn below_a_kibibyte_a_second_patience_ends_and_at_it_never() {
        let second = Duration::from_secs(1);
        assert_eq!(lasts(0, second), Some(30));
        assert_eq!(lasts(1, second), Some(30));
        assert!(lasts(512, second).is_some_and(|it| (55..=62).contains(&it)));
        assert_eq!(lasts(1 << 10, second), None);
        assert_eq!(lasts(29 << 10, second * 29), None, "in bursts too");
        assert_eq!(
            lasts(64 << 10, second * 31),
            Some(30),
            "nothing for 31 s is too slow, and much does not save up"
        );
    }

    #[test]
    fn the_time_in_which_the_server_does_not_wait_counts_for_nothing() {
        let (start, mut patience) = (Instant::now(), Patience::default());
        assert_eq!(patience.wait(start), PATIENCE);
        patience.move_on(start + Duration::from_secs(20), 0);
        assert_eq!(patience.wait(start + Duration::from_secs(500)), Duration::from_secs(10));
    }
}
