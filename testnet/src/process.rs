//! Runs real nodes: the `reg` binary in processes of their own, each with its own home.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::alone;
use crate::before;
use crate::command_end;
use crate::netns::Machine;

/// Longest time until a daemon must be ready, on a busy machine.
const READY: Duration = Duration::from_secs(120);
/// Longest time until a daemon must have stopped.
const STOP: Duration = Duration::from_secs(120);

/// Returns the path of the `reg` binary. Builds it in the profile of this program.
///
/// The build names the whole workspace. Cargo then chooses the features that it chose for this program, so that no
/// dependency is built a second time. `one_build.rs` tests that.
///
/// # Panics
/// If it cannot be built.
pub fn reg_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // Another binary, such as that of an earlier commit: it shows that a test can fail.
        if let Some(other) = std::env::var_os("REG_TEST_BINARY") {
            return other.into();
        }
        if before::is_meant() {
            return before::reg_before().expect("the binary of before").to_owned();
        }
        let profile_dir = profile_dir();
        let target = profile_dir.parent().expect("a profile lies in the target directory");
        let built = build(workspace(), target, is_release(&profile_dir)).status().expect("cargo runs");
        assert!(built.success(), "the reg binary cannot be built");
        profile_dir.join(format!("reg{}", std::env::consts::EXE_SUFFIX))
    })
}

/// Returns the folder of the target directory that this program was built in.
pub(crate) fn profile_dir() -> PathBuf {
    let own = std::env::current_exe().expect("this program has a path");
    let profile_dir = own.ancestors().find(|dir| dir.join("deps").is_dir() || dir.ends_with("release"));
    profile_dir.expect("this program lies in a target directory").to_owned()
}

/// Returns whether a folder from [`profile_dir`] is that of the release profile.
pub(crate) fn is_release(profile_dir: &Path) -> bool {
    profile_dir.ends_with("release")
}

/// Returns the command that builds the `reg` of the workspace `source` into `target`.
pub(crate) fn build(source: &Path, target: &Path, release: bool) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--workspace", "--bin", "reg"]).current_dir(source);
    build.env("CARGO_TARGET_DIR", target).args(release.then_some("--release"));
    without_variables_of_a_test(&mut build);
    build
}

/// Keeps from a build the variables that Cargo sets for a test. Build scripts would take them for a change, and build again.
pub(crate) fn without_variables_of_a_test(build: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let shown = name.to_string_lossy();
        if shown.starts_with("CARGO_PKG_") || shown.starts_with("CARGO_MANIFEST_") {
            build.env_remove(&name);
        }
    }
}

/// Returns the folder of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("testnet lies in the workspace")
}

/// The folder of a node's files. Dropping it removes the folder.
#[derive(Debug)]
pub struct Home {
    dir: tempfile::TempDir,
    name: String,
    /// The machine that its processes run on, if not the host itself.
    machine: Option<Machine>,
    /// The binary that its processes run, if not the one of this workspace.
    binary: Option<PathBuf>,
    /// The folder that `reg` keeps its own files in, if not the home itself.
    kept_at: Option<PathBuf>,
    /// Whether its nodes remember peers from one start to the next. Most tests say which peers a node meets.
    remembers: bool,
    _counted: alone::Counted,
}

impl Home {
    /// Makes a home. Messages of failures show `name`. Waits while another test is [`alone`].
    ///
    /// # Panics
    /// If the folder cannot be made.
    pub fn new(name: &str) -> Self {
        let counted = alone::count();
        let dir = tempfile::Builder::new().prefix("reg-").tempdir().expect("a temporary folder");
        let (machine, binary, kept_at, remembers) = (None, None, None, false);
        Self { dir, name: name.to_owned(), machine, binary, kept_at, remembers, _counted: counted }
    }

    /// Makes a home with nodes that remember the peers that they meet.
    ///
    /// # Panics
    /// If the folder cannot be made.
    pub fn remembering(name: &str) -> Self {
        Self { remembers: true, ..Self::new(name) }
    }

    /// Makes a home with processes on `machine`.
    ///
    /// # Panics
    /// If the folder cannot be made.
    pub fn on(machine: &Machine, name: &str) -> Self {
        Self { machine: Some(machine.clone()), ..Self::new(name) }
    }

