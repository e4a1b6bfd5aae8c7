//! Keeps the memory of a daemon small: limits the pools of memory that glibc keeps for the threads of a process.
//!
//! glibc gives up to eight pools to each core, and what one thread has freed stays in its pool. Peers that make a daemon
//! parse and verify on many threads grow it so, though nearly all of that memory is free (docs/performance.md). The number
//! is read when a process starts, so the daemon starts itself anew, in the same process, with the number set.

/// Pools of one daemon. Pieces are larger than what is pooled, so transfers do not wait for them.
const ARENAS: &str = "1";
const VARIABLE: &str = "MALLOC_ARENA_MAX";

/// Starts this program anew with few pools, unless the user has chosen their number. Returns where that is not possible:
/// then the daemon runs with more memory.
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

/// Other systems have other allocators.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn limit() {}
