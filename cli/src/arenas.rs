//! Keeps the memory of a daemon small: limits the arenas, which are glibc's pools of memory for threads.
//!
//! glibc gives each core up to eight arenas, and memory that one thread frees stays in its arena. Where peers
//! make a daemon parse and verify on many threads, the arenas grow, though nearly all of their memory is free
//! (docs/performance.md). glibc reads the number of arenas when a process starts. So the daemon starts its
//! program again, in the same process, with the number set.

/// Arenas of one daemon. Pieces are too large for an arena, so transfers do not wait for it.
const ARENAS: &str = "1";
const VARIABLE: &str = "MALLOC_ARENA_MAX";

/// Starts this program again with few arenas. Returns if the number is set already, and if the start fails:
/// then the daemon needs more memory.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn limit() {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut args = std::env::args_os();
    let Some(name) = args.next() else { return };
    let error = Command::new("/proc/self/exe").arg0(name).args(args).env(VARIABLE, ARENAS).exec();
    tracing::debug!(%error, "the program cannot start itself anew");
}

/// Does nothing: other systems have other allocators.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn limit() {}
