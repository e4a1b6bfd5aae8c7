//! [`KeyDocument`]: the keys that sign for a publisher, and its commitment to the keys that come next.

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::inheritance::InheritanceError;
use crate::digest::Digest;
use crate::envelope::{Envelope, EnvelopeError, PublicKey, SignatureError};
use crate::json::{self, JsonError, present, stated};
use crate::limits::{KEY_DOCUMENTS_MAX, KEY_ENVELOPE_BYTES_MAX, KEYS_MAX, SEQ_MAX};
use crate::name::PublisherId;

/// Payload type of a key document without a commitment to single next keys.
pub const KEY_DOCUMENT_TYPE: &str = "application/vnd.reg.key-document.v1+json";
/// Payload type of a key document with a commitment to single next keys.
pub const KEY_DOCUMENT_V2_TYPE: &str = "application/vnd.reg.key-document.v2+json";

/// Names the keys that sign for a publisher, how many of them must sign, and what the next document must satisfy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyDocument {
    /// 1 for the first document, one more for each next one.
    pub version: u64,
    pub keys: Vec<PublicKey>,
    /// How many of the keys must sign.
    pub threshold: usize,
    /// The digest of the previous document's payload; `None` in the first.
    pub previous: Option<Digest>,
    /// The commitment to the next document's keys.
    pub next: Next,
    /// The lowest number of records that this document signs. Records that older documents signed count only below it.
    ///
    /// It helps after a thief of an older key has used up numbers.
    pub floor: Option<u64>,
    /// The digest of the inheritance list: the statements by older keys that count. `None` in a first document and in
    /// those of version 1, under which everything that older keys have signed counts.
    pub inherits: Option<Digest>,
}

/// What a key document says about the keys of the next one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Next {
    /// Nothing: the keys of this document and of the next one sign the next one.
    Open,
    /// The digest of the next keys and their threshold ([`KeyDocument::commitment`]), as documents of version 1 commit.
    KeySet(Digest),
    /// Single next keys. The signatures of this document's keys are not needed for the next one.
    Keys(NextKeys),
}

/// The next keys that a document commits to, each by the SHA-256 of its 32 bytes (pre-rotation, as KERI has it:
/// <https://trustoverip.github.io/tswg-keri-specification/>). A thief of today's keys does not have them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextKeys {
    pub keys: Vec<Digest>,
    /// How many of them must appear in the next document and sign it.
    pub threshold: usize,
}

/// The JSON form of version 1.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentV1 {
    version: u64,
    keys: Vec<PublicKey>,
    threshold: usize,
    #[serde(deserialize_with = "present")]
    previous: Option<Digest>,
    #[serde(deserialize_with = "present")]
    next: Option<Digest>,
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    floor: Option<u64>,
}

/// The JSON form of version 2.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentV2 {
    version: u64,
    keys: Vec<PublicKey>,
    threshold: usize,
    #[serde(deserialize_with = "present")]
    previous: Option<Digest>,
    next: NextKeys,
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    floor: Option<u64>,
    #[serde(deserialize_with = "present")]
    inherits: Option<Digest>,
}

/// Why a list of texts is not a publisher's key history.
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
    #[error("payload is of type {found:?}, which is not a key document's")]
    PayloadType { found: String },
    #[error("first key document is that of publisher {found}, not of {expected}")]
    OtherPublisher { found: PublisherId, expected: PublisherId },
    #[error("key document has version {version}, expected {expected}")]
    Version { version: u64, expected: u64 },
    #[error("key document {version} does not name the previous document's digest")]
    NotAfterPrevious { version: u64 },
    #[error("key document {version} has other keys than the previous document committed to")]
    NotCommitted { version: u64 },
    #[error(
        "key document {version} has {found} of the {threshold} next keys that the previous document committed to"
    )]
    TooFewCommitted { version: u64, found: usize, threshold: usize },
    #[error("key document {version} is of an older form than the document before it")]
    OlderForm { version: u64 },
    #[error("key document {version} has {keys} keys and needs {threshold} of them")]
    Threshold { version: u64, keys: usize, threshold: usize },
    #[error("key document {version} commits to {keys} next keys and needs {threshold} of them")]
    NextThreshold { version: u64, keys: usize, threshold: usize },
    #[error("key document {version} is not signed as it must be")]
    Signature { version: u64, source: SignatureError },
    #[error("key document {version} states a first number that is none: 1 to {SEQ_MAX}")]
    Floor { version: u64 },
    #[error("key document {version} must name an inheritance list, unless it is the first")]
    Inherits { version: u64 },
    #[error("inheritance list is refused")]
    Inheritance(#[from] InheritanceError),
    #[error("inheritance list is not the one that key document {version} names")]
    OtherInheritance { version: u64 },
}

