//! Waits for the end of a command for a bounded time, and says what a command that hangs waits for.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{is_full, signal};

/// Longest time of a command. One that hangs would hold up the tests for ever.
const PATIENCE: Duration = Duration::from_secs(300);
/// The same with `REG_FULL=1`, where commands pull 8 GiB.
const PATIENCE_FULL: Duration = Duration::from_secs(900);

/// Returns how long a command may take.
pub(crate) fn patience() -> Duration {
    if is_full() { PATIENCE_FULL } else { PATIENCE }
}

/// Runs a command to its end, and returns what it printed.
///
/// # Panics
/// If it cannot be run, or does not end within [`patience`]. Then the message says what its threads wait for.
pub(crate) fn output(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("reg runs");
    let pid = child.id();
    let (ended, end) = mpsc::sync_channel::<()>(1);
    let watch = std::thread::spawn(move || {
        let is_late = end.recv_timeout(patience()) == Err(RecvTimeoutError::Timeout);
        is_late.then(|| {
            let waits = threads_wait(pid);
            signal(pid, Signal::KILL);
            waits
        })
    });
    let output = child.wait_with_output().expect("it ends");
    drop(ended);
    if let Some(waits) = watch.join().expect("it does not panic") {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("{command:?} does not end within {:?}; its threads wait in:\n{waits}\n{said}", patience());
    }
    output
}

/// Returns the name of each thread of a process, and what it waits for in the kernel (Linux).
fn threads_wait(pid: u32) -> String {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let lines = tasks.map(|it| format!("{} {}", read(it.path().join("comm")), read(it.path().join("wchan"))));
    lines.collect::<Vec<_>>().join("\n")
}
