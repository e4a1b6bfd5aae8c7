//! What a fault must never cause, and how often it did.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use reg_testnet::process::Ran;

/// What a fault has caused although it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Harm {
    /// The publisher contradicts itself: its tag is refused everywhere.
    FrozenTag,
    /// A version that was acknowledged is not found by its name any more, nor a newer one.
    LostVersion,
    /// The publisher's keys cannot sign any more, or no follower accepts what they sign.
    UnusableKey,
    /// The fault is gone, and the same command still fails, for another reason.
    StillFails,
    /// The node does not start again.
    NoStart,
    /// A blob or a model has other bytes than its digest says.
    WrongBytes,
    /// A command ended with an exit code that blames the user.
    WrongExit,
    /// A command was still running after minutes.
    Hangs,
}

/// A harm, with what was seen.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) harm: Harm,
    pub(super) evidence: String,
}

impl Found {
    /// Judges a command that failed although nothing is wrong with the machine any more.
    pub(super) fn in_failure(what: &str, failed: &Ran) -> Self {
        let said = failed.stderr();
        let names = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let harm = if failed.code() < 0 {
            Harm::Hangs
        } else if names(&["frozen", "contradict", "equivocat"]) {
            Harm::FrozenTag
        } else if names(&["never be accepted", "never replaced", "key document", "has no key", "cannot sign"])
        {
            Harm::UnusableKey
        } else {
            Harm::StillFails
        };
        Self { harm, evidence: format!("{what}: exit code {}\n{said}", failed.code()) }
    }

    /// Adds what had happened before.
    pub(super) fn after(mut self, what: &str) -> Self {
        self.evidence = format!("{what}\n{}", self.evidence);
        self
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.harm, self.evidence)
    }
}

/// Rounds until the progress is printed: the whole count takes long.
const SHOWN: u64 = 50;

/// The rounds of a test. The first harm fails it, unless `REG_COUNT_HARM` is set: then all are counted and printed, to see
/// what an earlier version does.
#[derive(Debug)]
pub(super) struct Tally {
    what: &'static str,
    rounds: BTreeMap<String, u64>,
    harm: BTreeMap<(String, Harm), u64>,
    start: Instant,
}

impl Tally {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, rounds: BTreeMap::new(), harm: BTreeMap::new(), start: Instant::now() }
    }

    /// Notes the end of a round; returns whether it did harm.
    ///
    /// # Panics
    /// If it did, unless harm is to be counted.
    pub(super) fn note(&mut self, act: &str, ended: Result<(), Found>) -> bool {
        *self.rounds.entry(act.to_owned()).or_default() += 1;
        let rounds = self.rounds.values().sum::<u64>();
        if rounds.is_multiple_of(SHOWN) {
            println!("{}: {rounds} rounds, {:.0?}", self.what, self.start.elapsed());
        }
        let Err(found) = ended else { return false };
        let is_counted = std::env::var_os("REG_COUNT_HARM").is_some();
        assert!(is_counted, "{}, {act}, after {:?}: {found}", self.what, self.rounds);
        println!("{}, {act}: {found}", self.what);
        *self.harm.entry((act.to_owned(), found.harm)).or_default() += 1;
        true
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let (rounds, harm) = (self.rounds.values().sum::<u64>(), self.harm.values().sum::<u64>());
        let Self { what, rounds: of_acts, harm: kinds, start } = self;
        println!("{what}: {rounds} rounds {of_acts:?}, harm in {harm} {kinds:?}, {:.0?}", start.elapsed());
    }
}
