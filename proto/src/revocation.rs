//! [`Revocation`]: a publisher's statement that a key, manifest or delegation of its own no longer counts.
//!
//! A revocation cannot be undone, and each node that has seen one stores it and passes it on. So revocations need no order,
//! and an attacker gains nothing by replaying old ones.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::envelope::{Envelope, EnvelopeError, PublicKey};
use crate::json::{self, JsonError};
use crate::key::KeyDocument;
use crate::limits::{REASON_CHARS_MAX, REVOCATION_BYTES_MAX, REVOCATIONS_MAX};
use crate::name::PublisherId;

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
    text: String,
}

/// The verified revocations of one publisher.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Revocations {
    by_subject: BTreeMap<Revoked, Candidate>,
    /// Revocations signed by keys that are newer than the followed history.
    heeded: BTreeMap<Revoked, Candidate>,
}

impl Revocations {
    /// Adds those of `texts` that the publisher has signed, and skips the others.
    pub(crate) fn take<'a>(
        &mut self,
        publisher: PublisherId,
        documents: &[&KeyDocument],
        texts: impl IntoIterator<Item = &'a str>,
    ) {
        let read = texts.into_iter().take(REVOCATIONS_MAX).filter_map(|text| Candidate::read(text).ok());
        let mut candidates: Vec<Candidate> = read
            .chain(self.by_subject.values().cloned())
            .filter(|it| it.revocation.publisher == publisher)
            .collect();
        // The choice between two revocations of one subject must not depend on their order of arrival.
        candidates.sort_by_key(|it| (it.revocation.issued, Digest::of(&it.envelope.payload)));
        let mut by_subject = BTreeMap::new();
        let mut revoked = BTreeSet::new();
        // Newer key documents come first, because they may revoke keys of the older ones.
        for version in (1..=documents.len()).rev() {
            let document = documents[version - 1];
            let of_version = |it: &&Candidate| it.revocation.key_document == version as u64;
            let keys: Vec<&Candidate> = candidates.iter().filter(of_version).collect();
            let mut now = BTreeSet::new();
            for candidate in keys {
                let Revoked::Key(key) = candidate.revocation.subject else { continue };
                let known = documents[..version].iter().any(|it| it.keys.contains(&key));
                if known && (candidate.is_signed(document, &revoked) || candidate.is_signed_by(key)) {
                    now.insert(key);
                    by_subject.entry(candidate.revocation.subject).or_insert_with(|| candidate.clone());
                }
            }
            revoked.extend(now);
        }
        for candidate in &candidates {
            let subject = candidate.revocation.subject;
            let version = usize::try_from(candidate.revocation.key_document).unwrap_or(0);
            let document = version.checked_sub(1).and_then(|index| documents.get(index));
            let counts = document.is_some_and(|document| candidate.is_signed(document, &revoked));
            if !matches!(subject, Revoked::Key(_)) && counts && by_subject.len() < REVOCATIONS_MAX {
                by_subject.entry(subject).or_insert_with(|| candidate.clone());
            }
        }
        self.by_subject = by_subject;
    }

    /// Adds the verified revocations of `later`, which may be signed by newer keys than this history has.
    pub(crate) fn heed(&mut self, later: &Self) {
        for (subject, candidate) in later.all() {
            if self.heeded.len() < REVOCATIONS_MAX {
                self.heeded.entry(*subject).or_insert_with(|| candidate.clone());
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = (&Revoked, &Candidate)> {
        let heeded = self.heeded.iter().filter(|(subject, _)| !self.by_subject.contains_key(subject));
        self.by_subject.iter().chain(heeded)
    }

    /// Returns the revocation of `subject`, or `None` if it is not revoked.
    pub(crate) fn get(&self, subject: &Revoked) -> Option<&Revocation> {
        self.by_subject.get(subject).or_else(|| self.heeded.get(subject)).map(|it| &it.revocation)
    }

    pub(crate) fn is_revoked(&self, key: &PublicKey) -> bool {
        self.get(&Revoked::Key(*key)).is_some()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Revocation, &str)> {
        self.all().map(|(_, it)| (&it.revocation, it.text.as_str()))
    }
}

impl Candidate {
    fn read(text: &str) -> Result<Self, RevocationError> {
        let envelope = Envelope::from_bytes(text.as_bytes(), REVOCATION_BYTES_MAX)?;
        let revocation = Revocation::from_payload(&envelope.payload)?;
        Ok(Self { revocation, envelope, text: text.to_owned() })
    }

    fn is_signed(&self, document: &KeyDocument, revoked: &BTreeSet<PublicKey>) -> bool {
        let keys: Vec<PublicKey> =
            document.keys.iter().filter(|key| !revoked.contains(key)).copied().collect();
        self.envelope.verify(REVOCATION_TYPE, &keys, document.threshold).is_ok()
    }

    fn is_signed_by(&self, key: PublicKey) -> bool {
        self.envelope.verify(REVOCATION_TYPE, &[key], 1).is_ok()
    }
}
