//! Real nodes: the `reg` binary as processes of their own, each with a home of its own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::netns::Machine;

/// How long a daemon may take until it is ready, on a machine that is busy.
const READY: Duration = Duration::from_secs(30);
/// How long a daemon may take to stop.
const STOP: Duration = Duration::from_secs(20);

/// Returns the `reg` binary, built in the profile that this program was built in.
///
/// The build names the whole workspace. Cargo then chooses the features that it chose for this program, so that no
/// dependency is built a second time. `one_build.rs` tests that.
///
/// # Panics
/// It cannot be built.
pub fn reg_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let own = std::env::current_exe().expect("this program has a path");
        let profile_dir = own.ancestors().find(|dir| dir.join("deps").is_dir() || dir.ends_with("release"));
        let profile_dir = profile_dir.expect("this program lies in a target directory");
        let release = profile_dir.ends_with("release");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--workspace", "--bin", "reg"]).current_dir(workspace());
        build.env("CARGO_TARGET_DIR", profile_dir.parent().expect("a profile lies in the target directory"));
        if release {
            build.arg("--release");
        }
        // What cargo tells a test of its own package, build scripts below would take for a change, and build anew.
        for (name, _) in std::env::vars_os() {
            let told = name.to_string_lossy();
            if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") {
                build.env_remove(&name);
            }
        }
        assert!(build.status().expect("cargo runs").success(), "the reg binary cannot be built");
        profile_dir.join(format!("reg{}", std::env::consts::EXE_SUFFIX))
    })
}

/// Returns the folder of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("testnet lies in the workspace")
}

/// Where a node keeps its things, removed when it is dropped.
#[derive(Debug)]
pub struct Home {
    dir: tempfile::TempDir,
    name: String,
    /// Where its processes run, if not on this machine itself.
    machine: Option<Machine>,
}

impl Home {
    /// Makes a home; `name` is shown when something goes wrong.
    ///
    /// # Panics
    /// There is no room for it.
    pub fn new(name: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("reg-").tempdir().expect("a temporary folder");
        Self { dir, name: name.to_owned(), machine: None }
    }

    /// Makes a home whose processes run on `machine`.
    ///
    /// # Panics
    /// There is no room for it.
    pub fn on(machine: &Machine, name: &str) -> Self {
        Self { machine: Some(machine.clone()), ..Self::new(name) }
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Keeps the folder when this is dropped, and returns where it is.
    pub fn keep(self) -> PathBuf {
        self.dir.keep()
    }

    /// Returns a command of `reg` in this home.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = match &self.machine {
            Some(machine) => machine.command(reg_binary()),
            None => Command::new(reg_binary()),
        };
        command.args(args).env("REG_HOME", self.path()).env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// It cannot be run.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        Ran { output: self.command(args).output().expect("reg runs"), name: self.name.clone() }
    }

    /// Runs a command that was made by [`Home::command`] to its end.
    ///
    /// # Panics
    /// It cannot be run.
    pub fn ran(&self, command: &mut Command) -> Ran {
        Ran { output: command.output().expect("reg runs"), name: self.name.clone() }
    }

    /// Runs a command with `--json` that must succeed, and returns what it printed.
    ///
    /// # Panics
    /// It fails, or prints no JSON.
    pub fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Value {
        let args: Vec<S> = args.into_iter().collect();
        let args = args.iter().map(AsRef::as_ref).chain([OsStr::new("--json")]);
        self.run(args).ok().json()
    }

    /// Makes a key to sign with and returns its publisher id.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn key(&self, name: &str) -> String {
        text(&self.json(["key", "new", name])["publisher"])
    }

    /// Pulls into `out`, from these peers alone, with these flags beside.
    ///
    /// # Panics
    /// It cannot be run.
    pub fn pull(&self, reference: &str, from: &[&str], flags: &[&str]) -> Ran {
        let out = self.path().join("out").to_string_lossy().into_owned();
        let mut args = vec!["pull", reference, &out, "--no-mdns", "--json"];
        args.extend(flags);
        from.iter().for_each(|address| args.extend(["--from", address]));
        self.run(args)
    }

    /// Publishes a model and returns its reference.
    ///
    /// # Panics
    /// It cannot be published.
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
    /// Returns the exit code; -1 where a signal ended it.
    pub fn code(&self) -> i32 {
        self.output.status.code().unwrap_or(-1)
    }

    /// Returns what it printed to standard output.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// Returns what it printed to standard error.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Returns what it printed as JSON.
    ///
    /// # Panics
    /// It is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.output.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns itself if it succeeded.
    ///
    /// # Panics
    /// It failed.
    pub fn ok(self) -> Self {
        assert!(self.output.status.success(), "{} failed: {}\n{}", self.name, self.stdout(), self.stderr());
        self
    }

    /// Returns itself if it failed with this exit code and said `what`.
    ///
    /// # Panics
    /// It did not.
    pub fn failed(self, code: i32, what: &str) -> Self {
        let said = self.stderr();
        assert_eq!(self.code(), code, "{}: {said}", self.name);
        assert!(said.contains(what), "{}: {what:?} is not in:\n{said}", self.name);
        self
    }
}

