//! Measures the cost of commands: wall-clock seconds, CPU seconds of all processes, peak memory.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reg_testnet::process::{cpu_seconds, peak_rss, wait_until};

/// Longest time of one measurement. A command that takes longer is ended and reported.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Time between two looks at a process.
const LOOK: Duration = Duration::from_millis(5);

/// One measurement.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    /// CPU seconds of all processes that took part.
    pub(crate) cpu: f64,
    /// Peak memory of the receiving process in bytes; 0 if it has no meaning.
    pub(crate) memory: u64,
}

impl Cost {
    /// Returns the cost of two consecutive steps.
    pub(crate) fn then(self, next: Self) -> Self {
        Self {
            seconds: self.seconds + next.seconds,
            cpu: self.cpu + next.cpu,
            memory: self.memory.max(next.memory),
        }
    }

    /// Returns the cost with a server's CPU seconds in the same time.
    pub(crate) fn with_server(self, before: f64, after: f64) -> Self {
        Self { cpu: self.cpu + (after - before), ..self }
    }

    /// Returns the median of each figure.
    pub(crate) fn median(costs: &[Self]) -> Option<Self> {
        let middle = |read: fn(&Self) -> f64| {
            let mut values: Vec<f64> = costs.iter().map(read).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        let memory = costs.iter().map(|cost| cost.memory).max()?;
        Some(Self { seconds: middle(|cost| cost.seconds)?, cpu: middle(|cost| cost.cpu)?, memory })
    }
}

/// Runs a command to its end; returns its cost. Prints a failure or timeout, and returns `None`.
pub(crate) fn run(command: &mut Command) -> Option<Cost> {
    let start = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            println!("  {} cannot be run: {error}", command.get_program().display());
            return None;
        }
    };
    let (mut cpu, mut memory) = (0.0, 0);
    while !has_ended(&child) && start.elapsed() < TIMEOUT {
        cpu = cpu_seconds(child.id()).unwrap_or(cpu);
        memory = memory.max(peak_rss(child.id()).unwrap_or(0));
        std::thread::sleep(LOOK);
    }
    let seconds = start.elapsed().as_secs_f64();
    // The kernel reports the CPU seconds of a process that has ended until its parent waits for it.
    cpu = cpu_seconds(child.id()).unwrap_or(cpu);
    let status = wait_until(&mut child, Instant::now() + Duration::from_secs(1));
    if status.is_some_and(|status| status.success()) {
        return Some(Cost { seconds, cpu, memory });
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        drop(std::io::Read::read_to_string(&mut stderr, &mut said));
    }
    println!("  {command:?} failed or took over {TIMEOUT:?}: {}", said.trim());
    None
}

fn has_ended(child: &Child) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// Measures the cost of work in this process.
pub(crate) fn own(work: impl FnOnce()) -> Cost {
    let own = std::process::id();
    let (start, before) = (Instant::now(), cpu_seconds(own).unwrap_or(0.0));
    work();
    Cost { seconds: start.elapsed().as_secs_f64(), cpu: cpu_seconds(own).unwrap_or(0.0) - before, memory: 0 }
}

/// Syncs a file that another program has written, as `reg` syncs its own files.
pub(crate) fn synced(path: &Path) -> Cost {
    own(|| File::open(path).and_then(|file| file.sync_all()).expect("a file is synced"))
}
