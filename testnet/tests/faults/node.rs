//! A node on a disk that is to fail: its home, and its daemon while that runs.

use std::ffi::OsStr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use reg_testnet::process::{Daemon, Home, Ran, wait_until};

use crate::tally::{Found, Harm};

/// Longest time that a command may take, faults included. A command that hangs never ends, and a busy machine may make one
/// take minutes.
const PATIENCE: Duration = Duration::from_secs(600);
/// The flags of every daemon: no test needs the DHT.
pub(super) const FLAGS: [&str; 2] = ["--dht", "off"];

pub(super) struct Node {
    /// The daemon, while it runs. It ends before its home is removed.
    pub(super) daemon: Option<Daemon>,
    pub(super) home: Home,
}

impl Node {
    pub(super) fn new(home: Home) -> Self {
        Self { daemon: None, home }
    }

    /// Starts the daemon unless it runs.
    pub(super) fn start(&mut self) -> Result<(), Found> {
        if self.daemon.as_mut().is_some_and(Daemon::is_running) {
            return Ok(());
        }
        let started = Daemon::try_start(&self.home, &FLAGS);
        self.daemon = Some(started.map_err(|log| Found { harm: Harm::NoStart, evidence: log })?);
        Ok(())
    }

    /// Starts the daemon on a disk that may fail; returns whether it is ready.
    pub(super) fn try_start(&mut self) -> bool {
        self.daemon = Daemon::try_start(&self.home, &FLAGS).ok();
        self.daemon.is_some()
    }

    /// Begins the start of a daemon, for one that is killed before it is ready.
    pub(super) fn begin_start(&self) -> Child {
        let args = ["daemon", "--listen", "/ip4/127.0.0.1/tcp/0", "--http", "127.0.0.1:0", "--no-mdns"];
        let mut command = self.home.command(args.iter().chain(&FLAGS));
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("reg runs")
    }

    /// Kills the daemon with SIGKILL.
    pub(super) fn kill(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill();
        }
    }

    /// Begins a command.
    pub(super) fn begin<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Child {
        let mut command = self.home.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("reg runs")
    }

    /// Waits for a command; kills it when its time is over.
    pub(super) fn end(&self, mut child: Child) -> Ran {
        let _killed_after_it = wait_until(&mut child, Instant::now() + PATIENCE);
        self.home.ended(child.wait_with_output().expect("it has ended"))
    }

    /// Runs a command to its end.
    pub(super) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        self.end(self.begin(args))
    }

    /// Returns the last lines of the daemon's log, the newest first.
    pub(super) fn last_lines(&self) -> Vec<String> {
        let log = self.daemon.as_ref().map(Daemon::log).unwrap_or_default();
        log.lines().rev().take(8).map(str::to_owned).collect()
    }
}
