//! [`RecordFacts`]: what the naming rules know of a tag record.

use crate::digest::Digest;
use crate::tag::TagRecord;

/// The facts of one verified tag record that the naming rules decide by. All records of a book are of one tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordFacts {
    /// The digest of the signed payload. It names the record.
    pub payload: Digest,
    /// The version of the key document that signed the record.
    pub key_document: u64,
    pub seq: u64,
    /// The record that this one follows; `None` in the first.
    pub prev: Option<Digest>,
    pub manifest: Digest,
    /// The records that this one settles: it holds in their place.
    pub settles: Vec<Digest>,
    /// The lowest number that may be used in the place of this record.
    pub min_usable: Option<u64>,
}

impl RecordFacts {
    /// Returns the facts of `record`. `payload` is the digest of its signed bytes.
    pub fn of(record: &TagRecord, payload: Digest) -> Self {
        Self {
            payload,
            key_document: record.key_document,
            seq: record.seq,
            prev: record.prev,
            manifest: record.manifest.digest,
            settles: record.settles.to_vec(),
            min_usable: record.min_usable,
        }
    }

    /// Returns the sort key of records of one tag: key document, then number. Newer keys outrank every number of older ones.
    pub const fn order(&self) -> (u64, u64) {
        (self.key_document, self.seq)
    }

    /// Returns whether the two records contradict each other, so that the publisher cannot have meant both.
    ///
    /// Both are signed under one key document. They contradict if they have one number and different payloads, or if `later`
    /// has the next number and neither follows nor settles this record. Records of rotated keys prove nothing against newer
    /// keys.
    pub fn contradicts(&self, later: &Self) -> bool {
        if self.key_document != later.key_document || self.payload == later.payload {
            return false;
        }
        let follows = later.prev == Some(self.payload) || later.settles.contains(&self.payload);
        self.seq == later.seq || (self.seq.checked_add(1) == Some(later.seq) && !follows)
    }
}
