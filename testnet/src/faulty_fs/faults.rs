//! Decides which operations fail.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

/// A kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// `open` of a file that exists.
    Open,
    /// `open` that makes a file, or `mknod`.
    Create,
    Read,
    Write,
    /// `ftruncate`, `fallocate`: what sets the size of a file.
    Resize,
    /// `fsync`, `fdatasync` of a file.
    Fsync,
    /// `fsync` of a folder.
    FsyncDir,
    Rename,
    Unlink,
    /// A hard link.
    Link,
    MakeDir,
    RemoveDir,
    /// `opendir`.
    List,
    /// `stat`, and the look-up of a name.
    Stat,
    /// `chmod`, `chown`, `utimens`.
    SetAttributes,
}

impl Op {
    /// All kinds.
    pub const ALL: [Self; 15] = [
        Self::Open,
        Self::Create,
        Self::Read,
        Self::Write,
        Self::Resize,
        Self::Fsync,
        Self::FsyncDir,
        Self::Rename,
        Self::Unlink,
        Self::Link,
        Self::MakeDir,
        Self::RemoveDir,
        Self::List,
        Self::Stat,
        Self::SetAttributes,
    ];
}

/// How often a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    Once,
    /// From the n-th operation on, until the file system is healed.
    FromThenOn,
}

/// An operation that is to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub op: Op,
    /// The number of the operation that fails, counted from 1, among those that match.
    pub nth: u64,
    /// The error that the process gets: `EIO`, `ENOSPC`, `EROFS` …
    pub error: Errno,
    pub times: Times,
    /// Only operations on paths with this text in them count; paths begin at the root of the file system.
    pub path: Option<String>,
}

impl Fault {
    /// Returns a fault that strikes the n-th operation of a kind, once, at any path.
    pub fn nth(op: Op, nth: u64, error: Errno) -> Self {
        Self { op, nth, error, times: Times::Once, path: None }
    }

    /// Strikes from the n-th operation on.
    pub fn from_then_on(mut self) -> Self {
        self.times = Times::FromThenOn;
        self
    }

    /// Counts only operations on paths with this text in them.
    pub fn at(mut self, path: &str) -> Self {
        self.path = Some(path.to_owned());
        self
    }
}

/// Most lines that are kept about operations that failed: a fault from then on may strike for minutes.
const STRUCK_MAX: usize = 200;

#[derive(Debug, Default)]
struct State {
    counts: BTreeMap<Op, u64>,
    /// The faults, each with the number of operations that have matched it.
    faults: Vec<(Fault, u64)>,
    struck: Vec<String>,
}

/// The faults of one file system.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<State>);

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, fault: Fault) {
        self.state().faults.push((fault, 0));
    }

    pub(super) fn heal(&self) -> Vec<String> {
        let mut state = self.state();
        state.faults.clear();
        std::mem::take(&mut state.struck)
    }

    pub(super) fn count(&self, op: Op) -> u64 {
        self.state().counts.get(&op).copied().unwrap_or(0)
    }

    pub(super) fn struck(&self) -> Vec<String> {
        self.state().struck.clone()
    }

    /// Counts an operation on a path. Fails if a fault strikes it.
    pub(super) fn strike(&self, op: Op, path: impl FnOnce() -> std::path::PathBuf) -> Result<(), Errno> {
        let mut state = self.state();
        let state = &mut *state;
        *state.counts.entry(op).or_default() += 1;
        if !state.faults.iter().any(|(fault, _)| fault.op == op) {
            return Ok(());
        }
        let path = path();
        let mut failed = None;
        for (fault, matched) in &mut state.faults {
            if strikes(fault, matched, op, &path) {
                failed = failed.or(Some(fault.error));
            }
        }
        let Some(error) = failed else { return Ok(()) };
        if state.struck.len() < STRUCK_MAX {
            state.struck.push(format!("{op:?} {} failed: {error}", path.display()));
        }
        Err(error)
    }
}

/// Counts an operation for a fault; returns whether it strikes.
fn strikes(fault: &Fault, matched: &mut u64, op: Op, path: &Path) -> bool {
    let is_meant = fault.path.as_ref().is_none_or(|part| path.to_string_lossy().contains(part));
    if fault.op != op || !is_meant {
        return false;
    }
    *matched += 1;
    match fault.times {
        Times::Once => *matched == fault.nth,
        Times::FromThenOn => *matched >= fault.nth,
    }
}
