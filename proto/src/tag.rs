//! [`TagRecord`]: the signed statement that a tag points to a manifest from now on. Records are numbered and chained.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bounded::Bounded;
use crate::digest::Digest;
use crate::envelope::{Envelope, EnvelopeError, SignatureError};
use crate::json::{self, JsonError, present, stated};
use crate::key::{KeyHistory, SeqError};
use crate::limits::{SETTLES_MAX, TAG_ENVELOPE_BYTES_MAX};
use crate::name::{ModelName, PublisherId, Tag};
use crate::naming::RecordFacts;

/// Payload type of a tag record.
pub const TAG_RECORD_TYPE: &str = "application/vnd.reg.tag.v1+json";

/// The manifest that a tag points to. Times are seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagRecord {
    pub publisher: PublisherId,
    pub model: ModelName,
    pub tag: Tag,
    /// The record's number: one more than the previous record's.
    pub seq: u64,
    /// The digest of the previous record's payload, as the signer knew it; `None` in the first.
    #[serde(deserialize_with = "present")]
    pub prev: Option<Digest>,
    pub manifest: ManifestPointer,
    /// Version of the key document that the signing keys belong to.
    pub key_document: u64,
    pub issued: u64,
    /// Time from which a pull warns that a newer record may exist.
    #[serde(deserialize_with = "present")]
    pub fresh_until: Option<u64>,
    /// Time from which a pull refuses the tag unless the user allows it.
    #[serde(deserialize_with = "present")]
    pub expires: Option<u64>,
    /// Digests of the payloads of contradicting records that this record settles: this record holds in their place.
    ///
    /// Each later record must name them too. The field is absent if there are none.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub settles: Bounded<Digest, SETTLES_MAX>,
    /// The lowest number of this tag that a node may fall back to where this record's model is not available.
    ///
    /// The publisher states it to forbid a version with a grave fault. The field is absent if every earlier version may be used.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    pub min_usable: Option<u64>,
}

/// The manifest that a tag points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestPointer {
    pub digest: Digest,
    /// Size of the manifest in bytes.
    pub size: u64,
}

/// Why an envelope is not a tag record of a publisher.
#[derive(Debug, Error)]
pub enum TagError {
    #[error("tag record is not an envelope")]
    Envelope(#[from] EnvelopeError),
    #[error("tag record cannot be parsed")]
    Json(#[from] JsonError),
    #[error("tag record is that of publisher {found}, not of {expected}")]
    OtherPublisher { found: PublisherId, expected: PublisherId },
    #[error("tag record {tag} of {model} is not signed by key document {version} of its publisher")]
    Signature { model: ModelName, tag: Tag, version: u64, source: SignatureError },
    #[error("tag record {tag} of {model} has a number that its publisher's keys do not allow")]
    Seq { model: ModelName, tag: Tag, source: SeqError },
}

/// A tag record with a verified signature, and its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTag {
    record: TagRecord,
    payload: Digest,
    envelope: String,
}

fn is_empty(settles: &[Digest]) -> bool {
    settles.is_empty()
}

impl TagRecord {
    /// Returns the sort key of records of one tag: key document, then number. Newer keys outrank every number of older ones.
    pub const fn order(&self) -> (u64, u64) {
        (self.key_document, self.seq)
    }

    /// Returns the bytes to sign.
    pub fn to_payload(&self) -> Vec<u8> {
        json::to_vec(self)
    }

    /// Parses a payload. Verifies nothing.
    ///
    /// # Errors
    /// If `payload` is not a tag record.
    pub fn from_payload(payload: &[u8]) -> Result<Self, JsonError> {
        json::from_slice(payload, TAG_ENVELOPE_BYTES_MAX)
    }
}

impl SignedTag {
    /// Verifies the envelope `text` against a publisher's keys.
    ///
    /// # Errors
    /// If `text` is no tag record in an envelope, is by another publisher, is not signed by the publisher's keys, or has a
    /// number that a key document does not allow.
    pub fn verify(text: &str, keys: &KeyHistory) -> Result<Self, TagError> {
        let envelope = Envelope::from_bytes(text.as_bytes(), TAG_ENVELOPE_BYTES_MAX)?;
        let record = TagRecord::from_payload(&envelope.payload)?;
        if record.publisher != keys.publisher() {
            return Err(TagError::OtherPublisher { found: record.publisher, expected: keys.publisher() });
        }
        if let Err(source) = keys.check(&envelope, TAG_RECORD_TYPE, record.key_document) {
            let TagRecord { model, tag, key_document: version, .. } = record;
            return Err(TagError::Signature { model, tag, version, source });
        }
        if let Err(source) = keys.check_seq(record.key_document, record.seq) {
            let TagRecord { model, tag, .. } = record;
            return Err(TagError::Seq { model, tag, source });
        }
        Ok(Self { record, payload: Digest::of(&envelope.payload), envelope: text.to_owned() })
    }

    /// Reads an envelope that was verified before. The caller knows that its bytes and the publisher's keys have not changed since.
    ///
    /// # Errors
    /// If `text` is no tag record in an envelope.
    pub fn of_verified(text: &str) -> Result<Self, TagError> {
        let envelope = Envelope::from_bytes(text.as_bytes(), TAG_ENVELOPE_BYTES_MAX)?;
        let record = TagRecord::from_payload(&envelope.payload)?;
        Ok(Self { record, payload: Digest::of(&envelope.payload), envelope: text.to_owned() })
    }

