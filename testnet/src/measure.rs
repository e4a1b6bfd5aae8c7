//! Measures the cost of processes in wall-clock and CPU seconds. Medians of several runs reduce the machine's noise. A test that
//! something does not wait asks whether one run of many is quick: [`one_is_quicker`].

use std::fs;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::process::{PATIENCE, cpu_seconds, left_out, peak_rss, wait_until};

/// One measurement: wall-clock seconds, and CPU seconds of all processes that took part.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub seconds: f64,
    pub cpu: f64,
}

/// Returns the median of each figure.
///
/// # Panics
/// If `costs` is empty.
pub fn median(costs: &[Cost]) -> Cost {
    let middle = |read: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(read).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Cost { seconds: middle(|cost| cost.seconds), cpu: middle(|cost| cost.cpu) }
}

/// Repeats `run` until one takes less than `bound`; returns that time. `run` returns how long it took.
///
/// What waits for `bound` or longer does so every time. A busy machine delays some runs, and not all of them. One with more than
/// [`BUSY`] processes for each core may delay all of them: this is said, and nothing is told then.
///
/// # Panics
/// If none is so quick within [`PATIENCE`], and within five runs.
pub fn one_is_quicker(what: &str, bound: Duration, mut run: impl FnMut() -> Duration) -> Duration {
    let (start, mut shortest, mut runs) = (Instant::now(), Duration::MAX, 0);
    while shortest >= bound {
        if runs >= 5 && start.elapsed() >= PATIENCE {
            assert!(load() > BUSY, "{what}: {shortest:?} or more in {runs} runs");
            left_out(what, "the machine is too busy to tell it from a wait", "run this test alone");
            break;
        }
        shortest = shortest.min(run());
        runs += 1;
    }
    shortest
}

/// Processes for each core that this machine runs at once where nothing is told of a time.
const BUSY: f64 = 4.0;

/// Returns how many processes for each core have wanted to run in the last minute (Linux); 0 where the system does not say.
fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let running: f64 = text.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or_default();
    running / std::thread::available_parallelism().map_or(1.0, |it| it.get() as f64)
}

/// Runs a command to its end; returns its cost, and its peak memory in bytes.
///
/// # Panics
/// If the command cannot be run, or fails.
pub fn timed(command: &mut Command) -> (Cost, u64) {
    let (cost, peak, status) = watched(command);
    assert!(status.is_some_and(|status| status.success()), "{command:?} failed");
    (cost, peak)
}

/// Runs a command to its end, whether it succeeds or not; returns its cost, its peak memory in bytes, and its status.
///
/// # Panics
/// If the command cannot be run.
pub fn watched(command: &mut Command) -> (Cost, u64, Option<ExitStatus>) {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let (mut cpu, mut peak) = (0.0, 0);
    loop {
        // The kernel reports the CPU seconds of a process that has ended until its parent waits for it.
        cpu = cpu_seconds(child.id()).unwrap_or(cpu);
        peak = peak.max(peak_rss(child.id()).unwrap_or(0));
        if is_zombie(child.id()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let seconds = start.elapsed().as_secs_f64();
    cpu = cpu_seconds(child.id()).unwrap_or(cpu);
    let status = wait_until(&mut child, Instant::now() + Duration::from_secs(5));
    (Cost { seconds, cpu }, peak, status)
}

fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
}
