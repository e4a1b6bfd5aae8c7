//! [`Contradiction`]: two records of one tag that its publisher cannot have meant both. It freezes the tag until it is settled.

use super::facts::RecordFacts;
use crate::digest::Digest;

/// Two records of one tag that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contradiction {
    /// The record with the lower number, or with the lower digest if the numbers are equal.
    pub one: RecordFacts,
    pub two: RecordFacts,
    /// The record that settles the two; `None` while they freeze the tag.
    pub settled: Option<RecordFacts>,
}

impl Contradiction {
    /// Returns the contradiction of two records, or `None` if they do not contradict each other.
    pub fn of(a: &RecordFacts, b: &RecordFacts) -> Option<Self> {
        let order = |it: &RecordFacts| (it.seq, it.payload);
        let (one, two) = if order(a) <= order(b) { (a, b) } else { (b, a) };
        one.contradicts(two).then(|| Self { one: one.clone(), two: two.clone(), settled: None })
    }

    /// Returns the digests of the two records' payloads.
    pub const fn heads(&self) -> [Digest; 2] {
        [self.one.payload, self.two.payload]
    }

    /// Returns whether `record` settles the two: it is newer than both and names both, or a newer key document has signed it.
    pub fn is_settled_by(&self, record: &RecordFacts) -> bool {
        let mut named = self.heads().into_iter().map(|head| record.settles.contains(&head));
        // Later records that continue one of the two heads contradict the other head as well. They are settled with it.
        let names = if self.one.seq == self.two.seq { named.all(|it| it) } else { named.any(|it| it) };
        record.key_document > self.two.key_document
            || (record.key_document == self.two.key_document && record.seq > self.two.seq && names)
    }
}