    /// Returns the signed record.
    pub const fn record(&self) -> &TagRecord {
        &self.record
    }

    /// Returns the digest of the payload. The next record names it as `prev`.
    pub const fn payload_digest(&self) -> Digest {
        self.payload
    }

    /// Returns the envelope, byte for byte.
    pub fn envelope(&self) -> &str {
        &self.envelope
    }

    /// Returns whether the two records contradict each other, so that the publisher cannot have meant both.
    ///
    /// Both must be of one tag. See [`RecordFacts::contradicts`].
    pub fn contradicts(&self, later: &Self) -> bool {
        let name = |it: &TagRecord| (it.publisher, it.model.folded(), it.tag.clone());
        if name(&self.record) != name(&later.record) {
            return false;
        }
        self.facts().contradicts(&later.facts())
    }

    /// Returns what the naming rules know of the record.
    pub fn facts(&self) -> RecordFacts {
        RecordFacts::of(&self.record, self.payload)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::envelope::PublicKey;
    use crate::equivocation::Equivocation;
    use crate::key::{KeyDocument, publisher_id};

    fn keys(seed: u8) -> (SigningKey, KeyHistory) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let document = KeyDocument::first(PublicKey::of(&key));
        let history =
            KeyHistory::verify(publisher_id(&document.to_payload()), &[document.sign(&key).to_json()]);
        (key, history.unwrap())
    }

    fn record(publisher: PublisherId) -> TagRecord {
        TagRecord {
            publisher,
            model: "tiny".parse().unwrap(),
            tag: Tag::latest(),
            seq: 1,
            prev: None,
            manifest: ManifestPointer { digest: Digest::of(b"m"), size: 1 },
            key_document: 1,
            issued: 1_700_000_000,
            fresh_until: None,
            expires: None,
            settles: Bounded::empty(),
            min_usable: None,
        }
    }

    fn sign(record: &TagRecord, key: &SigningKey) -> String {
        Envelope::sign(TAG_RECORD_TYPE, record.to_payload(), &[key]).to_json()
    }

    #[test]
    fn only_the_publisher_moves_its_tags() {
        let (key, history) = keys(1);
        let (other_key, other) = keys(2);
        let mine = record(history.publisher());
        assert!(SignedTag::verify(&sign(&mine, &key), &history).is_ok());
        assert!(matches!(
            SignedTag::verify(&sign(&mine, &other_key), &history),
            Err(TagError::Signature { .. })
        ));
        assert!(matches!(
            SignedTag::verify(&sign(&mine, &key), &other),
            Err(TagError::OtherPublisher { .. })
        ));
        let later = TagRecord { key_document: 2, ..mine };
        assert!(matches!(SignedTag::verify(&sign(&later, &key), &history), Err(TagError::Signature { .. })));
    }

    #[test]
    fn two_contents_under_one_number_contradict() {
        let (key, history) = keys(1);
        let one = record(history.publisher());
        let two =
            TagRecord { manifest: ManifestPointer { digest: Digest::of(b"n"), size: 1 }, ..one.clone() };
        let after =
            |it: &TagRecord| TagRecord { seq: 2, prev: Some(Digest::of(&it.to_payload())), ..two.clone() };
        let (next, far) = (after(&one), TagRecord { seq: 9, ..after(&two) });
        let settled = TagRecord {
            seq: 2,
            settles: Bounded::first_of([&one, &two].map(|it| Digest::of(&it.to_payload()))),
            ..two.clone()
        };
        let [one, two, next, far, settled] =
            [one, two, next, far, settled].map(|it| SignedTag::verify(&sign(&it, &key), &history).unwrap());
        assert!(one.contradicts(&two) && two.contradicts(&one));
        assert!(two.contradicts(&next), "it names another record as the previous one");
        assert!(!one.contradicts(&next) && !one.contradicts(&one) && !one.contradicts(&far));
        let proof = Equivocation::of(&two, &one).unwrap();
        assert_eq!(Equivocation::verify(&proof.to_claim(), &history).unwrap(), proof);
        assert!(proof.is_settled_by(settled.record()));
        for other in [&one, &two, &next, &far] {
            assert!(!proof.is_settled_by(other.record()), "{}", other.record().seq);
        }
        assert!(!one.contradicts(&settled) && !two.contradicts(&settled));
    }

    #[test]
    fn unknown_missing_and_duplicate_fields_are_errors() {
        let text = String::from_utf8(record(keys(1).1.publisher()).to_payload()).unwrap();
        assert!(TagRecord::from_payload(text.as_bytes()).is_ok());
        assert!(
            TagRecord::from_payload(text.replace("{\"publisher\"", "{\"x\":1,\"publisher\"").as_bytes())
                .is_err()
        );
        assert!(TagRecord::from_payload(text.replace("\"prev\":null,", "").as_bytes()).is_err());
        assert!(
            TagRecord::from_payload(text.replace("\"seq\":1", "\"seq\":1,\"seq\":2").as_bytes()).is_err()
        );
        assert!(TagRecord::from_payload(text.replace("\"seq\":1", "\"seq\":1.0").as_bytes()).is_err());
    }
}
