//! [`Delegation`]: a publisher's statement that another publisher may publish some of its models, until a date.
//!
//! It lends names only. The other publisher signs tag records and provenance with its own keys, under its own id.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::envelope::{Envelope, EnvelopeError, SignatureError};
use crate::glob::ModelGlob;
use crate::json::{self, JsonError};
use crate::key::KeyHistory;
use crate::limits::DELEGATION_BYTES_MAX;
use crate::name::{ModelName, PublisherId};
use crate::revocation::Revoked;

/// Payload type of a delegation.
pub const DELEGATION_TYPE: &str = "application/vnd.reg.delegation.v1+json";

/// Names the models of `publisher` that the publisher `to` may publish. Times are seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    pub publisher: PublisherId,
    pub models: ModelGlob,
    pub to: PublisherId,
    /// Version of the key document that the signing keys belong to.
    pub key_document: u64,
    pub issued: u64,
    /// Time from which the delegation no longer counts.
    pub expires: u64,
}

/// Why an envelope is not a delegation by a publisher.
#[derive(Debug, Error)]
pub enum DelegationError {
    #[error("delegation is not an envelope")]
    Envelope(#[from] EnvelopeError),
    #[error("delegation cannot be parsed")]
    Json(#[from] JsonError),
    #[error("delegation is that of publisher {found}, not of {expected}")]
    OtherPublisher { found: PublisherId, expected: PublisherId },
    #[error("delegation of {publisher} names the publisher itself")]
    ToItself { publisher: PublisherId },
    #[error("delegation is not signed by key document {version} of its publisher")]
    Signature { version: u64, source: SignatureError },
    #[error("delegation was revoked by its publisher")]
    Revoked,
}

/// A delegation with a verified signature, and its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedDelegation {
    delegation: Delegation,
    payload: Digest,
    envelope: String,
}

impl Delegation {
    /// Returns the bytes to sign.
    pub fn to_payload(&self) -> Vec<u8> {
        json::to_vec(self)
    }

    /// Parses a payload. Verifies nothing.
    ///
    /// # Errors
    /// If `payload` is not a delegation.
    pub fn from_payload(payload: &[u8]) -> Result<Self, JsonError> {
        json::from_slice(payload, DELEGATION_BYTES_MAX)
    }

    /// Returns whether the delegation covers `model` and has not expired at `now`, in seconds since 1970.
    pub fn covers(&self, model: &ModelName, now: u64) -> bool {
        now <= self.expires && self.models.covers(model)
    }
}

impl SignedDelegation {
    /// Verifies the envelope `text` against a publisher's keys and revocations. Does not check whether it has expired.
    ///
    /// # Errors
    /// If `text` is no delegation, is by another publisher, names the publisher itself, is not signed, or is revoked.
    pub fn verify(text: &str, keys: &KeyHistory) -> Result<Self, DelegationError> {
        let envelope = Envelope::from_bytes(text.as_bytes(), DELEGATION_BYTES_MAX)?;
        let delegation = Delegation::from_payload(&envelope.payload)?;
        let (publisher, version) = (keys.publisher(), delegation.key_document);
        if delegation.publisher != publisher {
            return Err(DelegationError::OtherPublisher { found: delegation.publisher, expected: publisher });
        }
        if delegation.to == publisher {
            return Err(DelegationError::ToItself { publisher });
        }
        keys.check(&envelope, DELEGATION_TYPE, version)
            .map_err(|source| DelegationError::Signature { version, source })?;
        let payload = Digest::of(&envelope.payload);
        if keys.revocation(&Revoked::Delegation(payload)).is_some() {
            return Err(DelegationError::Revoked);
        }
        Ok(Self { delegation, payload, envelope: text.to_owned() })
    }

    /// Returns the signed delegation.
    pub const fn delegation(&self) -> &Delegation {
        &self.delegation
    }

    /// Returns the digest of the payload. A revocation names the delegation by it.
    pub const fn payload_digest(&self) -> Digest {
        self.payload
    }

    /// Returns the envelope, byte for byte.
    pub fn envelope(&self) -> &str {
        &self.envelope
    }
}
