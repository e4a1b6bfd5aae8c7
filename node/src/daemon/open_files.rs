//! How many files and sockets this process may have open at once: raises the soft limit, and tells when the hard one is too low.

use thiserror::Error;

use super::node::Mode;

/// Files that a node asks for: more than the bounds of its connections, lanes, readers and blobs add up to.
const WANTED: u64 = 65_536;
/// The most that some systems accept where their hard limit says "unlimited".
const WANTED_LESS: u64 = 10_240;

/// The process may open too few files.
#[derive(Debug, Error)]
#[error("this process may have {allowed} files open at once, and needs {needed}")]
pub struct TooFewFiles {
    pub allowed: u64,
    pub needed: u64,
}

/// Returns how many files and sockets a daemon that starts now may have open, where there is a limit, and how many it needs.
pub(super) fn of_daemon() -> (Option<u64>, u64) {
    #[cfg(unix)]
    let allowed = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    #[cfg(not(unix))]
    let allowed = None;
    (allowed, needed(Mode::Daemon))
}

/// Returns how many open files a node needs. A daemon has 256 connections of gateways, 64 of its socket, and some 190 of peers,
/// blobs, and its own files.
const fn needed(mode: Mode) -> u64 {
    match mode {
        Mode::Daemon => 512,
        // Peers and lanes, and the files of one pull.
        Mode::Command => 128,
        // The store, and what one command reads.
        Mode::Local => 32,
    }
}

/// Raises the soft limit of open files.
///
/// # Errors
/// The hard limit is lower than what the node needs.
#[cfg(unix)]
pub(super) fn allow(mode: Mode) -> Result<(), TooFewFiles> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    for wanted in [WANTED, WANTED_LESS] {
        let wanted = maximum.map_or(wanted, |hard| hard.min(wanted));
        let raised = Rlimit { current: Some(wanted), maximum };
        if current.is_none_or(|it| it >= wanted) || setrlimit(Resource::Nofile, raised).is_ok() {
            break;
        }
    }
    judge(getrlimit(Resource::Nofile).current, mode)
}

/// The system has no such limit.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub(super) fn allow(mode: Mode) -> Result<(), TooFewFiles> {
    judge(None, mode)
}

fn judge(allowed: Option<u64>, mode: Mode) -> Result<(), TooFewFiles> {
    let needed = needed(mode);
    match allowed {
        Some(allowed) if allowed < needed => Err(TooFewFiles { allowed, needed }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_starts_where_it_may_open_what_it_needs() {
        for (allowed, mode, fine) in [
            (Some(16), Mode::Daemon, false),
            (Some(511), Mode::Daemon, false),
            (Some(512), Mode::Daemon, true),
            (None, Mode::Daemon, true),
            (Some(127), Mode::Command, false),
            (Some(64), Mode::Local, true),
        ] {
            assert_eq!(judge(allowed, mode).is_ok(), fine, "{allowed:?} for {mode:?}");
        }
        assert!(allow(Mode::Local).is_ok(), "tests run with more");
    }
}
