//! [`TagBook`]: everything that one node remembers of one tag, and the rules by which it changes.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::contradiction::Contradiction;
use super::facts::RecordFacts;
use super::publication::{Pending, Promise};
use crate::digest::Digest;
use crate::limits::{SEQ_JUMP_MAX, TAG_ANCESTORS_MAX, TAG_PROOFS_MAX};

/// The records of one tag that a node has followed, and the numbers that it has promised.
///
/// Every record in a book has been verified. [`TagBook::rejudge`] removes those that stand no longer.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagBook {
    /// The newest record that counts.
    pub head: Option<RecordFacts>,
    /// Older records, the newest first: those in the head's chain, and those that this node followed before the head.
    pub ancestors: Vec<RecordFacts>,
    /// The oldest first.
    pub proofs: Vec<Contradiction>,
    /// The record of this machine's publisher that waits for its signature.
    pub pending: Option<Pending>,
    /// The numbers that were promised and given up, the newest first. A signature of each may exist.
    pub abandoned: Vec<Promise>,
}

/// The result of hearing a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Heard {
    /// It is the new head.
    New,
    /// It is the head already.
    Known,
    /// It is older than the head, and kept because the head's chain has it.
    Ancestor,
    /// It is older than the head.
    Rollback { seen: u64 },
    /// Its number is too far above that of the head.
    Jump { seen: u64 },
    /// Records contradict each other, and this one does not settle them.
    Frozen,
}

/// The state of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    Moves,
    /// Two records contradict each other. Only their common ancestors are used.
    Frozen,
    /// The publisher has withdrawn the head. Nothing is used in its place.
    Withdrawn,
}

/// The records that may stand for a tag, in the order in which a node tries them, those that are barred among them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usable {
    pub candidates: Vec<Candidate>,
    pub state: State,
}

/// A record that may stand for a tag, unless it is barred.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Candidate {
    pub record: RecordFacts,
    /// Why it is never used; `None` where it may be used.
    pub barred: Option<Barred>,
}

/// Why a record is never used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Barred {
    /// The record with the number `by` forbids every number below `min`.
    Below { min: u64, by: u64 },
    /// The publisher has withdrawn its manifest.
    Withdrawn,
    /// A later record of the head's chain holds in its place.
    SettledAway,
}

impl Usable {
    /// Returns the records that may be used, in the order in which a node tries them.
    pub fn records(&self) -> impl Iterator<Item = &RecordFacts> {
        self.candidates.iter().filter(|it| it.barred.is_none()).map(|it| &it.record)
    }
}

impl TagBook {
    /// Takes a verified record.
    ///
    /// A newer record becomes the head. An older one never does; it is kept if the head's chain has it. A record that
    /// contradicts a known one is kept as a proof. While a proof is not settled, only a record that settles it is followed.
    pub fn hear(&mut self, record: &RecordFacts) -> Heard {
        for proof in self.known().filter_map(|known| Contradiction::of(known, record)).collect::<Vec<_>>() {
            self.convict(proof);
        }
        if self.ancestors.contains(record) || self.is_missing_ancestor(record) {
            self.ancestors.push(record.clone());
            self.arrange();
            return Heard::Ancestor;
        }
        let is_settled = |proof: &Contradiction| proof.settled.is_some() || proof.is_settled_by(record);
        if !self.proofs.iter().all(is_settled) {
            return Heard::Frozen;
        }
        if let Some(head) = &self.head {
            if record == head {
                return Heard::Known;
            }
            if record.order() <= head.order() {
                return Heard::Rollback { seen: head.seq };
            }
            let is_far = record.seq.saturating_sub(head.seq) > SEQ_JUMP_MAX;
            if is_far && record.key_document == head.key_document {
                return Heard::Jump { seen: head.seq };
            }
        }
        self.ancestors.extend(self.head.replace(record.clone()));
        if self.pending.as_ref().is_some_and(|it| it.record.payload == record.payload) {
            self.pending = None;
        }
        self.arrange();
        Heard::New
    }

    /// Keeps a proof. Returns whether it is new to the book.
    pub fn convict(&mut self, proof: Contradiction) -> bool {
        if self.proofs.iter().any(|it| it.heads() == proof.heads()) {
            return false;
        }
        if self.proofs.len() >= TAG_PROOFS_MAX {
            // A proof that is not settled freezes the tag, so it is never dropped; one more would change nothing.
            let Some(oldest) = self.proofs.iter().position(|it| it.settled.is_some()) else { return false };
            self.proofs.remove(oldest);
        }
        self.proofs.push(Contradiction { settled: None, ..proof });
        self.settle();
        true
    }

    /// Returns the oldest proof that freezes the tag.
    pub fn freezing(&self) -> Option<&Contradiction> {
        self.proofs.iter().find(|it| it.settled.is_none())
    }

    /// Removes the records for which the publisher's keys stand no longer. The newest one that stands is the head.
    pub fn rejudge(&mut self, stands: &dyn Fn(&RecordFacts) -> bool) {
        self.ancestors.extend(self.head.take());
        self.ancestors.retain(stands);
        let newest = self.ancestors.iter().enumerate().max_by_key(|(_, it)| (it.order(), it.payload));
        self.head = newest.map(|(place, _)| place).map(|place| self.ancestors.remove(place));
        self.proofs.retain(|it| stands(&it.one) && stands(&it.two));
        for proof in &mut self.proofs {
            proof.settled = proof.settled.take().filter(stands);
        }
        self.arrange();
    }

