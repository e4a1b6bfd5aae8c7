//! [`Listing`]: what a node passes on about one tag, and the rule which of two listings of a tag is kept.

use std::cmp::Ordering;
use std::fmt;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::card::{self, CardError, SignedCard};
use super::tombstone::{self, SignedTombstone, TombstoneError};
use crate::digest::Digest;
use crate::envelope::Envelope;
use crate::key::KeyHistory;
use crate::limits::{CARD_ENVELOPE_BYTES_MAX, TAG_ENVELOPE_BYTES_MAX, TOMBSTONE_BYTES_MAX};
use crate::name::{ModelName, PublisherId, Tag};
use crate::tag::{SignedTag, TagError, TagRecord};

/// Begins what a [`ListingValue`] hashes for a record.
const RECORD_DOMAIN: &[u8] = b"reg listing record v1\0";
/// Begins what a [`ListingValue`] hashes for a tombstone.
const TOMBSTONE_DOMAIN: &[u8] = b"reg listing tombstone v1\0";

/// What a node passes on about one tag: envelopes, byte for byte as they were signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// The tag's head, and the card of its manifest where one is known.
    Record { record: String, card: Option<String> },
    /// The statement that the tag is no longer listed.
    Tombstone { tombstone: String },
}

/// Names a tag of one publisher: the SHA-256 of the model's name in lower case, a zero byte, and the tag.
///
/// A publisher's model names differ in more than case, and neither part has a zero byte. So two tags have two keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListingKey([u8; 32]);

/// Names what a listing says: the SHA-256 of the payload digests of its record and card, or of its tombstone.
///
/// Precisely, for a record: `reg listing record v1`, a zero byte, the 32 bytes of the payload's digest, and the 32 bytes of the
/// card's payload digest, or nothing where there is no card. For a tombstone: `reg listing tombstone v1`, a zero byte, and the
/// 32 bytes of the payload's digest. Envelopes do not count: two nodes with other signatures, or with the same in another
/// order, have the same value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListingValue([u8; 32]);

/// What the rules of the catalogue know of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListingFacts {
    pub publisher: PublisherId,
    pub key: ListingKey,
    pub value: ListingValue,
    /// Key document and number of the record or tombstone.
    pub order: (u64, u64),
    pub is_tombstone: bool,
    /// Key document and time of the card.
    pub card: Option<(u64, u64)>,
}

/// A listing with verified signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedListing {
    facts: ListingFacts,
    statement: Statement,
    card: Option<SignedCard>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Statement {
    Record(SignedTag),
    Tombstone(SignedTombstone),
}

/// Why a listing is not that of a publisher.
#[derive(Debug, Error)]
pub enum ListingError {
    #[error("listing has no valid tag record")]
    Record(#[from] TagError),
    #[error("listing has no valid tombstone")]
    Tombstone(#[from] TombstoneError),
    #[error("listing has no valid card")]
    Card(#[from] CardError),
    #[error("listing has a card of manifest {found}, and a record of manifest {expected}")]
    OtherManifest { found: Digest, expected: Digest },
    #[error("listing has a card of model {found}, and a record of model {expected}")]
    OtherModel { found: ModelName, expected: ModelName },
}

impl Listing {
    /// Most bytes of a listing's envelopes.
    pub const BYTES_MAX: usize = TAG_ENVELOPE_BYTES_MAX + CARD_ENVELOPE_BYTES_MAX;

    /// Returns how many bytes the envelopes have.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Record { record, card } => record.len() + card.as_ref().map_or(0, String::len),
            Self::Tombstone { tombstone } => tombstone.len(),
        }
    }

    /// Returns the listing without its card. A receiver keeps this where the record holds and the card does not.
    #[must_use]
    pub fn without_card(self) -> Self {
        match self {
            Self::Record { record, .. } => Self::Record { record, card: None },
            tombstone @ Self::Tombstone { .. } => tombstone,
        }
    }

    /// Returns what the listing says of itself. Verifies no signature.
    ///
    /// # Errors
    /// If the envelopes cannot be parsed, or the card is of another manifest, model or publisher than the record.
    pub fn read(&self) -> Result<ListingFacts, ListingError> {
        match self {
            Self::Tombstone { tombstone } => {
                let (read, envelope) = tombstone::read(tombstone)?;
                let payload = Digest::of(&envelope.payload);
                Ok(ListingFacts {
                    publisher: read.publisher,
                    key: ListingKey::of(&read.model, &read.tag),
                    value: ListingValue::of_tombstone(payload),
                    order: read.order(),
                    is_tombstone: true,
                    card: None,
                })
            }
            Self::Record { record, card } => {
                let envelope = Envelope::from_bytes(record.as_bytes(), TAG_ENVELOPE_BYTES_MAX)
                    .map_err(TagError::Envelope)?;
                let read = TagRecord::from_payload(&envelope.payload).map_err(TagError::Json)?;
                let payload = Digest::of(&envelope.payload);
                let card = card.as_deref().map(card::read).transpose()?;
                if let Some((card, _)) = &card {
                    check_subject(card, &read)?;
                }
                Ok(facts_of(
                    &read,
                    payload,
                    card.map(|(card, envelope)| (card, Digest::of(&envelope.payload))),
                ))
            }
        }
    }
}

fn facts_of(record: &TagRecord, payload: Digest, card: Option<(card::Card, Digest)>) -> ListingFacts {
    ListingFacts {
        publisher: record.publisher,
        key: ListingKey::of(&record.model, &record.tag),
        value: ListingValue::of_record(payload, card.as_ref().map(|(_, payload)| *payload)),
        order: record.order(),
        is_tombstone: false,
        card: card.map(|(card, _)| (card.key_document, card.issued)),
    }
}

/// Checks that the card is about the record's manifest.
fn check_subject(card: &card::Card, record: &TagRecord) -> Result<(), ListingError> {
    let (found, expected) = (card.publisher, record.publisher);
    if found != expected {
        return Err(CardError::OtherPublisher { found, expected }.into());
    }
    let (found, expected) = (card.manifest, record.manifest.digest);
    if found != expected {
        return Err(ListingError::OtherManifest { found, expected });
    }
    if card.model.folded() != record.model.folded() {
        let (found, expected) = (card.model.clone(), record.model.clone());
        return Err(ListingError::OtherModel { found, expected });
    }
    Ok(())
}

impl SignedListing {
    /// Verifies a listing against the keys of its publisher.
    ///
    /// # Errors
    /// If record, card or tombstone does not verify, or the card is not about the record's manifest.
    pub fn verify(listing: &Listing, keys: &KeyHistory) -> Result<Self, ListingError> {
        let facts = listing.read()?;
        let (statement, card) = match listing {
            Listing::Tombstone { tombstone } => {
                (Statement::Tombstone(SignedTombstone::verify(tombstone, keys)?), None)
            }
            Listing::Record { record, card } => {
                let record = SignedTag::verify(record, keys)?;
                let card = card.as_deref().map(|text| SignedCard::verify(text, keys)).transpose()?;
                (Statement::Record(record), card)
            }
        };
        Ok(Self { facts, statement, card })
    }

