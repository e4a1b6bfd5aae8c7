//! [`Equivocation`]: two tag records that cannot both be honest, which anyone can check who knows the publisher's id.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::key::KeyHistory;
use crate::tag::{SignedTag, TagError, TagRecord};

/// Two envelopes of tag records, as they travel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EquivocationClaim {
    pub one: String,
    pub two: String,
}

/// Two records of one tag, signed by one key document, of which the second does not follow the first, or has its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equivocation {
    /// The one with the lower number, or, where they are equal, with the lower digest.
    one: SignedTag,
    two: SignedTag,
}

/// Why two envelopes prove nothing.
#[derive(Debug, Error)]
pub enum EquivocationError {
    #[error("one of two records that are said to contradict each other is not its publisher's")]
    Tag(#[from] TagError),
    #[error("two records that are said to contradict each other do not")]
    NoContradiction,
}

impl Equivocation {
    /// Returns the proof that two records are, `None` where both can be honest.
    pub fn of(a: &SignedTag, b: &SignedTag) -> Option<Self> {
        let order = |it: &SignedTag| (it.record().seq, it.payload_digest());
        let (one, two) = if order(a) <= order(b) { (a, b) } else { (b, a) };
        one.contradicts(two).then(|| Self { one: one.clone(), two: two.clone() })
    }

    /// Verifies what somebody claims, against the publisher's keys.
    ///
    /// # Errors
    /// A record that is not the publisher's, or two that can both be honest.
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

    /// Returns the digests of the two records' payloads, which a record that settles this must name.
    pub const fn heads(&self) -> [Digest; 2] {
        [self.one.payload_digest(), self.two.payload_digest()]
    }

    /// Tells whether `record` says which of the two holds: it is newer than both and names
    /// both, or newer keys have signed it.
    pub fn is_settled_by(&self, record: &TagRecord) -> bool {
        let last = self.two.record();
        if (record.publisher, record.model.folded(), &record.tag)
            != (last.publisher, last.model.folded(), &last.tag)
        {
            return false;
        }
        let mut named = self.heads().into_iter().map(|head| record.settles.contains(&head));
        // Where a chain goes on from one of two heads, its later records contradict the other head as well: they are settled
        // along with the two.
        let names = if self.one.record().seq == last.seq { named.all(|it| it) } else { named.any(|it| it) };
        record.key_document > last.key_document
            || (record.key_document == last.key_document && record.seq > last.seq && names)
    }
}