    /// Returns the records that may stand for the tag: the head, then its ancestors, each with the reason for which it is
    /// barred. Of a frozen tag, they are the records before both of the records that contradict each other. In the place of a
    /// withdrawn head nothing is used.
    pub fn usable(&self, is_withdrawn: &dyn Fn(&RecordFacts) -> bool) -> Usable {
        let settled = self.settled_away();
        let in_force = self.known().filter(|it| !settled.contains(&it.payload));
        let lowest = self.lowest_usable(in_force.filter_map(states_lowest).next());
        let judge = |it: &RecordFacts| {
            let barred = match lowest {
                _ if is_withdrawn(it) => Some(Barred::Withdrawn),
                _ if settled.contains(&it.payload) => Some(Barred::SettledAway),
                Some((min, by)) if it.seq < min => Some(Barred::Below { min, by }),
                _ => None,
            };
            Candidate { record: it.clone(), barred }
        };
        if self.freezing().is_some() {
            let common = self.known().filter(|it| self.is_common(it));
            return Usable { candidates: common.map(judge).collect(), state: State::Frozen };
        }
        let Some(head) = &self.head else { return Usable { candidates: Vec::new(), state: State::Moves } };
        let withdrawn = Some(Barred::Withdrawn).filter(|_| is_withdrawn(head));
        let first = Candidate { record: head.clone(), barred: withdrawn };
        if withdrawn.is_some() {
            return Usable { candidates: vec![first], state: State::Withdrawn };
        }
        let older = self.ancestors.iter().filter(|it| *it != head).map(judge);
        Usable { candidates: std::iter::once(first).chain(older).collect(), state: State::Moves }
    }

    /// Returns the head and its ancestors, the newest first.
    pub fn known(&self) -> impl Iterator<Item = &RecordFacts> {
        self.head.iter().chain(&self.ancestors)
    }

    /// Returns the lowest number that may be used and the number of the record that states it, where the newest record in
    /// force states `stated`; of a frozen tag, the highest that its proofs state.
    fn lowest_usable(&self, stated: Option<(u64, u64)>) -> Option<(u64, u64)> {
        let freezing = self.proofs.iter().filter(|it| it.settled.is_none());
        let contradicting = freezing.flat_map(|it| [&it.one, &it.two]).filter_map(states_lowest);
        contradicting.chain(stated).max()
    }

    /// Returns whether every contradiction that freezes the tag came after `record`: both lines have it, or none is known to
    /// leave it out.
    fn is_common(&self, record: &RecordFacts) -> bool {
        self.proofs.iter().filter(|it| it.settled.is_none()).all(|proof| {
            let lines = [&proof.one, &proof.two].map(|it| self.line(it).contains(&record.payload));
            record.order() < proof.one.order() && record.order() < proof.two.order() && lines[0] == lines[1]
        })
    }

    /// Returns whether a record is older than the head, and the chain of the head or of a contradicting record needs it.
    fn is_missing_ancestor(&self, record: &RecordFacts) -> bool {
        let freezing = self.proofs.iter().filter(|it| it.settled.is_none());
        let mut heads = freezing.flat_map(|it| [&it.one, &it.two]).chain(&self.head);
        let is_needed =
            heads.any(|head| record.order() < head.order() && self.line(head).contains(&record.payload));
        is_needed && self.head.as_ref().is_none_or(|head| record.order() < head.order())
    }

    /// Returns the payloads of the records before `from`, as far back as records are known, and the first unknown one.
    fn line(&self, from: &RecordFacts) -> BTreeSet<Digest> {
        let contradicting = self.proofs.iter().flat_map(|it| [&it.one, &it.two]);
        let known: Vec<&RecordFacts> = self.known().chain(contradicting).collect();
        let mut line = BTreeSet::new();
        let mut next = from.prev;
        while let Some(payload) = next.filter(|it| line.insert(*it)) {
            next = known.iter().find(|it| it.payload == payload).and_then(|it| it.prev);
        }
        line
    }

    /// Sorts the ancestors and forgets the oldest beyond the bound.
    ///
    /// Those that a later record has settled away are kept, but not used: newer keys may void that record.
    fn arrange(&mut self) {
        if let Some(order) = self.head.as_ref().map(RecordFacts::order) {
            self.ancestors.retain(|it| it.order() < order);
        }
        self.ancestors.sort_by_key(|it| Reverse((it.order(), it.payload)));
        self.ancestors.dedup();
        self.ancestors.truncate(TAG_ANCESTORS_MAX);
        self.settle();
    }

    /// Returns the records that a later record of the head's chain has settled away, which means to replace them.
    fn settled_away(&self) -> BTreeSet<Digest> {
        let Some(head) = &self.head else { return BTreeSet::new() };
        let line = self.line(head);
        let chain = self.ancestors.iter().filter(|it| line.contains(&it.payload)).chain([head]);
        let settled = chain.flat_map(|it| it.settles.iter().copied());
        settled.filter(|it| !line.contains(it)).collect()
    }

    /// Marks the proofs that a known record settles.
    fn settle(&mut self) {
        let known: Vec<RecordFacts> = self.known().cloned().collect();
        for proof in self.proofs.iter_mut().filter(|it| it.settled.is_none()) {
            proof.settled = known.iter().rev().find(|it| proof.is_settled_by(it)).cloned();
        }
    }
}

/// Returns the lowest number that a record allows to use, and its own number.
fn states_lowest(record: &RecordFacts) -> Option<(u64, u64)> {
    record.min_usable.map(|min| (min, record.seq))
}