    /// Returns what the rules of the catalogue know of the listing.
    pub const fn facts(&self) -> &ListingFacts {
        &self.facts
    }

    /// Returns the record; `None` in a tombstone's listing.
    pub const fn record(&self) -> Option<&SignedTag> {
        match &self.statement {
            Statement::Record(record) => Some(record),
            Statement::Tombstone(_) => None,
        }
    }

    /// Returns the tombstone; `None` in a record's listing.
    pub const fn tombstone(&self) -> Option<&SignedTombstone> {
        match &self.statement {
            Statement::Record(_) => None,
            Statement::Tombstone(tombstone) => Some(tombstone),
        }
    }

    /// Returns the card of the record's manifest.
    pub const fn card(&self) -> Option<&SignedCard> {
        self.card.as_ref()
    }

    /// Returns the listing, byte for byte.
    pub fn to_listing(&self) -> Listing {
        match &self.statement {
            Statement::Record(record) => Listing::Record {
                record: record.envelope().to_owned(),
                card: self.card.as_ref().map(|it| it.envelope().to_owned()),
            },
            Statement::Tombstone(tombstone) => {
                Listing::Tombstone { tombstone: tombstone.envelope().to_owned() }
            }
        }
    }
}

impl ListingFacts {
    /// Returns whether this listing takes the place of `known`. Both must be of one tag.
    ///
    /// The first of these that differs decides:
    /// 1. The higher key document and then the higher number, as among records. So a later record undoes a tombstone.
    /// 2. A tombstone before a record.
    /// 3. A record with a card before one without.
    /// 4. The card of the higher key document, and then the later one, so that a publisher can correct a card.
    /// 5. The smaller value, so that all nodes choose the same.
    ///
    /// This is a strict total order of the values of a tag. So merging is commutative, associative and idempotent: nodes that
    /// have seen the same listings keep the same ones.
    pub fn supersedes(&self, known: &Self) -> bool {
        let rank = |it: &Self| (it.order, it.is_tombstone, it.card);
        match rank(self).cmp(&rank(known)) {
            Ordering::Equal => self.value < known.value,
            other => other.is_gt(),
        }
    }
}

impl ListingKey {
    /// Returns the key of a tag.
    pub fn of(model: &ModelName, tag: &Tag) -> Self {
        let mut hasher = Sha256::new_with_prefix(model.folded().as_bytes());
        hasher.update([0]);
        hasher.update(tag.as_str().as_bytes());
        Self(hasher.finalize().into())
    }
}

impl ListingValue {
    /// Returns the value of a record and a card, by the digests of their payloads.
    pub fn of_record(record: Digest, card: Option<Digest>) -> Self {
        let mut hasher = Sha256::new_with_prefix(RECORD_DOMAIN);
        hasher.update(record.as_bytes());
        if let Some(card) = card {
            hasher.update(card.as_bytes());
        }
        Self(hasher.finalize().into())
    }

    /// Returns the value of a tombstone, by the digest of its payload.
    pub fn of_tombstone(tombstone: Digest) -> Self {
        let hasher = Sha256::new_with_prefix(TOMBSTONE_DOMAIN);
        Self(hasher.chain_update(tombstone.as_bytes()).finalize().into())
    }
}

/// Implements the form in bytes, and the form in messages for developers.
macro_rules! bytes_form {
    ($($name:ty),*) => {$(
        impl $name {
            /// Returns the value with exactly these 32 bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Returns the 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }
    )*};
}

bytes_form!(ListingKey, ListingValue);

const _: () = assert!(TOMBSTONE_BYTES_MAX <= Listing::BYTES_MAX);

#[cfg(test)]
mod tests;
