//! [`Budget`]: how many ed25519 signatures a piece of work may verify. A valid signature is remembered, and costs nothing
//! when it is met again.
//!
//! Every check of an envelope comes through [`is_valid`]. It is a pure function of key, message and signature. What is
//! remembered here changes only what its answer costs, never the answer.
//!
//! A budget holds for the thread that runs the work. The checks need no argument for it, so a check that is added later
//! is counted too. Work that changes a store must not run within a budget: a signature that the budget refuses looks
//! invalid, and [`Budget::run`] reports it only at the end.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Mutex;

use ed25519_dalek::{Signature, VerifyingKey};
use thiserror::Error;

use crate::digest::Digest;
use crate::limits::SIGNATURES_REMEMBERED_MAX;

/// The verifications that some work may still make, and those that it has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    left: usize,
    spent: usize,
    remembered: usize,
    over: bool,
}

/// The work needed more verifications than its budget allows. Its result is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("more than {allowed} signatures would have to be verified")]
pub struct OverBudget {
    pub allowed: usize,
}

/// The budget of the work that runs in this thread.
#[derive(Debug, Clone, Copy)]
struct Meter {
    left: usize,
    spent: usize,
    remembered: usize,
    refused: bool,
}

/// Outside [`Budget::run`] verifications are counted, and not bounded.
const NO_BOUND: Meter = Meter { left: usize::MAX, spent: 0, remembered: 0, refused: false };

thread_local! {
    static METER: Cell<Meter> = const { Cell::new(NO_BOUND) };
}

/// The valid signatures that were met last.
static REMEMBERED: Mutex<Remembered> = Mutex::new(Remembered::new(SIGNATURES_REMEMBERED_MAX / 2));

/// Valid signatures in two generations. When the newer one is full, the older one is forgotten, and what is met again
/// moves to the newer one. So a stranger with many valid signatures cannot push out what is in use.
#[derive(Debug)]
struct Remembered {
    newer: BTreeSet<[u8; 32]>,
    older: BTreeSet<[u8; 32]>,
    generation: usize,
}

impl Budget {
    /// Returns a budget of `verifications`.
    pub const fn new(verifications: usize) -> Self {
        Self { left: verifications, spent: 0, remembered: 0, over: false }
    }

    /// Returns how many signatures were verified. Those that were remembered are not among them.
    pub const fn spent(&self) -> usize {
        self.spent
    }

    /// Returns how many signatures the same work costs a node that remembers none of them.
    pub const fn worth(&self) -> usize {
        self.spent.saturating_add(self.remembered)
    }

    /// Returns how many more signatures may be verified.
    pub const fn left(&self) -> usize {
        self.left
    }

    /// Returns whether some work needed more verifications than were left.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Runs `work`, which must change nothing but its result, and counts the signatures that it verifies.
    ///
    /// # Errors
    /// If `work` needed more verifications than are left. The budget is then spent.
    pub fn run<T>(&mut self, work: impl FnOnce() -> T) -> Result<T, OverBudget> {
        let allowed = self.left;
        let outer = METER.replace(Meter { left: allowed, ..NO_BOUND });
        let restore = Restore(outer);
        let value = work();
        let Meter { left, spent, remembered, refused } = METER.get();
        drop(restore);
        // Work within work: the outer budget pays too.
        METER.set(Meter {
            left: outer.left.saturating_sub(spent),
            spent: outer.spent.saturating_add(spent),
            remembered: outer.remembered.saturating_add(remembered),
            ..outer
        });
        self.left = left;
        self.spent = self.spent.saturating_add(spent);
        self.remembered = self.remembered.saturating_add(remembered);
        self.over |= refused;
        if refused { Err(OverBudget { allowed }) } else { Ok(value) }
    }
}

/// Puts the outer budget back, even where the work panics.
struct Restore(Meter);

impl Drop for Restore {
    fn drop(&mut self) {
        METER.set(self.0);
    }
}

impl Remembered {
    const fn new(generation: usize) -> Self {
        Self { newer: BTreeSet::new(), older: BTreeSet::new(), generation }
    }

    /// Returns whether `signature` was remembered, and keeps it from being forgotten soon.
    fn meet(&mut self, signature: &[u8; 32]) -> bool {
        if self.newer.contains(signature) {
            return true;
        }
        let met = self.older.remove(signature);
        if met {
            self.remember(*signature);
        }
        met
    }

