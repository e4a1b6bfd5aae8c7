//! `cargo mutants`: puts serious faults into a copy of the checkout, one at a time, and runs the tests that should see each.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use reg_testnet::mutants::{self, Fault, MutantError, TestRun};
use reg_testnet::process::workspace;
use rustix::process::{Pid, Signal, kill_process_group};

/// Puts the faults of testnet/mutants/list.toml in, one at a time, and tells which the tests see.
#[derive(Debug, Parser)]
#[command(
    name = "mutants",
    after_help = "Examples:
  cargo mutants                       # all of them; each costs a build of the node
  cargo mutants gossip-unbounded      # these alone
  cargo mutants --check               # whether each can still be put in

Nothing of this checkout is changed: its tracked files are copied into target/mutants, which is built apart and kept."
)]
struct Args {
    /// Faults to put in; without any, all
    names: Vec<String>,
    /// Name the faults, with what each breaks
    #[arg(long)]
    list: bool,
    /// Tell whether every snippet is there exactly once, and every test; build nothing
    #[arg(long)]
    check: bool,
    /// Do not run the tests without a fault first
    #[arg(long)]
    trust_tests: bool,
    /// Seconds that one test may take
    #[arg(long, default_value_t = 300)]
    seconds: u64,
}

/// What came of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Caught,
    /// A test that should see it does not end.
    Hangs,
    NotCaught,
    DoesNotBuild,
    /// Its tests fail without it, or run nothing.
    FailsAnyway,
}

impl Outcome {
    const fn shown(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Hangs => "caught (no end)",
            Self::NotCaught => "NOT CAUGHT",
            Self::DoesNotBuild => "does not build",
            Self::FailsAnyway => "fails anyway",
        }
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = std::error::Error::source(&*error);
            while let Some(cause) = source {
                eprintln!("  because {cause}");
                source = cause.source();
            }
            ExitCode::from(2)
        }
    }
}

/// Does what it was told, and tells whether every fault was caught.
fn run(args: &Args) -> Result<bool, Box<dyn std::error::Error>> {
    let root = workspace();
    let mut faults = mutants::list(root)?;
    for name in &args.names {
        if !faults.iter().any(|fault| fault.name == *name) {
            return Err(format!("no fault is called {name}: --list names them").into());
        }
    }
    faults.retain(|fault| args.names.is_empty() || args.names.contains(&fault.name));
    if args.list {
        faults.iter().for_each(|fault| println!("{:<28} {}", fault.name, fault.breaks));
        return Ok(true);
    }
    let mut all: Vec<(Fault, Vec<TestRun>)> = Vec::new();
    for fault in faults {
        fault.put_in(root)?;
        let runs = fault.runs(root)?;
        all.push((fault, runs));
    }
    if args.check {
        println!("{} faults can be put in", all.len());
        return Ok(true);
    }
    let copy = Copy::of(root, Duration::from_secs(args.seconds))?;
    let mut passes: BTreeMap<&TestRun, bool> = BTreeMap::new();
    for run in all.iter().flat_map(|(_, runs)| runs).filter(|_| !args.trust_tests) {
        if !passes.contains_key(run) {
            let outcome = copy.outcome(std::slice::from_ref(run), "without-a-fault")?;
            let is_seen = outcome == Outcome::NotCaught && copy.has_passed("without-a-fault", 1);
            passes.insert(run, is_seen);
            println!("{:<16} {} ({:?})", if is_seen { "passes" } else { "FAILS" }, run.name, outcome);
        }
    }
    let mut outcomes: Vec<(&str, Outcome)> = Vec::new();
    for (fault, runs) in &all {
        let start = Instant::now();
        let outcome = match runs.iter().all(|run| passes.get(run).copied().unwrap_or(args.trust_tests)) {
            true => copy.outcome_with(fault, runs)?,
            false => Outcome::FailsAnyway,
        };
        println!("{:<16} {:<28} {:>4} s", outcome.shown(), fault.name, start.elapsed().as_secs());
        outcomes.push((&fault.name, outcome));
    }
    let is_caught = |outcome: &Outcome| matches!(outcome, Outcome::Caught | Outcome::Hangs);
    let caught = outcomes.iter().filter(|(_, it)| is_caught(it)).count();
    println!("{caught} of {} faults were caught", outcomes.len());
    for (name, outcome) in outcomes.iter().filter(|(_, it)| !is_caught(it)) {
        println!("{}: {name}, see {}", outcome.shown(), copy.log(name).display());
    }
    Ok(caught == outcomes.len())
}

/// A copy of a checkout's tracked files, with what is built of it beside.
struct Copy {
    root: PathBuf,
    checkout: PathBuf,
    most: Duration,
}

