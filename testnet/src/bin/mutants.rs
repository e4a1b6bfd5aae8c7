//! `cargo mutants`: builds a copy of the checkout with serious faults in it, and turns them on one at a time before the tests
//! that should see each.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use reg_testnet::mutants::{self, Fault, SWITCH, TestRun};
use reg_testnet::process::workspace;
use rustix::process::{Pid, Signal, kill_process_group};

/// Turns the faults of testnet/mutants/list.toml on, one at a time, and tells which the tests see.
#[derive(Debug, Parser)]
#[command(
    name = "mutants",
    after_help = "Examples:
  cargo mutants                       # all of them: one build, and the tests of each
  cargo mutants gossip-unbounded      # these alone
  cargo mutants --check               # whether each can still be put in

Nothing of this checkout is changed: its tracked files are copied into target/mutants, where they are built apart."
)]
struct Args {
    /// Faults to turn on; without any, all
    names: Vec<String>,
    /// Name the faults, with what each breaks
    #[arg(long)]
    list: bool,
    /// Tell whether every snippet is there exactly once, and every test; build nothing
    #[arg(long)]
    check: bool,
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
    /// Its tests fail without it, or there are none of that name.
    FailsAnyway,
}

impl Outcome {
    const fn shown(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Hangs => "caught, no end",
            Self::NotCaught => "NOT CAUGHT",
            Self::FailsAnyway => "FAILS ANYWAY",
        }
    }

    const fn is_caught(self) -> bool {
        matches!(self, Self::Caught | Self::Hangs)
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because {cause}");
                source = cause.source();
            }
            ExitCode::from(2)
        }
    }
}

/// Does what it was told, and tells whether every fault was caught.
fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    let root = workspace();
    let all = mutants::list(root)?;
    for name in &args.names {
        if !all.iter().any(|fault| fault.name == *name) {
            return Err(format!("no fault is called {name}: --list names them").into());
        }
    }
    let is_chosen = |fault: &&Fault| args.names.is_empty() || args.names.contains(&fault.name);
    let faults: Vec<&Fault> = all.iter().filter(is_chosen).collect();
    if args.list {
        faults.iter().for_each(|fault| println!("{:<28} {}", fault.name, fault.breaks));
        return Ok(true);
    }
    // All of them, whichever are turned on: so the next run has nothing to build.
    let changed = mutants::put_in(root, &all)?;
    let runs = faults.iter().map(|fault| fault.runs(root)).collect::<Result<Vec<_>, _>>()?;
    if args.check {
        println!("{} faults can be put in", faults.len());
        return Ok(true);
    }
    let copy = Copy::make(root, &changed, Duration::from_secs(args.seconds))?;
    copy.build(runs.iter().flatten())?;
    let mut passes: BTreeMap<&TestRun, bool> = BTreeMap::new();
    let mut outcomes: Vec<(&Fault, Outcome)> = Vec::new();
    for (fault, runs) in faults.into_iter().zip(&runs) {
        let start = Instant::now();
        for run in runs {
            if !passes.contains_key(run) {
                passes.insert(run, copy.passes(run)?);
            }
        }
        let outcome = match runs.iter().all(|run| passes[run]) {
            true => copy.outcome(fault, runs)?,
            false => Outcome::FailsAnyway,
        };
        println!("{:<16} {:<28} {:>4} s", outcome.shown(), fault.name, start.elapsed().as_secs());
        outcomes.push((fault, outcome));
    }
    let caught = outcomes.iter().filter(|(_, outcome)| outcome.is_caught()).count();
    println!("{caught} of {} faults were caught", outcomes.len());
    for (fault, outcome) in outcomes.iter().filter(|(_, outcome)| !outcome.is_caught()) {
        println!("{}: {} ({})", outcome.shown(), fault.name, fault.breaks);
    }
    println!("what the tests said lies in {}", copy.base.display());
    Ok(caught == outcomes.len())
}