/// Returns whether this is the payload type of a key document, of either version.
pub fn is_key_document(payload_type: &str) -> bool {
    matches!(payload_type, KEY_DOCUMENT_TYPE | KEY_DOCUMENT_V2_TYPE)
}

impl NextKeys {
    /// Returns the commitment to these keys, `threshold` of which must take over.
    pub fn of(keys: &[PublicKey], threshold: usize) -> Self {
        Self { keys: keys.iter().map(Self::digest).collect(), threshold }
    }

    /// Returns the digest by which a document commits to `key`.
    pub fn digest(key: &PublicKey) -> Digest {
        Digest::of(key.as_bytes())
    }

    /// Returns whether `key` is one of the next keys.
    pub fn names(&self, key: &PublicKey) -> bool {
        self.keys.contains(&Self::digest(key))
    }
}

impl Next {
    /// Returns the single next keys, or `None` where the document commits to none.
    pub const fn keys(&self) -> Option<&NextKeys> {
        match self {
            Self::Keys(next) => Some(next),
            Self::Open | Self::KeySet(_) => None,
        }
    }
}

impl KeyDocument {
    /// Returns the first document of a publisher with one key and no commitment.
    pub fn first(key: PublicKey) -> Self {
        Self {
            version: 1,
            keys: vec![key],
            threshold: 1,
            previous: None,
            next: Next::Open,
            floor: None,
            inherits: None,
        }
    }

    /// Returns the payload type, which tells the version of the form.
    pub const fn payload_type(&self) -> &'static str {
        match self.next {
            Next::Keys(_) => KEY_DOCUMENT_V2_TYPE,
            Next::Open | Next::KeySet(_) => KEY_DOCUMENT_TYPE,
        }
    }

    /// Returns the bytes to sign. The digest of the first document's bytes is the publisher's id.
    pub fn to_payload(&self) -> Vec<u8> {
        let Self { version, keys, threshold, previous, next, floor, inherits } = self.clone();
        let next = match next {
            Next::Keys(next) => {
                return json::to_vec(&DocumentV2 {
                    version,
                    keys,
                    threshold,
                    previous,
                    next,
                    floor,
                    inherits,
                });
            }
            Next::KeySet(digest) => Some(digest),
            Next::Open => None,
        };
        json::to_vec(&DocumentV1 { version, keys, threshold, previous, next, floor })
    }

    /// Returns the digest of keys and threshold, to which a previous document of version 1 may commit.
    pub fn commitment(&self) -> Digest {
        Digest::of(&json::to_vec(&(&self.keys, self.threshold)))
    }

    /// Returns this document in an envelope that `key` has signed.
    pub fn sign(&self, key: &SigningKey) -> Envelope {
        Envelope::sign(self.payload_type(), self.to_payload(), &[key])
    }

    /// Parses a payload of this type. Verifies no signature.
    ///
    /// # Errors
    /// If `payload` is not a key document, or a threshold, floor or inheritance list is impossible.
    pub fn from_payload(payload_type: &str, payload: &[u8]) -> Result<Self, KeyError> {
        let document = match payload_type {
            KEY_DOCUMENT_TYPE => {
                let DocumentV1 { version, keys, threshold, previous, next, floor } =
                    json::from_slice(payload, KEY_ENVELOPE_BYTES_MAX)?;
                let next = next.map_or(Next::Open, Next::KeySet);
                Self { version, keys, threshold, previous, next, floor, inherits: None }
            }
            KEY_DOCUMENT_V2_TYPE => {
                let DocumentV2 { version, keys, threshold, previous, next, floor, inherits } =
                    json::from_slice(payload, KEY_ENVELOPE_BYTES_MAX)?;
                Self { version, keys, threshold, previous, next: Next::Keys(next), floor, inherits }
            }
            other => return Err(KeyError::PayloadType { found: other.chars().take(80).collect() }),
        };
        document.check()?;
        Ok(document)
    }

    fn check(&self) -> Result<(), KeyError> {
        let (version, keys, threshold) = (self.version, self.keys.len(), self.threshold);
        if keys > KEYS_MAX || !(1..=keys).contains(&threshold) {
            return Err(KeyError::Threshold { version, keys, threshold });
        }
        if self.floor.is_some_and(|floor| !(1..=SEQ_MAX).contains(&floor)) {
            return Err(KeyError::Floor { version });
        }
        if let Next::Keys(NextKeys { keys, threshold }) = &self.next {
            let (mut distinct, threshold) = (keys.clone(), *threshold);
            distinct.sort_unstable();
            distinct.dedup();
            if keys.len() > KEYS_MAX || distinct.len() < keys.len() || !(1..=keys.len()).contains(&threshold)
            {
                return Err(KeyError::NextThreshold { version, keys: keys.len(), threshold });
            }
            if self.inherits.is_some() == (version == 1) {
                return Err(KeyError::Inherits { version });
            }
        }
        Ok(())
    }
}