    /// Makes a home with processes of another `reg` than that of this workspace.
    ///
    /// # Panics
    /// If the folder cannot be made.
    pub fn with_binary(binary: &Path, name: &str) -> Self {
        Self { binary: Some(binary.to_owned()), ..Self::new(name) }
    }

    /// Runs another `reg` in this home from now on; `None` is that of this workspace.
    pub fn use_binary(&mut self, binary: Option<&Path>) {
        self.binary = binary.map(Path::to_owned);
    }

    /// Makes `reg` keep its own files in another folder, such as one on a disk that fails. Logs stay in the home.
    pub fn kept_at(mut self, dir: PathBuf) -> Self {
        self.kept_at = Some(dir);
        self
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Keeps the folder beyond this value's end; returns its path.
    pub fn keep(self) -> PathBuf {
        self.dir.keep()
    }

    /// Returns a command of `reg` in this home.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let binary = self.binary.as_deref().unwrap_or_else(|| reg_binary());
        // The binary of before asks nothing, and knows no flag that answers.
        let args = args.into_iter().filter(|it| it.as_ref() != "--yes" || !before::is_meant());
        // These concern the node of the command. A daemon has been told at its start, and refuses to be told otherwise.
        let args: Vec<S> = args.collect();
        let is_of_daemon = |place: usize| {
            let is = |name: &str| args[place].as_ref() == name;
            let follows_dht = place > 0 && args[place - 1].as_ref() == "--dht";
            is("--no-mdns") || is("--no-gossip") || is("--dht") || follows_dht
        };
        let has_daemon = !args.iter().any(|it| it.as_ref() == "daemon") && self.has_daemon();
        let args =
            (0..args.len()).filter(|place| !(has_daemon && is_of_daemon(*place))).map(|place| &args[place]);
        let mut command = match &self.machine {
            Some(machine) => machine.command(binary),
            None => Command::new(binary),
        };
        let kept_at = self.kept_at.as_deref().unwrap_or(self.path());
        command.args(args).env("REG_HOME", kept_at).env_remove("RUST_LOG").stdin(Stdio::null());
        // A daemon has been told at its start.
        if !self.remembers && !has_daemon {
            command.env("REG_NO_REMEMBER", "true");
        }
        command
    }

    /// Tells whether a daemon answers in this home.
    fn has_daemon(&self) -> bool {
        let kept_at = self.kept_at.as_deref().unwrap_or(self.path());
        std::os::unix::net::UnixStream::connect(kept_at.join("reg.sock")).is_ok()
    }

    /// Runs a command of `reg` to its end.
    ///
    /// # Panics
    /// If it cannot be run, or does not end within [`command_end::patience`].
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        self.ran(&mut self.command(args))
    }

    /// Runs a command from [`Home::command`] to its end.
    ///
    /// # Panics
    /// If it cannot be run, or does not end within [`command_end::patience`].
    pub fn ran(&self, command: &mut Command) -> Ran {
        Ran { output: command_end::output(command), name: self.name.clone() }
    }

    /// Returns a command that has ended.
    pub fn ended(&self, output: Output) -> Ran {
        Ran { output, name: self.name.clone() }
    }

    /// Runs a command with `--json`, and returns the printed JSON.
    ///
    /// # Panics
    /// If the command fails, or prints no JSON.
    pub fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Value {
        let args: Vec<S> = args.into_iter().collect();
        let args = args.iter().map(AsRef::as_ref).chain([OsStr::new("--json")]);
        self.run(args).ok().json()
    }

    /// Makes a key; returns its publisher id.
    ///
    /// # Panics
    /// If the key cannot be made.
    pub fn key(&self, name: &str) -> String {
        text(&self.json(["key", "new", name])["publisher"])
    }

    /// Pulls into `out`, from these peers only, with additional flags.
    ///
    /// # Panics
    /// If the command cannot be run.
    pub fn pull(&self, reference: &str, from: &[&str], flags: &[&str]) -> Ran {
        let out = self.path().join("out").to_string_lossy().into_owned();
        let mut args = vec!["pull", reference, &out, "--no-mdns", "--json"];
        args.extend(flags);
        from.iter().for_each(|address| args.extend(["--from", address]));
        self.run(args)
    }

    /// Publishes a model; returns its reference.
    ///
    /// # Panics
    /// If the model cannot be published.
    pub fn publish(&self, path: &Path, model: &str, key: &str) -> String {
        text(
            &self.json([
                OsStr::new("publish"),
                path.as_os_str(),
                model.as_ref(),
                "--key".as_ref(),
                key.as_ref(),
            ])["reference"],
        )
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    output: Output,
    name: String,
}

