//! [`TwoTasks`]: a stream that one task reads and another writes, before the peer has agreed to its protocol.
//!
//! libp2p proposes the protocol together with the first bytes of a stream (multistream-select's `V1Lazy`). Until the peer has
//! agreed, each read flushes the stream first. A yamux stream keeps one waker for all that write and flush. So the task that
//! polled last would be woken, and the other one would wait for ever: a reader that never reads, or a writer that never writes.
//! Here each task leaves its own waker, and the stream wakes both until the peer has agreed. From then on, a read touches only
//! what is its own.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures::io::{AsyncRead, AsyncWrite};
use futures::task::AtomicWaker;

/// A stream to split for two tasks.
pub(super) struct TwoTasks<S> {
    stream: S,
    state: State,
}

/// Whether the peer has agreed to the protocol.
enum State {
    Proposed(Arc<Tasks>),
    Agreed,
    /// The peer has not agreed, or the stream broke before. libp2p panics if it is used again.
    Broken,
}

/// The wakers of both tasks.
#[derive(Default)]
struct Tasks {
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Wake for Tasks {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.reader.wake();
        self.writer.wake();
    }
}

impl<S> TwoTasks<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, state: State::Proposed(Arc::default()) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TwoTasks<S> {
    /// Polls the stream for the task that `of` names.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        of: impl FnOnce(&Tasks) -> &AtomicWaker,
        poll: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let stream = Pin::new(&mut self.stream);
        match &self.state {
            State::Agreed => poll(stream, cx),
            State::Broken => Poll::Ready(Err(ErrorKind::NotConnected.into())),
            State::Proposed(tasks) => {
                of(tasks).register(cx.waker());
                let waker = Waker::from(tasks.clone());
                poll(stream, &mut Context::from_waker(&waker))
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TwoTasks<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = self.poll(cx, |tasks| &tasks.reader, |stream, cx| stream.poll_read(cx, bytes));
        match (&read, &self.state) {
            // The wakers that the stream has still wake both tasks.
            (Poll::Ready(Ok(_)), State::Proposed(_)) => self.state = State::Agreed,
            (Poll::Ready(Err(_)), State::Proposed(_)) => {
                if let State::Proposed(tasks) = std::mem::replace(&mut self.state, State::Broken) {
                    tasks.wake();
                }
            }
            _ => {}
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TwoTasks<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(cx, |tasks| &tasks.writer, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, |tasks| &tasks.writer, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, |tasks| &tasks.writer, |stream, cx| stream.poll_close(cx))
    }
}

#[cfg(test)]
mod tests {
    use futures::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A stream as yamux's under `V1Lazy`: it takes nothing, and wakes the task that polled last.
    #[derive(Default)]
    struct Full {
        last: Option<Waker>,
        is_broken: bool,
    }

    impl Full {
        fn poll<T>(&mut self, cx: &Context<'_>) -> Poll<io::Result<T>> {
            if self.is_broken {
                return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
            }
            self.last = Some(cx.waker().clone());
            Poll::Pending
        }
    }

    impl AsyncRead for Full {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            self.poll(cx)
        }
    }

    impl AsyncWrite for Full {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            self.poll(cx)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll(cx)
        }

        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll(cx)
        }
    }

    #[test]
    fn both_tasks_are_woken_whichever_polled_last() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        #[derive(Default)]
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let [reader, writer] = [Arc::<Count>::default(), Arc::<Count>::default()];
        let [of_reader, of_writer] = [&reader, &writer].map(|it| Waker::from(it.clone()));
        for reads_last in [false, true] {
            let mut stream = TwoTasks::new(Full::default());
            for is_read in [!reads_last, reads_last] {
                let is_pending = if is_read {
                    let mut cx = Context::from_waker(&of_reader);
                    Pin::new(&mut stream).poll_read(&mut cx, &mut [0]).is_pending()
                } else {
                    Pin::new(&mut stream).poll_flush(&mut Context::from_waker(&of_writer)).is_pending()
                };
                assert!(is_pending);
            }
            stream.stream.last.take().unwrap().wake();
        }
        assert_eq!([&reader, &writer].map(|it| it.0.load(Ordering::Relaxed)), [2, 2]);
    }

    #[tokio::test]
    async fn a_stream_that_broke_is_not_polled_again() {
        let mut stream = TwoTasks::new(Full { is_broken: true, ..Full::default() });
        assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(stream.write(&[0]).await.unwrap_err().kind(), ErrorKind::NotConnected);
    }
}