    fn remember(&mut self, signature: [u8; 32]) {
        if self.newer.len() >= self.generation {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(signature);
    }
}

/// Returns whether `signature` of `message` is valid under the strict rules (no small-order points, canonical encodings),
/// on which all verifiers agree. A signature beyond the budget of this thread's work counts as invalid.
pub(crate) fn is_valid(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let id = *Digest::of(&[&key[..], &signature[..], Digest::of(message).as_bytes()].concat()).as_bytes();
    let meter = METER.get();
    if remembered(|it| it.meet(&id)) {
        METER.set(Meter { remembered: meter.remembered.saturating_add(1), ..meter });
        return true;
    }
    let Some(left) = meter.left.checked_sub(1) else {
        METER.set(Meter { refused: true, ..meter });
        return false;
    };
    METER.set(Meter { left, spent: meter.spent.saturating_add(1), ..meter });
    let is_valid = VerifyingKey::from_bytes(key)
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok());
    if is_valid {
        remembered(|it| it.remember(id));
    }
    is_valid
}

fn remembered<T>(act: impl FnOnce(&mut Remembered) -> T) -> T {
    act(&mut REMEMBERED.lock().expect("no holder of this lock panics"))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    /// The tests of one process share what is remembered, so each signs messages of its own.
    fn signed(message: &[u8]) -> ([u8; 32], [u8; 64]) {
        let key = SigningKey::from_bytes(&[77; 32]);
        (key.verifying_key().to_bytes(), key.sign(message).to_bytes())
    }

    #[test]
    fn a_valid_signature_costs_once_and_an_invalid_one_each_time() {
        let (key, signature) = signed(b"costs once");
        let mut budget = Budget::new(10);
        for _again in 0..5 {
            assert_eq!(budget.run(|| is_valid(&key, b"costs once", &signature)), Ok(true));
        }
        assert_eq!((budget.spent(), budget.worth(), budget.left()), (1, 5, 9));
        for _again in 0..5 {
            assert_eq!(budget.run(|| is_valid(&key, b"costs more", &signature)), Ok(false));
        }
        assert_eq!((budget.spent(), budget.left()), (6, 4));
        let mut changed = signature;
        changed[0] ^= 1;
        assert_eq!(budget.run(|| is_valid(&key, b"costs once", &changed)), Ok(false));
        let other = SigningKey::from_bytes(&[78; 32]).verifying_key().to_bytes();
        assert_eq!(budget.run(|| is_valid(&other, b"costs once", &signature)), Ok(false));
    }

    #[test]
    fn beyond_the_budget_the_result_is_void_and_the_next_work_is_free_again() {
        let (key, signature) = signed(b"beyond");
        let mut budget = Budget::new(2);
        let wrong = [[1; 64], [2; 64], signature];
        let work = || wrong.map(|signature| is_valid(&key, b"beyond", &signature));
        assert_eq!(budget.run(work), Err(OverBudget { allowed: 2 }));
        assert_eq!((budget.spent(), budget.left(), budget.is_over()), (2, 0, true));
        assert_eq!(budget.run(|| is_valid(&key, b"beyond", &signature)), Err(OverBudget { allowed: 0 }));
        assert!(is_valid(&key, b"beyond", &signature), "no budget holds outside the work");
        assert_eq!(budget.run(|| is_valid(&key, b"beyond", &signature)), Ok(true), "it is remembered now");
    }

    #[test]
    fn work_within_work_is_paid_by_both() {
        let (key, signature) = signed(b"within");
        let mut outer = Budget::new(3);
        let inside = outer.run(|| {
            let mut inner = Budget::new(1);
            let first = inner.run(|| is_valid(&key, b"within work", &signature));
            (first, is_valid(&key, b"within work, again", &signature))
        });
        assert_eq!((inside, outer.spent()), (Ok((Ok(false), false)), 2));
    }

    #[test]
    fn what_is_in_use_is_not_forgotten() {
        let mut remembered = Remembered::new(4);
        remembered.remember([0; 32]);
        for number in 1..100 {
            remembered.remember([number; 32]);
            assert!(remembered.meet(&[0; 32]), "after {number} others");
            assert!(remembered.newer.len() <= 4 && remembered.older.len() <= 4);
        }
        assert!(!remembered.meet(&[1; 32]));
    }
}
