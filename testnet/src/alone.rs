//! Tests that must be alone: while one of them runs, no other test of the same program has a node.
//!
//! The tests of one program run in parallel, as many as there are cores, and each starts real nodes. Most tests only become
//! slower by that. A test that fills the machine, or that has to act within a moment, calls [`alone`] first.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The tests that run: how many homes there are, and the test that is alone. Tests are told apart by the names of their threads.
#[derive(Debug, Default)]
struct Running {
    homes: usize,
    alone: Option<String>,
}

static RUNNING: Mutex<Running> = Mutex::new(Running { homes: 0, alone: None });
static CHANGED: Condvar = Condvar::new();

fn running() -> MutexGuard<'static, Running> {
    // A test that panics leaves counts that are right.
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait_while(is_so: impl FnMut(&mut Running) -> bool) -> MutexGuard<'static, Running> {
    CHANGED.wait_while(running(), is_so).unwrap_or_else(PoisonError::into_inner)
}

fn thread_name() -> Option<String> {
    std::thread::current().name().map(str::to_owned)
}

/// Keeps all other tests from starting nodes until it is dropped.
#[derive(Debug)]
#[must_use = "other tests go on when it is dropped"]
pub struct Alone(());

/// Waits until no test of this program has a home, and keeps other tests from making any. Call it first in a test: a test
/// that has a home already would wait for itself.
pub fn alone() -> Alone {
    let mut running = wait_while(|it| it.homes > 0 || it.alone.is_some());
    running.alone = Some(thread_name().unwrap_or_default());
    Alone(())
}

impl Drop for Alone {
    fn drop(&mut self) {
        running().alone = None;
        CHANGED.notify_all();
    }
}

/// Counts a home while it exists.
#[derive(Debug)]
pub(crate) struct Counted(());

/// Counts a home; waits while another test is alone.
pub(crate) fn count() -> Counted {
    let own = thread_name();
    // A thread without a name belongs to a test that runs already.
    let mut running = wait_while(|it| own.is_some() && it.alone.is_some() && it.alone != own);
    running.homes += 1;
    Counted(())
}

impl Drop for Counted {
    fn drop(&mut self) {
        running().homes -= 1;
        CHANGED.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread::Builder;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_test_that_is_alone_waits_for_homes_and_homes_wait_for_it() {
        let home = count();
        // Two are told.
        let (tell, told) = std::sync::mpsc::sync_channel(2);
        let first = tell.clone();
        let waits = Builder::new().name("alone".to_owned()).spawn(move || {
            let alone = alone();
            first.send("alone").expect("told");
            drop((count(), std::thread::spawn(count).join()));
            alone
        });
        let waits = waits.expect("a thread");
        assert!(told.recv_timeout(Duration::from_millis(100)).is_err(), "a home is there");
        drop(home);
        assert_eq!(told.recv(), Ok("alone"));
        let alone = waits.join().expect("it does not wait for its own homes");
        let other = Builder::new().name("other".to_owned()).spawn(move || {
            drop(count());
            tell.send("home").expect("told");
        });
        let other = other.expect("a thread");
        assert!(told.recv_timeout(Duration::from_millis(100)).is_err(), "another test is alone");
        drop(alone);
        assert_eq!(told.recv(), Ok("home"));
        other.join().expect("it ends");
    }
}
