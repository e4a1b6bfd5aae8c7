//! [`Revocation`]: a publisher's statement that a key, manifest or delegation of its own no longer counts.
//!
//! A revocation cannot be undone, and each node that has seen one stores it and passes it on. So revocations need no order,
//! and an attacker gains nothing by replaying old ones.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::envelope::{Envelope, EnvelopeError, PublicKey};
use crate::json::{self, JsonError};
use crate::limits::{REASON_CHARS_MAX, REVOCATION_BYTES_MAX, REVOCATIONS_MAX};
use crate::name::PublisherId;
use crate::naming::chain::{Chain, Standing};

/// Payload type of a revocation.
pub const REVOCATION_TYPE: &str = "application/vnd.reg.revocation.v1+json";

/// What a publisher revokes, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    pub publisher: PublisherId,
    pub subject: Revoked,
    /// Version of the key document that the signing keys belong to. A key may also revoke itself alone.
    pub key_document: u64,
    /// Time of signing, in seconds since 1970-01-01T00:00:00Z.
    pub issued: u64,
    pub reason: Reason,
}

/// The subject of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revoked {
    /// This key: its signatures no longer count.
    Key(PublicKey),
    /// This manifest: nodes pull it neither by a tag nor by its digest.
    Manifest(Digest),
    /// The delegation with this payload digest: it ends.
    Delegation(Digest),
}

/// The publisher's reason: one line without control characters, so that it is safe to print.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Reason(String);

