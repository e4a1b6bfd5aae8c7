//! Key documents: the keys that sign for a publisher, from its first document on.
//!
//! A publisher's id is the SHA-256 of the first document's payload. The thresholds of documents n and n+1 both sign
//! document n+1 (The Update Framework's rule for root metadata). So a verifier that knows the id can follow every rotation.

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::envelope::{Envelope, EnvelopeError, PublicKey, SignatureError};
use crate::json::{self, JsonError, present, stated};
use crate::limits::{KEY_DOCUMENTS_MAX, KEY_ENVELOPE_BYTES_MAX, KEY_HISTORY_BYTES_MAX, KEYS_MAX, SEQ_MAX};
use crate::name::PublisherId;
use crate::revocation::{Revocation, Revocations, Revoked};

/// Payload type of a key document.
pub const KEY_DOCUMENT_TYPE: &str = "application/vnd.reg.key-document.v1+json";

/// Names the keys that sign for a publisher, and how many of them must sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyDocument {
    /// 1 for the first document, one more for each next one.
    pub version: u64,
    pub keys: Vec<PublicKey>,
    /// How many of the keys must sign.
    pub threshold: usize,
    /// The digest of the previous document's payload; `None` in the first.
    #[serde(deserialize_with = "present")]
    pub previous: Option<Digest>,
    /// A commitment to the next document's keys ([`KeyDocument::commitment`]); `None` leaves them open.
    #[serde(deserialize_with = "present")]
    pub next: Option<Digest>,
    /// The lowest number of records that this document signs. Records that older documents signed count only below it.
    ///
    /// It helps after a thief of an older key has used up numbers. The field is absent if the document sets no floor.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    pub floor: Option<u64>,
}

/// Why a publisher's keys cannot have given a record this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SeqError {
    #[error("number {seq} is not in the range 1 to {SEQ_MAX}")]
    OutOfRange { seq: u64 },
    #[error("number {seq} is below {floor}, the floor of key document {version}")]
    BelowFloor { seq: u64, floor: u64, version: u64 },
    #[error(
        "number {seq} is void: key document {version} has the floor {floor}, and older keys count only below it"
    )]
    Voided { seq: u64, floor: u64, version: u64 },
}

