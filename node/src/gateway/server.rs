//! [`HttpServer`]: serves the routes on a port behind a guard, and on a Unix socket that only its owner can open.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::guard::{Caller, Guard};

/// How long requests under way may take once the server stops.
const GRACE: Duration = Duration::from_secs(5);
/// Connections at once; more wait in the system's queue. Ollama opens 16 for each blob, Hugging Face's clients 8.
const CONNECTIONS_MAX: usize = 256;
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

/// The running server, on both.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    socket: PathBuf,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl HttpServer {
    /// Serves `router` on `address`, behind a guard with `token`, and on `socket`, where every caller is the owner.
    ///
    /// # Errors
    /// Fails where the port is taken, or the socket cannot be created.
    pub async fn start(
        router: Router,
        address: SocketAddr,
        socket: &Path,
        token: String,
    ) -> Result<Self, ServeError> {
        let bind = |source| ServeError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let guarded = Guard::new(address, token).protect(router.clone());
        let (own_room, own_stopped) = (room.clone(), stopped.clone());
        tasks.spawn(serve(listener, guarded, own_room, own_stopped));
        #[cfg(unix)]
        {
            let made = unix_listener(socket)
                .map_err(|source| ServeError::Socket { path: socket.to_owned(), source })?;
            let owned = router.layer(Extension(Caller::Owner));
            tasks.spawn(serve(made, owned, room, stopped));
        }
        Ok(Self { address, socket: socket.to_owned(), stop, tasks })
    }

    /// Returns the address of the port.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops: takes no new requests, and gives those under way 5 s.
    pub async fn shutdown(mut self) {
        drop(std::fs::remove_file(&self.socket));
        self.stop.send_replace(true);
        let ended = timeout(GRACE, async { while self.tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

/// Accepts connections until the server stops, and then waits for those that are open.
async fn serve(
    mut listener: impl Listener,
    router: Router,
    room: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        tokio::select! {
            (stream, _) = listener.accept() => {
                connections.spawn(converse(stream, router.clone(), stopped.clone(), permit));
            }
            () = until_stopped(stopped.clone()) => break,
        }
        while connections.try_join_next().is_some() {}
    }
    while connections.join_next().await.is_some() {}
}

/// Serves one connection; when the server stops, closes it after the request under way.
async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    stopped: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = until_stopped(stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
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