impl Ran {
    /// Returns the exit code, or -1 if a signal ended the command.
    pub fn code(&self) -> i32 {
        self.output.status.code().unwrap_or(-1)
    }

    /// Returns its standard output.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// Returns its standard error.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Returns its standard output as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.output.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns itself if the command succeeded.
    ///
    /// # Panics
    /// If the command failed.
    pub fn ok(self) -> Self {
        assert!(self.output.status.success(), "{} failed: {}\n{}", self.name, self.stdout(), self.stderr());
        self
    }

    /// Returns itself if the command failed with this exit code, and `what` is in its output.
    ///
    /// # Panics
    /// If either does not hold.
    pub fn failed(self, code: i32, what: &str) -> Self {
        let said = self.stderr();
        assert_eq!(self.code(), code, "{}: {said}", self.name);
        assert!(said.contains(what), "{}: {what:?} is not in:\n{said}", self.name);
        self
    }
}

/// A daemon in a process of its own. Dropping it kills the process.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    name: String,
    log: PathBuf,
    /// The JSON that it printed when it was ready.
    pub ready: Value,
}

impl Daemon {
    /// Starts a daemon on free ports of loopback, without mDNS, with additional flags.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn start<S: AsRef<OsStr>>(home: &Home, flags: impl IntoIterator<Item = S>) -> Self {
        let flags: Vec<S> = flags.into_iter().collect();
        let flags = flags.iter().map(AsRef::as_ref).chain([OsStr::new("--no-mdns")]);
        Self::start_with(home, flags)
    }

    /// Starts a daemon on free ports of loopback, with additional flags.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn start_with<S: AsRef<OsStr>>(home: &Home, flags: impl IntoIterator<Item = S>) -> Self {
        Self::start_at(home, &["/ip4/127.0.0.1/tcp/0"], flags)
    }

    /// Starts a daemon that listens at these addresses, with additional flags.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn start_at<S: AsRef<OsStr>>(
        home: &Home,
        listen: &[&str],
        flags: impl IntoIterator<Item = S>,
    ) -> Self {
        Self::start_with_variables(home, listen, flags, &[])
    }

    /// Starts a daemon like [`Daemon::start`], with additional environment variables.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn start_in(home: &Home, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let flags = flags.iter().chain(&["--no-mdns"]);
        Self::start_with_variables(home, &["/ip4/127.0.0.1/tcp/0"], flags, variables)
    }

    /// Starts a daemon like [`Daemon::start`], or returns its log if it does not become ready, as on a disk that fails.
    ///
    /// # Errors
    /// If it ends, or is not ready in time.
    pub fn try_start(home: &Home, flags: &[&str]) -> Result<Self, String> {
        let flags = flags.iter().chain(&["--no-mdns"]);
        Self::try_start_with_variables(home, &["/ip4/127.0.0.1/tcp/0"], flags, &[])
    }

    fn start_with_variables<S: AsRef<OsStr>>(
        home: &Home,
        listen: &[&str],
        flags: impl IntoIterator<Item = S>,
        variables: &[(&str, &str)],
    ) -> Self {
        let started = Self::try_start_with_variables(home, listen, flags, variables);
        started.unwrap_or_else(|log| panic!("{} is not ready:\n{log}", home.name))
    }

    fn try_start_with_variables<S: AsRef<OsStr>>(
        home: &Home,
        listen: &[&str],
        flags: impl IntoIterator<Item = S>,
        variables: &[(&str, &str)],
    ) -> Result<Self, String> {
        let log = home.path().join("daemon.log");
        let out = home.path().join("ready.json");
        let flags: Vec<S> = flags.into_iter().collect();
        let mut base = vec!["daemon", "--json"];
        base.extend(listen.iter().flat_map(|address| ["--listen", address]));
        if !flags.iter().any(|flag| flag.as_ref() == "--http") {
            base.extend(["--http", "127.0.0.1:0"]);
        }
        let child = home
            .command(base)
            .args(&flags)
            .envs(variables.iter().copied())
            .stdout(File::create(&out).expect("a file"))
            .stderr(File::options().create(true).append(true).open(&log).expect("a file"))
            .spawn()
            .expect("the daemon starts");
        let mut daemon = Self { child, name: home.name.clone(), log, ready: Value::Null };
        let start = Instant::now();
        while daemon.ready.is_null() {
            if start.elapsed() >= READY || !daemon.is_running() {
                return Err(daemon.log());
            }
            std::thread::sleep(Duration::from_millis(20));
            let text = fs::read_to_string(&out).unwrap_or_default();
            daemon.ready = serde_json::from_str(&text).unwrap_or_default();
        }
        Ok(daemon)
    }

    /// Returns its first address, with its peer id.
    ///
    /// # Panics
    /// If it has none.
    pub fn address(&self) -> String {
        text(&self.ready["listen"][0])
    }

    /// Returns its peer id.
    ///
    /// # Panics
    /// If it has none.
    pub fn peer_id(&self) -> String {
        text(&self.ready["peer_id"])
    }

    /// Returns its log.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns its peak memory in bytes.
    ///
    /// # Panics
    /// If it has ended.
    pub fn peak_rss(&self) -> u64 {
        peak_rss(self.pid()).expect("the daemon runs")
    }

    /// Returns the CPU seconds that it has used.
    ///
    /// # Panics
    /// If it has ended.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.pid()).expect("the daemon runs")
    }

    /// Sends it SIGTERM and waits for its end.
    ///
    /// # Panics
    /// If it does not stop, or fails.
    pub fn stop(mut self) {
        signal(self.child.id(), Signal::TERM);
        let start = Instant::now();
        while self.is_running() {
            assert!(start.elapsed() < STOP, "{} does not stop:\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        let status = self.child.wait().expect("it has ended");
        assert!(status.success(), "{} stopped with {status}:\n{}", self.name, self.log());
    }

    /// Kills it with SIGKILL.
    pub fn kill(mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.is_running() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- log of {}:\n{}", self.name, self.log());
        }
    }
}