/// How a command of cargo ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Well,
    Badly,
    NotInTime,
}

impl Copy {
    /// Makes the copy what the checkout at `root` is now; files that are the same are left alone, so that little is built.
    fn of(root: &Path, most: Duration) -> Result<Self, Box<dyn std::error::Error>> {
        let base = root.join("target/mutants");
        let copy = Self { root: root.to_owned(), checkout: base.join("checkout"), most };
        let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output()?;
        if !listed.status.success() {
            return Err("git does not list the tracked files".into());
        }
        let listed = String::from_utf8(listed.stdout)?;
        let tracked: Vec<&Path> = listed.split_terminator('\0').map(Path::new).collect();
        for path in tracked.iter().filter(|path| root.join(path).is_file()) {
            let (bytes, to) = (fs::read(root.join(path))?, copy.checkout.join(path));
            if fs::read(&to).is_ok_and(|known| known == bytes) {
                continue;
            }
            fs::create_dir_all(to.parent().ok_or("a file lies in a folder")?)?;
            fs::write(&to, bytes)?;
            fs::set_permissions(&to, fs::metadata(root.join(path))?.permissions())?;
        }
        for path in files(&copy.checkout)? {
            let inside = path.strip_prefix(&copy.checkout)?;
            if !tracked.contains(&inside) || !root.join(inside).is_file() {
                fs::remove_file(&path)?;
            }
        }
        Ok(copy)
    }

    /// Puts a fault in, runs the tests, and takes the fault out again.
    fn outcome_with(&self, fault: &Fault, runs: &[TestRun]) -> Result<Outcome, Box<dyn std::error::Error>> {
        let (path, text) = fault.put_in(&self.checkout)?;
        let before = fs::read(&path).map_err(|source| MutantError::Io { path: path.clone(), source })?;
        fs::write(&path, text)?;
        let outcome = self.outcome(runs, &fault.name);
        fs::write(&path, before)?;
        Ok(outcome?)
    }

    /// Builds and runs tests until one of them fails.
    fn outcome(&self, runs: &[TestRun], name: &str) -> io::Result<Outcome> {
        let mut log = File::create(self.log(name))?;
        for run in runs {
            let build = [vec!["test", "--no-run"], run.arguments()].concat();
            if self.cargo(&build, &mut log, Duration::MAX)? != Ended::Well {
                return Ok(Outcome::DoesNotBuild);
            }
            // The tests of whole nodes build the program themselves, which is not to count as their time.
            let program = ["build", "--package", "reg", "--bin", "reg"];
            let of_nodes = run.package == "reg-testnet";
            if of_nodes && self.cargo(&program, &mut log, Duration::MAX)? != Ended::Well {
                return Ok(Outcome::DoesNotBuild);
            }
            let test = [vec!["test"], run.arguments(), vec![&run.name]].concat();
            match self.cargo(&test, &mut log, self.most)? {
                Ended::Well => {}
                Ended::Badly => return Ok(Outcome::Caught),
                Ended::NotInTime => return Ok(Outcome::Hangs),
            }
        }
        Ok(Outcome::NotCaught)
    }

    /// Tells whether at least so many tests have passed, by the log: a name that means no test passes too.
    fn has_passed(&self, name: &str, least: usize) -> bool {
        let log = fs::read_to_string(self.log(name)).unwrap_or_default();
        let passed = log.lines().filter_map(|line| line.strip_prefix("test result: ok. "));
        passed.filter_map(|line| line.split(' ').next()?.parse::<usize>().ok()).sum::<usize>() >= least
    }

    fn cargo(&self, args: &[&str], log: &mut File, most: Duration) -> io::Result<Ended> {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args).current_dir(&self.checkout).process_group(0);
        command.env("CARGO_TARGET_DIR", self.base().join("target"));
        command.env("REG_TEST_CACHE", reg_testnet::model::cache_dir());
        // What cargo tells a program that it runs, build scripts would take for a change, and build anew.
        for (name, _) in std::env::vars_os() {
            let told = name.to_string_lossy();
            if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        let start = Instant::now();
        let mut child =
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?).spawn()?;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(if status.success() { Ended::Well } else { Ended::Badly });
            }
            if start.elapsed() > most {
                // Its nodes too, which are of its group.
                if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                    let _gone_is_fine = kill_process_group(group, Signal::KILL);
                }
                child.wait()?;
                return Ok(Ended::NotInTime);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn base(&self) -> PathBuf {
        self.root.join("target/mutants")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.base().join(format!("{name}.log"))
    }
}

fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}
