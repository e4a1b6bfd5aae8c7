//! [`Equivocation`]: two contradicting tag records of one publisher. The publisher's id is enough to verify the proof.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::key::KeyHistory;
use crate::naming::{Contradiction, RecordFacts};
use crate::tag::{SignedTag, TagError, TagRecord};

/// Two envelopes of tag records, as peers exchange them. Nothing is verified yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EquivocationClaim {
    pub one: String,
    pub two: String,
}

/// Two records of one tag, signed under one key document. The second has the first one's number, or does not follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equivocation {
    /// The record with the lower number, or with the lower digest if the numbers are equal.
    one: SignedTag,
    two: SignedTag,
}

/// Why two envelopes do not prove an equivocation.
#[derive(Debug, Error)]
pub enum EquivocationError {
    #[error("a record of a claimed contradiction is not by its publisher")]
    Tag(#[from] TagError),
    #[error("two records of a claimed contradiction do not contradict each other")]
    NoContradiction,
}

impl Equivocation {
    /// Returns the proof that two records contradict each other, or `None` if they do not.
    pub fn of(a: &SignedTag, b: &SignedTag) -> Option<Self> {
        let order = |it: &SignedTag| (it.record().seq, it.payload_digest());
        let (one, two) = if order(a) <= order(b) { (a, b) } else { (b, a) };
        one.contradicts(two).then(|| Self { one: one.clone(), two: two.clone() })
    }

    /// Verifies a claim against the publisher's keys.
    ///
    /// # Errors
    /// If a record is not signed by the publisher, or if the two do not contradict each other.
    pub fn verify(claim: &EquivocationClaim, keys: &KeyHistory) -> Result<Self, EquivocationError> {
        let (one, two) = (SignedTag::verify(&claim.one, keys)?, SignedTag::verify(&claim.two, keys)?);
        Self::of(&one, &two).ok_or(EquivocationError::NoContradiction)
    }

    /// Returns the two envelopes.
    pub fn to_claim(&self) -> EquivocationClaim {
        EquivocationClaim { one: self.one.envelope().to_owned(), two: self.two.envelope().to_owned() }
    }

    /// Returns the two records.
    pub const fn records(&self) -> [&SignedTag; 2] {
        [&self.one, &self.two]
    }

    /// Returns the digests of the two records' payloads. A record that settles the equivocation must name both.
    pub const fn heads(&self) -> [Digest; 2] {
        [self.one.payload_digest(), self.two.payload_digest()]
    }

    /// Returns what the naming rules know of the two records.
    pub fn contradiction(&self) -> Contradiction {
        Contradiction { one: self.one.facts(), two: self.two.facts(), settled: None }
    }

    /// Returns whether `record` settles the equivocation: it is newer than both records and names both, or a newer key
    /// document has signed it.
    pub fn is_settled_by(&self, record: &TagRecord) -> bool {
        let (last, last_payload) = (self.two.record(), self.two.payload_digest());
        if (record.publisher, record.model.folded(), &record.tag)
            != (last.publisher, last.model.folded(), &last.tag)
        {
            return false;
        }
        // The payload of the settling record is not part of the rule.
        self.contradiction().is_settled_by(&RecordFacts::of(record, last_payload))
    }
}
