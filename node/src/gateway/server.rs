//! [`HttpServer`]: serves the routes on a port behind a guard, and on a Unix socket that only its owner can open.
//!
//! Promise: a client that sends or reads slowly takes only its own share. Each listener has places of its own, and a crowd
//! without the token leaves places for the owner.

mod connections;
mod pace;
mod turns;
mod unread;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::middleware;
use axum::serve::Listener;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(super) use self::connections::Connection;
use self::connections::Connections;
use self::pace::{PacedBody, PacedStream};
pub(super) use self::turns::{BUSY, Busy, Client, Turn};
use self::turns::{Crowd, HeldBody};
use super::guard::{Caller, Guard};
use super::metrics::counted;
use crate::metrics::Metrics;

/// How long requests under way may take once the server stops. With 3 s for announcements, a daemon stops within 5 s.
const GRACE: Duration = Duration::from_millis(1500);
/// Connections of the port at once. Ollama opens 16 for each blob, Hugging Face's clients 8.
const CONNECTIONS_MAX: usize = 256;
/// Connections of the socket at once: each command of the owner has one.
const SOCKET_CONNECTIONS_MAX: usize = 64;
/// Bytes of a request's head: the longest name takes 1 KiB, a token 100 bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Header fields of a request.
const HEADERS_MAX: usize = 100;
/// How long a client may take to send a request's head, and to begin the next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a server cannot start.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("{address} cannot be listened on")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("{path} cannot be listened on")]
    Socket { path: PathBuf, source: io::Error },
}

/// Where a server listens.
#[derive(Debug)]
pub enum At {
    Address(SocketAddr),
    /// A listener that is open already, and does not block.
    Passed(std::net::TcpListener),
}

impl At {
    async fn open(self) -> Result<(TcpListener, SocketAddr), ServeError> {
        let (address, opened) = match self {
            Self::Address(address) => (address, TcpListener::bind(address).await),
            Self::Passed(listener) => {
                let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
                (listener.local_addr().unwrap_or(unknown), TcpListener::from_std(listener))
            }
        };
        let bind = |source| ServeError::Bind { address, source };
        let listener = opened.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        Ok((listener, address))
    }
}

/// The running server, on both.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    socket: PathBuf,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl HttpServer {
    /// Serves `router` at `at`, behind the `guard` for the address that it gets, and on `socket`, where every caller is
    /// the owner. Counts the requests of both in `metrics`.
    ///
    /// # Errors
    /// Fails where the port is taken, or the socket cannot be created.
    pub async fn start(
        router: Router,
        at: At,
        socket: &Path,
        guard: impl FnOnce(SocketAddr) -> Guard,
        metrics: &Metrics,
    ) -> Result<Self, ServeError> {
        let (listener, address) = at.open().await?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let bounded = router.clone().layer(middleware::from_fn_with_state(Crowd::default(), turns::admit));
        let guarded = counted(metrics.clone(), guard(address).protect(bounded));
        tasks.spawn(serve(Port(listener), guarded, Connections::new(CONNECTIONS_MAX), stopped.clone()));
        #[cfg(unix)]
        {
            let made = unix_listener(socket)
                .map_err(|source| ServeError::Socket { path: socket.to_owned(), source })?;
            let owned = counted(metrics.clone(), router.layer(Extension(Caller::Owner)));
            tasks.spawn(serve(made, owned, Connections::new(SOCKET_CONNECTIONS_MAX), stopped));
        }
        Ok(Self { address, socket: socket.to_owned(), stop, tasks })
    }

    /// Returns the address of the port.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops: takes no new requests, and gives those under way 1.5 s.
    pub async fn shutdown(mut self) {
        drop(std::fs::remove_file(&self.socket));
        self.stop.send_replace(true);
        let ended = timeout(GRACE, async { while self.tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

/// The listener of the port. Its connections end when a client reads too slowly.
struct Port(TcpListener);

impl Listener for Port {
    type Io = PacedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        (PacedStream::new(stream), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// Accepts connections until the server stops, and then waits for those that are open.
async fn serve(
    mut listener: impl Listener,
    router: Router,
    table: Connections,
    stopped: watch::Receiver<bool>,
) {
    let mut open = JoinSet::new();
    loop {
        let admitted = async {
            let (stream, _) = listener.accept().await;
            (stream, table.admit().await)
        };
        tokio::select! {
            (stream, connection) = admitted => {
                open.spawn(converse(stream, router.clone(), stopped.clone(), connection));
            }
            () = until_stopped(stopped.clone()) => break,
        }
        while open.try_join_next().is_some() {}
    }
    while open.join_next().await.is_some() {}
}

/// Serves one connection, until another one takes its place. When the server stops, closes it after the request under way.
async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    stopped: watch::Receiver<bool>,
    connection: Connection,
) {
    let routes = TowerToHyperService::new(router);
    let own = connection.clone();
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let under_way = own.begin();
        let mut request = request.map(|body| Body::new(PacedBody::new(body)));
        request.extensions_mut().insert(own.clone());
        let answered = routes.call(request);
        async move { answered.await.map(|response| HeldBody::hold(response, under_way)) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    let ended = async {
        tokio::select! {
            result = served.as_mut() => result,
            () = until_stopped(stopped) => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        }
    };
    tokio::select! {
        result = ended => {
            if let Err(error) = result {
                tracing::debug!(%error, "a connection ended early");
            }
        }
        () = connection.closed() => tracing::debug!("a connection makes room for another one"),
    }
}

async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
}

/// Creates the socket, replacing one that a killed daemon has left: the store's lock shows that no other daemon runs.
#[cfg(unix)]
fn unix_listener(path: &Path) -> io::Result<tokio::net::UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    drop(std::fs::remove_file(path));
    let listener = tokio::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