/// Why a list of envelopes is not a publisher's key history.
#[derive(Debug, Error)]
pub enum KeyError {
    #[error("publisher has no key document")]
    Empty,
    #[error("publisher has {count} key documents, at most {KEY_DOCUMENTS_MAX} are allowed")]
    TooMany { count: usize },
    #[error("key documents are not a JSON array of envelopes")]
    List(#[source] JsonError),
    #[error("key document is not an envelope")]
    Envelope(#[from] EnvelopeError),
    #[error("key document cannot be parsed")]
    Json(#[from] JsonError),
    #[error("first key document is that of publisher {found}, not of {expected}")]
    OtherPublisher { found: PublisherId, expected: PublisherId },
    #[error("key document has version {version}, expected {expected}")]
    Version { version: u64, expected: u64 },
    #[error("key document {version} does not name the previous document's digest")]
    NotAfterPrevious { version: u64 },
    #[error("key document {version} has other keys than the previous document committed to")]
    NotCommitted { version: u64 },
    #[error("key document {version} has {keys} keys and needs {threshold} of them")]
    Threshold { version: u64, keys: usize, threshold: usize },
    #[error("key document {version} is not signed as it must be")]
    Signature { version: u64, source: SignatureError },
    #[error("key document {version} states a first number that is none: 1 to {SEQ_MAX}")]
    Floor { version: u64 },
}

impl KeyDocument {
    /// Returns the first document of a publisher with one key.
    pub fn first(key: PublicKey) -> Self {
        Self { version: 1, keys: vec![key], threshold: 1, previous: None, next: None, floor: None }
    }

    /// Returns the bytes to sign. The digest of the first document's bytes is the publisher's id.
    pub fn to_payload(&self) -> Vec<u8> {
        json::to_vec(self)
    }

    /// Returns the digest of keys and threshold, to which the previous document may commit.
    pub fn commitment(&self) -> Digest {
        Digest::of(&json::to_vec(&(&self.keys, self.threshold)))
    }

    /// Returns this document in an envelope that `key` has signed.
    pub fn sign(&self, key: &SigningKey) -> Envelope {
        Envelope::sign(KEY_DOCUMENT_TYPE, self.to_payload(), &[key])
    }

    /// Parses a payload. Verifies no signature.
    ///
    /// # Errors
    /// If `payload` is not a key document, or its threshold or floor is impossible.
    pub fn from_payload(payload: &[u8]) -> Result<Self, KeyError> {
        let document: Self = json::from_slice(payload, KEY_ENVELOPE_BYTES_MAX)?;
        let keys = document.keys.len();
        if keys > KEYS_MAX || !(1..=keys).contains(&document.threshold) {
            return Err(KeyError::Threshold {
                version: document.version,
                keys,
                threshold: document.threshold,
            });
        }
        if document.floor.is_some_and(|floor| !(1..=SEQ_MAX).contains(&floor)) {
            return Err(KeyError::Floor { version: document.version });
        }
        Ok(document)
    }

    fn check_signed(&self, envelope: &Envelope, by: &Self) -> Result<(), KeyError> {
        envelope
            .verify(KEY_DOCUMENT_TYPE, &by.keys, by.threshold)
            .map_err(|source| KeyError::Signature { version: self.version, source })
    }
}

/// The key documents of one publisher, and its revocations. A value of this type proves that every step is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHistory {
    publisher: PublisherId,
    documents: Vec<(KeyDocument, Digest)>,
    envelopes: Vec<String>,
    revocations: Revocations,
}

impl KeyHistory {
    /// Verifies `envelopes`, the key documents of `publisher` from the first on.
    ///
    /// # Errors
    /// If the first document is another publisher's, a version is missing, a signature is wrong, or keys differ from a
    /// commitment.
    pub fn verify(publisher: PublisherId, envelopes: &[String]) -> Result<Self, KeyError> {
        if envelopes.len() > KEY_DOCUMENTS_MAX {
            return Err(KeyError::TooMany { count: envelopes.len() });
        }
        let mut documents: Vec<(KeyDocument, Digest)> = Vec::new();
        for text in envelopes {
            let envelope = Envelope::from_bytes(text.as_bytes(), KEY_ENVELOPE_BYTES_MAX)?;
            let document = KeyDocument::from_payload(&envelope.payload)?;
            let digest = Digest::of(&envelope.payload);
            document.check_signed(&envelope, &document)?;
            match documents.last() {
                None => check_first(publisher, &document, digest)?,
                Some((before, before_digest)) => check_next(before, *before_digest, &document, &envelope)?,
            }
            documents.push((document, digest));
        }
        if documents.is_empty() {
            return Err(KeyError::Empty);
        }
        Ok(Self { publisher, documents, envelopes: envelopes.to_vec(), revocations: Revocations::default() })
    }

    /// Verifies `envelopes` as the documents of the publisher that the first of them names: its id is the digest of the
    /// first payload.
    ///
    /// # Errors
    /// No document, or documents that do not follow each other.
    pub fn read(envelopes: &[String]) -> Result<Self, KeyError> {
        let first = envelopes.first().ok_or(KeyError::Empty)?;
        let envelope = Envelope::from_bytes(first.as_bytes(), KEY_ENVELOPE_BYTES_MAX)?;
        Self::verify(publisher_id(&envelope.payload), envelopes)
    }

    /// Verifies the documents of `publisher` in a JSON array of envelopes, as they travel beside a manifest and are stored.
    ///
    /// # Errors
    /// If `text` is not such an array or is too long, and for everything that [`Self::verify`] refuses.
    pub fn from_json(publisher: PublisherId, text: &[u8]) -> Result<Self, KeyError> {
        Self::verify(publisher, &envelopes_in(text)?)
    }

    /// Verifies a JSON array of envelopes as the documents of the publisher that the first of them names.
    ///
    /// # Errors
    /// If `text` is not such an array or is too long, and for everything that [`Self::read`] refuses.
    pub fn read_json(text: &[u8]) -> Result<Self, KeyError> {
        Self::read(&envelopes_in(text)?)
    }

    /// Returns the envelopes as a JSON array, which [`Self::from_json`] and [`Self::read_json`] read.
    pub fn to_json(&self) -> String {
        String::from_utf8(json::to_vec(&self.envelopes)).expect("JSON is UTF-8")
    }

    /// Returns the publisher's id.
    pub const fn publisher(&self) -> PublisherId {
        self.publisher
    }

    /// Returns the newest document's version.
    pub fn version(&self) -> u64 {
        self.documents.len() as u64
    }

    /// Returns the digest of the newest document's payload.
    pub fn head(&self) -> Digest {
        self.documents.last().expect("a history has a first document").1
    }

    /// Returns the documents, the first one first.
    pub fn documents(&self) -> impl DoubleEndedIterator<Item = &KeyDocument> {
        self.documents.iter().map(|(document, _)| document)
    }

    /// Returns the document of this version, or `None` if there is none.
    pub fn document(&self, version: u64) -> Option<&KeyDocument> {
        let index = usize::try_from(version.checked_sub(1)?).ok()?;
        self.documents.get(index).map(|(document, _)| document)
    }

    /// Returns the envelopes, byte for byte, with the first document's first.
    pub fn envelopes(&self) -> &[String] {
        &self.envelopes
    }

    /// Returns whether `other` equals this history or continues it.
    pub fn is_prefix_of(&self, other: &Self) -> bool {
        other.documents.starts_with(&self.documents)
    }

    /// Returns the newest document.
    pub fn newest(&self) -> &KeyDocument {
        &self.documents.last().expect("a history has a first document").0
    }

    /// Adds those of `envelopes` that are revocations by this publisher, and skips the others. Removes no revocation.
    pub fn take_revocations<'a>(&mut self, envelopes: impl IntoIterator<Item = &'a str>) {
        let documents: Vec<&KeyDocument> = self.documents.iter().map(|(document, _)| document).collect();
        self.revocations.take(self.publisher, &documents, envelopes);
    }

    /// Adds the revocations of `later` if it continues this history, without taking over its newer keys.
    ///
    /// A thief of newer keys gains nothing by this: a thief of the present keys can revoke as much.
    pub fn heed(&mut self, later: &Self) {
        if self.publisher == later.publisher && self.is_prefix_of(later) {
            self.revocations.heed(&later.revocations);
        }
    }

    /// Returns the revocations that count, each with its envelope.
    pub fn revocations(&self) -> impl Iterator<Item = (&Revocation, &str)> {
        self.revocations.iter()
    }

    /// Returns the revocation of `subject`, or `None` if it is not revoked.
    pub fn revocation(&self, subject: &Revoked) -> Option<&Revocation> {
        self.revocations.get(subject)
    }

    /// Returns the keys of document `version` that are not revoked.
    pub fn signers(&self, version: u64) -> Vec<PublicKey> {
        let keys = self.document(version).map(|document| document.keys.iter()).into_iter().flatten();
        keys.filter(|key| !self.revocations.is_revoked(key)).copied().collect()
    }

    /// Returns whether the newest keys can no longer sign, because too many of them are revoked.
    pub fn is_dead(&self) -> bool {
        self.signers(self.version()).len() < self.newest().threshold
    }

    /// Verifies that `envelope` is of this type and signed by the threshold of key document `version`. Signatures of revoked
    /// keys do not count.
    ///
    /// # Errors
    /// If there is no such document, the payload type is another one, or valid signatures are too few.
    pub fn check(
        &self,
        envelope: &Envelope,
        payload_type: &'static str,
        version: u64,
    ) -> Result<(), SignatureError> {
        let Some(document) = self.document(version) else {
            return Err(SignatureError::TooFew { valid: 0, threshold: 1 });
        };
        let signers = self.signers(version);
        let revoked = document.keys.len() - signers.len();
        match envelope.verify(payload_type, &signers, document.threshold) {
            Err(SignatureError::TooFew { valid, threshold }) if revoked > 0 => {
                Err(SignatureError::Revoked { valid, threshold, revoked })
            }
            checked => checked,
        }
    }

    /// Checks that a record signed under key document `version` may have the number `seq`.
    ///
    /// # Errors
    /// If the number is out of range, below the document's floor, or void by the floor of a later document.
    pub fn check_seq(&self, version: u64, seq: u64) -> Result<(), SeqError> {
        if !(1..=SEQ_MAX).contains(&seq) {
            return Err(SeqError::OutOfRange { seq });
        }
        let floors = self.documents.iter().filter_map(|(it, _)| Some((it.version, it.floor?)));
        let (own, later): (Vec<_>, Vec<_>) = floors.partition(|(stated_by, _)| *stated_by <= version);
        if let Some((version, floor)) = own.into_iter().next_back().filter(|(_, floor)| seq < *floor) {
            return Err(SeqError::BelowFloor { seq, floor, version });
        }
        match later.into_iter().find(|(_, floor)| seq >= *floor) {
            Some((version, floor)) => Err(SeqError::Voided { seq, floor, version }),
            None => Ok(()),
        }
    }
}

/// Returns the id of the publisher with this payload of its first key document.
pub fn publisher_id(first_payload: &[u8]) -> PublisherId {
    PublisherId::from_bytes(*Digest::of(first_payload).as_bytes())
}

fn envelopes_in(text: &[u8]) -> Result<Vec<String>, KeyError> {
    json::from_slice(text, KEY_HISTORY_BYTES_MAX).map_err(KeyError::List)
}

fn check_first(publisher: PublisherId, document: &KeyDocument, digest: Digest) -> Result<(), KeyError> {
    let found = PublisherId::from_bytes(*digest.as_bytes());
    if found != publisher {
        return Err(KeyError::OtherPublisher { found, expected: publisher });
    }
    if document.version != 1 {
        return Err(KeyError::Version { version: document.version, expected: 1 });
    }
    if document.previous.is_some() {
        return Err(KeyError::NotAfterPrevious { version: 1 });
    }
    Ok(())
}

fn check_next(
    before: &KeyDocument,
    digest: Digest,
    document: &KeyDocument,
    envelope: &Envelope,
) -> Result<(), KeyError> {
    let version = document.version;
    if Some(version) != before.version.checked_add(1) {
        return Err(KeyError::Version { version, expected: before.version.saturating_add(1) });
    }
    if document.previous != Some(digest) {
        return Err(KeyError::NotAfterPrevious { version });
    }
    if before.next.is_some_and(|committed| committed != document.commitment()) {
        return Err(KeyError::NotCommitted { version });
    }
    document.check_signed(envelope, before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn signed(document: &KeyDocument, keys: &[u8]) -> String {
        let keys: Vec<SigningKey> = keys.iter().map(|seed| key(*seed)).collect();
        Envelope::sign(KEY_DOCUMENT_TYPE, document.to_payload(), &keys.iter().collect::<Vec<_>>()).to_json()
    }

    fn after(before: &KeyDocument, seed: u8) -> KeyDocument {
        KeyDocument {
            version: before.version + 1,
            previous: Some(Digest::of(&before.to_payload())),
            ..KeyDocument::first(PublicKey::of(&key(seed)))
        }
    }

    /// The id is part of every reference that users have written down, so these bytes must not change.
    #[test]
    fn the_id_of_a_publisher_is_golden() {
        let first = KeyDocument::first(PublicKey::of(&key(7)));
        assert_eq!(
            String::from_utf8(first.to_payload()).unwrap(),
            "{\"version\":1,\"keys\":[\"ed25519:ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c\"],\
             \"threshold\":1,\"previous\":null,\"next\":null}"
        );
        assert_eq!(
            publisher_id(&first.to_payload()).to_string(),
            "olaj5gtfzpohiq4tvx2dri5u5qa3y2cbutpcu4lqpwgjerc7blyq"
        );
    }

    #[test]
    fn follows_a_rotation_that_both_have_signed() {
        let first = KeyDocument::first(PublicKey::of(&key(1)));
        let id = publisher_id(&first.to_payload());
        let second = after(&first, 2);
        let history = KeyHistory::verify(id, &[signed(&first, &[1]), signed(&second, &[1, 2])]).unwrap();
        assert_eq!(history.version(), 2);
        assert!(KeyHistory::verify(id, &[signed(&first, &[1])]).unwrap().is_prefix_of(&history));
        for signers in [&[1][..], &[2], &[3], &[2, 3]] {
            assert!(
                KeyHistory::verify(id, &[signed(&first, &[1]), signed(&second, signers)]).is_err(),
                "{signers:?}"
            );
        }
    }

    #[test]
    fn refuses_every_other_history() {
        let first = KeyDocument::first(PublicKey::of(&key(1)));
        let id = publisher_id(&first.to_payload());
        let other = KeyDocument::first(PublicKey::of(&key(2)));
        let broken = |documents: &[String]| KeyHistory::verify(id, documents).unwrap_err();
        assert!(matches!(broken(&[]), KeyError::Empty));
        assert!(matches!(broken(&[signed(&other, &[2])]), KeyError::OtherPublisher { .. }));
        assert!(matches!(broken(&[signed(&first, &[2])]), KeyError::Signature { version: 1, .. }));
        let gap = KeyDocument { version: 3, ..after(&first, 2) };
        assert!(matches!(broken(&[signed(&first, &[1]), signed(&gap, &[1, 2])]), KeyError::Version { .. }));
        let fork = KeyDocument { previous: Some(Digest::of(b"")), ..after(&first, 2) };
        let fork = broken(&[signed(&first, &[1]), signed(&fork, &[1, 2])]);
        assert!(matches!(fork, KeyError::NotAfterPrevious { .. }));
        let committed = KeyDocument { next: Some(after(&first, 9).commitment()), ..first };
        let id = publisher_id(&committed.to_payload());
        let documents = [signed(&committed, &[1]), signed(&after(&committed, 2), &[1, 2])];
        assert!(matches!(KeyHistory::verify(id, &documents), Err(KeyError::NotCommitted { version: 2 })));
    }
}
