//! [`Tombstone`]: a publisher's statement that a tag is no longer listed.
//!
//! It takes a tag out of catalogues only. Records and models stay valid: a [`crate::revocation`] takes back a model.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::envelope::{Envelope, EnvelopeError, SignatureError};
use crate::json::{self, JsonError};
use crate::key::{KeyHistory, SeqError};
use crate::limits::{SEQ_MAX, TOMBSTONE_BYTES_MAX};
use crate::name::{ModelName, PublisherId, Tag};

/// Payload type of a tombstone.
pub const TOMBSTONE_TYPE: &str = "application/vnd.reg.tombstone.v1+json";

/// Says that the records of a tag up to a number are no longer listed. A later record is listed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    pub publisher: PublisherId,
    pub model: ModelName,
    pub tag: Tag,
    /// The highest number that is no longer listed: that of the tag's head when the tombstone was signed.
    pub seq: u64,
    /// Version of the key document that the signing keys belong to.
    pub key_document: u64,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub issued: u64,
}

/// Why an envelope is not a tombstone of a publisher.
#[derive(Debug, Error)]
pub enum TombstoneError {
    #[error("tombstone is not an envelope")]
    Envelope(#[from] EnvelopeError),
    #[error("tombstone cannot be parsed")]
    Json(#[from] JsonError),
    #[error("tombstone is that of publisher {found}, not of {expected}")]
    OtherPublisher { found: PublisherId, expected: PublisherId },
    #[error("tombstone of {model}:{tag} is not signed by key document {version} of its publisher")]
    Signature { model: ModelName, tag: Tag, version: u64, source: SignatureError },
    #[error("tombstone of {model}:{tag} has a number that its publisher's keys do not allow")]
    Seq { model: ModelName, tag: Tag, source: SeqError },
}

/// A tombstone with a verified signature, and its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTombstone {
    tombstone: Tombstone,
    payload: Digest,
    envelope: String,
}

impl Tombstone {
    /// Returns the bytes to sign.
    pub fn to_payload(&self) -> Vec<u8> {
        json::to_vec(self)
    }

    /// Parses a payload. Verifies nothing.
    ///
    /// # Errors
    /// If `payload` is not a tombstone.
    pub fn from_payload(payload: &[u8]) -> Result<Self, JsonError> {
        json::from_slice(payload, TOMBSTONE_BYTES_MAX)
    }

    /// Returns its place among the records of its tag: key document, then number, as of a tag record.
    pub const fn order(&self) -> (u64, u64) {
        (self.key_document, self.seq)
    }
}

impl SignedTombstone {
    /// Verifies the envelope `text` against a publisher's keys. What a retired key has signed counts only where the newest
    /// key document inherits it.
    ///
    /// A floor of a later key document voids a tombstone as it voids a record. A floor of its own key document does not: the
    /// number is that of an older record, and numbers no new one.
    ///
    /// # Errors
    /// If `text` is no tombstone in an envelope, is by another publisher, is not signed, or has a number that is out of range
    /// or void.
    pub fn verify(text: &str, keys: &KeyHistory) -> Result<Self, TombstoneError> {
        let (tombstone, envelope) = read(text)?;
        let (found, expected) = (tombstone.publisher, keys.publisher());
        if found != expected {
            return Err(TombstoneError::OtherPublisher { found, expected });
        }
        let version = tombstone.key_document;
        if let Err(source) = keys.check(&envelope, TOMBSTONE_TYPE, version) {
            let Tombstone { model, tag, .. } = tombstone;
            return Err(TombstoneError::Signature { model, tag, version, source });
        }
        if let Err(source) = check_seq(keys, version, tombstone.seq) {
            let Tombstone { model, tag, .. } = tombstone;
            return Err(TombstoneError::Seq { model, tag, source });
        }
        Ok(Self { tombstone, payload: Digest::of(&envelope.payload), envelope: text.to_owned() })
    }

    /// Returns the signed tombstone.
    pub const fn tombstone(&self) -> &Tombstone {
        &self.tombstone
    }

    /// Returns the digest of the payload.
    pub const fn payload_digest(&self) -> Digest {
        self.payload
    }

    /// Returns the envelope, byte for byte.
    pub fn envelope(&self) -> &str {
        &self.envelope
    }
}

fn check_seq(keys: &KeyHistory, version: u64, seq: u64) -> Result<(), SeqError> {
    if !(1..=SEQ_MAX).contains(&seq) {
        return Err(SeqError::OutOfRange { seq });
    }
    let later = keys.documents().filter(|it| it.version > version);
    match later.filter_map(|it| Some((it.version, it.floor?))).find(|(_, floor)| seq >= *floor) {
        Some((version, floor)) => Err(SeqError::Voided { seq, floor, version }),
        None => Ok(()),
    }
}

/// Parses the envelope of a tombstone. Verifies no signature.
pub(super) fn read(text: &str) -> Result<(Tombstone, Envelope), TombstoneError> {
    let envelope = Envelope::from_bytes(text.as_bytes(), TOMBSTONE_BYTES_MAX)?;
    Ok((Tombstone::from_payload(&envelope.payload)?, envelope))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::envelope::PublicKey;
    use crate::key::{KeyDocument, publisher_id};

    #[test]
    fn only_the_publisher_takes_its_tags_out() {
        let [key, other] = [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]));
        let history = |key: &SigningKey| {
            let document = KeyDocument { floor: Some(9), ..KeyDocument::first(PublicKey::of(key)) };
            let id = publisher_id(&document.to_payload());
            KeyHistory::verify(id, &[document.sign(key).to_json()]).unwrap()
        };
        let keys = history(&key);
        let tombstone = |seq| Tombstone {
            publisher: keys.publisher(),
            model: "tiny".parse().unwrap(),
            tag: Tag::latest(),
            seq,
            key_document: 1,
            issued: 1_700_000_000,
        };
        let sign = |seq, key| Envelope::sign(TOMBSTONE_TYPE, tombstone(seq).to_payload(), &[key]).to_json();
        let verify = |text: String, keys: &KeyHistory| SignedTombstone::verify(&text, keys);
        assert_eq!(verify(sign(3, &key), &keys).unwrap().tombstone(), &tombstone(3), "below its own floor");
        assert!(matches!(verify(sign(3, &other), &keys), Err(TombstoneError::Signature { .. })));
        assert!(matches!(
            verify(sign(3, &key), &history(&other)),
            Err(TombstoneError::OtherPublisher { .. })
        ));
        for seq in [0, SEQ_MAX + 1] {
            assert!(matches!(verify(sign(seq, &key), &keys), Err(TombstoneError::Seq { .. })), "{seq}");
        }
    }
}