/// Why a revocation cannot be parsed.
#[derive(Debug, Error)]
pub enum RevocationError {
    #[error("revocation is not an envelope")]
    Envelope(#[from] EnvelopeError),
    #[error("revocation cannot be parsed")]
    Json(#[from] JsonError),
}

/// A text is too long for a reason, or has characters that a terminal does not show as themselves.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("reason is not one line of at most {REASON_CHARS_MAX} characters")]
pub struct ReasonError;

impl Revoked {
    /// Returns the revoked key, or `None` if the subject is not a key.
    pub const fn key(&self) -> Option<PublicKey> {
        match self {
            Self::Key(key) => Some(*key),
            Self::Manifest(_) | Self::Delegation(_) => None,
        }
    }
}

impl Reason {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Reason {
    type Err = ReasonError;

    fn from_str(text: &str) -> Result<Self, ReasonError> {
        // Refuses control characters, and those that change the direction of the text after them.
        let hidden = |it: char| {
            it.is_control()
                || matches!(it, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        if text.chars().count() > REASON_CHARS_MAX || text.chars().any(hidden) {
            return Err(ReasonError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::text(deserializer)
    }
}

impl Revocation {
    /// Returns the bytes to sign.
    pub fn to_payload(&self) -> Vec<u8> {
        json::to_vec(self)
    }

    /// Returns the subject that the revocation in the envelope `text` names. Verifies nothing.
    ///
    /// # Errors
    /// If `text` is not a revocation in an envelope.
    pub fn read_subject(text: &str) -> Result<Revoked, RevocationError> {
        let envelope = Envelope::from_bytes(text.as_bytes(), REVOCATION_BYTES_MAX)?;
        Ok(Self::from_payload(&envelope.payload)?.subject)
    }

    /// Parses a payload. Verifies nothing.
    ///
    /// # Errors
    /// If `payload` is not a revocation.
    pub fn from_payload(payload: &[u8]) -> Result<Self, JsonError> {
        json::from_slice(payload, REVOCATION_BYTES_MAX)
    }
}

/// A parsed revocation with unverified signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    revocation: Revocation,
    envelope: Envelope,
    payload: Digest,
    text: String,
}

/// The verified revocations of one publisher.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Revocations {
    by_subject: BTreeMap<Revoked, Candidate>,
}

impl Revocations {
    /// Adds those of `texts` that the publisher has signed, and skips the others.
    ///
    /// A key's revocation of itself always counts. Every other revocation counts as any statement does: by the signatures
    /// of its key document, or because the newest document inherits it ([`Chain::standing`]). Revocations of keys come
    /// first, and then those of newer documents, so a thief of an older key crowds out none of them. The caller bounds the
    /// number of `texts`.
    pub(crate) fn take<'a>(
        &mut self,
        publisher: PublisherId,
        chain: &Chain,
        texts: impl IntoIterator<Item = &'a str>,
    ) {
        let read = texts.into_iter().filter_map(|text| Candidate::read(text).ok());
        let mut candidates: Vec<Candidate> = read
            .chain(self.by_subject.values().cloned())
            .filter(|it| it.revocation.publisher == publisher)
            .collect();
        // The choice between two revocations of one subject must not depend on their order of arrival.
        candidates.sort_by_key(|it| (it.revocation.issued, it.payload));
        candidates.dedup_by_key(|it| it.payload);
        let mut by_subject = BTreeMap::new();
        let mut revoked = BTreeSet::new();
        // Newer key documents come first, because they may revoke keys of the older ones.
        for version in (1..=chain.version()).rev() {
            let mut now = BTreeSet::new();
            for candidate in candidates.iter().filter(|it| it.revocation.key_document == version) {
                let Revoked::Key(key) = candidate.revocation.subject else { continue };
                let version = usize::try_from(version).unwrap_or(usize::MAX);
                // Older keys cannot revoke keys that came after them.
                let is_known = chain.documents().take(version).any(|it| it.keys.contains(&key));
                if is_known && (candidate.is_signed_by(key) || candidate.counts(chain, &revoked)) {
                    now.insert(key);
                    by_subject.entry(candidate.revocation.subject).or_insert_with(|| candidate.clone());
                }
            }
            revoked.extend(now);
        }
        candidates.sort_by_key(|it| Reverse(it.revocation.key_document));
        for candidate in &candidates {
            let subject = candidate.revocation.subject;
            let is_open = by_subject.len() < REVOCATIONS_MAX && !by_subject.contains_key(&subject);
            if is_open && !matches!(subject, Revoked::Key(_)) && candidate.counts(chain, &revoked) {
                by_subject.insert(subject, candidate.clone());
            }
        }
        self.by_subject = by_subject;
    }

    /// Returns the revocation of `subject`, or `None` if it is not revoked.
    pub(crate) fn get(&self, subject: &Revoked) -> Option<&Revocation> {
        self.by_subject.get(subject).map(|it| &it.revocation)
    }

    pub(crate) fn is_revoked(&self, key: &PublicKey) -> bool {
        self.by_subject.contains_key(&Revoked::Key(*key))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Revocation, &str)> {
        self.by_subject.values().map(|it| (&it.revocation, it.text.as_str()))
    }
}

impl Candidate {
    fn read(text: &str) -> Result<Self, RevocationError> {
        let envelope = Envelope::from_bytes(text.as_bytes(), REVOCATION_BYTES_MAX)?;
        let revocation = Revocation::from_payload(&envelope.payload)?;
        let payload = Digest::of(&envelope.payload);
        Ok(Self { revocation, envelope, payload, text: text.to_owned() })
    }

    /// Returns whether the revocation counts by its key document, with these keys `revoked`.
    fn counts(&self, chain: &Chain, revoked: &BTreeSet<PublicKey>) -> bool {
        let version = self.revocation.key_document;
        match (chain.standing(version, &self.payload), chain.document(version)) {
            (Standing::Inherited, _) => self.envelope.payload_type == REVOCATION_TYPE,
            (Standing::BySignature, Some(document)) => {
                let keys: Vec<PublicKey> =
                    document.keys.iter().filter(|key| !revoked.contains(key)).copied().collect();
                self.envelope.verify(REVOCATION_TYPE, &keys, document.threshold).is_ok()
            }
            _ => false,
        }
    }

    fn is_signed_by(&self, key: PublicKey) -> bool {
        self.envelope.verify(REVOCATION_TYPE, &[key], 1).is_ok()
    }
}
