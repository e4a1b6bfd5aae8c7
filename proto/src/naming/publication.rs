//! The publisher's side of a [`TagBook`]: which record is signed next, and what becomes of one that waits for its signature.
//!
//! The caller makes the book durable after [`TagBook::begin`] and before the payload leaves the machine. Then no two payloads
//! of one machine contradict each other, whatever crashes in between and whichever of them are signed.

use super::contradiction::Contradiction;
use super::facts::RecordFacts;
use super::tag_book::{Heard, TagBook};
use crate::digest::Digest;
use crate::limits::{SEQ_MAX, SETTLES_MAX, TAG_ABANDONED_MAX};

/// The record that waits for its signature.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pending {
    pub record: RecordFacts,
    /// Whether it holds the tag until its publisher finishes or abandons it. Another is given up by the next publication.
    pub held: bool,
}

/// A number that was promised to a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Promise {
    pub key_document: u64,
    pub seq: u64,
    /// `None` where the payload is not known; then its key document is not known either.
    pub payload: Option<Digest>,
}

/// The keys that sign the next record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signing {
    /// The version of the key document.
    pub key_document: u64,
    /// The lowest number that the key document allows; 1 if it states none.
    pub floor: u64,
}

/// What the next record of a tag must say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Next {
    pub seq: u64,
    pub prev: Option<Digest>,
    /// The records that it settles: at most [`SETTLES_MAX`].
    pub settles: Vec<Digest>,
    /// The lowest number that the record before it allows to use.
    pub min_usable: Option<u64>,
}

/// Why no record can be signed next.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextError {
    /// Another one waits for its signature.
    Pending(Box<Pending>),
    /// The tag is frozen, and the publisher has not said to settle it.
    Frozen(Box<Contradiction>),
    /// No number is left.
    UsedUp,
}

/// Why a signed record does not become the head.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FinishError {
    /// Another record waits for its signature.
    Pending(Box<Pending>),
    /// The record was given up; a later one settles it.
    Abandoned,
    /// The book does not follow it.
    Refused(Heard),
}

impl TagBook {
    /// Returns what the next record must say. `newest` is a record that a peer has, if that is newer than the head.
    ///
    /// The number is above every number that was seen, promised or contradicted. The record names the abandoned payload with
    /// the number before it, so that the two do not contradict each other. With `settle` it names the contradicting records.
    pub fn next(
        &self,
        signing: Signing,
        newest: Option<&RecordFacts>,
        settle: bool,
    ) -> Result<Next, NextError> {
        if let Some(pending) = &self.pending {
            return Err(NextError::Pending(Box::new(pending.clone())));
        }
        if let Some(proof) = self.freezing().filter(|_| !settle) {
            return Err(NextError::Frozen(Box::new(proof.clone())));
        }
        let last = self.head.iter().chain(newest).max_by_key(|it| it.order());
        let own = |key_document: u64| key_document == signing.key_document;
        let promised = self.abandoned.iter().filter(|it| it.payload.is_none() || own(it.key_document));
        let contradicted = self.proofs.iter().map(|it| &it.two).filter(|it| own(it.key_document));
        let taken =
            promised.map(|it| it.seq).chain(contradicted.map(|it| it.seq)).chain(last.map(|it| it.seq));
        let mut seq = taken.max().unwrap_or(0).saturating_add(1).max(signing.floor);
        if self.abandoned.iter().any(|it| it.payload.is_none() && it.seq.saturating_add(1) == seq) {
            // The payload with the number before is not known and cannot be named. After a gap it need not be.
            seq = seq.saturating_add(1);
        }
        if seq > SEQ_MAX {
            return Err(NextError::UsedUp);
        }
        Ok(Next {
            seq,
            prev: last.map(|it| it.payload),
            settles: self.to_settle(last, signing, seq),
            min_usable: last.and_then(|it| it.min_usable),
        })
    }

    /// Returns the payloads that the record after `last` settles.
    fn to_settle(&self, last: Option<&RecordFacts>, signing: Signing, seq: u64) -> Vec<Digest> {
        let is_abandoned = |payload: &Digest| self.abandoned.iter().any(|it| it.payload == Some(*payload));
        let carried = last.into_iter().flat_map(|it| it.settles.iter().copied());
        let carried = carried.filter(|payload| !is_abandoned(payload));
        let open = self.proofs.iter().filter(|proof| last.is_none_or(|last| !proof.is_settled_by(last)));
        let before = self
            .abandoned
            .iter()
            .filter(|it| it.key_document == signing.key_document && it.seq.checked_add(1) == Some(seq));
        let all =
            carried.chain(open.flat_map(Contradiction::heads)).chain(before.filter_map(|it| it.payload));
        let mut settles: Vec<Digest> = Vec::new();
        for payload in all {
            if !settles.contains(&payload) {
                settles.push(payload);
            }
        }
        // Keeps the newest: peers still exchange the proofs of the newest contradictions.
        settles.split_off(settles.len().saturating_sub(SETTLES_MAX))
    }

    /// Promises the number of `record`. The book must be durable before the record's payload leaves the machine.
    ///
    /// # Errors
    /// Another record waits for its signature: that one.
    pub fn begin(&mut self, record: RecordFacts, held: bool) -> Result<(), Box<Pending>> {
        match &self.pending {
            Some(pending) => Err(Box::new(pending.clone())),
            None => {
                self.pending = Some(Pending { record, held });
                Ok(())
            }
        }
    }

    /// Makes a signed record of this machine's publisher the head. It was begun in this book, or by another machine.
    ///
    /// # Errors
    /// Another record waits, the record was given up, or the book does not follow it. Then the pending record still waits.
    pub fn finish(&mut self, record: &RecordFacts) -> Result<(), FinishError> {
        if let Some(pending) = self.pending.as_ref().filter(|it| it.record.payload != record.payload) {
            return Err(FinishError::Pending(Box::new(pending.clone())));
        }
        if self.abandoned.iter().any(|it| it.payload == Some(record.payload)) {
            return Err(FinishError::Abandoned);
        }
        match self.hear(record) {
            Heard::New | Heard::Known => {
                self.pending = None;
                Ok(())
            }
            heard => Err(FinishError::Refused(heard)),
        }
    }

    /// Gives up the pending record. Its number is never used again. Returns the promise that was given up.
    pub fn abandon(&mut self) -> Option<Promise> {
        let Pending { record, .. } = self.pending.take()?;
        let RecordFacts { key_document, seq, payload, .. } = record;
        let promise = Promise { key_document, seq, payload: Some(payload) };
        self.abandoned.insert(0, promise);
        self.abandoned.truncate(TAG_ABANDONED_MAX);
        Some(promise)
    }
}