/// A daemon in a process of its own; killed when it is dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    name: String,
    log: PathBuf,
    /// What it printed when it was ready.
    pub ready: Value,
}

impl Daemon {
    /// Starts a daemon on ports of its own on loopback, without mDNS, with these flags beside.
    ///
    /// # Panics
    /// It does not get ready.
    pub fn start<S: AsRef<OsStr>>(home: &Home, flags: impl IntoIterator<Item = S>) -> Self {
        let flags: Vec<S> = flags.into_iter().collect();
        let flags = flags.iter().map(AsRef::as_ref).chain([OsStr::new("--no-mdns")]);
        Self::start_with(home, flags)
    }

    /// Starts a daemon on ports of its own on loopback, with these flags beside.
    ///
    /// # Panics
    /// It does not get ready.
    pub fn start_with<S: AsRef<OsStr>>(home: &Home, flags: impl IntoIterator<Item = S>) -> Self {
        Self::start_at(home, &["/ip4/127.0.0.1/tcp/0"], flags)
    }

    /// Starts a daemon that listens at these addresses, with these flags beside.
    ///
    /// # Panics
    /// It does not get ready.
    pub fn start_at<S: AsRef<OsStr>>(
        home: &Home,
        listen: &[&str],
        flags: impl IntoIterator<Item = S>,
    ) -> Self {
        Self::start_with_variables(home, listen, flags, &[])
    }

    /// Starts a daemon as [`Daemon::start`] does, with these variables beside.
    ///
    /// # Panics
    /// It does not get ready.
    pub fn start_in(home: &Home, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let flags = flags.iter().chain(&["--no-mdns"]);
        Self::start_with_variables(home, &["/ip4/127.0.0.1/tcp/0"], flags, variables)
    }

    fn start_with_variables<S: AsRef<OsStr>>(
        home: &Home,
        listen: &[&str],
        flags: impl IntoIterator<Item = S>,
        variables: &[(&str, &str)],
    ) -> Self {
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
            assert!(
                start.elapsed() < READY && daemon.is_running(),
                "{} is not ready:\n{}",
                daemon.name,
                daemon.log()
            );
            std::thread::sleep(Duration::from_millis(20));
            let text = fs::read_to_string(&out).unwrap_or_default();
            daemon.ready = serde_json::from_str(&text).unwrap_or_default();
        }
        daemon
    }

    /// Returns its first address, with its peer id.
    ///
    /// # Panics
    /// It has none.
    pub fn address(&self) -> String {
        text(&self.ready["listen"][0])
    }

    /// Returns its peer id.
    ///
    /// # Panics
    /// It has none.
    pub fn peer_id(&self) -> String {
        text(&self.ready["peer_id"])
    }

    /// Returns what it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Tells whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the most memory it has had, in bytes.
    ///
    /// # Panics
    /// It has ended.
    pub fn peak_rss(&self) -> u64 {
        peak_rss(self.pid()).expect("the daemon runs")
    }

    /// Returns the CPU seconds it has used.
    ///
    /// # Panics
    /// It has ended.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.pid()).expect("the daemon runs")
    }

    /// Tells it to stop and waits until it has.
    ///
    /// # Panics
    /// It does not stop, or not well.
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

    /// Ends it as a power button would.
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

/// How long news may take to be everywhere, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks again until it is so, and returns how long that took.
///
/// # Panics
/// It does not come to be so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    start.elapsed()
}

/// Sends a signal to a process of ours.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _gone_is_fine = kill_process(pid, signal);
    }
}

/// Waits for a process until `deadline`, then kills it; `None` where it had to be killed.
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

/// Returns the most memory a running process has had, in bytes (Linux).
pub fn peak_rss(pid: u32) -> Option<u64> {
    memory(pid, "VmHWM:")
}

/// Returns the memory that a running process has now, in bytes (Linux).
pub fn rss(pid: u32) -> Option<u64> {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, which: &str) -> Option<u64> {
    let mut status = String::new();
    File::open(format!("/proc/{pid}/status")).ok()?.read_to_string(&mut status).ok()?;
    let line = status.lines().find(|line| line.starts_with(which))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Returns the CPU seconds a running process has used (Linux).
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / 100.0)
}

/// Returns a JSON string's text.
///
/// # Panics
/// It is none.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Tells whether the whole of the long tests is asked for (`REG_FULL=1`).
pub fn is_full() -> bool {
    std::env::var_os("REG_FULL").is_some_and(|value| value != "0")
}
