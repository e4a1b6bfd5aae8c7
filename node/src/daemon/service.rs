//! [`Service`]: what a daemon tells the supervisor that has started it, and what that has opened for it, by the protocol of systemd:
//! sd_notify(3) and sd_listen_fds(3). Without a supervisor, and on other systems, nothing is told and nothing was opened.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// The supervisor of this process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Service {
    socket: Option<Arc<notify::Socket>>,
    watchdog: Option<Duration>,
}

impl Service {
    /// Returns the supervisor that the variables of this process name: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`. A socket
    /// that cannot be opened counts as none, with a line in the log.
    pub fn from_env() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|it| !it.is_empty()) else {
            return Self::default();
        };
        let socket = match notify::open(&name) {
            Ok(socket) => Arc::new(socket),
            Err(error) => {
                tracing::warn!(%error, socket = %name.display(), "the supervisor cannot be told anything");
                return Self::default();
            }
        };
        let text = |name: &str| std::env::var(name).ok();
        let watchdog = watchdog(text("WATCHDOG_USEC").as_deref(), text("WATCHDOG_PID").as_deref());
        Self { socket: Some(socket), watchdog }
    }

    /// Tells that the daemon has started, and what it does.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\n{}", status_line(status)));
    }

    /// Tells what the daemon does, in one line.
    pub fn status(&self, status: &str) {
        self.tell(&status_line(status));
    }

    /// Tells that the daemon stops.
    pub fn stopping(&self) {
        self.tell(&format!("STOPPING=1\n{}", status_line("stopping")));
    }

    /// Tells that the daemon is well.
    pub fn is_well(&self) {
        self.tell("WATCHDOG=1\n");
    }

    /// Returns how often the supervisor must be told that the daemon is well: twice as often as it demands; `None` where it does not
    /// ask.
    pub const fn beat(&self) -> Option<Duration> {
        self.watchdog
    }

    fn tell(&self, text: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = notify::send(socket, text.as_bytes())
        {
            tracing::debug!(%error, "the supervisor was not told");
        }
    }
}

fn status_line(status: &str) -> String {
    format!("STATUS={}\n", status.replace(['\n', '\r'], " "))
}

/// Reads how often a watchdog demands a beat of this process; returns half of that.
fn watchdog(microseconds: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    let is_own = pid.is_none_or(|it| it.parse() == Ok(std::process::id()));
    let demanded = microseconds?.parse().ok().filter(|it| *it > 0 && is_own)?;
    Some(Duration::from_micros(demanded) / 2)
}

/// Returns the listener that the supervisor has opened for the local API (`LISTEN_FDS`); `None` where it has opened none.
///
/// # Errors
/// What it has passed is no listener of TCP.
pub fn passed_listener() -> io::Result<Option<TcpListener>> {
    #[cfg(unix)]
    {
        let Some(listener) = listenfd::ListenFd::from_env().take_tcp_listener(0)? else { return Ok(None) };
        listener.set_nonblocking(true)?;
        Ok(Some(listener))
    }
    #[cfg(not(unix))]
    Ok(None)
}

#[cfg(target_os = "linux")]
mod notify {
    use std::ffi::OsStr;
    use std::io;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::time::Duration;

    /// A supervisor that takes nothing for so long is left alone.
    const PATIENCE: Duration = Duration::from_secs(1);

    pub(super) type Socket = UnixDatagram;

    /// Opens a socket by its path, or by its abstract name behind `@`.
    pub(super) fn open(name: &OsStr) -> io::Result<Socket> {
        let socket = UnixDatagram::unbound()?;
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        socket.connect_addr(&address)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(socket)
    }

    pub(super) fn send(socket: &Socket, bytes: &[u8]) -> io::Result<()> {
        socket.send(bytes).map(drop)
    }
}

#[cfg(not(target_os = "linux"))]
mod notify {
    use std::ffi::OsStr;
    use std::io;

    #[derive(Debug)]
    pub(super) struct Socket;

    pub(super) fn open(_: &OsStr) -> io::Result<Socket> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn send(_: &Socket, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_of_this_process_is_obeyed_twice_as_often_as_it_demands() {
        let own = std::process::id().to_string();
        let second = Some(Duration::from_millis(500));
        for (microseconds, pid, beat) in [
            (Some("1000000"), None, second),
            (Some("1000000"), Some(own.as_str()), second),
            (Some("1000000"), Some("1"), None),
            (Some("0"), None, None),
            (Some("soon"), None, None),
            (None, None, None),
        ] {
            assert_eq!(watchdog(microseconds, pid), beat, "{microseconds:?} {pid:?}");
        }
        assert_eq!(status_line("two\nlines"), "STATUS=two lines\n");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_supervisor_is_told_by_a_path_and_by_an_abstract_name() {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixDatagram};
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).expect("bound");
        let name = format!("reg-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).expect("a name");
        let by_name = UnixDatagram::bind_addr(&abstract_name).expect("bound");
        for (socket, at) in [(by_path, path.into_os_string()), (by_name, format!("@{name}").into())] {
            let service =
                Service { socket: Some(Arc::new(notify::open(&at).expect("opened"))), watchdog: None };
            service.ready("serving");
            service.stopping();
            let mut buffer = [0; 100];
            let length = socket.recv(&mut buffer).expect("told");
            assert_eq!(&buffer[..length], b"READY=1\nSTATUS=serving\n");
            let length = socket.recv(&mut buffer).expect("told");
            assert_eq!(&buffer[..length], b"STOPPING=1\nSTATUS=stopping\n");
        }
    }
}
