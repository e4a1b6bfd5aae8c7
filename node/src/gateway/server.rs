//! Serving the routes: on a loopback port behind a guard, and on a Unix socket that only its owner can open.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::admin::guard::Guard;

/// How long requests under way may take once the server is told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Why the local API is not served.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("{address} cannot be listened on")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("{path} cannot be listened on")]
    Socket { path: PathBuf, source: io::Error },
}

/// The running servers.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    socket: PathBuf,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Server {
    /// Serves `router` on `address`, for who knows `token`, and on `socket`, for who may open it.
    ///
    /// # Errors
    /// The port is taken, or the socket cannot be made.
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
        let guarded = Guard::new(address, token).protect(router.clone());
        tasks.spawn(serve(axum::serve(listener, guarded).with_graceful_shutdown(told(stopped.clone()))));
        #[cfg(unix)]
        {
            let made = unix_listener(socket)
                .map_err(|source| ServeError::Socket { path: socket.to_owned(), source })?;
            tasks.spawn(serve(axum::serve(made, router).with_graceful_shutdown(told(stopped))));
        }
        Ok(Self { address, socket: socket.to_owned(), stop, tasks })
    }

    /// Returns where it is served.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops: no new requests, and a short while for those under way.
    pub async fn shutdown(mut self) {
        drop(std::fs::remove_file(&self.socket));
        self.stop.send_replace(true);
        let ended = timeout(GRACE, async { while self.tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

async fn serve(server: impl IntoFuture<Output = io::Result<()>>) {
    if let Err(error) = server.await {
        tracing::warn!(%error, "the local API stopped");
    }
}

async fn told(mut stopped: watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
}

/// Makes the socket, in place of one that a daemon which was killed has left; the store's lock says that none is alive.
#[cfg(unix)]
fn unix_listener(path: &Path) -> io::Result<tokio::net::UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    drop(std::fs::remove_file(path));
    let listener = tokio::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