/// A copy of a checkout's tracked files with faults in it, and what is built of it.
struct Copy {
    base: PathBuf,
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
    /// Makes the copy what the checkout at `root` is now, with what is changed; files that are the same already are left alone,
    /// so that they are not built anew.
    fn make(
        root: &Path,
        changed: &BTreeMap<PathBuf, String>,
        most: Duration,
    ) -> Result<Self, Box<dyn Error>> {
        let copy = Self { base: root.join("target/mutants"), most };
        let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output()?;
        if !listed.status.success() {
            return Err("git does not list the tracked files".into());
        }
        let listed = String::from_utf8(listed.stdout)?;
        let tracked = listed.split_terminator('\0').map(Path::new);
        let tracked: BTreeSet<&Path> = tracked.filter(|path| root.join(path).is_file()).collect();
        fs::create_dir_all(copy.checkout())?;
        for path in &tracked {
            let (from, to) = (root.join(path), copy.checkout().join(path));
            let bytes =
                changed.get(&from).map_or_else(|| fs::read(&from), |text| Ok(text.clone().into_bytes()))?;
            if fs::read(&to).is_ok_and(|known| known == bytes) {
                continue;
            }
            fs::create_dir_all(to.parent().ok_or("a file lies in a folder")?)?;
            fs::write(&to, bytes)?;
            fs::set_permissions(&to, fs::metadata(&from)?.permissions())?;
        }
        for path in files(&copy.checkout())? {
            if !tracked.contains(path.strip_prefix(copy.checkout())?) {
                fs::remove_file(&path)?;
            }
        }
        Ok(copy)
    }

    /// Builds what these tests need, so that no test's time is spent on it.
    fn build<'a>(&self, runs: impl Iterator<Item = &'a TestRun>) -> Result<(), Box<dyn Error>> {
        let targets: BTreeSet<Vec<&str>> = runs.map(TestRun::target).collect();
        let tests =
            [&["test", "--workspace", "--no-run"], &targets.into_iter().flatten().collect::<Vec<_>>()[..]];
        for args in [tests.concat(), vec!["build", "--workspace", "--bin", "reg"]] {
            if self.cargo(&args, "build", None, Duration::MAX)? != Ended::Well {
                let log = self.log("build");
                return Err(format!("with the faults in it, it does not build: see {}", log.display()).into());
            }
        }
        Ok(())
    }

    /// Tells whether a test passes while no fault is on; a name that means no test passes too, and is none.
    fn passes(&self, run: &TestRun) -> io::Result<bool> {
        let log = format!("{}.without", run.name);
        let is_well = self.test(run, &log, None)? == Ended::Well;
        let said = fs::read_to_string(self.log(&log))?;
        let results = said.lines().filter_map(|line| line.strip_prefix("test result: ok. "));
        let passed = results.filter_map(|line| line.split(' ').next()?.parse::<usize>().ok());
        Ok(is_well && passed.sum::<usize>() > 0)
    }

    /// Runs tests with a fault on, until one of them sees it.
    fn outcome(&self, fault: &Fault, runs: &[TestRun]) -> io::Result<Outcome> {
        for run in runs {
            match self.test(run, &fault.name, Some(&fault.name))? {
                Ended::Well => {}
                Ended::Badly => return Ok(Outcome::Caught),
                Ended::NotInTime => return Ok(Outcome::Hangs),
            }
        }
        Ok(Outcome::NotCaught)
    }

    fn test(&self, run: &TestRun, log: &str, fault: Option<&str>) -> io::Result<Ended> {
        let args = [vec!["test", "--workspace"], run.target(), vec![&run.name]].concat();
        self.cargo(&args, log, fault, self.most)
    }

    fn cargo(&self, args: &[&str], log: &str, fault: Option<&str>, most: Duration) -> io::Result<Ended> {
        let log = File::create(self.log(log))?;
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args).current_dir(self.checkout()).process_group(0);
        command.env("CARGO_TARGET_DIR", self.base.join("target"));
        command.env("REG_TEST_CACHE", reg_testnet::model::cache_dir());
        command.env_remove(SWITCH).envs(fault.map(|fault| (SWITCH, fault)));
        // What cargo tells a program that it runs, build scripts would take for a change, and build anew.
        for (name, _) in std::env::vars_os() {
            let told = name.to_string_lossy();
            if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        let start = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
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

    fn checkout(&self) -> PathBuf {
        self.base.join("checkout")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.base.join(format!("{name}.log"))
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