/// Longest time until a condition must hold, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Checks a condition until it holds; returns the time that this took.
///
/// # Panics
/// If it does not hold in time.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    start.elapsed()
}

/// Sends a signal to a process of this test.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _gone_is_fine = kill_process(pid, signal);
    }
}

/// Waits for a process until `deadline`. Kills it after that, and returns `None`.
pub fn wait_until(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            _ if Instant::now() >= deadline => {
                drop(child.kill());
                drop(child.wait());
                return None;
            }
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Returns the peak memory of a running process in bytes (Linux).
pub fn peak_rss(pid: u32) -> Option<u64> {
    memory(pid, "VmHWM:")
}

/// Returns the present memory of a running process in bytes (Linux).
pub fn rss(pid: u32) -> Option<u64> {
    memory(pid, "VmRSS:")
}

/// Returns the present memory of a running process in bytes, without the pages of files that it has mapped, such as its own
/// code (Linux).
pub fn anonymous_memory(pid: u32) -> Option<u64> {
    memory(pid, "RssAnon:")
}

fn memory(pid: u32, which: &str) -> Option<u64> {
    let mut status = String::new();
    File::open(format!("/proc/{pid}/status")).ok()?.read_to_string(&mut status).ok()?;
    let line = status.lines().find(|line| line.starts_with(which))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Returns the CPU seconds that a running process has used (Linux).
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / 100.0)
}

/// Returns a JSON string's text.
///
/// # Panics
/// If it is not text.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Says what is not tried here, why, and how to try it: past the harness, which shows nothing of tests that pass.
pub fn left_out(what: &str, why: &str, how: &str) {
    let line = format!("SKIPPED: {what}: {why}; to try it, {how}\n");
    let _closed_is_fine = std::io::stderr().write_all(line.as_bytes());
}

/// Returns whether long tests run in full (`REG_FULL=1`).
pub fn is_full() -> bool {
    std::env::var_os("REG_FULL").is_some_and(|value| value != "0")
}
